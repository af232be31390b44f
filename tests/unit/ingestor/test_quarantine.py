"""Held rows through the whole service: told once, released once, never asked about again; through every crash."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pytest

from ingestor.compose import build
from ingestor.fetching import Fetched
from ingestor.jobs import InProcessRunner
from ingestor.settings import IngestorSettings
from ingestor.sources import SourceFrame
from runtime.broker import partition_for
from runtime.job_worker import JobWorker
from runtime.memory_broker import MemoryBroker
from runtime.topic_specs import specs
from schemas.dead_letters import DeadLetter
from schemas.ingests import IngestEvent
from schemas.observations import ObservationBatch
from schemas.quarantine import ObservationsQuarantined, QuarantineDecided, release_id
from schemas.topics import DEAD_LETTERS, INGEST_EVENTS, OBSERVATIONS, QUARANTINE
from tests.factories import observation_batch, outgoing_message
from tests.fakes import ManualClock
from tests.unit.ingestor.planted import NOW, changed, scaled, walk
from tests.unit.ingestor.test_handlers import SERIES, TRACE, ask, batches, final, records

ROWS = 60
BAD = 40
Start = Callable[[], JobWorker]


class Source:
    """Gives the frame that stands in it."""

    def __init__(self, frame: SourceFrame) -> None:
        self.frame = frame

    def __call__(self, _wanted: object) -> Fetched:
        return Fetched(frame=self.frame, rows_received=len(self.frame))


class Town:
    """One ingestor on one log, which can be killed and started again."""

    def __init__(self) -> None:
        self.clock = ManualClock(now=NOW)
        self.broker = MemoryBroker(self.clock)
        self.broker.ensure_topics(specs())
        self.good = walk(rows=ROWS)
        self.source = Source(scaled(self.good, slice(BAD, BAD + 1), 100.0))

    def worker(self) -> JobWorker:
        return build(
            IngestorSettings(retry_seconds=0),
            runner=InProcessRunner,
            broker=self.broker,
            clock=self.clock,
            sources={"one": self.source},
            poll_seconds=0.0,
        )

    def work(self) -> None:
        """Start a new process and let it work until all is handled."""
        worker = self.worker()
        for _ in range(30):
            for _ in worker.steps():
                pass
        worker.close()

    def decide(self, decision: str = "release", quarantine_id: str | None = None, decision_id: str = "d-1") -> None:
        record = QuarantineDecided(
            decision_id=decision_id,
            quarantine_id=quarantine_id or self.held()[0].quarantine_id,
            series_id=SERIES,
            decision=decision,  # type: ignore[arg-type]  # as the tests name it
        )
        self.broker.producer().send(outgoing_message(QUARANTINE, record, traceparent=TRACE))

    def held(self) -> list[ObservationsQuarantined]:
        return [record for record in records(self.broker, QUARANTINE) if isinstance(record, ObservationsQuarantined)]

    def times(self) -> list[int]:
        """Return the published times, in order, each as often as it was published."""
        return sorted(int(time.timestamp()) for batch in batches(self.broker) for time in batch.time)

    def closes_at_bad(self) -> list[float | None]:
        """Return the published closes of the row at fault, as they came."""
        return [
            close
            for batch in batches(self.broker)
            for time, close in zip(batch.time, batch.columns["close"], strict=True)
            if int(time.timestamp()) == int(self.good.time[BAD])
        ]

    def close_at_bad(self) -> float | None:
        """Return the newest of them."""
        return self.closes_at_bad()[-1]

    def released(self) -> list[IngestEvent]:
        wanted = release_id(self.held()[0].quarantine_id)
        return [event for event in records(self.broker, INGEST_EVENTS) if event.ingest_id == wanted]


@pytest.fixture
def town() -> Town:
    return Town()


def test_the_rows_at_fault_are_held_and_the_others_published(town):
    ask(town.broker)
    town.work()

    event = final(town.broker)
    assert (event.state, event.rows_published, event.rows_quarantined) == ("succeeded", ROWS - 1, 1)
    assert "held: prices must stay in one unit" in event.reason
    [held] = town.held()
    assert [int(time.timestamp()) for time in held.batch.time] == [int(town.good.time[BAD])]
    assert [broken.rule for broken in held.broken] == ["unit-error"]
    assert (held.ingest_id, held.series_id, len(town.times())) == ("ingest-1", SERIES, ROWS - 1)


def test_flags_are_told_in_the_event(town):
    town.source.frame = changed(town.good, "volume", 5, 0.0)
    ask(town.broker)
    town.work()

    assert final(town.broker).flags == ("zero-volume: no volume in 1 row (2023-01-08)",)
    assert town.held() == []


def test_rows_that_can_never_be_true_fail_the_ingest(town):
    town.source.frame = SourceFrame(
        source="one", unit="", time=town.good.time + 10 * 366 * 86_400, columns=town.good.columns
    )
    ask(town.broker)
    town.work()

    event = final(town.broker)
    assert event.state == "failed"
    assert "future-date: rows later than now" in event.reason
    assert (town.held(), town.times()) == ([], [])


@pytest.mark.parametrize("decision", [None, "reject"])
def test_the_same_rows_are_not_asked_about_twice(town, decision):
    """Red without `Held.has`: a nightly fetch would hold the same row every night."""
    ask(town.broker)
    town.work()
    if decision:
        town.decide(decision)
    ask(town.broker, "ingest-2")
    town.work()

    assert len(town.held()) == 1
    assert (final(town.broker, "ingest-2").rows_quarantined, final(town.broker, "ingest-2").rows_published) == (1, 0)


def test_other_values_of_a_held_time_are_judged_anew(town):
    ask(town.broker)
    town.work()
    town.source.frame = scaled(town.good, slice(BAD, BAD + 1), 1000.0)
    ask(town.broker, "ingest-2")
    town.work()
    assert len(town.held()) == 2

    town.source.frame = town.good
    ask(town.broker, "ingest-3")
    town.work()
    assert town.close_at_bad() == town.good.columns["close"][BAD]


def test_force_lets_the_rows_in(town):
    ask(town.broker, force=True)
    town.work()

    event = final(town.broker)
    assert (event.rows_published, event.rows_quarantined, town.held()) == (ROWS, 0, [])
    assert any(flag.startswith("unit-error: ") for flag in event.flags)


def test_a_release_publishes_the_rows_once_and_tells_it(town):
    ask(town.broker)
    town.work()
    town.clock.advance(3600)
    town.decide()
    town.decide(decision_id="d-2")
    town.work()
    town.work()

    assert len(town.times()) == len(set(town.times())) == ROWS
    assert town.close_at_bad() == pytest.approx(100 * town.good.columns["close"][BAD])
    [event] = town.released()
    assert (event.state, event.rows_received, event.rows_published) == ("succeeded", 1, 1)
    # Known from the moment of the release on, not from that of the fetch.
    assert batches(town.broker)[-1].received_at >= NOW + timedelta(hours=1)


def test_released_rows_are_not_held_again(town):
    ask(town.broker)
    town.work()
    town.decide()
    ask(town.broker, "ingest-2")
    town.work()

    assert (len(town.held()), len(town.times())) == (1, ROWS)
    assert final(town.broker, "ingest-2").rows_quarantined == 0


def test_a_rejection_publishes_nothing_and_the_first_decision_counts(town):
    ask(town.broker)
    town.work()
    town.decide("reject")
    town.decide("release", decision_id="d-2")
    town.work()

    assert (len(town.times()), town.released()) == (ROWS - 1, [])


@pytest.mark.parametrize("is_event_gone", [False, True])
def test_a_correction_after_the_release_stays(town, is_event_gone):
    """Red without the look at what was published: a decision that is read again would restate the rows once more.

    It is read again where the group's offsets were lost, then perhaps long after `ingest-events` has forgotten.
    """
    ask(town.broker)
    town.work()
    town.decide()
    town.work()
    town.source.frame = town.good
    ask(town.broker, "ingest-2")
    town.work()
    if is_event_gone:
        town = _without_events(town)
    town.decide()
    town.work()

    assert town.close_at_bad() == town.good.columns["close"][BAD]


def _without_events(town: Town) -> Town:
    """Return a log in which only what is kept for ever stands."""
    later = Town()
    for topic in (OBSERVATIONS, QUARANTINE):
        for record in records(town.broker, topic):
            later.broker.producer().send(outgoing_message(topic, record, traceparent=TRACE))
    return later


def test_a_decision_about_nothing_is_a_dead_letter(town):
    town.decide(quarantine_id="nothing")
    town.work()

    [letter] = [record for record in records(town.broker, DEAD_LETTERS) if isinstance(record, DeadLetter)]
    assert letter.reason == "unknown-quarantine: nothing is held under nothing"


@pytest.mark.parametrize("effects", range(1, 25))  # beyond all effects of one fetch with held rows
def test_a_crash_in_a_fetch_holds_and_publishes_each_row_once(effects):
    town = Town()
    ask(town.broker)
    _die_after(town, effects)
    town.work()

    assert (len(town.held()), len(town.times()), len(set(town.times()))) == (1, ROWS - 1, ROWS - 1)
    assert final(town.broker).rows_quarantined == 1


@pytest.mark.parametrize("effects", range(1, 25))
def test_a_crash_in_a_release_lets_each_row_in_once(effects):
    """The state of the next process comes from the log alone, and it may read the next request before the decision."""
    town = Town()
    ask(town.broker)
    town.work()
    town.decide()
    _die_after(town, effects)
    town.source.frame = town.good
    ask(town.broker, "ingest-2")
    town.work()

    bad = town.closes_at_bad()
    assert bad.count(pytest.approx(100 * town.good.columns["close"][BAD])) == 1
    assert bad.count(town.good.columns["close"][BAD]) == 1
    assert {event.state for event in town.released()} == {"succeeded"}


def _die_after(town: Town, effects: int) -> None:
    """Let a process work, and end it between two effects."""
    worker = town.worker()
    left = effects
    while left:
        for _ in worker.steps():
            left -= 1
            if not left:
                break
    worker.close()


def test_a_released_restatement_carries_what_the_log_has(town):
    """A column that the source did not give, and that came since, is kept."""
    clean = town.good
    town.source.frame = clean
    ask(town.broker)
    town.work()
    town.source.frame = scaled(clean, slice(BAD, BAD + 1), 100.0)
    ask(town.broker, "ingest-2")
    town.work()
    more = {**clean.columns, "sentiment": np.full(ROWS, 0.5)}
    town.source.frame = SourceFrame(source="one", unit=clean.unit, time=clean.time, columns=more)
    ask(town.broker, "ingest-3")
    town.work()
    town.decide()
    town.work()

    newest: ObservationBatch = batches(town.broker)[-1]
    assert newest.kind == "restatement"
    assert newest.columns["sentiment"] == (0.5,)


def test_a_decision_waits_until_what_it_is_about_is_known(town):
    """Red without `OwnedPartitions.know_quarantine`: a turn reads some hundred messages, and the decision comes."""
    ask(town.broker)
    town.work()
    producer, home = town.broker.producer(), partition_for(SERIES.encode(), 12)
    for number in range(1200):
        other = observation_batch(series_id="market/other@1d", rows=1, source=f"s{number}")
        producer.send(outgoing_message(OBSERVATIONS, other, partition=home))
    town.decide()
    town.work()

    assert records(town.broker, DEAD_LETTERS) == []
    assert [event.state for event in town.released()] == ["succeeded"]
