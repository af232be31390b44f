"""What was known when, over HTTP: rows as known at a time or offset, restatements, requests as of a time, inputs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas import topics
from schemas.observations import ObservationBatch
from tests import factories
from tests.unit.gateway.test_gateway_bad_input import assert_problem
from tests.unit.gateway.test_gateway_resources import records
from tests.unit.gateway.world import Responder, World, partition_of, running

SERIES = factories.SERIES
URL = f"/api/v1/series/{SERIES}/observations"
LOADED, CORRECTED, SPLIT = (datetime(2024, month, 1, 12, 30, 0, 123457, tzinfo=UTC) for month in (3, 4, 5))
SPLIT_REASON = "a split of 2 for 1"


def batch(closes: dict[int, float | None], received_at: datetime, **changes: Any) -> ObservationBatch:
    """Return a batch with a close a day after `START`."""
    return factories.observation_batch(
        time=tuple(factories.START + timedelta(days=day) for day in closes),
        columns={"close": tuple(closes.values())},
        received_at=received_at,
        **changes,
    )


def restated(closes: dict[int, float | None], received_at: datetime, reason: str) -> ObservationBatch:
    return batch(closes, received_at, kind="restatement", reason=reason)


def text(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A series that was loaded, corrected in one row with one more, and split; then the first batch once more."""
    with running(tmp_path_factory.mktemp("gateway")) as started:
        first = batch({0: 10.0, 1: 11.0, 2: 12.0}, LOADED)
        started.publish(topics.OBSERVATIONS, first)
        started.publish(topics.OBSERVATIONS, restated({1: 11.5}, CORRECTED, "late trades"))
        started.publish(topics.OBSERVATIONS, batch({3: 13.0}, CORRECTED, kind="append"))
        started.publish(topics.OBSERVATIONS, restated({0: 5.0, 1: 5.75, 2: 6.0, 3: 6.5}, SPLIT, SPLIT_REASON))
        started.publish(topics.OBSERVATIONS, first)
        started.publish(topics.MODELS, factories.model_release())
        started.publish(topics.DEPLOYMENTS, factories.deployment())
        started.settle()
        yield started


def closes(world: World, query: str) -> list[float | None]:
    page = world.client.get(f"{URL}?{query}").json
    assert len(page["observations"]["time"]) == len(page["observations"]["columns"].get("close", []))
    return page["observations"]["columns"].get("close", [])


@pytest.mark.parametrize(
    ("query", "known"),
    [
        (f"known_at={text(LOADED - timedelta(microseconds=1))}", []),
        (f"known_at={text(LOADED)}", [10.0, 11.0, 12.0]),
        (f"known_at={text(CORRECTED - timedelta(microseconds=1))}", [10.0, 11.0, 12.0]),
        (f"known_at={text(CORRECTED)}", [10.0, 11.5, 12.0, 13.0]),
        ("known_at=2024-04-02T00:00:00%2B02:00", [10.0, 11.5, 12.0, 13.0]),
        (f"known_at={text(SPLIT)}", [5.0, 5.75, 6.0, 6.5]),
        ("known_at_offset=0", []),
        ("known_at_offset=1", [10.0, 11.0, 12.0]),
        ("known_at_offset=2", [10.0, 11.5, 12.0]),
        ("known_at_offset=3", [10.0, 11.5, 12.0, 13.0]),
        ("known_at_offset=4", [5.0, 5.75, 6.0, 6.5]),
        ("known_at_offset=5", [5.0, 5.75, 6.0, 6.5]),
        (f"known_at_offset=2&known_at={text(LOADED)}", [10.0, 11.0, 12.0]),
        ("", [5.0, 5.75, 6.0, 6.5]),
        ("known_at_offset=3&after=2024-01-01T00:00:00Z&before=2024-01-04T00:00:00Z&order=newest", [12.0, 11.5]),
    ],
)
def test_rows_are_those_that_were_known_then(world: World, query: str, known: list[float]) -> None:
    assert closes(world, query) == known


@pytest.mark.parametrize("order", ["oldest", "newest"])
def test_pages_of_what_was_known_give_every_row_once(world: World, order: str) -> None:
    url, found = f"{URL}?known_at={text(CORRECTED)}&limit=3&order={order}&versions=true", []
    while url:
        page = world.client.get(url).json
        found += zip(page["observations"]["columns"]["close"], page["versions"]["log_offset"], strict=True)
        url = page["next"]

    expected = [(10.0, 0), (11.5, 1), (12.0, 0), (13.0, 2)]
    assert found == (expected if order == "oldest" else expected[::-1])


