"""Batches of two organisations on one gateway."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from schemas.forecasts import ForecastIssued, ForecastRequested, default_model_name
from schemas.record import Record
from schemas.topics import OBSERVATIONS
from tests import factories
from tests.unit.gateway.tenants import Caller, Tenants, tenants
from tests.unit.gateway.world import Responder, issued

URL = "/api/v1/forecasts:batch"
PUBLIC = "market/AAPL@1d"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    with tenants(tmp_path_factory.mktemp("gateway")) as started:
        for series_id in (PUBLIC, own(started.apples), own(started.pears)):
            started.world.publish(OBSERVATIONS, factories.observation_batch(series_id=series_id))
        started.world.settle()
        with Responder(started.world.broker, by_own_model):
            yield started


def by_own_model(request: ForecastRequested) -> Record:
    answer = issued(request)
    assert isinstance(answer, ForecastIssued)
    assert request.series_id is not None
    model = msgspec.structs.replace(answer.model, name=request.model or default_model_name(request.series_id))
    return msgspec.structs.replace(answer, model=model)


def own(tenant: Any) -> str:
    return f"{tenant.project_id}/sales@1d"


def ask(both: Tenants, caller: Caller, *series_ids: str, key: str | None = None) -> Any:
    headers = caller.headers | ({} if key is None else {"Idempotency-Key": key})
    body = {"horizon": 2, "forecasts": [{"series_id": series_id} for series_id in series_ids]}
    return both.world.client.post(URL, json=body, headers=headers)


def test_an_entry_of_somebody_else_is_refused_like_one_that_is_missing(both: Tenants) -> None:
    foreign, missing = own(both.pears), f"{both.apples.project_id}/nothing@1d"
    document = ask(both, both.apples.editor, own(both.apples), foreign, missing, PUBLIC).get_json()

    assert [line["state"] for line in document["answers"]] == ["issued", "refused", "refused", "issued"]
    problems = [document["answers"][place]["problem"] for place in (1, 2)]
    texts = [str(problem).replace(foreign, "X").replace(missing, "X") for problem in problems]
    assert texts[0] == texts[1]


def test_a_viewer_asks_for_nothing_of_the_own_project(both: Tenants) -> None:
    (line,) = ask(both, both.apples.viewer, own(both.apples)).get_json()["answers"]
    assert line["problem"]["status"] == 403


def test_a_batch_is_read_by_its_own_organisation_and_operators(both: Tenants) -> None:
    """Red without `_seen_by` in gateway.batches: public series would show who asked for them."""
    batch_id = ask(both, both.apples.editor, own(both.apples), PUBLIC).get_json()["batch_id"]
    both.world.settle()
    seen = {}
    for name, caller in (("own", both.apples.viewer), ("other", both.pears.admin), ("operator", both.operator)):
        seen[name] = both.world.client.get(f"/api/v1/batches/{batch_id}", headers=caller.headers)

    assert seen["own"].get_json()["counts"]["issued"] == seen["operator"].get_json()["counts"]["issued"] == 2
    assert seen["other"].status_code == 404
    missing = both.world.client.get("/api/v1/batches/nobody", headers=both.pears.admin.headers)
    assert seen["other"].get_json()["title"] == missing.get_json()["title"]
    assert both.world.client.get(f"/api/v1/batches/{batch_id}").status_code == 401


def test_two_organisations_may_have_the_same_key(both: Tenants) -> None:
    first = ask(both, both.apples.editor, own(both.apples), key="monday").get_json()
    second = ask(both, both.pears.editor, own(both.pears), key="monday").get_json()
    assert first["counts"]["issued"] == second["counts"]["issued"] == 1
    assert first["batch_id"] != second["batch_id"]


def test_a_model_that_the_reader_may_not_see_hides_what_it_made_of_their_series(both: Tenants) -> None:
    """Red without `ProjectOf` in `_seen_by` in gateway.batches; operators may combine anything."""
    series_id = own(both.apples)
    entries = [{"series_id": series_id, "model": default_model_name(own(both.pears))}, {"series_id": series_id}]
    body = {"horizon": 2, "forecasts": entries}
    batch_id = both.world.client.post(URL, json=body, headers=both.operator.headers).get_json()["batch_id"]
    both.world.settle()

    told = both.world.client.get(f"/api/v1/batches/{batch_id}", headers=both.apples.viewer.headers).get_json()

    assert [line["index"] for line in told["answers"]] == [1]
    assert told["counts"]["requested"] == 1
    everything = both.world.client.get(f"/api/v1/batches/{batch_id}", headers=both.operator.headers).get_json()
    assert everything["counts"]["requested"] == 2
