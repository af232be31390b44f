"""Projects over HTTP: made, looked at, trained with defaults, removed; and never seen by others."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.accounts import used_rows
from gateway.accounts.projects import new_project_id
from gateway.accounts.used_rows import Use
from runtime.broker import TopicPartition
from schemas.models import LeaderboardEntry
from schemas.topics import (
    DEPLOYMENTS,
    INGEST_EVENTS,
    INGEST_REQUESTS,
    INGEST_SCHEDULES,
    MODELS,
    OBSERVATIONS,
    TRAINING_EVENTS,
    TRAINING_REQUESTS,
)
from tests import factories
from tests.unit.gateway.tenants import Tenants, tenants
from tests.unit.gateway.uploaded import left, shops, uploading
from tests.unit.gateway.world import World, wait_until

SALES: dict[str, tuple[float | None, ...]] = {
    "sales": tuple(float(100 + day % 7) for day in range(30)),
    "promo": tuple(float(day % 2) for day in range(30)),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with uploading(tmp_path_factory.mktemp("projects")) as started:
        started.settle()
        yield started


def made(
    world: World, content: bytes | None = None, query: str = "filename=sales.csv", **fields: Any
) -> dict[str, Any]:
    """Make a project of a CSV."""
    answer = world.client.post(f"/api/v1/projects?{query}", data=content or shops(), content_type="text/csv", **fields)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


def loaded(world: World, project: dict[str, Any]) -> None:
    """Let every series of a new project be observed, as the ingestor would."""
    for line in project["upload"]["series"]:
        ingest = line["ingest"]
        world.publish(OBSERVATIONS, factories.observation_batch(series_id=ingest["series_id"], columns=SALES, rows=30))
        event = factories.ingest_event(ingest["ingest_id"], series_id=ingest["series_id"], state="succeeded")
        world.publish(INGEST_EVENTS, event)
    world.settle()


@pytest.fixture(scope="module")
def shop(world: World) -> dict[str, Any]:
    """A project of a file whose two series have been observed."""
    project = made(world, query="filename=sales.csv&known_future=promo")
    loaded(world, project)
    return project


def waiting(world: World) -> str:
    """Return a project with a series that is still to be loaded."""
    project_id: str = world.client.post("/api/v1/projects", json={"name": "Waiting"}).get_json()["project_id"]
    world.publish(INGEST_REQUESTS, factories.ingest_request(f"i-{project_id}", series_id=f"{project_id}/1@1d"))
    world.settle()
    return project_id


def asked_trainings(world: World) -> int:
    """Return how many trainings stand in the log."""
    places = [TopicPartition(TRAINING_REQUESTS.name, number) for number in range(TRAINING_REQUESTS.partitions)]
    return sum(world.broker.end_offsets(places).values())


def test_project_without_a_file_is_made_and_listed_beside_the_public_one(world: World) -> None:
    answer = world.client.post("/api/v1/projects", json={"name": "Loja São João", "description": "sales"})

    project = answer.get_json()
    assert (answer.status_code, project["name"], project["upload"]) == (201, "Loja São João", None)
    assert project["project_id"].startswith("loja-sao-joao-")
    assert answer.headers["Location"] == f"/api/v1/projects/{project['project_id']}"
    listed = {one["project_id"]: one for one in world.client.get("/api/v1/projects").get_json()["projects"]}
    assert listed["market"]["is_public"]
    assert not listed[project["project_id"]]["is_public"]


def test_file_makes_a_project_whose_series_are_loaded(world: World) -> None:
    project = made(world, query="filename=sales.csv&name=Shops&known_future=promo&freq=1d")

    assert project["file"]["mapping"]["known_future"] == ["promo"]
    assert project["file"]["columns"] == ["shop", "date", "sales", "promo", "remark"]
    series = [line["ingest"]["series_id"] for line in project["upload"]["series"]]
    assert series == [f"{project['project_id']}/{name}@1d" for name in ("Berlin", "Hamburg")]
    waiting = world.client.get(f"/api/v1/projects/{project['project_id']}").get_json()
    assert (waiting["state"], waiting["load"]["queued"]) == ("loading", 2)

    loaded(world, project)

    ready = world.client.get(f"/api/v1/projects/{project['project_id']}?limit=1").get_json()
    assert (ready["state"], ready["series_count"], ready["rows"]) == ("ready", 2, 60)
    assert [line["series_id"] for line in ready["series"]] == series[:1]
    following = world.client.get(ready["next"]).get_json()
    assert [line["series_id"] for line in following["series"]] == series[1:]
    assert following["next"] is None


def test_form_has_the_file_and_its_fields_in_any_order(world: World) -> None:
    parts = [("known_future", "promo"), ("name", "A form"), ("series", "shop")]
    body = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in parts[:1]
    )
    body += '--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n' + shops().decode() + "\r\n"
    body += "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in parts[1:]
    )

    answer = world.client.post(
        "/api/v1/projects", data=f"{body}--x--\r\n".encode(), content_type="multipart/form-data; boundary=x"
    )

    assert answer.status_code == 201, answer.text
    assert (answer.get_json()["name"], answer.get_json()["file"]["mapping"]["known_future"]) == ("A form", ["promo"])


@pytest.mark.parametrize(
    ("content", "query", "field"),
    [
        (b"a,b\n1,2\n3,4\n", "filename=rows.csv", "time"),
        (shops(), "filename=a.csv&target=revenue", "target"),
        (shops(), "filename=a.csv&known_future=promo,weather", "known_future"),
        (shops(), "filename=a.csv&tarjet=sales", "tarjet"),
        (shops(), "filename=a.csv&freq=daily", "freq"),
        (shops(), f"filename=a.csv&name={'n' * 201}", "name"),
        (b"\x00\x01", "filename=a.csv", "file"),
    ],
    ids=["no-time", "target", "known-future", "misspelt", "freq", "long-name", "no-table"],
)
def test_file_that_cannot_be_used_makes_no_project_and_leaves_nothing(
    world: World, content: bytes, query: str, field: str
) -> None:
    files, projects = left(world), world.client.get("/api/v1/projects").get_json()

    answer = world.client.post(f"/api/v1/projects?{query}", data=content, content_type="text/csv")

    assert (answer.status_code, answer.get_json()["errors"][0]["field"]) == (422, field)
    assert (left(world), world.client.get("/api/v1/projects").get_json()) == (files, projects)


def test_name_and_description_change_and_the_change_is_noted(world: World) -> None:
    project_id = world.client.post("/api/v1/projects", json={"name": "Mine"}).get_json()["project_id"]

    answer = world.client.patch(f"/api/v1/projects/{project_id}", json={"name": "Other"})

    assert (answer.status_code, answer.get_json()["name"]) == (200, "Other")
    assert world.client.get(f"/api/v1/projects/{project_id}").get_json()["name"] == "Other"
    assert world.client.patch(f"/api/v1/projects/{project_id}", json={"owner": "me"}).status_code == 422
    assert world.client.patch("/api/v1/projects/market", json={"name": "mine"}).status_code == 409


def test_project_is_removed_once_nothing_goes_on_there(world: World) -> None:
    project_id = waiting(world)
    path, series_id = f"/api/v1/projects/{project_id}", f"{project_id}/1@1d"
    assert world.client.delete(path).get_json()["type"] == "/problems/project-busy"
    world.publish(INGEST_EVENTS, factories.ingest_event(f"i-{project_id}", series_id=series_id, state="failed"))
    world.publish(INGEST_SCHEDULES, factories.schedule("s-1", series_id=series_id))
    world.settle()
    assert "pause" in world.client.delete(path).get_json()["detail"]
    world.publish(INGEST_SCHEDULES, factories.schedule("s-2", series_id=series_id, is_paused=True))
    world.settle()

    answer = world.client.delete(path)

    assert (answer.status_code, answer.get_json()["state"]) == (200, "removed")
    assert project_id not in {row.project_id for row in world.service.project_rows.of(None)}


def test_training_waits_for_the_series_unless_it_names_them(world: World) -> None:
    answer = world.client.post(f"/api/v1/projects/{waiting(world)}/train")

    assert (answer.status_code, answer.get_json()["type"]) == (409, "/problems/project-busy")
    empty = world.client.post("/api/v1/projects", json={"name": "Empty"}).get_json()["project_id"]
    assert world.client.post(f"/api/v1/projects/{empty}/train").get_json()["type"] == "/problems/project-empty"


def test_training_takes_its_defaults_from_the_file(world: World, shop: dict[str, Any]) -> None:
    answer = world.client.post(f"/api/v1/projects/{shop['project_id']}/train")

    told = answer.get_json()
    assert answer.status_code == 202, answer.text
    assert (told["target"], told["algorithm"], told["candidates"]) == ("sales", "auto", ["lightgbm", "linear"])
    assert (told["covariates"], told["series_count"]) == ({"promo": "known-future"}, 2)
    assert (told["horizon"], told["window_size"], told["intervals"]) == (3, 5, "split")  # of 30 rows
    assert told["budget_seconds"] == 600.0
    (training,) = told["trainings"]
    assert training["model"] == f"{shop['project_id']}/sales"
    assert answer.headers["Location"] == f"/api/v1/trainings/{training['training_id']}"
    row = world.service.queries.training(training["training_id"])
    assert row is not None
    assert len(msgspec.json.decode(row["request"])["series_ids"]) == 2
    assert world.client.get(f"/api/v1/projects/{shop['project_id']}").get_json()["state"] == "training"


def test_training_of_one_series_is_of_the_model_that_forecasts_find_by_themselves(
    world: World, shop: dict[str, Any]
) -> None:
    path = f"/api/v1/projects/{shop['project_id']}/train"

    told = world.client.post(path, json={"series": ["Berlin"], "algorithm": "theta", "horizon": 2}).get_json()

    assert [one["model"] for one in told["trainings"]] == [f"{shop['project_id']}/Berlin-1d"]
    assert (told["candidates"], told["budget_seconds"], told["horizon"]) == ([], 0.0, 2)


def test_each_series_can_have_a_model_of_its_own_and_a_repeat_asks_once(world: World, shop: dict[str, Any]) -> None:
    path, before = f"/api/v1/projects/{shop['project_id']}/train", asked_trainings(world)

    first = world.client.post(path, json={"per_series": True}, headers={"Idempotency-Key": "each"}).get_json()
    again = world.client.post(path, json={"per_series": True}, headers={"Idempotency-Key": "each"}).get_json()

    assert first == again
    assert [one["model"].rpartition("/")[2] for one in first["trainings"]] == ["Berlin-1d", "Hamburg-1d"]
    assert asked_trainings(world) == before + 2


def test_who_is_refused_one_of_several_models_has_started_none(world: World, shop: dict[str, Any]) -> None:
    """Red where `trainings.start` judges each when it is its turn, or without its look at what is left of the quota."""
    path, before = f"/api/v1/projects/{shop['project_id']}", asked_trainings(world)
    world.publish(OBSERVATIONS, factories.observation_batch(series_id=f"{shop['project_id']}/other@1d"))
    world.settle()
    asked = {"per_series": True, "series": ["Berlin", "other"], "target": "sales", "known_future": []}

    unlike = world.client.post(f"{path}/train", json=asked)
    used = world.client.get(f"{path}/quotas").get_json()["used_today"]["trainings"]
    world.client.patch(f"{path}/quotas", json={"trainings_a_day": used + 1})
    too_many = world.client.post(f"{path}/train", json={"per_series": True, "series": ["Berlin", "Hamburg"]})
    world.client.patch(f"{path}/quotas", json={"trainings_a_day": None})

    assert (unlike.status_code, unlike.get_json()["errors"][0]["field"]) == (422, "target")
    assert (too_many.status_code, too_many.get_json()["type"]) == (429, "/problems/quota-exceeded")
    assert asked_trainings(world) == before


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"series": ["Berlin", "Bremen"]}, 404, "series[1]"),
        ({"target": "revenue"}, 422, "target"),
        ({"known_future": ["weather"]}, 422, "covariates.weather"),
        ({"model": "market/mine"}, 422, "model"),
        ({"per_series": True, "model": "x/y"}, 422, "model"),
        ({"horizont": 3}, 422, "horizont"),
    ],
)
def test_training_that_cannot_be_names_the_field(
    world: World, shop: dict[str, Any], body: dict[str, Any], status: int, field: str
) -> None:
    answer = world.client.post(f"/api/v1/projects/{shop['project_id']}/train", json=body)

    assert (answer.status_code, answer.get_json()["errors"][0]["field"]) == (status, field), answer.text


def test_details_have_metrics_leaderboard_and_champion(world: World) -> None:
    project_id = world.client.post("/api/v1/projects", json={"name": "Trained"}).get_json()["project_id"]
    series_id, model = f"{project_id}/1@1d", f"{project_id}/1-1d"
    world.publish(OBSERVATIONS, factories.observation_batch(series_id=series_id))
    world.publish(MODELS, factories.model_release(model=model, series_ids=(series_id,)))
    world.publish(DEPLOYMENTS, factories.deployment(deployment_id=f"d-{project_id}", model=model))
    world.publish(
        TRAINING_EVENTS,
        factories.training_event(
            f"t-{project_id}", model=model, series_id=series_id, state="succeeded", version=factories.VERSION
        ),
    )
    world.settle()

    found = world.client.get(f"/api/v1/projects/{project_id}").get_json()

    assert found["metrics"]["model"] == {"mae": 1.0}
    assert found["models"][0]["champion"] == factories.VERSION
    assert (found["models"][0]["versions"][0]["role"], found["models"][0]["versions"][0]["series_count"]) == (
        "champion",
        1,
    )
    assert found["trainings"][0]["state"] == "succeeded"


def test_what_was_compared_is_shown_after_an_algorithm_was_named(world: World) -> None:
    """Red where the leaderboard is that of the newest release."""
    project_id = world.client.post("/api/v1/projects", json={"name": "Compared"}).get_json()["project_id"]
    first, second = f"{project_id}/apples", f"{project_id}/pears"

    def release(model: str, training_id: str, version: str, *compared: str) -> None:
        board = tuple(
            LeaderboardEntry(algorithm=name, state="chosen" if name == compared[0] else "compared") for name in compared
        )
        world.publish(TRAINING_REQUESTS, factories.training_request(f"{training_id}-{project_id}", model=model))
        asked_at = world.broker.clock.now()
        wait_until(lambda: world.broker.clock.now() - asked_at > timedelta(milliseconds=1), "the next millisecond")
        world.publish(
            MODELS,
            factories.model_release(
                model=model,
                training_id=f"{training_id}-{project_id}",
                version=version,
                leaderboard=board,
                metrics={"model": {"mae": float(len(compared))}},
            ),
        )

    release(first, "older", "0" * 16, "theta", "drift")
    release(second, "newer", "1" * 16, "ets")
    release(first, "newest", "2" * 16, "linear", "drift", "theta")
    # Finds once more what was chosen first: its comparison is the older one nonetheless.
    release(first, "named-again", "0" * 16)
    release(second, "named", "3" * 16)
    world.settle()

    found = world.client.get(f"/api/v1/projects/{project_id}").get_json()

    assert [(one["model"], one["version"], one["training_id"]) for one in found["comparisons"]] == [
        (first, "2" * 16, f"newest-{project_id}"),
        (second, "1" * 16, f"newer-{project_id}"),
    ]
    assert [one["algorithm"] for one in found["leaderboard"]] == ["linear", "drift", "theta"]
    assert found["leaderboard"] == found["comparisons"][0]["leaderboard"]
    assert all(datetime.fromisoformat(one["requested_at"]) for one in found["comparisons"])
    assert found["metrics"] == {"model": {"mae": 0.0}}, "of the newest release"


def test_project_that_is_not_there_is_not_found(world: World) -> None:
    for method, path in (
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/train"),
        ("POST", "/predict"),
    ):
        answer = world.client.open(f"/api/v1/projects/nobody{path}", method=method, json={"name": "x"})
        assert (answer.status_code, answer.get_json()["type"]) == (404, "/problems/unknown-project"), (method, path)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    folder: Path = tmp_path_factory.mktemp("tenants")
    with tenants(folder, files_directory=folder / "files") as found:
        found.world.settle()
        yield found


OPERATIONS = (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/train"), ("POST", "/predict"))


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_project_of_others_is_the_same_404_as_none(both: Tenants, method: str, path: str) -> None:
    """Red without the call of `tenancy.require` in `routes.projects.require`."""

    def sent(project_id: str) -> tuple[int, str]:
        answer = both.world.client.open(
            f"/api/v1/projects/{project_id}{path}",
            method=method,
            json={"name": "x"} if method == "PATCH" else {},
            headers={**both.pears.admin.headers, "X-Request-ID": "same"},
        )
        return answer.status_code, answer.text.replace(project_id, "ID").replace(answer.headers["traceparent"], "")

    found = sent(both.apples.project_id)
    assert found[0] == 404
    assert found == sent("apples-zzzzzz")


def test_list_has_own_and_public_projects_alone(both: Tenants) -> None:
    listed = both.world.client.get("/api/v1/projects", headers=both.pears.viewer.headers).get_json()["projects"]

    assert [one["project_id"] for one in listed] == sorted(["market", both.pears.project_id])


def test_roles_below_are_refused(both: Tenants) -> None:
    client, path = both.world.client, f"/api/v1/projects/{both.apples.project_id}"

    assert client.get(path, headers=both.apples.viewer.headers).status_code == 200
    assert client.patch(path, json={"name": "x"}, headers=both.apples.viewer.headers).status_code == 403
    assert client.post("/api/v1/projects", json={"name": "x"}, headers=both.apples.viewer.headers).status_code == 403
    assert client.delete(path, headers=both.apples.editor.headers).status_code == 403
    assert client.get(path).status_code == 401


def test_project_is_made_for_an_organisation_of_the_caller_alone(both: Tenants) -> None:
    client, editor = both.world.client, both.apples.editor

    own = client.post("/api/v1/projects", json={"name": "Own"}, headers=editor.headers)
    foreign = {"name": "Foreign", "organisation_id": both.pears.organisation_id}
    refused = client.post("/api/v1/projects", json=foreign, headers=editor.headers)
    missing = client.post("/api/v1/projects", json={**foreign, "organisation_id": "org_0"}, headers=editor.headers)
    operator = client.post("/api/v1/projects", json=foreign, headers=both.operator.headers)

    assert own.get_json()["organisation_id"] == both.apples.organisation_id
    assert (refused.status_code, missing.status_code) == (404, 404)
    assert operator.get_json()["organisation_id"] == both.pears.organisation_id


def test_key_for_one_project_makes_no_other(both: Tenants) -> None:
    """Red without the look at `project_ids` in `organisation_of_caller`."""
    limited = both.key(both.apples, project_id=both.apples.project_id)

    answer = both.world.client.post("/api/v1/projects", json={"name": "Another"}, headers=limited)

    assert answer.status_code == 403


def test_file_of_a_tenant_belongs_to_its_new_project(both: Tenants) -> None:
    answer = both.world.client.post(
        "/api/v1/projects?filename=sales.csv", data=shops(), content_type="text/csv", headers=both.apples.editor.headers
    )

    project = answer.get_json()
    assert answer.status_code == 201, answer.text
    path = f"/api/v1/uploads/{project['upload']['upload_id']}"
    assert both.world.client.get(path, headers=both.apples.editor.headers).status_code == 200
    assert both.world.client.get(path, headers=both.pears.admin.headers).status_code == 404


def test_file_is_not_read_for_who_may_not_make_a_project(both: Tenants) -> None:
    before = left(both.world)

    answer = both.world.client.post(
        f"/api/v1/projects?filename=sales.csv&organisation_id={both.pears.organisation_id}",
        data=shops(),
        content_type="text/csv",
        headers=both.apples.editor.headers,
    )

    assert (answer.status_code, left(both.world)) == (404, before)


def test_usage_of_a_public_project_is_that_of_the_own_organisation(both: Tenants) -> None:
    """Red without the filter by organisation in `project_documents._usage`."""
    accounts = both.world.accounts
    with accounts.write() as connection:
        for tenant, count in ((both.apples, 3), (both.pears, 5)):
            owner = tenant.organisation_id
            used_rows.add(connection, Use("market", owner, f"{owner}/user/x", "forecast", accounts.today()), count)

    told = [
        both.world.client.get("/api/v1/projects/market", headers=headers).get_json()["usage"]["today"]
        for headers in (both.apples.viewer.headers, both.pears.viewer.headers, both.operator.headers)
    ]

    assert told == [{"forecast": 3}, {"forecast": 5}, {"forecast": 8}]


def test_ids_of_projects_do_not_tell_which_names_are_taken() -> None:
    assert len({new_project_id("Shop") for _ in range(100)}) == 100
