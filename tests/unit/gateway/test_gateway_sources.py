"""Sources over HTTP: scheduled, paused, resumed, run now, and how they go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas import topics
from schemas.ingests import IngestRequested
from schemas.schedules import RetrainRule, RunPlanned, SeriesScheduled
from tests import factories
from tests.unit.gateway.test_gateway_bad_input import assert_problem
from tests.unit.gateway.test_gateway_resources import records
from tests.unit.gateway.world import World

URL = f"/api/v1/sources/{factories.SERIES}"
BODY = {
    "sources": ["yahoo", "sample"],
    "symbol": "APPLES",
    "calendar": "XNYS",
    "after_close_minutes": 30,
    "jitter_seconds": 60,
    "retrain": [{"model": "shop/apples-1d", "every_observations": 20}],
}


def put(world: World, **changes: Any) -> Any:
    return world.client.put(URL, json=BODY | changes)


def schedules(world: World) -> list[SeriesScheduled]:
    return records(world, topics.INGEST_SCHEDULES)


def test_a_series_is_scheduled_and_what_says_the_same_is_written_once(world: World) -> None:
    answer = put(world)
    assert answer.status_code == 200
    assert put(world).json == answer.json

    [written] = schedules(world)
    assert written == factories.schedule(
        written.schedule_id,
        sources=("yahoo", "sample"),
        calendar="XNYS",
        after_close_minutes=30,
        jitter_seconds=60.0,
        retrain=(RetrainRule(model="shop/apples-1d", every_observations=20),),
    )
    assert answer.json["state"] == "active"
    assert answer.json["schedule"]["schedule_id"] == written.schedule_id
    assert (answer.json["next_run"], answer.json["last_ingest"], answer.json["late_seconds"]) == (None, None, 0)
    assert answer.json["newest_observation"] == "2024-01-30T00:00:00Z"


def test_a_schedule_takes_the_place_of_the_one_before(world: World) -> None:
    put(world)
    answer = put(world, after_close_minutes=None, cron="0 6 * * *", timezone="Europe/Berlin")

    assert (answer.json["schedule"]["cron"], answer.json["schedule"]["timezone"]) == ("0 6 * * *", "Europe/Berlin")
    assert len(schedules(world)) == 2
    assert [line["series_id"] for line in world.client.get("/api/v1/sources").json["sources"]] == [factories.SERIES]


def test_pause_and_resume_write_once_each(world: World) -> None:
    put(world)
    for verb, state in (("pause", "paused"), ("pause", "paused"), ("resume", "active"), ("resume", "active")):
        answer = world.client.post(f"{URL}/{verb}")
        assert (answer.status_code, answer.json["state"]) == (200, state)

    assert [schedule.is_paused for schedule in schedules(world)] == [False, True, False]
    assert len({schedule.schedule_id for schedule in schedules(world)}) == 3


def test_run_now_asks_once_a_key_also_while_paused(world: World) -> None:
    put(world, is_paused=True, known_future=["promo"], adjust=True)
    for _ in range(2):
        answer = world.client.post(f"{URL}/run", headers={"Idempotency-Key": "now-1"})
        assert answer.status_code == 202
        assert answer.headers["Location"] == "/api/v1/ingests/now-1"

    [asked] = records(world, topics.INGEST_REQUESTS)
    assert isinstance(asked, IngestRequested)
    assert (asked.ingest_id, asked.cause, asked.symbol, asked.calendar) == ("now-1", "user", "APPLES", "XNYS")
    assert (asked.adjust, asked.known_future) == (True, ("promo",))


def test_a_source_tells_next_run_last_ingest_last_error_and_lateness(world: World) -> None:
    schedule_id = put(world).json["schedule"]["schedule_id"]
    soon = datetime.now(UTC).replace(microsecond=0)
    plan = RunPlanned(
        schedule_id=schedule_id,
        series_id=factories.SERIES,
        next_run=soon + timedelta(hours=1),
        late_from=soon - timedelta(hours=2),
    )
    for number, state in ((1, "failed"), (0, "succeeded")):
        world.publish(topics.INGEST_REQUESTS, factories.ingest_request(f"i-{number}"))
        event = factories.ingest_event(f"i-{number}", state=state, reason="no answer" if state == "failed" else "")
        world.publish(topics.INGEST_EVENTS, event)
    world.publish(topics.INGEST_EVENTS, plan)
    world.settle()

    source = world.client.get(URL).json

    assert source["next_run"] == f"{soon + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    assert (source["last_ingest"]["ingest_id"], source["last_ingest"]["state"]) == ("i-0", "succeeded")
    assert (source["last_error"]["ingest_id"], source["last_error"]["reason"]) == ("i-1", "no answer")
    passed = datetime.now(UTC) - plan.late_from
    assert 7200 <= source["late_seconds"] <= round(passed.total_seconds())
    assert world.client.get("/api/v1/sources").json["sources"][0]["last_ingest"]["ingest_id"] == "i-0"


def test_what_the_ingestor_says_of_an_older_schedule_does_not_count(world: World) -> None:
    schedule_id = put(world).json["schedule"]["schedule_id"]
    plan = RunPlanned(schedule_id=schedule_id, series_id=factories.SERIES, reason="calendar must be known")
    world.publish(topics.INGEST_EVENTS, plan)
    world.settle()
    assert world.client.get(URL).json["state"] == "refused"
    assert world.client.get(URL).json["reason"] == "calendar must be known"

    assert put(world, calendar="24/7").json["state"] == "active"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"cron": "never", "after_close_minutes": None}, "cron"),
        ({"cron": "0 0 * * * *", "after_close_minutes": None}, "cron"),
        ({"cron": "0 6 * * *", "after_close_minutes": None, "timezone": "Mars/Olympus"}, "timezone"),
        ({"cron": "0 6 * * *"}, "cron"),
        ({"after_close_minutes": None}, "cron"),
        ({"after_close_minutes": -1}, "after_close_minutes"),
        ({"jitter_seconds": 3601}, "jitter_seconds"),
        ({"freq": "1h"}, "freq"),
        ({"source": "yahoo"}, "sources"),
        ({"sources": None}, "sources"),
        ({"sources": []}, "sources"),
        ({"retrain": [{"model": "shop/apples-1d"}]}, "retrain[0]"),
        ({"retrain": [{"model": "shop/apples-1d", "cron": "x"}]}, "retrain[0].cron"),
        ({"retrain": [{"model": "shop/apples-1d", "every": 3}]}, "retrain[0].every"),
        ({"crom": "0 6 * * *"}, "crom"),
        ({"calendar": "NOPE"}, "calendar"),  # red without `SourceBody.__post_init__`
    ],
)
def test_a_schedule_that_cannot_be_is_refused(shared_world: World, changes: dict[str, Any], field: str) -> None:
    problem = assert_problem(put(shared_world, **changes), 422, "invalid-body")

    assert [fault["field"] for fault in problem["errors"]][:1] == [field]
    assert schedules(shared_world) == []


def test_what_has_no_schedule_is_not_known(shared_world: World) -> None:
    for verb in ("pause", "resume", "run"):
        assert_problem(shared_world.client.post(f"/api/v1/sources/shop/plums@1d/{verb}"), 404, "unknown-source")
    assert_problem(shared_world.client.get("/api/v1/sources/shop/plums@1d"), 404, "unknown-source")
    bad = shared_world.client.put("/api/v1/sources/no-series", json=BODY)
    assert_problem(bad, 422, "invalid-body")
