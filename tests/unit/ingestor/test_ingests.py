"""Fetches beside the loop: who waits for whom, what may be committed, and long ranges that go on after a crash."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from ingestor import service
from ingestor.compose import build
from ingestor.errors import NothingOlder, SourceUnreachable
from ingestor.fetching import Fetched, fetch
from ingestor.jobs import Fetchers, FetchJob, FetchRunner, InProcessRunner, ThreadRunner
from ingestor.mock import FIRST_HOUR, MockSource
from ingestor.providers import Policy, Providers
from ingestor.settings import IngestorSettings
from ingestor.sources import Wanted
from runtime.broker import TopicPartition, partition_for
from runtime.clock import SystemClock
from runtime.job_worker import JobWorker
from runtime.memory_broker import MemoryBroker
from runtime.topic_specs import specs
from schemas.ingests import IngestEvent
from schemas.topics import INGEST_EVENTS
from tests.fakes import ManualClock
from tests.unit.ingestor.frames import frame, wanted
from tests.unit.ingestor.test_handlers import ask, batches, final, records

DEADLINE_SECONDS = 120.0
REMOTE = Policy(parallel=2, is_remote=True)
HET = {"series_id": "market/HET@1h", "freq": "1h", "sources": ("mock",), "symbol": "HET"}
#: Rows of the backfill, and those that one part asks for.
ROWS, PART_ROWS = 24 * 100, 24 * 10


def rows(_wanted: Wanted) -> Fetched:
    return Fetched(frame=frame(close=[1.0, 2.0], source="one"), rows_received=2)


class Town:
    """Ingestors on one log and one clock."""

    def __init__(self, clock: ManualClock | SystemClock | None = None) -> None:
        self.clock = clock or ManualClock()
        self.broker = MemoryBroker(self.clock)
        self.broker.ensure_topics(specs())
        self.workers: list[JobWorker] = []

    def start(
        self,
        sources: Fetchers,
        limits: dict[str, Policy],
        runner: Callable[[Fetchers], FetchRunner] = InProcessRunner,
        **settings: float,
    ) -> JobWorker:
        worker = build(
            IngestorSettings(**{"retry_seconds": 0} | settings),  # type: ignore[arg-type]
            broker=self.broker,
            clock=self.clock,
            sources=sources,
            limits=limits,
            runner=runner,
            poll_seconds=0.02,
        )
        self.workers.append(worker)
        return worker

    def turn(self, worker: JobWorker, turns: int = 1) -> None:
        for _ in range(turns):
            for _ in worker.steps():
                pass

    def ended(self) -> list[str]:
        return [e.ingest_id for e in records(self.broker, INGEST_EVENTS) if e.state != "running"]

    def told(self) -> list[IngestEvent]:
        return [e for e in records(self.broker, INGEST_EVENTS) if isinstance(e, IngestEvent)]

    def work_until(self, worker: JobWorker, holds: Callable[[], bool]) -> None:
        until = SystemClock().monotonic() + DEADLINE_SECONDS
        while not holds():
            assert SystemClock().monotonic() < until, "not within the deadline"
            self.turn(worker)

    def committed(self, series_id: str) -> int:
        place = TopicPartition("ingest-requests", partition_for(series_id.encode(), 12))
        return self.broker.committed("ingestor", [place]).get(place, 0)


@pytest.fixture
def town() -> Iterator[Town]:
    found = Town()
    yield found
    for worker in found.workers:
        worker.close()


# --- many at once ---------------------------------------------------------------------------------------------------


def test_fetches_that_end_at_once_are_published_in_one_turn(town: Town) -> None:
    """A turn takes several round trips. Red without `Ingests._gather`: two places make two series a turn."""
    for number in range(20):
        ask(town.broker, f"series-{number}", series_id=f"market/S{number}@1d", sources=("one",), symbol=f"S{number}")
    worker = town.start({"one": rows}, {"one": Policy(parallel=2)})
    town.work_until(worker, lambda: len(town.ended()) > 0)

    assert len(town.ended()) == 20


def test_a_turn_gathers_no_more_rows_than_may_be_in_memory(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red when `Ingests._gather` does not count rows."""
    monkeypatch.setattr(service, "_GATHER_ROWS", 8)  # of two rows a series
    for number in range(20):
        ask(town.broker, f"series-{number}", series_id=f"market/S{number}@1d", sources=("one",), symbol=f"S{number}")
    worker = town.start({"one": rows}, {"one": Policy(parallel=2)})
    town.work_until(worker, lambda: len(town.ended()) > 0)

    assert len(town.ended()) == 4


# --- one provider that hangs ----------------------------------------------------------------------------------------