def test_a_row_says_when_its_version_was_received_of_which_kind_it_is_and_why(world: World) -> None:
    page = world.client.get(f"{URL}?known_at_offset=3&versions=true").json

    assert page["versions"] == {
        "log_offset": [0, 1, 0, 2],
        "received_at": [text(LOADED), text(CORRECTED), text(LOADED), text(CORRECTED)],
        "kind": ["history", "restatement", "history", "append"],
        "reason": ["", "late trades", "", ""],
        "source": ["mock"] * 4,
    }
    assert world.client.get(f"{URL}?versions=true").json["versions"]["reason"] == [SPLIT_REASON] * 4
    assert "versions" not in world.client.get(URL).json


@pytest.mark.parametrize(
    ("query", "code", "expected"),
    [
        ("known_at=2999-01-01T00:00:00Z", "invalid-parameter", "at most now"),
        ("known_at=2024-01-01T00:00:00", "invalid-parameter", "a time such as"),
        ("known_at=", "invalid-parameter", "a time such as"),
        ("known_at_offset=6", "as-of-beyond-log", "at most 5"),
        ("known_at_offset=99999999999999999999", "invalid-parameter", "a whole number from 0"),
        ("known_at_offset=-1", "invalid-parameter", "a whole number from 0"),
        ("versions=yes", "invalid-parameter", "one of false, true"),
        ("known=1", "invalid-parameter", "known_at"),
    ],
)
def test_a_point_that_cannot_be_known_is_refused(world: World, query: str, code: str, expected: str) -> None:
    document = assert_problem(world.client.get(f"{URL}?{query}"), 422, code)

    assert expected in document["errors"][0]["expected"]


def test_restatements_tell_from_what_to_what_when_and_why(world: World) -> None:
    url, found = f"/api/v1/series/{SERIES}/restatements?limit=2", []
    while url:
        page = world.client.get(url).json
        found += page["restatements"]
        url = page["next"]

    assert [(line["time"][:10], line["columns"]["close"], line["log_offset"]) for line in found] == [
        ("2024-01-02", {"from": 11.0, "to": 11.5}, 1),
        ("2024-01-01", {"from": 10.0, "to": 5.0}, 3),
        ("2024-01-02", {"from": 11.5, "to": 5.75}, 3),
        ("2024-01-03", {"from": 12.0, "to": 6.0}, 3),
        ("2024-01-04", {"from": 13.0, "to": 6.5}, 3),
    ]
    assert found[0] | {"columns": {}} == {
        "time": "2024-01-02T00:00:00Z",
        "received_at": text(CORRECTED),
        "log_offset": 1,
        "kind": "restatement",
        "reason": "late trades",
        "source": "mock",
        "columns": {},
    }
    newest = world.client.get(f"/api/v1/series/{SERIES}/restatements?order=newest").json["restatements"]
    assert newest == found[::-1]


@pytest.mark.parametrize("cursor", ["", "1", "1.x", "-1.0", "9" * 30 + ".1"])
def test_a_cursor_of_ones_own_making_is_refused(world: World, cursor: str) -> None:
    answer = world.client.get(f"/api/v1/series/{SERIES}/restatements?cursor={cursor}")

    assert_problem(answer, 422, "invalid-parameter")


def test_restatements_of_an_unknown_series_are_refused(world: World) -> None:
    assert_problem(world.client.get("/api/v1/series/a/b@1d/restatements"), 404, "unknown-series")
    assert_problem(world.client.get("/api/v1/series/a/b@1d/observations?known_at_offset=0"), 404, "unknown-series")


@pytest.mark.parametrize(("known_at", "end"), [(LOADED, 1), (CORRECTED, 3), (SPLIT, 5)])
def test_requests_as_of_a_time_end_before_what_was_received_later(world: World, known_at: datetime, end: int) -> None:
    with Responder(world.broker) as predictor:
        body = {"series_id": SERIES, "horizon": 3, "known_at": text(known_at)}
        answer = world.client.post("/api/v1/forecasts", json=body)
        assert answer.status_code == 200
        (asked,) = (one for one in predictor.requests if one.request_id == answer.json["request_id"])
    # Goes red without `ends_known_at` in `ForecastDesk._request`.
    assert (asked.as_of.observations, asked.known_at) == (end, known_at)

    training = world.client.post("/api/v1/trainings", json={"series_id": SERIES, "known_at": text(known_at)}).json
    found = {each.training_id: each for each in records(world, topics.TRAINING_REQUESTS)}[training["training_id"]]
    assert (found.as_of, found.known_at) == ({str(partition_of(SERIES)): end}, known_at)


