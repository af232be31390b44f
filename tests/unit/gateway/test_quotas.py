"""What a day brings: rows, forecasts and trainings of a project, and of an organisation over all its projects."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from gateway.access import Principal
from gateway.limits import quotas as quota_counts
from gateway.limits.quotas import FORECAST, ROW, TRAINING, Usage
from gateway.problems import Problem
from gateway.store import StoreUnavailable
from runtime.broker import TopicPartition
from schemas.topics import INGEST_REQUESTS
from tests.unit.gateway.tenants import Tenant, Tenants, add_tenant, tenants
from tests.unit.gateway.test_limits import Interrupted, raise_quota, standing
from tests.unit.gateway.test_repeats import require_problem
from tests.unit.gateway.uploaded import shops
from tests.unit.gateway.world import World, wait_until

OF_PROJECT, OF_ORGANISATION = 50, 70
#: Of `shops`.
ROWS, ROWS_A_SERIES = 40, 20


@pytest.fixture(scope="module")
def daily(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    """Tenants whose days bring little."""
    folder = tmp_path_factory.mktemp("daily")
    with tenants(
        folder,
        files_directory=folder / "files",
        rows_a_day=OF_PROJECT,
        rows_a_day_an_organisation=OF_ORGANISATION,
        series_a_project=3,
    ) as found:
        found.world.settle()
        yield found


@pytest.fixture
def tenant(daily: Tenants, request: pytest.FixtureRequest) -> Tenant:
    """An organisation that has used nothing yet."""
    return add_tenant(daily.world, request.node.name.partition("[")[0].replace("_", "-")[-40:])


def append(people: Tenants, tenant: Tenant, rows: dict[str, int]) -> TestResponse:
    """Bring new rows in, series id -> how many."""
    series = [
        {
            "series_id": series_id,
            "time": [f"2026-01-{day + 1:02}T00:00:00Z" for day in range(count)],
            "columns": {"y": [1.0] * count},
        }
        for series_id, count in rows.items()
    ]
    headers = tenant.editor.headers
    return people.world.client.post("/api/v1/observations", json={"series": series}, headers=headers)


def asked(world: World) -> int:
    """Return how many messages ask for data."""
    places = [TopicPartition(INGEST_REQUESTS.name, number) for number in range(INGEST_REQUESTS.partitions)]
    return sum(world.broker.end_offsets(places).values())


def second_project(people: Tenants, tenant: Tenant) -> str:
    made = people.world.client.post("/api/v1/projects", json={"name": "second"}, headers=tenant.editor.headers)
    return str(made.get_json()["project_id"])


def quotas(people: Tenants, tenant: Tenant, kind: str = "organisations") -> dict[str, Any]:
    name = tenant.organisation_id if kind == "organisations" else tenant.project_id
    answer = people.world.client.get(f"/api/v1/{kind}/{name}/quotas", headers=tenant.viewer.headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.get_json())


def require_over(answer: TestResponse, policy: str) -> None:
    require_problem(answer, 429, "quota-exceeded")
    assert answer.get_json()["violated-policies"] == [policy]
    assert 1 <= int(answer.headers["Retry-After"]) <= 86_400


# --- live rows ---


def test_live_rows_of_a_project_are_counted_over_its_series(daily: Tenants, tenant: Tenant) -> None:
    """Red without `usage.taking` in the route of observations."""
    one, two = (f"{tenant.project_id}/{name}@1d" for name in ("one", "two"))
    first = append(daily, tenant, {one: 20, two: 10})
    assert first.status_code == 202, first.text
    assert standing(first, "rows")[0] == OF_PROJECT - 30
    before = asked(daily.world)

    over = append(daily, tenant, {one: 1, two: 20})

    require_over(over, "rows")
    # Tomorrow it would be let through: red where fewer are always advised, and where the organisation is named instead.
    limit = f"{tenant.project_id} may use {OF_PROJECT} rows a day, 20 are left, 21 more were asked for; come again in"
    assert over.get_json()["detail"].startswith(limit)
    assert asked(daily.world) == before
    told = quotas(daily, tenant, "projects")
    assert (told["in_force"]["rows_a_day"], told["used_today"]["rows"]) == (OF_PROJECT, 30)
    assert append(daily, tenant, {two: 20}).status_code == 202
    daily.world.service.usage.flush()
    project = daily.world.client.get(f"/api/v1/projects/{tenant.project_id}", headers=tenant.viewer.headers)
    assert project.get_json()["usage"]["today"] == {"row": OF_PROJECT}
    raise_quota(daily, tenant.project_id, {"rows_a_day": OF_PROJECT + 1})
    assert append(daily, tenant, {one: 1}).status_code == 202


def test_more_than_a_day_brings_is_not_put_off_until_tomorrow(daily: Tenants, tenant: Tenant) -> None:
    """Red without the advice in `Usage._require`: who comes again tomorrow would be turned away again."""
    name = f"{tenant.project_id}/{{}}@1d"
    over = append(daily, tenant, {name.format(number): 20 for number in range(3)})

    require_over(over, "rows")
    assert "ask for fewer at once, or an operator for a higher quota" in over.get_json()["detail"]


# --- all projects of an organisation ---


def test_an_organisation_has_one_quota_over_all_its_projects(daily: Tenants, tenant: Tenant) -> None:
    """Red where the scopes of a `Use` have none of the organisation."""
    second = second_project(daily, tenant)
    assert append(daily, tenant, {f"{tenant.project_id}/a@1d": 25, f"{tenant.project_id}/b@1d": 25}).status_code == 202
    before = asked(daily.world)

    over = append(daily, tenant, {f"{second}/a@1d": OF_ORGANISATION - 49})

    require_over(over, "organisation-rows")
    assert tenant.organisation_id in over.get_json()["detail"]
    assert asked(daily.world) == before
    told = quotas(daily, tenant)
    assert (told["in_force"]["rows_a_day"], told["used_today"]) == (
        OF_ORGANISATION,
        {"forecasts": 0, "trainings": 0, "rows": 50},
    )
    taken = append(daily, tenant, {f"{second}/a@1d": OF_ORGANISATION - 50})
    assert (taken.status_code, standing(taken, "organisation-rows")[0]) == (202, 0)
    # Another organisation has its own.
    assert append(daily, daily.pears, {f"{daily.pears.project_id}/a@1d": 1}).status_code == 202
    path = f"/api/v1/organisations/{tenant.organisation_id}/quotas"
    body = {"rows_a_day": OF_ORGANISATION + 1}
    assert daily.world.client.patch(path, json=body, headers=daily.operator.headers).status_code == 200
    assert append(daily, tenant, {f"{second}/a@1d": 1}).status_code == 202
    require_over(append(daily, tenant, {f"{second}/a@1d": 1}), "organisation-rows")


def test_a_project_that_is_removed_gives_nothing_back(daily: Tenants, tenant: Tenant) -> None:
    """Red without `organisation_id` in what is counted: a project a morning would bring a quota each."""
    client, second = daily.world.client, second_project(daily, tenant)
    with daily.world.app.test_request_context():
        daily.world.service.usage.take(of(tenant), ROW, {second: OF_PROJECT})
    daily.world.service.usage.flush()
    assert client.delete(f"/api/v1/projects/{second}", headers=tenant.admin.headers).status_code == 200

    require_over(append(daily, tenant, {f"{tenant.project_id}/a@1d": 21}), "organisation-rows")
    assert quotas(daily, tenant)["used_today"]["rows"] == OF_PROJECT


def of(tenant: Tenant) -> Principal:
    return Principal(name="user/user_1", organisation_id=tenant.organisation_id)


@pytest.fixture
def in_request(daily: Tenants) -> Iterator[Flask]:
    """What is used is told in the answer to a request."""
    with daily.world.app.test_request_context():
        yield daily.world.app


def of_organisations(world: World, database: Any = None, **limits: int) -> Usage:
    return Usage(database or world.accounts, lambda name: limits.get(name, 0), world.service.projects.organisation_of)


@pytest.mark.parametrize("kind", [FORECAST, TRAINING])
@pytest.mark.usefixtures("in_request")
def test_forecasts_and_trainings_of_an_organisation_are_counted_too(daily: Tenants, kind: str) -> None:
    """Red without the default of organisations in `Usage._limit`; the members of two organisations count for the owner."""
    owner = add_tenant(daily.world, f"owner-{kind}")
    usages = of_organisations(daily.world, **{f"{kind}s_a_day_an_organisation": 5})
    guest = Principal(name="user/guest", organisation_id=daily.pears.organisation_id)
    usages.take(guest, kind, {owner.project_id: 2, second_project(daily, owner): 1})
    # What it asks of public series counts for who asks.
    usages.take(of(owner), kind, {"market": 2})

    with pytest.raises(Problem, match=f"{owner.organisation_id}, over all its projects, may use 5 {kind}s a day"):
        usages.take(guest, kind, {owner.project_id: 1})
    usages.take(guest, kind, {"market": 1})
    assert usages.used_by_organisation(owner.organisation_id, kind) == 5
    assert usages.used_by_organisation(daily.pears.organisation_id, kind) == 1


@pytest.mark.usefixtures("in_request")
def test_gateways_add_up_and_a_restart_keeps_what_an_organisation_used(daily: Tenants, tenant: Tenant) -> None:
    first, second = (of_organisations(daily.world, rows_a_day_an_organisation=10) for _ in range(2))
    first.take(of(tenant), ROW, {tenant.project_id: 6})
    second.take(of(tenant), ROW, {second_project(daily, tenant): 3})

    first.flush()
    second.flush()

    assert second.used_by_organisation(tenant.organisation_id, ROW) == 9
    with pytest.raises(Problem, match="1 are left"):
        second.take(of(tenant), ROW, {tenant.project_id: 2})
    assert of_organisations(daily.world).used_by_organisation(tenant.organisation_id, ROW) == 9
    # Red without `_load` in `_judged`: each restart would bring a quota.
    with pytest.raises(Problem, match="1 are left"):
        of_organisations(daily.world, rows_a_day_an_organisation=10).take(of(tenant), ROW, {tenant.project_id: 2})
    # Red where a gateway that has nothing to write does not read either.
    first.flush()
    assert first.used_by_organisation(tenant.organisation_id, ROW) == 9


@pytest.mark.usefixtures("in_request")
def test_what_is_counted_is_written_as_it_grows_and_at_the_end(
    daily: Tenants, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red without the thread of `Usage.start`, and without the flush and the join of `Usage.stop`."""
    monkeypatch.setattr(quota_counts, "_FLUSH_SECONDS", 0.01)

    def written() -> int:
        return of_organisations(daily.world).used_by_organisation(tenant.organisation_id, ROW)

    usages = of_organisations(daily.world)
    usages.start()
    usages.take(of(tenant), ROW, {tenant.project_id: 6})
    wait_until(lambda: written() == 6, "the counts in the database")
    usages.stop(60.0)
    assert not usages._thread.is_alive()

    never_started = of_organisations(daily.world)
    never_started.take(of(tenant), ROW, {tenant.project_id: 3})
    never_started.stop(60.0)
    assert written() == 9