def test_a_provider_that_hangs_makes_only_its_own_series_late() -> None:
    """Red when `Provider.has_room` does not look at ``policy.parallel``, or fetches run in the loop."""
    town, go_on = Town(SystemClock()), threading.Event()
    begun: list[str] = []

    class Runner(ThreadRunner):
        def start(self, job):
            # Not in the thread, which may come to it late.
            begun.append(job.source)
            super().start(job)

    def hangs(wanted: Wanted) -> Fetched:
        assert go_on.wait(DEADLINE_SECONDS)
        return rows(wanted)

    for number in range(6):
        ask(town.broker, f"slow-{number}", series_id=f"market/S{number}@1d", sources=("dead",), symbol=f"S{number}")
    for number in range(6):
        ask(town.broker, f"fast-{number}", series_id=f"market/F{number}@1d", sources=("one",), symbol=f"F{number}")
    worker = town.start({"dead": hangs, "one": rows}, {"dead": REMOTE, "one": REMOTE}, Runner)
    town.work_until(worker, lambda: len(town.ended()) == 6)

    assert sorted(town.ended()) == [f"fast-{number}" for number in range(6)]
    assert begun.count("dead") == REMOTE.parallel
    go_on.set()
    town.work_until(worker, lambda: len(town.ended()) == 12)
    worker.close()


def test_nothing_is_committed_past_a_request_that_has_not_ended() -> None:
    """Red when `OffsetTracker.committable` is the next offset; a restart would never fetch the first series."""
    town, go_on = Town(SystemClock()), threading.Event()

    def hangs(wanted: Wanted) -> Fetched:
        assert go_on.wait(DEADLINE_SECONDS)
        return rows(wanted)

    home = partition_for(b"market/X@1d", 12)
    other = next(s for n in range(999) if partition_for((s := f"market/Y{n}@1d").encode(), 12) == home)
    ask(town.broker, "first", sources=("dead",))
    ask(town.broker, "second", series_id=other, sources=("one",))
    worker = town.start({"dead": hangs, "one": rows}, {}, ThreadRunner)
    town.work_until(worker, lambda: town.ended() == ["second"])
    town.turn(worker, 3)

    assert town.committed("market/X@1d") == 0
    go_on.set()
    town.work_until(worker, lambda: town.committed("market/X@1d") == 2)
    worker.close()


def test_a_series_does_one_request_at_a_time(town: Town) -> None:
    """Red when `Ingests.work` looks at more than the head of each series."""
    at_once: list[int] = []
    running: list[str] = []

    class Runner(InProcessRunner):
        def start(self, job):
            running.append(job.wanted.symbol)
            at_once.append(running.count(job.wanted.symbol))
            super().start(job)

        def poll(self, timeout_seconds):
            running.clear()
            return super().poll(timeout_seconds)

    for number in range(4):
        ask(town.broker, f"i-{number}")
    town.turn(town.start({"one": rows}, {}, Runner), 12)

    assert town.ended() == [f"i-{number}" for number in range(4)]
    assert at_once == [1, 1, 1, 1]


def test_what_was_fetched_for_a_partition_that_is_gone_is_dropped_and_done_by_its_new_owner() -> None:
    """Red when `Ingests.revoked` keeps the series: both instances would publish them."""
    town, go_on = Town(SystemClock()), threading.Event()
    asked: list[str] = []

    def hangs(wanted: Wanted) -> Fetched:
        asked.append(wanted.symbol)
        assert go_on.wait(DEADLINE_SECONDS)
        return rows(wanted)

    names = [f"S{number}" for number in range(24)]
    for name in names:
        ask(town.broker, name, series_id=f"market/{name}@1d", symbol=name)
    limits = {"one": Policy(parallel=64)}
    first = town.start({"one": hangs}, limits, ThreadRunner)
    town.work_until(first, lambda: len(asked) == len(names))
    second = town.start({"one": hangs}, limits, ThreadRunner)

    def both() -> None:
        town.turn(first)
        town.turn(second)

    until = SystemClock().monotonic() + DEADLINE_SECONDS
    while len(asked) == len(names):
        assert SystemClock().monotonic() < until, "the second instance has begun nothing"
        both()
    go_on.set()
    while len(town.ended()) < len(names):
        assert SystemClock().monotonic() < until, "not all has ended"
        both()
    for _ in range(5):
        both()

    assert sorted(town.ended()) == sorted(names)
    assert sorted(batch.series_id for batch in batches(town.broker)) == sorted(f"market/{name}@1d" for name in names)
    for worker in (first, second):
        worker.close()


