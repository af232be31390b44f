"""Held rows over HTTP: listed, shown, released and rejected; the first decision counts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from schemas import topics
from schemas.quarantine import QuarantineDecided, release_id
from tests import factories
from tests.unit.gateway.test_gateway_bad_input import assert_problem
from tests.unit.gateway.test_gateway_resources import records
from tests.unit.gateway.world import World

URL = "/api/v1/quarantine"
PLUMS = "shop/plums@1d"


def hold(world: World, *quarantine_ids: str, **changes: Any) -> None:
    for quarantine_id in quarantine_ids:
        world.publish(topics.QUARANTINE, factories.observations_quarantined(quarantine_id, **changes))
    world.settle()


def decisions(world: World) -> list[QuarantineDecided]:
    return [record for record in records(world, topics.QUARANTINE) if isinstance(record, QuarantineDecided)]


def test_held_rows_are_listed_and_shown(world: World) -> None:
    hold(world, "held-1")

    (line,) = world.client.get(URL).json["quarantine"]
    assert line.pop("held_at").endswith("Z")
    assert line == {
        "quarantine_id": "held-1",
        "series_id": factories.SERIES,
        "ingest_id": "ingest-1",
        "source": "mock",
        "rows": 2,
        "first_time": "2024-01-01T00:00:00Z",
        "last_time": "2024-01-02T00:00:00Z",
        "broken": [{"rule": "unit-error", "times": ["2024-01-01T00:00:00Z"], "rows": 1, "reason": "in pence"}],
        "state": "held",
        "decided_by": "",
        "reason": "",
        "release_ingest_id": None,
    }
    shown = world.client.get(f"{URL}/held-1").json
    assert shown["observations"]["time"] == ["2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z"]
    assert (shown["kind"], shown["state"], len(shown["observations"]["columns"]["close"])) == ("append", "held", 2)
    assert_problem(world.client.get(f"{URL}/nothing"), 404, "unknown-quarantine")


def test_the_list_is_filtered_and_comes_in_pages(world: World) -> None:
    hold(world, *(f"held-{number}" for number in range(5)))
    hold(world, "other", batch={"series_id": PLUMS})
    world.client.post(f"{URL}/held-1/reject", json={})
    world.client.post(f"{URL}/held-2/release", json={})

    def ids(query: str) -> list[str]:
        found, url = [], f"{URL}?limit=2&{query}"
        while url:
            page = world.client.get(url).json
            assert len(page["quarantine"]) <= 2
            found += [line["quarantine_id"] for line in page["quarantine"]]
            url = page["next"]
        return found

    everything = ids("")
    assert len(everything) == len(set(everything)) == 6
    assert ids(f"series_id={PLUMS}") == ["other"]
    assert sorted(ids("state=held")) == ["held-0", "held-3", "held-4", "other"]
    assert (ids("state=rejected"), ids("state=released")) == (["held-1"], ["held-2"])


@pytest.mark.parametrize("query", ["limit=0", "state=open", "serie=a", "limit=x"])
def test_a_list_that_is_asked_for_wrongly_is_refused(shared_world: World, query: str) -> None:
    assert_problem(shared_world.client.get(f"{URL}?{query}"), 422, "invalid-parameter")


def test_a_list_behind_what_is_not_there_is_refused(shared_world: World) -> None:
    assert_problem(shared_world.client.get(f"{URL}?after=nothing"), 404, "unknown-quarantine")


@pytest.mark.parametrize(("path", "state"), [("release", "released"), ("reject", "rejected")])
def test_a_decision_is_written_once(world: World, path: str, state: str) -> None:
    hold(world, "held-1")
    body = {"decided_by": "ana", "reason": "checked"}

    answers = [world.client.post(f"{URL}/held-1/{path}", json=given) for given in (body, body, {})]

    assert [answer.status_code for answer in answers] == [202, 202, 202]
    assert answers[0].headers["Location"] == f"{URL}/held-1"
    expected = release_id("held-1") if path == "release" else None
    for answer in answers:
        told = (answer.json["state"], answer.json["decided_by"], answer.json["release_ingest_id"])
        assert told == (state, "ana", expected)
    (written,) = decisions(world)
    assert (written.quarantine_id, written.series_id, written.decision) == ("held-1", factories.SERIES, path)
    assert (written.decided_by, written.reason) == ("ana", "checked")
    assert world.client.get(f"{URL}/held-1").json["state"] == state


def test_the_first_decision_counts(world: World) -> None:
    hold(world, "held-1")
    world.client.post(f"{URL}/held-1/reject", json={})

    document = assert_problem(world.client.post(f"{URL}/held-1/release", json={}), 409, "already-decided")

    assert document["detail"].startswith("held-1 was rejected before; the first decision counts")
    assert len(decisions(world)) == 1


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"why": "x"}, 422, "invalid-body"),
        ({"reason": 1}, 422, "invalid-body"),
        ({"reason": "x" * 2001}, 422, "invalid-body"),
        ([], 422, "invalid-body"),
    ],
)
def test_a_decision_that_cannot_be_read_is_refused(world: World, body: Any, status: int, kind: str) -> None:
    hold(world, "held-1")
    assert_problem(world.client.post(f"{URL}/held-1/release", json=body), status, kind)
    assert decisions(world) == []


def test_a_decision_about_nothing_is_refused(shared_world: World) -> None:
    assert_problem(shared_world.client.post(f"{URL}/nothing/release", json={}), 404, "unknown-quarantine")


def test_the_release_is_told_among_the_ingests(world: World) -> None:
    hold(world, "held-1")
    told = world.client.post(f"{URL}/held-1/release", json={}).json["release_ingest_id"]
    event = factories.ingest_event(told, state="succeeded", rows_published=2, reason="released from quarantine held-1")
    world.publish(topics.INGEST_EVENTS, event)
    world.settle()

    found = world.client.get(f"/api/v1/ingests/{told}").json
    assert (found["state"], found["rows_published"]) == ("succeeded", 2)


def test_an_ingest_may_be_forced_and_tells_its_flags(world: World) -> None:
    answer = world.client.post("/api/v1/ingests", json={"symbol": "AAPL", "force": True})
    (request,) = records(world, topics.INGEST_REQUESTS)
    assert request.force is True
    event = factories.ingest_event(
        answer.json["ingest_id"],
        series_id="market/AAPL@1d",
        rows_quarantined=1,
        flags=("gaps: one",),
        state="succeeded",
    )
    world.publish(topics.INGEST_EVENTS, event)
    world.settle()

    found = world.client.get(answer.headers["Location"]).json
    assert (found["rows_quarantined"], found["flags"]) == (1, ["gaps: one"])


def test_times_are_those_of_the_rows(world: World) -> None:
    hold(world, "held-1", batch={"start": factories.START + timedelta(days=400)})
    assert world.client.get(f"{URL}/held-1").json["first_time"] == "2025-02-04T00:00:00Z"
