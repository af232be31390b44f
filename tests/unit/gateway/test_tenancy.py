"""What belongs to whom, where the matrix of access cannot say it: rules about sources, combinations, and what is public."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec import structs

from gateway.access import Permission, Role
from schemas import topics
from schemas.forecasts import default_model_name
from schemas.ingests import IngestRequested
from schemas.models import Deployment
from schemas.trainings import TrainingRequested
from tests import factories
from tests.unit.gateway.possessions import plant, possessions, series_of
from tests.unit.gateway.tenants import Caller, Tenants, add_tenant, add_user, tenants
from tests.unit.gateway.test_gateway_resources import records

PUBLIC = "market/AAPL@1d"
PUBLIC_MODEL = default_model_name(PUBLIC)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    folder = tmp_path_factory.mktemp("gateway")
    with tenants(folder, files_directory=folder / "files", default_wait_seconds=0.0) as started:
        publish = started.world.publish
        publish(topics.OBSERVATIONS, factories.observation_batch(series_id=PUBLIC))
        publish(topics.MODELS, factories.model_release(model=PUBLIC_MODEL, series_ids=(PUBLIC,)))
        publish(topics.DEPLOYMENTS, factories.deployment(deployment_id="public", model=PUBLIC_MODEL))
        for tenant in (started.apples, started.pears):
            plant(started, tenant)
        yield started


def send(
    both: Tenants, caller: Caller | dict[str, str], method: str, path: str, body: Any = None, **headers: str
) -> Any:
    own = caller.headers if isinstance(caller, Caller) else caller
    return both.world.client.open(path, method=method, json=body, headers={**own, **headers})


def kind(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.get_json()["type"].removeprefix("/problems/")


# Sources


@pytest.mark.parametrize(
    ("source", "symbol", "field"),
    [
        ("file", "sales.csv", "sources"),
        ("sql", "select 1", "sources"),
        ("s3", "bucket/key", "sources"),
        ("FILE", "sales.csv", "sources"),
        ("anything-later", "x", "sources"),
        ("url", "s3://bucket/key", "symbol"),
        ("url", "S3://bucket/key", "symbol"),
        ("url", "file:///etc/passwd", "symbol"),
        ("url", " s3://bucket/key", "symbol"),
    ],
)
@pytest.mark.parametrize("door", ["ingest", "schedule"])
def test_what_the_machine_of_the_operator_holds_is_for_operators(
    both: Tenants, source: str, symbol: str, field: str, door: str
) -> None:
    """Red without `tenancy.require_sources` in the route."""
    series_id = f"{both.pears.project_id}/new@1d"
    body = {"sources": ["mock", source], "symbol": symbol, "calendar": "24/7"}
    sent = ("POST", "/api/v1/ingests", {**body, "series_id": series_id})
    if door == "schedule":
        sent = ("PUT", f"/api/v1/sources/{series_id}", {**body, "cron": "0 0 * * *"})

    refused = send(both, both.pears.admin, *sent)
    assert kind(refused) == (422, "invalid-body")
    assert refused.get_json()["errors"][0]["field"] == field
    assert send(both, both.operator, *sent).status_code in (200, 202)


def test_an_upload_is_read_by_its_own_alone(both: Tenants) -> None:
    """Red without `own_upload` in `tenancy.require_sources`: an ingest would read the file of somebody else."""
    upload_id = possessions(both, both.apples)["upload_id"]
    body = {"source": "upload", "symbol": f"{upload_id}/00000", "calendar": "24/7"}
    foreign = send(
        both, both.pears.admin, "POST", "/api/v1/ingests", {**body, "series_id": f"{both.pears.project_id}/x@1d"}
    )
    assert kind(foreign) == (404, "unknown-upload")
    own = send(
        both, both.apples.editor, "POST", "/api/v1/ingests", {**body, "series_id": f"{both.apples.project_id}/x@1d"}
    )
    assert own.status_code == 202


def test_an_upload_says_its_project_and_keys_of_one_project_mean_theirs(both: Tenants) -> None:
    sent: dict[str, Any] = {"data": b"date,y\n2024-01-01,1\n2024-01-02,2\n", "content_type": "application/octet-stream"}
    client, url = both.world.client, "/api/v1/uploads?filename=a.csv"
    unsaid = client.post(url, headers=both.apples.editor.headers, **sent)
    assert kind(unsaid) == (422, "invalid-parameter")
    key = both.key(both.apples, project_id=both.apples.project_id)
    upload_id = client.post(url, headers=key, **sent).get_json()["upload_id"]
    assert both.world.service.shelf.get(upload_id).owner.organisation_id == both.apples.organisation_id
    assert client.get(f"/api/v1/uploads/{upload_id}", headers=both.apples.editor.headers).status_code == 200
    # Red without `require_project` in `uploads._load`: one's own file would be loaded into a project of others.
    body = {"project": both.pears.project_id}
    foreign = client.post(f"/api/v1/uploads/{upload_id}/load", json=body, headers=both.apples.editor.headers)
    assert kind(foreign) == (404, "unknown-project")
    assert both.world.service.shelf.get(upload_id).load is None


# What is public


def test_what_is_public_is_looked_at_and_forecast_by_all_and_changed_by_operators(both: Tenants) -> None:
    """Red when a tenant gets more than READ and FORECAST of a public project."""
    admin = both.pears.admin
    assert send(both, admin, "GET", f"/api/v1/series/{PUBLIC}").status_code == 200
    assert send(both, admin, "GET", f"/api/v1/models/{PUBLIC_MODEL}").status_code == 200
    assert (
        send(both, both.pears.viewer, "POST", "/api/v1/forecasts", {"series_id": PUBLIC, "horizon": 1}).status_code
        == 202
    )
    schedule = {"source": "mock", "symbol": "AAPL", "cron": "0 0 * * *"}
    changes: list[tuple[str, str, Any]] = [
        ("POST", "/api/v1/ingests", {"symbol": "AAPL", "source": "mock"}),
        ("PUT", f"/api/v1/sources/{PUBLIC}", schedule),
        ("POST", "/api/v1/trainings", {"series_id": PUBLIC, "algorithm": "drift"}),
        ("POST", f"/api/v1/models/{PUBLIC_MODEL}/deploy", {"version": factories.VERSION}),
    ]
    for change in changes:
        assert kind(send(both, admin, *change)) == (403, "forbidden"), change
        assert send(both, both.operator, *change).status_code in (200, 202), change


def test_who_asked_for_a_public_series_is_known_to_its_organisation(both: Tenants) -> None:
    """Red without `organisation_ids` in `gateway.forecast_access.Reader` and in `Queries.latest_forecast`."""
    apples, pears = both.apples, both.pears
    asked = send(both, apples.editor, "POST", "/api/v1/forecasts", {"series_id": PUBLIC, "horizon": 2})
    path = asked.headers["Location"]
    latest = f"/api/v1/series/{PUBLIC}/forecasts/latest"
    for is_stored in (False, True):
        if is_stored:
            both.world.settle()
        assert send(both, apples.viewer, "GET", path).status_code == 202
        assert send(both, both.operator, "GET", path).status_code == 202
        assert kind(send(both, pears.admin, "GET", path)) == (404, "unknown-forecast")

    answer = factories.forecast_issued(
        asked.get_json()["request_id"], series_id=PUBLIC, forecast_id="by-content", model=_used(PUBLIC_MODEL)
    )
    both.world.publish(topics.FORECASTS, answer)
    both.world.settle()
    assert send(both, apples.viewer, "GET", path).status_code == 200
    assert kind(send(both, pears.admin, "GET", path)) == (404, "unknown-forecast")
    assert send(both, apples.viewer, "GET", latest).get_json()["forecast_id"] == "by-content"
    assert kind(send(both, pears.admin, "GET", latest)) == (404, "no-forecast-yet")
    # Its content is that of a public series, made by a public model.
    assert send(both, pears.admin, "GET", "/api/v1/forecasts/by-content").status_code == 200


def test_each_is_given_their_own_record_of_a_public_forecast(both: Tenants) -> None:
    """Red without the order in `Queries.forecast`: the one who asked later would be given the request of the other."""
    askers = (both.apples.editor, both.pears.editor)
    body = {"series_id": PUBLIC, "horizon": 1}
    asked = [send(both, one, "POST", "/api/v1/forecasts", body).get_json()["request_id"] for one in askers]
    for request_id in asked:
        answer = factories.forecast_issued(
            request_id, series_id=PUBLIC, forecast_id="of-both", model=_used(PUBLIC_MODEL)
        )
        both.world.publish(topics.FORECASTS, answer)
    both.world.settle()

    given = [send(both, one, "GET", "/api/v1/forecasts/of-both").get_json()["request_id"] for one in askers]

    assert given == asked


def test_an_answer_whose_request_nobody_knows_yet_is_shown_to_operators_alone(both: Tenants) -> None:
    """Red when `Reader.may_read` lets an open request pass whose asker is not known."""
    open_requests, path = both.world.service.open_requests, "/api/v1/forecasts/of-another-gateway"
    answer = factories.forecast_issued("of-another-gateway", series_id=PUBLIC, model=_used(PUBLIC_MODEL))
    open_requests.answered("of-another-gateway", msgspec.json.encode(answer), is_refused=False)
    assert send(both, both.operator, "GET", path).status_code == 200
    assert kind(send(both, both.pears.admin, "GET", path)) == (404, "unknown-forecast")


def test_a_forecast_of_a_public_series_by_a_private_model_is_private(both: Tenants) -> None:
    """Red without `_with_models_of` in `gateway.queries`: the forecast tells what a private model thinks."""
    apples = both.apples
    model = default_model_name(series_of(apples))
    body = {"series_id": PUBLIC, "horizon": 2, "model": model}
    assert kind(send(both, both.pears.admin, "POST", "/api/v1/forecasts", body)) == (404, "unknown-model")
    request_id = send(both, apples.editor, "POST", "/api/v1/forecasts", body).get_json()["request_id"]
    answer = factories.forecast_issued(request_id, series_id=PUBLIC, forecast_id="by-private", model=_used(model))
    both.world.publish(topics.FORECASTS, answer)
    both.world.settle()
    for path in (f"/api/v1/forecasts/{request_id}", "/api/v1/forecasts/by-private"):
        assert send(both, apples.viewer, "GET", path).status_code == 200
        assert kind(send(both, both.pears.admin, "GET", path)) == (404, "unknown-forecast")


def _used(model: str) -> Any:
    return structs.replace(factories.forecast_issued().model, name=model)


def test_two_tenants_with_the_same_model_each_get_their_own_record_of_a_forecast(both: Tenants) -> None:
    """Red when the first record of a forecast id is taken, whoever may see it."""
    for tenant in (both.apples, both.pears):
        model = default_model_name(series_of(tenant))
        request_id = f"{tenant.project_id}-window"
        asked = factories.forecast_request(
            request_id, window=((1.0,),), model=model, requester=f"{tenant.organisation_id}/user/x"
        )
        both.world.publish(topics.FORECAST_REQUESTS, asked, 0)
        issued = factories.forecast_issued(request_id, series_id=None, forecast_id="same", model=_used(model))
        both.world.publish(topics.FORECASTS, issued, 0)
    both.world.settle()
    for tenant in (both.apples, both.pears):
        seen = send(both, tenant.viewer, "GET", "/api/v1/forecasts/same").get_json()
        assert (seen["model"]["name"], seen["request_id"]) == (
            default_model_name(series_of(tenant)),
            f"{tenant.project_id}-window",
        )


# What works together


def test_a_training_reads_its_own_project_and_what_is_public(both: Tenants) -> None:
    """Red without `require_within` in the route: a member of two organisations could carry data from one to the other."""
    apples, pears = both.apples, both.pears
    url = "/api/v1/trainings"
    own = {"series_ids": [PUBLIC], "model": f"{apples.project_id}/of-public", "algorithm": "drift"}
    assert send(both, apples.editor, "POST", url, own).status_code == 202
    member = _member_of_both(both)
    mixed = {"series_ids": [series_of(pears)], "model": f"{apples.project_id}/of-pears", "algorithm": "drift"}
    refused = send(both, member, "POST", url, mixed)
    assert kind(refused) == (422, "invalid-body")
    assert refused.get_json()["errors"][0]["field"] == "series_ids[0]"


def test_a_schedule_trains_models_of_its_own_project(both: Tenants) -> None:
    """Red without `require_within` in the route: models of others would be trained again at will."""
    rule = {"model": default_model_name(series_of(both.apples)), "every_observations": 1}
    body = {"source": "mock", "symbol": "X", "cron": "0 0 * * *", "retrain": [rule]}
    refused = send(both, both.pears.admin, "PUT", f"/api/v1/sources/{both.pears.project_id}/new@1d", body)
    assert kind(refused) == (422, "invalid-body")
    assert refused.get_json()["errors"][0]["field"] == "retrain[0].model"


def _member_of_both(both: Tenants) -> Caller:
    roles = {both.apples.organisation_id: Role.EDITOR, both.pears.organisation_id: Role.EDITOR}
    return add_user(both.world, "both@example.org", roles)


# Keys of callers


def test_two_organisations_may_have_the_same_idempotency_key(both: Tenants) -> None:
    """Red without `tenancy.own_id`: the second would be told that its key came before, and with what."""
    seen = set()
    for tenant in (both.apples, both.pears):
        series_id, project = series_of(tenant), tenant.project_id
        calls: list[tuple[str, str, Any]] = [
            ("POST", "/api/v1/forecasts", {"series_id": series_id, "horizon": 1}),
            ("POST", "/api/v1/trainings", {"series_id": series_id, "algorithm": "drift"}),
            (
                "POST",
                "/api/v1/ingests",
                {"series_id": f"{project}/k@1d", "symbol": "X", "source": "mock", "calendar": "24/7"},
            ),
            ("POST", f"/api/v1/models/{default_model_name(series_id)}/deploy", {"version": factories.VERSION}),
        ]
        for call in calls:
            answer = send(both, tenant.admin, *call, **{"Idempotency-Key": "monday"})
            assert answer.status_code in (200, 202), answer.text
            again = send(both, tenant.admin, *call, **{"Idempotency-Key": "monday"})
            assert again.get_json() == answer.get_json()
            seen.add(answer.get_data())
    assert len(seen) == 8


def test_a_key_of_one_project_is_not_told_what_its_organisation_asked_for_in_another(both: Tenants) -> None:
    """Red without `is_told` in `gateway.keyed`."""
    apples = both.apples
    second = both.world.service.projects.create(
        organisation_id=apples.organisation_id, name="second", description="", created_by=apples.admin.user_id
    )
    body = {"symbol": "SECRET", "source": "mock", "calendar": "24/7"}
    headers = {"Idempotency-Key": "tuesday"}
    first = send(
        both, apples.editor, "POST", "/api/v1/ingests", {**body, "series_id": f"{apples.project_id}/s@1d"}, **headers
    )
    assert first.status_code == 202
    limited = both.key(apples, project_id=second)
    other = {**body, "symbol": "OTHER", "series_id": f"{second}/s@1d"}
    refused = send(both, limited, "POST", "/api/v1/ingests", other, **headers)
    assert kind(refused) == (422, "idempotency-key-reused")
    assert "SECRET" not in refused.text
    assert apples.project_id not in refused.text


def test_records_say_who_asked(both: Tenants) -> None:
    series_id, editor = series_of(both.apples), both.apples.admin
    model = default_model_name(series_id)
    sent: list[tuple[Any, type, str, str, Any]] = [
        (
            topics.TRAINING_REQUESTS,
            TrainingRequested,
            "POST",
            "/api/v1/trainings",
            {"series_id": series_id, "cause": "who"},
        ),
        (
            topics.INGEST_REQUESTS,
            IngestRequested,
            "POST",
            "/api/v1/ingests",
            {"series_id": f"{both.apples.project_id}/w@1d", "symbol": "X", "source": "mock", "cause": "who"},
        ),
        (topics.DEPLOYMENTS, Deployment, "POST", f"/api/v1/models/{model}/deploy", {"version": factories.VERSION}),
    ]
    for topic, record, method, path, body in sent:
        assert send(both, editor, method, path, body).status_code in (200, 202)
        newest = [one for one in records(both.world, topic) if isinstance(one, record)]
        assert f"{both.apples.organisation_id}/user/{editor.user_id}" in {one.requester for one in newest}


def test_who_has_signed_in_decides_in_nobody_elses_name(both: Tenants) -> None:
    """Red when `decided_by` of a body counts for somebody who has signed in."""
    tenant = add_tenant(both.world, "plums")
    plant(both, tenant)
    path = f"/api/v1/quarantine/{tenant.project_id}-held/reject"
    answer = send(both, tenant.editor, "POST", path, {"decided_by": "somebody else"})
    assert answer.get_json()["decided_by"] == f"user/{tenant.editor.user_id}"


def test_the_history_and_its_sums_are_of_what_one_may_see(both: Tenants) -> None:
    """Red without `_of_caller` in `gateway.usage`, or `tenants_of` in `gateway.history_lists`, in pages and files."""
    for tenant in (both.apples, both.pears):
        for series_id in (PUBLIC, series_of(tenant)):
            asked = send(both, tenant.editor, "POST", "/api/v1/forecasts", {"series_id": series_id, "horizon": 1})
            assert asked.status_code == 202
    by_nobody = factories.forecast_request("of-an-observation", series_id=PUBLIC, requester="", cause="observation")
    both.world.publish(topics.FORECAST_REQUESTS, by_nobody)
    both.world.settle()

    for tenant in (both.apples, both.pears):
        lines = send(both, tenant.viewer, "GET", "/api/v1/forecasts?limit=1000").get_json()["forecasts"]
        file = send(both, tenant.viewer, "GET", "/api/v1/forecasts?format=ndjson").data.splitlines()
        usage = send(both, tenant.viewer, "GET", "/api/v1/usage?by=project,requester").get_json()["usage"]

        assert {line["project"] for line in lines} == {tenant.project_id, "market"}
        public = [line["requester"].partition("/")[0] for line in lines if line["project"] == "market"]
        assert set(public) == {tenant.organisation_id}
        assert [msgspec.json.decode(line)["request_id"] for line in file] == [line["request_id"] for line in lines]
        counted = Counter((line["project"], line["requester"]) for line in lines)
        assert {(line["project"], line["requester"]): line["forecasts"] for line in usage} == counted
    # Who belongs to no organisation has asked for nothing; what nobody asked for is not theirs.
    alone = add_user(both.world, "alone@example.org")
    assert send(both, alone, "GET", "/api/v1/usage").get_json()["usage"] == []
    assert send(both, alone, "GET", "/api/v1/forecasts").get_json()["forecasts"] == []
    of_all = send(both, both.operator, "GET", "/api/v1/usage?by=project,requester").get_json()["usage"]
    assert ("market", "") in {(line["project"], line["requester"]) for line in of_all}
    assert {both.apples.project_id, both.pears.project_id} <= {line["project"] for line in of_all}


# Pages of lists


@pytest.mark.parametrize("path", ["/api/v1/quarantine"])
def test_a_page_is_full_whatever_others_have(both: Tenants, path: str) -> None:
    """Red when a list is filtered after its limit."""
    for number in range(5):
        batch = {"series_id": series_of(both.apples)}
        both.world.publish(topics.QUARANTINE, factories.observations_quarantined(f"later-{number}", batch=batch))
    both.world.settle()
    answer = send(both, both.pears.viewer, "GET", f"{path}?limit=1").get_json()
    assert (len(answer["quarantine"]), answer["next"]) == (1, None)


# The installation


def test_the_state_of_the_installation_is_for_operators(both: Tenants) -> None:
    """Red without `_as_seen` in gateway.routes.system."""
    seen = send(both, both.pears.admin, "GET", "/status").get_json()
    models = {one["model"] for one in seen["trainings"]}
    assert default_model_name(series_of(both.pears)) in models
    assert default_model_name(series_of(both.apples)) not in models
    assert (seen["topics"], seen["alarms"]) == ([], [])
    assert {one["backlog"] for one in seen["services"]} == {None}
    whole = send(both, both.operator, "GET", "/status").get_json()
    assert len(whole["topics"]) > 5
    assert None not in {one["backlog"] for one in whole["services"]}


def test_metrics_are_for_operators_where_callers_sign_in(both: Tenants) -> None:
    """Red when `/metrics` is marked open whatever the setting."""
    assert both.world.client.get("/metrics").status_code == 401
    assert send(both, both.pears.admin, "GET", "/metrics").status_code == 403
    assert send(both, both.operator, "GET", "/metrics").status_code == 200


@pytest.mark.parametrize(
    ("accounts", "metrics", "is_open"),
    [("required", "", False), ("required", "open", True), ("local", "", True), ("local", "operators", False)],
)
def test_who_may_read_metrics_is_a_setting(accounts: Any, metrics: Any, is_open: bool, both: Tenants) -> None:
    settings = both.world.settings.model_copy(update={"accounts": accounts, "metrics": metrics})
    assert settings.is_metrics_open is is_open


def test_what_is_open_names_nobody(both: Tenants) -> None:
    """Red when /health or /ready tell the reason of a failure in the words of the exception."""
    for path in ("/health", "/ready"):
        text = both.world.client.get(path).get_data(as_text=True)
        assert both.apples.project_id not in text


def test_a_key_reads_where_it_may_write_nothing(both: Tenants) -> None:
    """A scope is about every project: a key that may forecast only does not read what it was told."""
    key = both.key(both.apples, scopes={Permission.FORECAST})
    body = {"series_id": series_of(both.apples), "horizon": 1}
    assert send(both, key, "POST", "/api/v1/forecasts", body).status_code == 202
    assert kind(send(both, key, "GET", "/api/v1/series")) == (403, "forbidden")
