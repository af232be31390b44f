"""Asking for forecasts: once a key, pinned to what was seen, waited for, found again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from werkzeug.test import TestResponse

from gateway.open_requests import OpenRequest
from gateway.routes.forecasts import fits
from runtime.clock import SystemClock
from runtime.memory_broker import MemoryBroker
from runtime.tracing import correlation_id
from schemas.forecasts import ForecastRequestBatch
from schemas.topics import DEPLOYMENTS, FORECAST_REQUESTS, OBSERVATIONS
from tests import factories
from tests.unit.gateway.conftest import fill
from tests.unit.gateway.test_gateway_bad_input import assert_problem
from tests.unit.gateway.world import DEADLINE_SECONDS, HeldNetwork, Responder, World, partition_of, running, wait_until

URL = "/api/v1/forecasts"
GOOD = {"series_id": factories.SERIES, "horizon": 3}


def ask(world: World, body: Any = None, *, key: str | None = None, wait: float | None = None) -> TestResponse:
    headers = {}
    if key is not None:
        headers["Idempotency-Key"] = key
    if wait is not None:
        headers["Prefer"] = f"wait={wait:g}"
    # One client for each call: they are not made for several threads.
    return world.app.test_client().post(URL, json=GOOD if body is None else body, headers=headers)


def test_a_forecast_is_answered_with_the_bytes_of_its_record(world: World, predictor: Responder) -> None:
    answer = ask(world)

    assert answer.status_code == 200, answer.text
    assert answer.json["request_id"] == predictor.requests[0].request_id
    for name in ("request_id", "forecast_id"):
        assert world.client.get(f"{URL}/{answer.json[name]}").data == answer.data
    world.settle()
    for name in ("request_id", "forecast_id"):
        assert world.client.get(f"{URL}/{answer.json[name]}").data == answer.data


def test_a_window_goes_to_the_partition_of_its_request(world: World, predictor: Responder) -> None:
    body = {"window": [[1.0, 2.0], [3.0, 4.0]], "model": "market/AAPL-1d", "horizon": 2, "levels": [50]}

    answer = ask(world, {**body, "cutoff": "2025-01-02T00:00:00Z"}, key="window-1")

    assert answer.status_code == 200, answer.text
    (request,) = predictor.requests
    assert request.window == ((1.0, 2.0), (3.0, 4.0))
    assert request.as_of is not None
    assert request.as_of.observations == 0
    place = world.service.projection.place(FORECAST_REQUESTS, partition_of("window-1"))
    assert world.broker.end_offsets([place])[place] == 1


def test_a_request_is_pinned_to_what_the_gateway_has_read(world: World, predictor: Responder) -> None:
    partition, offset = world.publish(OBSERVATIONS, factories.observation_batch(rows=31))
    world.publish(DEPLOYMENTS, factories.deployment(deployment_id="second"))
    world.settle()

    ask(world)

    as_of = predictor.requests[0].as_of
    assert as_of is not None
    assert (partition, as_of.observations) == (partition_of(factories.SERIES), offset + 1)
    assert (as_of.models, as_of.deployments) == (1, 2)


def test_a_repeated_key_is_one_request_and_the_same_bytes(world: World, predictor: Responder) -> None:
    first = ask(world, key="key-1")
    at_once = ask(world, key='"key-1"')
    world.settle()
    later = ask(world, key="key-1")

    assert first.status_code == 200
    assert first.data == at_once.data == later.data
    assert [request.request_id for request in predictor.requests] == ["key-1"]


def wait_for(
    pending: set[Future[Any]], is_enough: Callable[[set[Future[Any]]], bool]
) -> tuple[set[Future[Any]], set[Future[Any]]]:
    """Return the answers that have come and those that have not, once enough have."""
    done = wait_until(lambda: is_enough(found := {one for one in pending if one.done()}) and found)
    return done, pending - done


def test_a_key_that_comes_often_at_once_is_one_request(world: World, predictor: Responder) -> None:
    predictor.pause()
    with ThreadPoolExecutor(16) as pool:
        pending = {pool.submit(ask, world, key="key-1") for _ in range(16)}
        early, pending = wait_for(pending, lambda done: len(done) == 15)
        predictor.resume()
        first = pending.pop().result()

    # Goes red without `entry.waiting > 1` in `ForecastDesk._is_first`.
    for answer in early:
        assert_problem(answer.result(), 409, "request-in-progress")
        assert answer.result().headers["Retry-After"] == "1"
    assert first.status_code == 200
    assert ask(world, key="key-1").data == first.data
    # Goes red without `OpenRequests.join`, which makes one entry a key.
    assert [request.request_id for request in predictor.requests] == ["key-1"]


@pytest.mark.parametrize("moment", ["in flight", "answered", "stored"])
def test_a_key_with_another_body_is_refused(world: World, predictor: Responder, moment: str) -> None:
    if moment == "in flight":
        predictor.pause()
    first = ask(world, key="key-1", wait=0 if moment == "in flight" else 60)
    if moment == "stored":
        world.settle()

    other = ask(world, {**GOOD, "horizon": 4}, key="key-1")

    assert_problem(other, 422, "idempotency-key-reused")
    predictor.resume()
    again = wait_until(lambda: (found := ask(world, key="key-1")).status_code == 200 and found)
    assert len(again.json["steps"]) == 3
    assert first.status_code == (202 if moment == "in flight" else 200)


def test_two_gateways_with_one_key_give_one_forecast(world: World, predictor: Responder, tmp_path: Path) -> None:
    with running(tmp_path / "other", broker=world.broker) as other:
        other.settle()
        predictor.pause()
        with ThreadPoolExecutor(2) as pool:
            answers = [pool.submit(ask, each, key="key-1") for each in (world, other)]
            wait_until(lambda: all(each.service.open_requests.get("key-1") for each in (world, other)))
            predictor.resume()
            first, second = (answer.result() for answer in answers)

    assert first.status_code == 200
    assert first.data == second.data


@pytest.mark.parametrize("other_body", [{**GOOD, "horizon": 4}, {**GOOD, "levels": [50]}])
def test_one_key_with_two_bodies_at_two_gateways_gives_nobody_the_other_s_forecast(
    world: World, predictor: Responder, tmp_path: Path, other_body: Any
) -> None:
    with running(tmp_path / "other", broker=world.broker) as other:
        other.settle()
        predictor.pause()
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(ask, world, key="key-1")
            wait_until(lambda: (entry := world.service.open_requests.get("key-1")) and entry.is_logged)
            second = pool.submit(ask, other, other_body, key="key-1")
            wait_until(lambda: other.service.open_requests.get("key-1") or second.done())
            predictor.resume()

            assert first.result().status_code == 200
            # Goes red without `fits` when the second gateway has not read the first one's request yet.
            assert_problem(second.result(), 422, "idempotency-key-reused")


@pytest.mark.parametrize(
    ("changes", "claim"),
    [({}, True), ({"horizon": 4}, False), ({"levels": (50.0, 80.0)}, False), ({"series_id": "shop/plums@1d"}, False)],
)
def test_an_answer_fits_what_was_asked(changes: dict[str, Any], claim: bool) -> None:
    entry = OpenRequest("r-1")
    entry.answer = msgspec.json.encode(factories.forecast_issued("r-1"))
    wanted = factories.forecast_request("r-1", **({"horizon": 3, "levels": (80.0,)} | changes))

    assert fits(entry, wanted) is claim


def test_a_request_that_takes_long_is_answered_later_at_its_url(world: World, predictor: Responder) -> None:
    predictor.pause()
    started = time.monotonic()

    accepted = ask(world, wait=0)

    assert accepted.status_code == 202
    assert time.monotonic() - started < 30
    location = accepted.headers["Location"]
    assert location == f"{URL}/{accepted.json['request_id']}"
    pending = world.client.get(location)
    assert (pending.status_code, pending.headers["Retry-After"]) == (202, "1")
    world.settle()
    assert world.client.get(location).status_code == 202

    predictor.resume()
    answer = wait_until(lambda: (found := world.client.get(location)).status_code == 200 and found)
    assert answer.json["request_id"] == accepted.json["request_id"]
    assert accepted.json["request_id"] not in world.service.open_requests._by_id or world.settle() is None


def test_a_request_that_is_read_and_not_stored_yet_is_no_unknown_one(
    world: World, predictor: Responder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red where `ForecastDesk.find` does not look for the request again once the store has what was read."""
    predictor.pause()
    may_write = threading.Event()
    with running(tmp_path / "other", broker=world.broker) as other:
        other.settle()
        reads, apply = other.service.projection, other.store.apply
        write_what_is_seen = reads.write_what_is_seen

        def late(*rows: Any) -> Any:
            assert may_write.wait(DEADLINE_SECONDS)
            return apply(*rows)

        def after_the_first_look(seconds: float) -> bool:
            may_write.set()
            return write_what_is_seen(seconds)

        monkeypatch.setattr(other.store, "apply", late)
        monkeypatch.setattr(reads, "write_what_is_seen", after_the_first_look)
        location = ask(world, wait=0).headers["Location"]
        wait_until(lambda: reads.seen(FORECAST_REQUESTS, partition_of(factories.SERIES)) > 0)
        try:
            assert other.client.get(location).status_code == 202
        finally:
            may_write.set()


