"""The whole service on the in-memory broker: from a request to observations and events, through every crash."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingestor.compose import build
from ingestor.errors import BadSourceData, SourceUnreachable, UnknownSymbol
from ingestor.fetching import Fetched, fetch
from ingestor.files import FileSource
from ingestor.jobs import InProcessRunner
from ingestor.mock import MockSource
from ingestor.sample import SampleSource
from ingestor.settings import IngestorSettings
from ingestor.sources import SourceFrame, Wanted
from runtime.broker import OutgoingMessage, TopicPartition, partition_for
from runtime.clock import SystemClock
from runtime.errors import SettingsError
from runtime.job_worker import JobWorker
from runtime.memory_broker import MemoryBroker
from runtime.topic_specs import specs
from schemas.codec import decode
from schemas.dead_letters import DeadLetter
from schemas.ingests import IngestEvent
from schemas.observations import ObservationBatch
from schemas.record import Record
from schemas.topics import DEAD_LETTERS, INGEST_EVENTS, INGEST_REQUESTS, OBSERVATIONS, Topic
from tests.factories import ingest_request, observation_batch, outgoing_message
from tests.fakes import ManualClock
from tests.unit.ingestor.frames import DAY, START, frame

DEADLINE_SECONDS = 120.0
SERIES = "market/X@1d"
TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


class Source:
    """Gives the frame that stands in it; counts how often it was asked."""

    def __init__(self, given: SourceFrame | Exception) -> None:
        self.given = given
        self.asked: list[Wanted] = []

    def __call__(self, wanted: Wanted) -> Fetched:
        self.asked.append(wanted)
        if isinstance(self.given, Exception):
            raise self.given
        return Fetched(frame=self.given, rows_received=len(self.given))


@pytest.fixture
def source() -> Source:
    return Source(frame(close=[1.0, 2.0, 3.0], source="one"))


@pytest.fixture
def start(broker: MemoryBroker, clock: ManualClock, source: Source) -> Callable[..., JobWorker]:
    """Start the service, in place of the one that ran before."""
    running: list[JobWorker] = []

    def start(**sources: Callable[[Wanted], Fetched]) -> JobWorker:
        for worker in running:
            worker.close()
        running.append(
            build(
                IngestorSettings(retry_seconds=0),
                runner=InProcessRunner,
                broker=broker,
                clock=clock,
                sources={"one": source, **sources},
                poll_seconds=0.0,
            )
        )
        return running[-1]

    return start


def ask(broker: MemoryBroker, ingest_id: str = "ingest-1", partition: int | None = None, **changes) -> None:
    values = {"series_id": SERIES, "sources": ("one",), "symbol": "X"} | changes
    broker.producer().send(
        outgoing_message(INGEST_REQUESTS, ingest_request(ingest_id, **values), traceparent=TRACE, partition=partition)
    )


def work(worker: JobWorker, broker: MemoryBroker) -> None:
    """Work until nothing is waiting."""
    partitions = [TopicPartition("ingest-requests", number) for number in range(12)]
    until = SystemClock().monotonic() + DEADLINE_SECONDS
    while True:
        for _ in worker.steps():
            pass
        if broker.committed("ingestor", partitions) == {
            key: end for key, end in broker.end_offsets(partitions).items() if end
        }:
            return
        # A fetch in a thread may take a while on a busy machine.
        assert SystemClock().monotonic() < until, "requests are left waiting"


def records(broker: MemoryBroker, topic: Topic) -> list[Record]:
    partitions = [TopicPartition(topic.name, number) for number in range(broker.partitions(topic.name))]
    reader = broker.reader(dict.fromkeys(partitions, 0))
    found = []
    while messages := reader.poll(0, 1000):
        found += [decode(topic, message.value, message.headers).record for message in messages]
    return found


def batches(broker: MemoryBroker) -> list[ObservationBatch]:
    return [record for record in records(broker, OBSERVATIONS) if isinstance(record, ObservationBatch)]


def events(broker: MemoryBroker) -> list[tuple[str, str]]:
    return [(record.ingest_id, record.state) for record in records(broker, INGEST_EVENTS)]


def final(broker: MemoryBroker, ingest_id: str = "ingest-1") -> IngestEvent:
    [event] = [e for e in records(broker, INGEST_EVENTS) if e.ingest_id == ingest_id and e.state != "running"]
    return event


def days(broker: MemoryBroker) -> list[int]:
    return [int((time.timestamp() - START) // DAY) for batch in batches(broker) for time in batch.time]


def test_an_ingest_runs_publishes_and_succeeds(broker, start, clock):
    ask(broker)
    work(start(), broker)

    assert events(broker) == [("ingest-1", "running"), ("ingest-1", "succeeded")]
    assert days(broker) == [0, 1, 2]
    event = final(broker)
    assert (event.source, event.rows_received, event.rows_published, event.reason) == ("one", 3, 3, "")
    assert (event.first_time, event.last_time) == (
        datetime.fromtimestamp(START, UTC),
        datetime.fromtimestamp(START + 2 * DAY, UTC),
    )
    assert batches(broker)[0].received_at == clock.now()


def test_a_second_ingest_of_the_same_publishes_nothing(broker, start):
    ask(broker)
    ask(broker, "ingest-2")
    work(start(), broker)
    ask(broker, "ingest-3")
    work(start(), broker)  # after a restart, too

    assert days(broker) == [0, 1, 2]
    assert final(broker, "ingest-2").rows_published == final(broker, "ingest-3").rows_published == 0
    assert final(broker, "ingest-3").state == "succeeded"


def test_the_whole_log_is_read_before_anything_is_decided(broker, start):
    """Red without `OwnedPartitions.know_all`: a turn reads some hundred messages, and then a request is decided."""
    partition = partition_for(SERIES.encode(), 12)
    producer = broker.producer()
    for number in range(1200):
        other = observation_batch(series_id="market/other@1d", rows=1, source=f"s{number}")
        producer.send(outgoing_message(OBSERVATIONS, other, partition=partition))
    ask(broker)
    work(start(), broker)
    ask(broker, "ingest-2")
    work(start(), broker)

    assert final(broker, "ingest-2").rows_published == 0


def test_a_request_that_is_delivered_again_is_done_once(broker, start, source, monkeypatch):
    """Red without ``knows`` in `Ingests.receive`: what is finished twice ends the service."""
    worker = start()
    receive = worker._core.receive
    monkeypatch.setattr(worker._core, "receive", lambda incoming: [receive(incoming) for _ in range(2)])
    ask(broker)
    work(worker, broker)
    for _ in range(2):
        for _ in worker.steps():
            pass

    assert events(broker) == [("ingest-1", "running"), ("ingest-1", "succeeded")]
    assert len(source.asked) == 1


def test_a_request_that_has_ended_is_not_done_again(broker, start, source):
    ask(broker)
    work(start(), broker)
    ask(broker)
    work(start(), broker)

    assert events(broker).count(("ingest-1", "succeeded")) == 1
    assert len(source.asked) == 1


def test_new_and_changed_rows_follow(broker, start, source):
    ask(broker)
    worker = start()
    work(worker, broker)
    source.given = frame(close=[1.0, 2.5, 3.0, 4.0], source="one")
    ask(broker, "ingest-2")
    work(worker, broker)

    assert [(batch.kind, len(batch.time)) for batch in batches(broker)] == [
        ("history", 3),
        ("restatement", 1),
        ("append", 1),
    ]
    assert final(broker, "ingest-2").rows_published == 2


def test_what_the_log_knows_is_told_to_the_source(broker, start, source):
    ask(broker)
    ask(broker, "ingest-2")
    work(start(), broker)

    assert [wanted.known_since for wanted in source.asked] == [None, datetime.fromtimestamp(START, UTC).date()]


def test_a_source_that_cannot_be_reached_is_passed_over_and_named(broker, start):
    away = Source(SourceUnreachable("yahoo", "could not be reached within 5 s: connection refused"))
    ask(broker, sources=("yahoo", "one"))
    work(start(yahoo=away), broker)

    event = final(broker)
    assert (event.state, event.source) == ("succeeded", "one")
    assert event.reason == "yahoo: could not be reached within 5 s: connection refused; one taken instead"


def test_no_source_that_can_be_reached_fails(broker, start):
    ask(broker, sources=("a", "b"))
    work(start(a=Source(SourceUnreachable("a", "is away")), b=Source(SourceUnreachable("b", "too"))), broker)

    assert (final(broker).state, final(broker).reason) == ("failed", "a: is away; b: too")
    assert batches(broker) == []


@pytest.mark.parametrize("fault", [UnknownSymbol("one", "there is no X"), BadSourceData("one", "there is no X")])
def test_a_source_that_answers_no_is_final(broker, start, source, fault):
    source.given = fault
    other = Source(frame(close=[1.0]))
    ask(broker, sources=("one", "other"))
    work(start(other=other), broker)

    assert (final(broker).state, final(broker).reason) == ("failed", "one: there is no X")
    assert other.asked == []


def test_an_unknown_source_fails_with_the_known_ones(broker, start):
    ask(broker, sources=("two",))
    work(start(), broker)

    assert (final(broker).state, final(broker).reason) == ("failed", "source must be one of one, was 'two'")


def test_rows_that_cannot_be_of_the_series_fail(broker, start):
    ask(broker)
    ask(broker, "ingest-2", calendar="XNYS")
    work(start(), broker)

    assert final(broker, "ingest-2").state == "failed"
    assert "has calendar 24/7 in the log" in final(broker, "ingest-2").reason


def test_a_frame_without_a_complete_row_fails(broker, start, source):
    source.given = frame(close=[1.0]).rows(slice(0, 0), "withheld until complete: 2024-01-02")
    ask(broker)
    work(start(), broker)

    assert final(broker).reason == "test: no complete observation; withheld until complete: 2024-01-02"


def test_the_trace_of_the_request_goes_on_in_what_is_published(broker, start):
    ask(broker)
    work(start(), broker)

    partition = partition_for(SERIES.encode(), 12)
    for topic in ("observations", "ingest-events"):
        messages = broker.reader({TopicPartition(topic, partition): 0}).poll(0)
        assert {dict(message.headers)["traceparent"] for message in messages} == {TRACE.encode()}


def test_junk_and_a_request_in_the_wrong_partition_are_dead_letters(broker, start):
    home = partition_for(SERIES.encode(), 12)
    broker.producer().send(OutgoingMessage(topic="ingest-requests", key=b"x", value=b"junk", partition=home))
    ask(broker, "ingest-2", partition=(home + 1) % 12)
    ask(broker)
    work(start(), broker)

    reasons = sorted(letter.reason for letter in records(broker, DEAD_LETTERS) if isinstance(letter, DeadLetter))
    assert len(reasons) == 2
    assert reasons[1].startswith(f"wrong-partition: {SERIES} belongs to partition {home}, the request stands in")
    assert final(broker).state == "succeeded"


def test_junk_in_the_followed_topics_is_passed_over(broker, start):
    home = partition_for(SERIES.encode(), 12)
    for topic in ("observations", "ingest-events"):
        broker.producer().send(OutgoingMessage(topic=topic, key=b"x", value=b"junk", partition=home))
    ask(broker)
    worker = start()
    for _ in range(3):
        list(worker.steps())

    assert broker.committed("ingestor", [TopicPartition("ingest-requests", home)]).popitem()[1] == 1
    assert records(broker, DEAD_LETTERS) == []


def test_topics_with_other_partitions_stop_the_service(clock, source):
    broker = MemoryBroker(clock)
    broker.ensure_topics([spec for spec in specs() if spec.name != "observations"])
    broker.ensure_topics([type(spec)(name=spec.name, partitions=6) for spec in specs() if spec.name == "observations"])
    worker = build(
        IngestorSettings(retry_seconds=0), runner=InProcessRunner, broker=broker, clock=clock, sources={"one": source}
    )

    with pytest.raises(SettingsError, match="topic observations must have 12 partitions, has 6"):
        work(worker, broker)


def test_number_of_partitions_is_that_of_the_topics(clock, source):
    """Red when `build` takes the number from `schemas.topics`: the request would be a dead letter."""
    broker = MemoryBroker(clock)
    broker.ensure_topics(replace(spec, partitions=5) if spec.partitions == 12 else spec for spec in specs())
    assert partition_for(SERIES.encode(), 5) != partition_for(SERIES.encode(), 12)
    ask(broker)
    worker = build(
        IngestorSettings(retry_seconds=0), runner=InProcessRunner, broker=broker, clock=clock, sources={"one": source}
    )
    for _ in range(2):  # it is begun in the first turn, and ends in the second
        list(worker.steps())

    assert final(broker).state == "succeeded"


symbols = st.sampled_from(["AAPL", "HET", "a.csv", "b.parquet", "../a.csv", "a\0", ""]) | st.text(max_size=10)
freqs = st.sampled_from(["1d", "1h", "1w", "1mo", "999999999999y", "99999999999999999999min", "1000d"])
asked_days = st.none() | st.dates() | st.sampled_from([date.min, date.max])


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    values=st.fixed_dictionaries(
        {
            "sources": st.lists(st.sampled_from(["sample", "mock", "file", "nope"]), min_size=1, max_size=3).map(tuple),
            "symbol": symbols,
            "freq": freqs,
            "calendar": st.sampled_from(["XNYS", "24/7", "XTKS", "NOPE", "", "\0"]),
            "adjust": st.booleans(),
        }
    ),
    range_=st.tuples(asked_days, asked_days),
)
def test_whatever_is_asked_ends(tmp_path, values, range_):
    """A request that raised here would stop the service, and stop it again after every restart."""
    (tmp_path / "a.csv").write_text("Date,Close\n0001-01-01,1\n9999-12-31,1\n")
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    start, end = range_
    if start and end and start > end:
        start, end = end, start
    clock = ManualClock()
    broker = MemoryBroker(clock)
    broker.ensure_topics(specs())
    asked = {"sample": SampleSource(), "mock": MockSource(), "file": FileSource(tmp_path)}
    fetchers = {name: partial(fetch, source) for name, source in asked.items()}
    ask(broker, series_id=f"market/X@{values['freq']}", start=start, end=end, **values)

    work(
        build(IngestorSettings(retry_seconds=0), runner=InProcessRunner, broker=broker, clock=clock, sources=fetchers),
        broker,
    )

    event = final(broker)
    assert event.state == "succeeded" or event.reason


@pytest.mark.parametrize("effects", range(1, 26))  # the effects of one load of three batches are 22
def test_a_crash_between_any_two_effects_loses_and_repeats_no_row(effects):
    """A load of several batches dies after so many effects; the next process finishes it, every row once."""
    rows = 3 * 5000
    clock = ManualClock(now=datetime(2020, 1, 1, tzinfo=UTC) + timedelta(hours=rows))
    broker = MemoryBroker(clock)
    broker.ensure_topics(specs())
    large = partial(fetch, MockSource())
    sources = {"mock": large}
    ask(broker, series_id="market/HET@1h", freq="1h", sources=("mock",), symbol="HET")
    worker = build(
        IngestorSettings(retry_seconds=0), runner=InProcessRunner, broker=broker, clock=clock, sources=sources
    )
    steps = worker.steps()
    for _ in range(effects):
        next(steps, None)
    steps.close()
    worker.close()

    work(
        build(IngestorSettings(retry_seconds=0), runner=InProcessRunner, broker=broker, clock=clock, sources=sources),
        broker,
    )

    times = [time for batch in batches(broker) for time in batch.time]
    assert len(times) == len(set(times)) == rows
    assert final(broker).state == "succeeded"