@pytest.mark.parametrize("url", ["/api/v1/forecasts", "/api/v1/trainings"])
@pytest.mark.parametrize(
    ("known_at", "code"),
    [
        ("2999-01-01T00:00:00Z", "invalid-body"),
        ("2024-01-01T00:00:00", "invalid-body"),
        ("yesterday", "invalid-body"),
        (text(LOADED - timedelta(microseconds=1)), "no-observations"),
        ("0001-01-01T00:00:00+14:00", "invalid-body"),
    ],
)
def test_a_time_at_which_nothing_was_known_is_refused(world: World, url: str, known_at: str, code: str) -> None:
    answer = world.client.post(url, json={"series_id": SERIES, "horizon": 3, "known_at": known_at})

    assert assert_problem(answer, 422, code)["errors"][0]["field"] == "known_at"


def test_a_window_is_of_no_time(world: World) -> None:
    body = {"window": [[1.0]], "model": "market/HET-1d", "horizon": 1, "known_at": text(SPLIT)}

    document = assert_problem(world.client.post("/api/v1/forecasts", json=body), 422, "invalid-body")
    assert document["errors"][0]["field"] == "known_at"


def test_a_key_that_comes_again_with_another_time_is_refused(world: World) -> None:
    body = {"series_id": SERIES, "horizon": 3}
    with Responder(world.broker):
        for url, field in (("/api/v1/forecasts", "Idempotency-Key"), ("/api/v1/trainings", "known_at")):
            headers = {"Idempotency-Key": f"as-of-{field}"}
            first = world.client.post(url, json={**body, "known_at": text(LOADED)}, headers=headers)
            assert first.status_code in (200, 202)
            again = world.client.post(url, json={**body, "known_at": text(LOADED)}, headers=headers)
            assert again.status_code == first.status_code
            # Goes red when `wish_of` leaves the time out.
            other = world.client.post(url, json={**body, "known_at": text(SPLIT)}, headers=headers)
            assert assert_problem(other, 422, "idempotency-key-reused")["errors"][0]["field"] == field


def issued(world: World, name: str, **changes: Any) -> str:
    lineage = {"observation_partition": partition_of(SERIES), "observation_offset": changes.pop("offset", 1)}
    example = factories.forecast_issued(name, **changes)
    import msgspec

    record = msgspec.structs.replace(example, lineage=msgspec.structs.replace(example.lineage, **lineage))
    world.publish(topics.FORECASTS, record)
    world.settle()
    return f"/api/v1/forecasts/{name}/inputs"


def test_inputs_are_the_rows_as_the_forecast_saw_them(world: World) -> None:
    url = issued(world, "seen-1", series_id=SERIES, cutoff=factories.START + timedelta(days=2), forecast_id="f" * 32)

    found = world.client.get(f"{url}?limit=2&versions=true").json

    # Both rows have been restated since; goes red when `inputs_of` reads the latest view.
    assert found["observations"]["columns"] == {"close": [11.5, 12.0]}
    assert found["observations"]["time"] == ["2024-01-02T00:00:00Z", "2024-01-03T00:00:00Z"]
    assert found["versions"]["log_offset"] == [1, 0]
    assert (found["observation_offset"], found["future"]) == (1, None)
    whole = world.client.get(f"/api/v1/forecasts/{'f' * 32}/inputs").json
    assert whole["observations"]["columns"] == {"close": [10.0, 11.5, 12.0]}


def test_inputs_of_what_has_none_are_refused(world: World) -> None:
    import msgspec

    window = factories.forecast_issued("seen-2", series_id=None)
    lineage = msgspec.structs.replace(window.lineage, observation_partition=None, observation_offset=None)
    world.publish(topics.FORECASTS, msgspec.structs.replace(window, lineage=lineage))
    world.publish(topics.FORECASTS, factories.forecast_refused("seen-3"))
    world.settle()

    assert_problem(world.client.get("/api/v1/forecasts/seen-2/inputs"), 404, "no-inputs")
    refused = world.client.get("/api/v1/forecasts/seen-3/inputs")
    assert refused.status_code >= 400
    assert refused.json["type"] == world.client.get("/api/v1/forecasts/seen-3").json["type"]
    assert_problem(world.client.get("/api/v1/forecasts/nobody/inputs"), 404, "unknown-forecast")


def test_what_was_known_is_not_told_before_it_is_read(tmp_path: Path) -> None:
    unstarted = World(tmp_path)

    # Goes red without `require_caught_up` in `_written_end`.
    with unstarted.store.engine.begin() as connection:
        from gateway import tables

        line = {"freq": "1d", "calendar": "24/7", "unit": "", "source": "mock", "rows": 1}
        connection.execute(tables.SERIES.insert(), [line | {"series_id": SERIES, "first_time": 0, "last_time": 0}])
    assert_problem(unstarted.client.get(f"{URL}?known_at_offset=0"), 503, "starting")
    unstarted.close()
