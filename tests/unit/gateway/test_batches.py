"""Many forecasts by one call: every entry is answered for itself, and a repeat is the same batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.batches import index_of, request_id_of, stem_of
from gateway.bodies import ForecastBody
from gateway.openapi.batches import ForecastBatch, ForecastEntry
from gateway.routes.batches import BatchBody
from schemas.forecasts import ForecastRequested
from schemas.record import Record
from schemas.topics import FORECAST_REQUESTS, OBSERVATIONS
from tests import factories
from tests.unit.gateway.conftest import fill
from tests.unit.gateway.world import HeldNetwork, Responder, World, issued, running, wait_until

URL = "/api/v1/forecasts:batch"
PEARS = "shop/pears@1d"
SERIES = [f"shop/item-{number:03d}@1d" for number in range(40)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("gateway")) as started:
        fill(started)
        for series_id in SERIES:
            started.publish(OBSERVATIONS, factories.observation_batch(series_id=series_id))
        started.settle()
        yield started


def ask(world: World, forecasts: list[Any], *, key: str | None = None, wait: int = 60, **common: Any) -> Any:
    headers = {"Prefer": f"wait={wait}"} | ({} if key is None else {"Idempotency-Key": key})
    return world.client.post(URL, json={"forecasts": forecasts, **common}, headers=headers)


@pytest.fixture(scope="module")
def predictor(world: World) -> Iterator[Responder]:
    with Responder(world.broker, half_refused) as responder:
        yield responder


def requests_of(predictor: Responder, batch_id: str) -> list[ForecastRequested]:
    found = [request for request in predictor.requests if request.batch_id == batch_id]
    return sorted(found, key=lambda request: request.request_id)


def half_refused(request: ForecastRequested) -> Record:
    if request.horizon == 7:
        return factories.forecast_refused(request.request_id, series_id=request.series_id)
    return issued(request)


def test_a_thousand_with_mixed_faults_are_answered_in_order(world: World, predictor: Responder) -> None:
    bad: list[Any] = [
        {"series_id": PEARS},
        {"series_id": SERIES[0], "horizon": 0},
        {"series_id": SERIES[0], "horizont": 3},
        {},
        7,
        {"series_id": "no series"},
        {"series_id": SERIES[0], "levels": [200]},
        {"series_id": SERIES[0], "window": [[1.0]]},
        {"series_id": SERIES[0], "future": {"columns": {"promo": [1.0]}}},
        {"series_id": SERIES[0], "horizon": 7},
    ]
    good = [{"series_id": SERIES[number % len(SERIES)], "horizon": 1 + number % 5} for number in range(990)]
    answer = ask(world, [*bad, *good], horizon=3)
    document = answer.get_json()

    assert answer.status_code == 200, answer.text[:500]
    assert document["counts"] == {"requested": 1000, "pending": 0, "issued": 990, "refused": 10}
    assert [line["index"] for line in document["answers"]] == list(range(1000))
    for line, sent in zip(document["answers"][10:], good, strict=True):
        assert line["forecast"]["series_id"] == sent["series_id"]
        assert len(line["forecast"]["steps"]) == sent["horizon"]
        assert line["forecast"]["request_id"] == line["request_id"]
    kinds = [line["problem"]["type"].removeprefix("/problems/") for line in document["answers"][:10]]
    assert kinds == ["unknown-series", *["invalid-body"] * 8, "unknown-series"]
    assert document["answers"][1]["problem"]["errors"][0]["field"] == "horizon"
    assert len(requests_of(predictor, document["batch_id"])) == 991


def test_common_fields_stand_in_for_what_an_entry_lacks(world: World, predictor: Responder) -> None:
    entries = [{"series_id": SERIES[0]}, {"series_id": SERIES[1], "horizon": 2}]
    batch_id = ask(world, entries, horizon=4, levels=[50]).get_json()["batch_id"]
    found = [(one.horizon, one.levels) for one in requests_of(predictor, batch_id)]
    assert found == [(4, (50.0,)), (2, (50.0,))]


def test_a_repeat_is_the_same_batch(world: World, predictor: Responder) -> None:
    """Red without `_stems` and `Batches.request_ids` in gateway.routes.batches: it would be sent twice."""
    sent = [{"series_id": series_id, "horizon": 2} for series_id in SERIES[:5]]
    first = ask(world, sent, key="batch-key-1").get_json()
    again = ask(world, sent, key="batch-key-1").get_json()
    world.settle()
    stored = ask(world, sent, key="batch-key-1").get_json()

    assert first == again == stored
    assert first["counts"]["issued"] == 5
    assert len(requests_of(predictor, "batch-key-1")) == 5


def test_another_body_under_the_same_key_is_refused_here_and_in_another_gateway(
    world: World, predictor: Responder, tmp_path: Path
) -> None:
    ask(world, [{"series_id": SERIES[0], "horizon": 2}], key="batch-key-2")
    other = [{"series_id": SERIES[0], "horizon": 2}, {"series_id": SERIES[1], "horizon": 2}]
    refused = ask(world, other, key="batch-key-2")
    with running(tmp_path, broker=world.broker) as second:
        second.settle()
        refused_there = ask(second, other, key="batch-key-2")

    for answer in (refused, refused_there):
        assert answer.status_code == 422
        assert answer.get_json()["type"] == "/problems/idempotency-key-reused"
    assert len(requests_of(predictor, "batch-key-2")) == 1


def test_what_is_not_done_in_time_is_read_at_its_location(world: World, predictor: Responder) -> None:
    predictor.pause()
    sent = [{"series_id": PEARS}, *({"series_id": series_id} for series_id in SERIES[:7])]
    answer = ask(world, sent, horizon=2, wait=0)

    assert answer.status_code == 202
    told = answer.get_json()
    assert told["counts"] == {"requested": 8, "pending": 7, "issued": 0, "refused": 1}
    assert [line["index"] for line in told["answers"]] == [0]
    world.settle()
    location = answer.headers["Location"]
    waiting = world.client.get(location).get_json()
    assert waiting["state"] == "pending"
    assert waiting["counts"] == {"requested": 7, "pending": 7, "issued": 0, "refused": 0}
    predictor.resume()
    wait_until(lambda: world.client.get(location).get_json()["state"] == "done")

    pages, path = [], f"{location}?limit=3"
    while path:
        page = world.client.get(path).get_json()
        pages.append(page["answers"])
        path = page["next"]
    assert [line["index"] for page in pages for line in page] == list(range(1, 8))
    assert all(line["forecast"]["series_id"] == SERIES[line["index"] - 1] for page in pages for line in page)


def test_one_call_writes_few_messages(world: World, predictor: Responder) -> None:
    before = len(predictor.records)
    entries = [{"series_id": SERIES[number % 40], "horizon": 1} for number in range(400)]
    batch_id = ask(world, entries).get_json()["batch_id"]
    assert len(requests_of(predictor, batch_id)) == 400
    assert len(predictor.records) - before <= FORECAST_REQUESTS.partitions


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 422, "forecasts"),
        ({"forecasts": []}, 422, "forecasts"),
        ({"forecasts": [{}] * 1001}, 422, "forecasts"),
        ({"forecasts": [{"series_id": PEARS}], "horizons": 3}, 422, "horizons"),
        ({"forecasts": [{"series_id": PEARS}], "horizon": 0}, 422, "horizon"),
        ({"forecasts": {"series_id": PEARS}}, 422, "forecasts"),
    ],
)
def test_a_body_that_is_no_batch_is_refused_whole(world: World, body: Any, status: int, field: str) -> None:
    answer = world.client.post(URL, json=body)
    assert answer.status_code == status
    assert answer.get_json()["errors"][0]["field"] == field


@pytest.mark.parametrize("path", ["nobody", "nobody?cursor=x", "nobody?limit=0", "nobody?page=1"])
def test_what_is_no_batch_or_page_is_refused(world: World, path: str) -> None:
    answer = world.client.get(f"/api/v1/batches/{path}")
    assert answer.status_code == (404 if path == "nobody" else 422)


def test_a_batch_takes_its_places_at_the_door(tmp_path: Path) -> None:
    """Red when `Door.admits` counts a batch as one request."""
    with running(tmp_path, max_waiting_requests=4) as small:
        fill(small)
        with small.service.door.admits(3, ""):
            entries = [{"series_id": factories.SERIES, "horizon": 1}] * 20
            answer = ask(small, entries)
            assert (answer.status_code, answer.get_json()["type"]) == (503, "/problems/busy")
            assert ask(small, entries[:10], wait=0).status_code == 202
        assert ask(small, entries * 50, wait=0).status_code == 202


def test_what_is_asked_again_is_never_between_memory_and_store(
    world: World, predictor: Responder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red where the store is asked before `OpenRequests.join`: what it takes over in between would be asked for anew."""
    entries = [{"series_id": factories.SERIES, "horizon": 2}] * 3
    first = ask(world, entries, key="taken-over")
    world.settle()
    wait_until(lambda: len(world.service.open_requests) == 0, "the entries to be forgotten")
    ids_in, open_then = world.service.batches.request_ids, []

    def noted(batch_id: str) -> frozenset[str]:
        open_then.append(len(world.service.open_requests))
        return ids_in(batch_id)

    monkeypatch.setattr(world.service.batches, "request_ids", noted)
    again = ask(world, entries, key="taken-over")

    assert (first.status_code, again.status_code, open_then) == (200, 200, [3])
    assert first.get_json()["answers"] == again.get_json()["answers"]


def test_a_log_that_acknowledges_nothing_is_told_an_entry_at_a_time(tmp_path: Path) -> None:
    with running(tmp_path, stuck_after_seconds=0.2) as started:
        fill(started)
        started.broker.network = network = HeldNetwork(FORECAST_REQUESTS.name)
        answer = ask(started, [{"series_id": factories.SERIES, "horizon": 1}], wait=0)
        # The gateway stops once nothing is on its way.
        network.release()
        (line,) = answer.get_json()["answers"]
        assert line["problem"]["type"] == "/problems/broker-unavailable"
        assert line["problem"]["status"] == 503


def test_ids_tell_batch_body_and_place() -> None:
    stem = stem_of("batch-1", {"forecasts": []})
    assert index_of(request_id_of(stem, 999)) == 999
    assert index_of("somebody-elses") is None
    assert stem != stem_of("batch-2", {"forecasts": []})
    assert stem != stem_of("batch-1", {"forecasts": [1]})


def test_what_is_documented_is_what_is_read() -> None:
    assert ForecastBatch.__struct_fields__ == BatchBody.__struct_fields__
    assert set(ForecastEntry.__struct_fields__) == set(ForecastBody.__struct_fields__)