@pytest.mark.parametrize("path", [f"{URL}/nothing", "/api/v1/batches/nothing"])
def test_what_may_not_be_stored_yet_is_not_told_to_be_missing(
    world: World, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """Red where `GatewayService.require_written` does not look whether the store has it."""
    monkeypatch.setattr(world.service.projection, "wait_written", lambda _ends, _seconds: False)

    assert_problem(world.client.get(path), 503, "starting")


def test_nothing_is_kept_in_memory_once_the_store_has_it(world: World, predictor: Responder) -> None:
    for _ in range(5):
        assert ask(world).status_code == 200
    predictor.pause()
    assert ask(world, wait=0).status_code == 202

    wait_until(lambda: len(world.service.open_requests) == 0, "the entries to be forgotten")


def test_the_longest_wait_is_limited(tmp_path: Path) -> None:
    with running(tmp_path, max_wait_seconds=0.05) as world:
        fill(world)
        started = time.monotonic()

        assert ask(world, wait=1000).status_code == 202

    assert time.monotonic() - started < 100


def test_accepted_means_acknowledged_by_the_log(tmp_path: Path) -> None:
    network = HeldNetwork(FORECAST_REQUESTS.name)
    broker = MemoryBroker(SystemClock(), network=network)
    with running(tmp_path, broker=broker, stuck_after_seconds=0.1) as world:
        fill(world)

        # Goes red when `ForecastDesk._answer` says 202 without `is_logged`.
        answer = ask(world, key="key-1", wait=0)

        problem = assert_problem(answer, 503, "broker-unavailable")
        assert problem["request_id"] == "key-1"
        assert "Retry-After" in answer.headers
        network.release()
        with Responder(broker):
            again = wait_until(lambda: (found := ask(world, key="key-1")).status_code == 200 and found)
        assert again.json["request_id"] == "key-1"


def test_a_log_that_acknowledges_nothing_turns_requests_away_at_once(tmp_path: Path) -> None:
    network = HeldNetwork(FORECAST_REQUESTS.name)
    broker = MemoryBroker(SystemClock(), network=network)
    with running(tmp_path, broker=broker, stuck_after_seconds=0.05) as world:
        fill(world)
        ask(world, wait=0)
        wait_until(world.service.dispatcher.is_stuck)
        started = time.monotonic()

        answer = ask(world)

        assert_problem(answer, 503, "broker-unavailable")
        assert time.monotonic() - started < 30
        assert len(network.held) == 1
        network.release()


def test_a_broker_that_does_not_answer_is_503_everywhere_it_is_needed(world: World) -> None:
    world.broker.stop_answering()
    try:
        for answer in (
            ask(world, wait=0),
            world.client.post("/api/v1/trainings", json={"series_id": factories.SERIES}),
            world.client.post("/api/v1/ingests", json={"symbol": "AAPL"}),
            world.client.get("/status"),
        ):
            assert_problem(answer, 503, "broker-unavailable")
            assert "Retry-After" in answer.headers
    finally:
        world.broker.answer_again()


def test_more_requests_than_may_wait_are_turned_away(tmp_path: Path) -> None:
    with running(tmp_path, max_waiting_requests=2) as world:
        fill(world)
        with ThreadPoolExecutor(2) as pool:
            waiting = [pool.submit(ask, world, wait=60) for _ in range(2)]
            wait_until(lambda: len(world.service.open_requests) == 2)

            # Goes red without `_Door`.
            answer = ask(world)

            assert_problem(answer, 503, "busy")
            assert answer.headers["Retry-After"] == "1"
            with Responder(world.broker):
                assert [each.result().status_code for each in waiting] == [200, 200]
                assert ask(world).status_code == 200


def test_requests_that_come_while_one_is_on_its_way_go_together(tmp_path: Path) -> None:
    network = HeldNetwork(FORECAST_REQUESTS.name)
    broker = MemoryBroker(SystemClock(), network=network)
    with running(tmp_path, broker=broker) as world, ThreadPoolExecutor(20) as pool, Responder(broker) as predictor:
        fill(world)
        first = pool.submit(ask, world)
        wait_until(lambda: len(network.held) == 1)
        others = [pool.submit(ask, world) for _ in range(19)]
        # A request is open some time before it waits to be sent.
        wait_until(lambda: len(world.service.dispatcher._waiting) == 19)
        assert len(network.held) == 1

        network.release()

        assert {each.result().status_code for each in (first, *others)} == {200}
        batches = [record for record in predictor.records if isinstance(record, ForecastRequestBatch)]
        assert [len(batch.requests) for batch in batches] == [19]
        assert len(set(batches[0].traceparents)) == 19


def test_a_gateway_that_still_reads_the_log_asks_to_come_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    fill_without_waiting = factories.observation_batch()
    world.publish(OBSERVATIONS, fill_without_waiting)

    # Never started: nothing has been read. Goes red without `require_caught_up`.
    answer = world.client.post(URL, json=GOOD)

    assert_problem(answer, 503, "starting")
    assert_problem(world.client.get(f"{URL}/anything"), 503, "starting")
    assert world.client.get("/ready").status_code == 503
    assert world.client.get("/health").status_code == 200
    world.close()


def test_one_id_goes_from_the_caller_into_the_log_and_back(world: World, predictor: Responder) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = world.client.post(
        URL, json=GOOD, headers={"X-Request-ID": "call-7", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    )

    assert answer.headers["X-Request-ID"] == "call-7"
    assert correlation_id(answer.headers["traceparent"]) == trace
    place = world.service.projection.place(FORECAST_REQUESTS, partition_of(factories.SERIES))
    (message,) = world.broker.reader({place: 0}).poll(1.0)
    assert correlation_id(dict(message.headers)["traceparent"].decode()) == trace


@pytest.mark.parametrize("header", ["a\tb", "x" * 200, "<script>"])
def test_an_unsafe_request_id_is_replaced(world: World, header: str) -> None:
    answer = world.client.get("/health", headers={"X-Request-ID": header})

    assert len(answer.headers["X-Request-ID"]) == 32


@pytest.fixture(scope="module")
def responding(shared_world: World) -> Iterator[World]:
    with Responder(shared_world.broker):
        yield shared_world


def test_security_headers_are_on_every_answer(shared_world: World) -> None:
    for path in ("/health", "/api/v1/series", "/nowhere", "/api/v1/forecasts/x"):
        headers = shared_world.client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "no-store"
