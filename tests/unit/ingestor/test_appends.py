"""Appends through the whole service on the in-memory broker: in order, once, and only at home."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ingestor.appends import Appends, DecidedAppend, together
from ingestor.compose import build
from ingestor.jobs import InProcessRunner
from ingestor.settings import IngestorSettings
from ingestor.state import IngestLog
from runtime.broker import TopicPartition, partition_for
from runtime.job_worker import JobWorker
from runtime.memory_broker import MemoryBroker
from schemas.appends import AppendRequested, SeriesRows
from schemas.identity import content_id
from schemas.ingests import IngestEvent
from schemas.topics import DEAD_LETTERS, INGEST_REQUESTS
from tests.factories import START, incoming, outgoing_message
from tests.fakes import ManualClock
from tests.unit.ingestor.test_handlers import batches, events, final, records, work

SERIES = "shop/a@1h"
HOME = TopicPartition("ingest-requests", partition_for(SERIES.encode(), 12))


@pytest.fixture
def worker(broker: MemoryBroker, clock: ManualClock):
    worker = build(
        IngestorSettings(retry_seconds=0),
        runner=InProcessRunner,
        broker=broker,
        clock=clock,
        sources={},
        poll_seconds=0.0,
    )
    yield worker
    worker.close()


def append(
    broker: MemoryBroker, clock: ManualClock, ingest_id: str, *, hours_ago: int, value: float, partition=None
) -> None:
    time = clock.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=hours_ago)
    rows = SeriesRows(series_id=SERIES, time=(time,), columns={"sales": (value,)})
    record = AppendRequested(ingest_id=ingest_id, series=(rows,))
    broker.producer().send(outgoing_message(INGEST_REQUESTS, record, partition=partition))


def test_appends_of_one_series_are_judged_in_order_and_plain_rows_join(broker, clock, worker):
    """Red when `Appends.decide` forgets what it has ``taken``: the second would be `history` too."""
    for number in range(4):
        append(broker, clock, f"append-{number}", hours_ago=9 - number, value=10.0 + number)
    work(worker, broker)

    assert [(batch.kind, batch.columns["sales"]) for batch in batches(broker)] == [
        ("history", (10.0,)),
        ("append", (11.0, 12.0, 13.0)),
    ]
    assert events(broker) == [(f"append-{number}", "succeeded") for number in range(4)]
    assert [final(broker, f"append-{number}").rows_published for number in range(4)] == [1, 1, 1, 1]


def test_a_row_that_is_not_plain_behind_those_before_it_waits_for_them(broker, clock, worker):
    """Red when `Appends.decide` does not ask ``takes``: the gap and the repeat would be published as they are."""
    append(broker, clock, "append-0", hours_ago=9, value=10.0)
    work(worker, broker)
    for number, (hours_ago, value) in enumerate([(8, 11.0), (7, 12.0), (7, 12.0), (5, 13.0), (4, 14.0)], start=1):
        append(broker, clock, f"append-{number}", hours_ago=hours_ago, value=value)
    work(worker, broker)

    assert [batch.columns["sales"] for batch in batches(broker)] == [(10.0,), (11.0, 12.0), (13.0,), (14.0,)]
    assert [final(broker, f"append-{number}").rows_published for number in range(6)] == [1, 1, 1, 0, 1, 1]


def test_what_stands_behind_a_waiting_append_waits_too(broker, clock, worker):
    """Red when a waiting append does not make its series ``blocked``: 12 would come before the row that waits."""
    append(broker, clock, "append-0", hours_ago=9, value=10.0)
    work(worker, broker)
    for number, (hours_ago, value) in enumerate([(8, 11.0), (8, 11.5), (7, 12.0)], start=1):
        append(broker, clock, f"append-{number}", hours_ago=hours_ago, value=value)
    work(worker, broker)

    assert [batch.columns["sales"] for batch in batches(broker)] == [(10.0,), (11.0,), (11.5,), (12.0,)]
    assert [batch.kind for batch in batches(broker)] == ["history", "append", "restatement", "append"]


def test_an_append_waits_for_rows_that_the_log_does_not_show_yet() -> None:
    """Red when `Appends.decide` does not look at ``busy``: it would be judged without those rows."""
    appends = Appends(IngestLog())
    rows = SeriesRows(series_id=SERIES, time=(START,), columns={"sales": (1.0,)})
    request = AppendRequested(ingest_id="append-1", series=(rows,))
    appends.receive(incoming(INGEST_REQUESTS, request), request, 12)

    assert appends.decide({SERIES}, START) == ([], [])
    (decided,), _ = appends.decide(set(), START)
    assert decided.event.ingest_id == "append-1"


def turn(worker: JobWorker, clock: ManualClock, *, seconds: float = 0.0) -> None:
    """Do one turn, in which publishing takes so long."""
    for effect in worker.steps():
        if effect == "before-publish":
            clock.advance(seconds)
            seconds = 0.0


@pytest.mark.parametrize(("took", "rest"), [(0.3, 0.3), (9.0, 0.5)])
def test_appends_rest_as_long_as_their_turn_took(broker, clock, worker, took, rest):
    """Red when `Appends.end` sets no rest, or a longer one: rows that come meanwhile go together in one batch."""
    append(broker, clock, "append-0", hours_ago=9, value=10.0)
    turn(worker, clock, seconds=took)
    assert len(batches(broker)) == 1

    for number in (1, 2):
        append(broker, clock, f"append-{number}", hours_ago=9 - number, value=10.0 + number)
        turn(worker, clock)
    clock.advance(rest - 0.01)
    turn(worker, clock)
    assert len(batches(broker)) == 1

    clock.advance(0.02)
    turn(worker, clock)
    assert [batch.columns["sales"] for batch in batches(broker)] == [(10.0,), (11.0, 12.0)]


def test_an_append_that_had_to_wait_for_a_turn_is_decided_without_a_rest(broker, clock, worker):
    """Red when `Appends.end` does not look at what is waiting."""
    for number in (0, 1):
        append(broker, clock, f"append-{number}", hours_ago=9, value=10.0 + number)
    turn(worker, clock, seconds=0.3)
    turn(worker, clock)

    assert [batch.columns["sales"] for batch in batches(broker)] == [(10.0,), (11.0,)]


def test_waiting_for_messages_ends_with_the_rest() -> None:
    """Red when `Appends.due_in` forgets one of the two: a row would wait for the next message, or nothing would rest."""
    appends = Appends(IngestLog())
    assert appends.due_in(1.0) is None
    appends.begin(1.0)
    appends.end(1.4)
    rows = SeriesRows(series_id=SERIES, time=(START,), columns={"sales": (1.0,)})
    request = AppendRequested(ingest_id="append-1", series=(rows,))
    appends.receive(incoming(INGEST_REQUESTS, request), request, 12)

    assert appends.due_in(1.5) == pytest.approx(0.3)
    assert appends.due_in(1.8) == appends.due_in(2.0) == 0.0


def test_an_append_that_comes_again_is_done_once(broker, clock, worker):
    """Red when `Appends.decide` does not ask whether it ``has_ended``: a second end would be told."""
    append(broker, clock, "append-1", hours_ago=9, value=10.0)
    work(worker, broker)
    append(broker, clock, "append-1", hours_ago=9, value=10.0)
    work(worker, broker)

    assert len(batches(broker)) == 1
    assert final(broker, "append-1").rows_published == 1


def test_an_append_in_another_partition_is_a_dead_letter(broker, clock, worker):
    elsewhere = (partition_for(SERIES.encode(), 12) + 1) % 12
    append(broker, clock, "append-1", hours_ago=9, value=10.0, partition=elsewhere)
    work(worker, broker)

    [letter] = records(broker, DEAD_LETTERS)
    assert letter.reason.startswith(f"wrong-partition: {SERIES} belongs to partition")
    assert batches(broker) == []


def test_what_is_on_its_way_is_dropped_with_its_partition(broker, clock, worker):
    """Red when `Ingests.revoked` keeps the outbox: rows would come from who does not own their series any more."""
    append(broker, clock, "append-1", hours_ago=9, value=10.0)
    effects = iter(worker.steps())
    assert "before-publish" in effects
    assert worker._core.outgoing()

    worker._core.revoked([HOME])

    assert worker._core.outgoing() == []


def test_what_waits_is_dropped_with_its_partition(worker):
    """Red when `Ingests.revoked` keeps the appends that are not decided."""
    for _ in worker.steps():
        pass
    rows = SeriesRows(series_id=SERIES, time=(START,), columns={"sales": (1.0,)})
    worker._core.receive(incoming(INGEST_REQUESTS, AppendRequested(ingest_id="append-1", series=(rows,))))
    assert worker._core._appends.partitions()

    worker._core.revoked([HOME])

    assert not worker._core._appends.partitions()


def test_appends_whose_rows_stand_in_the_same_batches_fail_together():
    """Red when `together` looks at the one append alone: another's end would count rows that are not published."""

    def decided(*names: str) -> DecidedAppend:
        request = AppendRequested(
            ingest_id=content_id(*names),
            series=tuple(SeriesRows(series_id=n, time=(START,), columns={"sales": (1.0,)}) for n in names),
        )
        event = IngestEvent(ingest_id=request.ingest_id, series_id=request.series_id, state="succeeded")
        return DecidedAppend(incoming(INGEST_REQUESTS, request), (), event, frozenset(names))

    first, second, third = decided("shop/a@1h", "shop/b@1h"), decided("shop/b@1h", "shop/c@1h"), decided("shop/d@1h")
    last = decided("shop/c@1h")

    assert together(first, [first, third, second, last]) == [first, second, last]
    assert together(third, [first, third, second, last]) == [third]