def test_a_signal_that_is_handled_past_the_end_of_a_wait_does_not_make_it_endless() -> None:
    """Red with `queue.SimpleQueue` in `ThreadRunner`: an ingestor that is told to stop would not, until a fetch ends."""
    go_on = threading.Event()

    def hangs(wanted: Wanted) -> Fetched:
        go_on.wait(10.0)
        return rows(wanted)

    runner = ThreadRunner({"one": hangs})
    runner.start(FetchJob(1, "one", wanted()))
    before = signal.signal(signal.SIGUSR1, lambda *_: threading.Event().wait(0.3))
    sender = threading.Timer(0.02, signal.pthread_kill, (threading.get_ident(), signal.SIGUSR1))
    sender.start()
    try:
        assert runner.poll(0.1) == []
        sender.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    go_on.set()
    assert [ended.number for ended in runner.poll(DEADLINE_SECONDS)] == [1]


# --- budgets and waits ----------------------------------------------------------------------------------------------


def test_the_budget_of_a_provider_holds(town: Town) -> None:
    """Red when `Provider.begin` takes nothing from the budget."""
    asked: list[float] = []

    def counted(wanted: Wanted) -> Fetched:
        asked.append(town.clock.monotonic())
        return rows(wanted)

    for number in range(12):
        ask(town.broker, f"i-{number}", series_id=f"market/B{number}@1d", symbol=f"B{number}")
    worker = town.start({"one": counted}, {"one": Policy(parallel=64, per_minute=4)})
    started = town.clock.monotonic()
    for _ in range(4000):
        if len(asked) == 12:
            break
        town.turn(worker)
        town.clock.sleep(0.5)

    at = [moment - started for moment in asked]
    assert len(at) == 12
    assert at[3] < 2
    for index in range(4, 12):
        assert at[index] >= 15 * (index - 3) - 1, "four a minute, after the first four"
        # Never more than twice the budget in any minute: what was saved up, and what came since.
        assert sum(1 for moment in at if at[index] - 60 < moment <= at[index]) <= 8


def test_a_wait_that_the_provider_asks_for_is_kept_for_all_its_series(town: Town) -> None:
    """Red when `Provider.end` does not look at ``retry_after_seconds``."""
    asked: list[float] = []

    def limited(wanted: Wanted) -> Fetched:
        asked.append(town.clock.monotonic())
        if len(asked) == 1:
            raise SourceUnreachable("one", "answered with HTTP status 429", 40.0)
        return rows(wanted)

    ask(town.broker, "a")
    ask(town.broker, "b", series_id="market/B@1d")
    worker = town.start({"one": limited}, {"one": Policy(parallel=1, is_remote=True)}, retry_seconds=60)
    for _ in range(400):
        town.turn(worker)
        town.clock.sleep(0.25)

    assert sorted(town.ended()) == ["a", "b"]
    assert {final(town.broker, name).state for name in "ab"} == {"succeeded"}
    assert len(asked) == 3
    assert asked[1] - asked[0] >= 40


def test_a_longer_wait_than_the_request_has_patience_for_fails_it_at_once(town: Town) -> None:
    def limited(_wanted: Wanted) -> Fetched:
        raise SourceUnreachable("one", "answered with HTTP status 429", 3600.0)

    ask(town.broker)
    began = town.clock.monotonic()
    town.turn(town.start({"one": limited}, {"one": REMOTE}, retry_seconds=60), 4)

    assert final(town.broker).reason == "one: answered with HTTP status 429"
    assert town.clock.monotonic() - began < 5


def test_a_provider_that_is_away_is_asked_less_and_less_until_the_time_is_up(town: Town) -> None:
    asked: list[float] = []

    def away(_wanted: Wanted) -> Fetched:
        asked.append(town.clock.monotonic())
        raise SourceUnreachable("one", "is away")

    ask(town.broker)
    worker = town.start({"one": away}, {"one": REMOTE}, retry_seconds=40)
    for _ in range(400):
        town.turn(worker)
        town.clock.sleep(0.25)

    assert (final(town.broker).state, final(town.broker).reason) == ("failed", "one: is away")
    assert {each.reason for each in town.told() if each.state == "running"} == {"", "one: is away"}
    gaps = [round(later - earlier) for earlier, later in pairwise(asked)]
    assert gaps == [1, 2, 4, 8, 16]


def test_while_a_provider_is_away_the_next_source_is_taken_without_asking_it_again(town: Town) -> None:
    """Red when `Ingest.choose` does not look at ``is_away``: each series would wait for the time-out once more."""
    asked: list[str] = []

    def away(wanted: Wanted) -> Fetched:
        asked.append(wanted.symbol)
        raise SourceUnreachable("dead", "is away")

    for number in range(5):
        ask(town.broker, f"i-{number}", series_id=f"market/B{number}@1d", sources=("dead", "one"), symbol=f"B{number}")
    limits = {"dead": Policy(parallel=1, is_remote=True)}
    town.turn(town.start({"dead": away, "one": rows}, limits), 8)

    assert len(asked) == 1
    assert {final(town.broker, f"i-{number}").reason for number in range(5)} == {"dead: is away; one taken instead"}