@pytest.mark.usefixtures("in_request")
def test_what_failed_was_not_used(daily: Tenants, tenant: Tenant) -> None:
    """Red without what `Usage.taking` does with a failure, and where `flush` forgets what is below 0."""
    database = Interrupted(daily.world)
    usages = of_organisations(daily.world, database, rows_a_day=10)
    taken = usages.taking(of(tenant), ROW, {tenant.project_id: 8})
    taken.__enter__()
    # The log fails while the counts are written.
    database.after_write.append(lambda: taken.__exit__(StoreUnavailable, StoreUnavailable("away"), None))

    usages.flush()

    for found in (usages, of_organisations(daily.world)):
        expected = 0 if found is usages else 8
        assert found.used(of(tenant), tenant.project_id, ROW) == expected
    # Red without the `raise` of `taking`: what failed would be told as done.
    with pytest.raises(StoreUnavailable), usages.taking(of(tenant), ROW, {tenant.project_id: 10}):
        raise StoreUnavailable("away")
    usages.take(of(tenant), ROW, {tenant.project_id: 10})
    usages.flush()
    assert of_organisations(daily.world).used(of(tenant), tenant.project_id, ROW) == 10


# --- files ---


def upload(people: Tenants, tenant: Tenant, query: str = "") -> TestResponse:
    return people.world.client.post(
        f"/api/v1/uploads?filename=sales.csv&project={tenant.project_id}{query}",
        data=shops(),
        content_type="application/octet-stream",
        headers=tenant.editor.headers,
    )


