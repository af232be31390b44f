"""The loop of jobs waits for what it has sent, and drops what is not its own any more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pytest

from runtime.batch import partition_of
from runtime.broker import Message, TopicPartition
from runtime.errors import TransientError
from runtime.health import Health
from runtime.incoming import Incoming, Outgoing
from runtime.job_worker import JobWorker, Partitions
from runtime.memory_broker import MemoryBroker
from runtime.metrics import Metrics
from runtime.offsets import OffsetTracker
from runtime.topic_specs import specs
from schemas.forecasts import ForecastRequested
from schemas.topics import DEPLOYMENTS, FORECAST_REQUESTS, FORECASTS
from tests.factories import deployment, forecast_refused
from tests.fakes import ManualClock
from tests.unit.runtime.test_worker import Network, answered, ask, committed, effects_until, everything

#: Without what is tested here, some of them go on for ever.
pytestmark = pytest.mark.timeout(60)
PLACE = TopicPartition("forecast-requests", 0)


class Refusals:
    """Refuses every request, and deploys something once that is acknowledged."""

    full: frozenset[TopicPartition] = frozenset()

    def __init__(self) -> None:
        self.received: list[int] = []
        self.is_behind = False
        self.tracker = OffsetTracker()
        self.group: list[Outgoing] = []

    def connect(self) -> None:
        pass

    def assigned(self, partitions: Partitions) -> None:
        pass

    def revoked(self, partitions: Partitions) -> None:
        pass

    def patience_seconds(self) -> float:
        return 0.0

    def learn(self, messages: Sequence[Message]) -> Iterator[str]:
        if self.is_behind:
            raise TransientError("the log cannot be read")
        yield from ()

    def receive(self, incoming: Incoming) -> None:
        assert isinstance(incoming.record, ForecastRequested)
        assert partition_of(incoming.message) == PLACE
        self.received.append(incoming.message.offset)
        self.tracker.received(incoming.message.offset)
        self.group = [
            Outgoing(topic=FORECASTS, record=forecast_refused(incoming.record.request_id)),
            Outgoing(topic=DEPLOYMENTS, record=deployment(), after_acknowledged=True),
        ]

    def skip(self, message: Message) -> None:
        raise NotImplementedError

    def work(self) -> Iterator[str]:
        yield from ()

    def outgoing(self) -> Sequence[Outgoing]:
        return self.group

    def sent(self, *_: object) -> None:
        self.group = []
        self.tracker.finished(self.received[-1])

    def rejected(self, outgoing: Outgoing, reason: str) -> None:
        raise NotImplementedError

    def committable(self) -> Mapping[TopicPartition, int]:
        return {} if self.tracker.committable is None else {PLACE: self.tracker.committable}

    def measure(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
def broker(clock: ManualClock, network: Network) -> MemoryBroker:
    broker = MemoryBroker(clock, network=network)
    broker.ensure_topics(specs())
    return broker


@pytest.fixture
def core() -> Refusals:
    return Refusals()


@pytest.fixture
def worker(broker: MemoryBroker, core: Refusals) -> Iterator[JobWorker]:
    worker = JobWorker(
        service="predictor",
        broker=broker,
        topics=[FORECAST_REQUESTS],
        core=core,
        metrics=Metrics("predictor"),
        health=Health(broker.clock),
        clock=broker.clock,
        delivery_seconds=5.0,
    )
    yield worker
    worker.close()


def turn(worker: JobWorker) -> None:
    for _ in worker.steps():
        pass


def test_what_was_sent_is_committed_and_followed_once_it_is_acknowledged(
    broker: MemoryBroker, worker: JobWorker, core: Refusals, network: Network
) -> None:
    """Red without ``after_acknowledged`` in `JobWorker._send`: the second would be in the log before the first is."""
    ask(broker, "a")
    turn(worker)
    assert (len(everything(broker, DEPLOYMENTS)), committed(broker)) == (1, 1)

    ask(broker, "b")
    network.acknowledges = False
    effects_until(worker.steps(), "before-back-off")

    assert answered(broker) == ["a", "b"]
    assert (len(everything(broker, DEPLOYMENTS)), committed(broker)) == (1, 1)


def test_nothing_counts_as_sent_before_the_last_of_it_is_acknowledged(
    broker: MemoryBroker, worker: JobWorker, network: Network
) -> None:
    """Red without the last `flush` in `JobWorker._send`: a crash would lose what is committed."""
    ask(broker, "a")
    network.lost_topic, network.acknowledges = "deployments", False
    effects_until(worker.steps(), "before-back-off")

    assert len(everything(broker, DEPLOYMENTS)) == 1
    assert committed(broker) == 0


def test_what_waits_is_dropped_with_its_partition(broker: MemoryBroker, worker: JobWorker, core: Refusals) -> None:
    """Red when `JobWorker._on_revoked` keeps ``_pending``: back here, it would come again behind itself."""
    ask(broker, "a", "b")
    core.is_behind = True
    effects_until(worker.steps(), "before-back-off")
    core.is_behind = False

    worker._on_revoked([PLACE])
    worker._on_assigned([PLACE])
    turn(worker)

    assert core.received == []


def test_what_was_polled_before_a_rebalance_within_the_poll_is_dropped(
    broker: MemoryBroker, worker: JobWorker, core: Refusals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red without ``_owned`` in `JobWorker._receive`."""
    turn(worker)
    consumer = worker.consumer
    assert consumer is not None
    poll = consumer.poll

    def poll_and_lose(timeout_seconds: float) -> Sequence[Message]:
        messages = poll(timeout_seconds)
        worker._on_revoked([PLACE])
        return messages

    monkeypatch.setattr(consumer, "poll", poll_and_lose)
    ask(broker, "a")
    turn(worker)

    assert core.received == []