def test_hosts_of_addresses_are_providers_of_their_own() -> None:
    providers = Providers({"url": Policy(parallel=1, is_remote=True, by_host=True)})
    dead = providers.of("url", "https://dead.example/a.csv", 0.0)
    dead.begin()

    assert not providers.of("url", "https://dead.example/b.csv", 0.0).has_room(0.0)
    assert providers.of("url", "https://other.example/a.csv", 0.0).has_room(0.0)


# --- long ranges ----------------------------------------------------------------------------------------------------


PARTS = Policy(chunk_rows=PART_ROWS, first_day=lambda _freq, _today: FIRST_HOUR.date())


class Counting:
    """The mock asset; keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[Wanted] = []

    def __call__(self, wanted: Wanted) -> Fetched:
        self.asked.append(wanted)
        return fetch(MockSource(), wanted)


def hours_after_first(hours: int) -> ManualClock:
    return ManualClock(now=FIRST_HOUR + timedelta(hours=hours))


def test_a_long_range_comes_in_parts_and_tells_how_far_it_is() -> None:
    town, source = Town(hours_after_first(ROWS)), Counting()
    ask(town.broker, **HET)
    town.turn(town.start({"mock": source}, {"mock": PARTS}), 40)

    event = final(town.broker)
    assert (event.state, event.rows_received, event.rows_published, event.fraction) == ("succeeded", ROWS, ROWS, 1.0)
    assert (event.first_time, event.last_time) == (FIRST_HOUR, FIRST_HOUR + timedelta(hours=ROWS - 1))
    told = [each.fraction for each in town.told() if each.state == "running" and each.fraction]
    assert len(told) == len(source.asked) - 1 >= 9
    assert told == sorted(told)
    # The newest part comes first: what comes after it is history, of which nobody is to forecast anything.
    assert {batch.kind for batch in batches(town.broker)} == {"history"}


@pytest.mark.parametrize("effects", range(10, 200, 7))
def test_a_backfill_that_is_killed_goes_on_where_the_log_ends(effects: int) -> None:
    """Red without `IngestLog.progress`: what was told is asked for again."""
    town, before, after = Town(hours_after_first(ROWS)), Counting(), Counting()
    ask(town.broker, **HET)
    worker = town.start({"mock": before}, {"mock": PARTS})
    effect = (each for _ in range(200) for each in worker.steps())
    for _ in range(effects):
        next(effect, None)
    assert worker.consumer is not None
    town.broker.expire(worker.consumer)
    done = [each.fraction for each in town.told() if each.state == "running" and each.fraction]
    town.turn(town.start({"mock": after}, {"mock": PARTS}), 40)

    times = [time for batch in batches(town.broker) for time in batch.time]
    assert len(times) == len(set(times)) == ROWS
    assert final(town.broker).state == "succeeded"
    assert len(after.asked) <= 11 - len(done)
    assert final(town.broker).rows_received == ROWS  # what was told before the kill, and what came after it


def test_a_range_ends_where_the_source_has_nothing_older(town: Town) -> None:
    listed = town.clock.now() - timedelta(days=25)

    def young(wanted: Wanted) -> Fetched:
        assert wanted.end is not None
        if wanted.end < listed.date():
            raise NothingOlder("mock", "not listed yet")
        return fetch(MockSource(), wanted)

    ask(town.broker, **HET)
    town.turn(town.start({"mock": young}, {"mock": PARTS}), 20)

    event = final(town.broker)
    assert (event.state, event.fraction) == ("succeeded", 1.0)
    assert event.rows_received > 24 * 25


def test_a_scheduled_run_asks_only_for_what_came_since() -> None:
    town, source = Town(hours_after_first(ROWS)), Counting()
    limits = {"mock": Policy(chunk_rows=PART_ROWS, first_day=PARTS.first_day, is_incremental=True)}
    ask(town.broker, "first", **HET)
    worker = town.start({"mock": source}, limits)
    town.turn(worker, 40)
    source.asked.clear()
    town.clock.sleep(24 * 3600)
    ask(town.broker, "second", cause="schedule", **HET)
    town.turn(worker, 4)

    [wanted] = source.asked
    assert wanted.start == datetime(2020, 4, 7, tzinfo=UTC).date()
    assert final(town.broker, "second").rows_published == 24


def test_a_bug_in_a_source_stops_the_service(town: Town) -> None:
    def broken(_wanted: Wanted) -> Fetched:
        raise KeyError("a bug")

    ask(town.broker)
    worker = town.start({"one": broken}, {}, ThreadRunner)
    with pytest.raises(KeyError, match="a bug"):
        town.work_until(worker, lambda: False)
    assert town.committed("market/X@1d") == 0