def shelved(people: Tenants, tenant: Tenant) -> int:
    """Return how many bytes of files lie on the disk."""
    return people.world.service.shelf.taken(tenant.organisation_id)


def test_file_with_more_rows_than_are_left_is_not_loaded(daily: Tenants, tenant: Tenant) -> None:
    """Red without `require` in `_load`: it would be split, and could not be loaded otherwise tomorrow."""
    client, headers = daily.world.client, tenant.editor.headers
    upload_id = upload(daily, tenant).get_json()["upload_id"]
    append(daily, tenant, {f"{tenant.project_id}/a@1d": OF_PROJECT - ROWS + 1})
    before, path = asked(daily.world), f"/api/v1/uploads/{upload_id}"

    require_over(client.post(f"{path}/load", json={}, headers=headers), "rows")

    assert asked(daily.world) == before
    assert client.get(path, headers=headers).get_json()["state"] == "inspected"
    raise_quota(daily, tenant.project_id, {"rows_a_day": OF_PROJECT + 1})
    assert client.post(f"{path}/load", json={}, headers=headers).status_code == 202
    assert quotas(daily, tenant)["used_today"]["rows"] == OF_PROJECT + 1
    # Red where all of a repeat is counted: it asks for nothing more.
    assert client.post(f"{path}/load", json={}, headers=headers).status_code == 202
    assert quotas(daily, tenant)["used_today"]["rows"] == OF_PROJECT + 1
    # Red without `charge` in `ingests.ask`: a file could be brought in again under as many names as one likes.
    again = {"source": "upload", "symbol": f"{upload_id}/00000", "freq": "1d"}
    second = {**again, "series_id": f"{tenant.project_id}/second@1d"}
    require_over(client.post("/api/v1/ingests", json=second, headers=headers), "rows")
    raise_quota(daily, tenant.project_id, {"rows_a_day": 0})
    require_over(client.post("/api/v1/ingests", json=second, headers=headers), "organisation-rows")
    # Red where that route does not ask by `ingests.ask`.
    source = f"/api/v1/sources/{second['series_id']}"
    assert client.put(source, json={**again, "cron": "0 3 * * *"}, headers=headers).status_code == 200
    require_over(client.post(f"{source}/run", headers=headers), "organisation-rows")


