"""What a handler needs from outside is fetched before it decides, and what relies on a record waits for its ack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from runtime.broker import TopicPartition
from runtime.errors import TransientError
from runtime.incoming import Incoming, Outgoing
from runtime.memory_broker import MemoryBroker
from runtime.memory_delivery import PromptNetwork, SentMessage
from runtime.topic_specs import specs
from runtime.worker import Worker
from schemas.topics import INGEST_EVENTS, INGEST_REQUESTS, OBSERVATIONS
from tests.factories import ingest_event, ingest_request, observation_batch, outgoing_message
from tests.fakes import ManualClock


class Loader:
    """Publishes one batch and then says so."""

    def needs(self, batch: Sequence[Incoming]) -> Mapping[TopicPartition, int]:
        return {}

    def handle(self, batch: Sequence[Incoming]) -> Sequence[Outgoing]:
        return [
            Outgoing(topic=OBSERVATIONS, record=observation_batch()),
            Outgoing(topic=INGEST_EVENTS, record=ingest_event(state="succeeded"), after_acknowledged=True),
        ]


class SlowNetwork(PromptNetwork):
    """Keeps observations on their way until told to append them."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[SentMessage] = []

    def on_send(self, sent: SentMessage) -> None:
        if sent.partition.topic == "observations":
            self.waiting.append(sent)
        else:
            super().on_send(sent)


@pytest.fixture
def network() -> SlowNetwork:
    return SlowNetwork()


@pytest.fixture
def broker(clock: ManualClock, network: SlowNetwork) -> MemoryBroker:
    broker = MemoryBroker(clock, network=network)
    broker.ensure_topics(specs())
    broker.producer().send(outgoing_message(INGEST_REQUESTS, ingest_request()))
    return broker


def written(broker: MemoryBroker, topic: str) -> int:
    partitions = [TopicPartition(topic, number) for number in range(broker.partitions(topic))]
    return sum(broker.end_offsets(partitions).values())


def make_worker(broker: MemoryBroker, clock: ManualClock, **changes: object) -> Worker:
    return Worker(service="ingestor", broker=broker, topics=[INGEST_REQUESTS], handler=Loader(), clock=clock, **changes)


def test_a_record_that_relies_on_others_is_sent_once_they_are_acknowledged(broker, clock, network):
    """Red without the flush before `after_acknowledged` in Worker._publish."""
    steps = make_worker(broker, clock).steps()
    before_publish = [effect for effect in _until(steps, "before-acknowledge") if effect == "before-publish"]
    assert len(before_publish) == 1
    assert written(broker, "ingest-events") == 0

    for sent in network.waiting:
        sent.append()
        sent.acknowledge()
    list(steps)

    assert written(broker, "ingest-events") == 1


def test_prepare_is_called_before_handle_and_again_after_a_transient_error(broker, clock, network):
    network.on_send = PromptNetwork.on_send.__get__(network)
    calls: list[list[str]] = []

    def prepare(batch: Sequence[Incoming]) -> None:
        calls.append([incoming.record.ingest_id for incoming in batch])
        if len(calls) == 1:
            raise TransientError("the source does not answer")

    effects = list(make_worker(broker, clock, prepare=prepare).steps())

    assert calls == [["ingest-1"], ["ingest-1"]]
    assert effects.index("after-prepare") < effects.index("before-handle")
    assert written(broker, "ingest-events") == 1


def _until(steps, last):
    effects = []
    for effect in steps:
        effects.append(effect)
        if effect == last:
            break
    return effects