def test_file_that_is_loaded_at_once_leaves_nothing_where_too_few_rows_are_left(daily: Tenants, tenant: Tenant) -> None:
    """Red without `usage.taking` in `ask_for_ingests`, and without what is removed then."""
    append(daily, tenant, {f"{tenant.project_id}/a@1d": OF_PROJECT - ROWS + 1})
    before = asked(daily.world)

    require_over(upload(daily, tenant, "&load=true"), "rows")

    assert asked(daily.world) == before
    assert shelved(daily, tenant) == 0
    assert quotas(daily, tenant)["used_today"]["rows"] == OF_PROJECT - ROWS + 1


def test_project_of_a_file_with_more_rows_than_are_left_is_not_made(daily: Tenants, tenant: Tenant) -> None:
    """Red without `require` in `create_from_file`: an empty project would stay."""
    append(daily, tenant, {f"{tenant.project_id}/a@1d": OF_ORGANISATION - ROWS + 1 - 11})
    append(daily, tenant, {f"{tenant.project_id}/b@1d": 11})
    before, client = asked(daily.world), daily.world.client

    def make() -> TestResponse:
        form = {"file": (BytesIO(shops()), "sales.csv")}
        return client.post("/api/v1/projects", data=form, headers=tenant.editor.headers)

    require_over(make(), "organisation-rows")

    assert asked(daily.world) == before
    assert shelved(daily, tenant) == 0
    assert quotas(daily, tenant)["in_use"]["projects"] == 1
    path = f"/api/v1/organisations/{tenant.organisation_id}/quotas"
    client.patch(path, json={"rows_a_day": OF_ORGANISATION + 1}, headers=daily.operator.headers)
    assert make().status_code == 201
    assert quotas(daily, tenant)["used_today"]["rows"] == OF_ORGANISATION + 1


def test_project_of_a_file_with_too_many_series_is_not_made(daily: Tenants, tenant: Tenant) -> None:
    """Red without `require_series` in `create_from_file`: an empty project, and its file, would stay."""
    form = {"file": (BytesIO(shops(5, ("Berlin", "Bonn", "Kiel", "Ulm"))), "sales.csv")}

    answer = daily.world.client.post("/api/v1/projects", data=form, headers=tenant.editor.headers)

    require_problem(answer, 409, "limit-reached")
    assert shelved(daily, tenant) == 0
    assert quotas(daily, tenant)["in_use"]["projects"] == 1


# --- who has no quota ---


def test_nothing_is_refused_on_a_machine_of_ones_own(shared_world: World) -> None:
    """Two million rows are far below what the defaults give, and on a machine of one's own none holds."""
    usage = shared_world.service.usage
    with shared_world.app.test_request_context():
        usage.take(Principal(is_operator=True), ROW, {"demo": 2_000_000_000})
        answer = shared_world.client.get("/api/v1/projects/market/quotas").get_json()
    assert {name: limit for name, limit in answer["in_force"].items() if name.endswith("_a_day")} == {
        "forecasts_a_day": 0,
        "trainings_a_day": 0,
        "rows_a_day": 0,
    }
