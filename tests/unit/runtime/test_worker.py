"""The worker loses nothing, whatever fails and wherever it is stopped."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence

import pytest
from structlog.testing import capture_logs

from runtime.broker import Message, OutgoingMessage, TopicPartition
from runtime.dead_letter import DeadLetterLimit
from runtime.errors import InvalidMessage, TooManyDeadLetters, TransientError
from runtime.follower import Follower
from runtime.incoming import Incoming, Outgoing, decode_message
from runtime.memory_broker import MemoryBroker
from runtime.memory_delivery import PromptNetwork, SentMessage
from runtime.metrics import Metrics
from runtime.topic_specs import specs
from runtime.worker import Worker
from schemas.dead_letters import DeadLetter
from schemas.forecasts import ForecastRefused, ForecastRequested
from schemas.record import Record
from schemas.topics import DEAD_LETTERS, DEPLOYMENTS, FORECAST_REQUESTS, FORECASTS, Topic
from tests.factories import deployment, forecast_refused, forecast_request, outgoing_message
from tests.fakes import ManualClock

#: Without what is tested here, some of them go on for ever.
pytestmark = pytest.mark.timeout(60)
TRACE = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"


class Refuser:
    """Refuses every request; what it is told to raise, it raises once or always."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.raises: list[Exception] = []
        self.invalid: set[str] = set()
        self.needed: dict[TopicPartition, int] = {}

    def needs(self, batch: Sequence[Incoming]) -> Mapping[TopicPartition, int]:
        return self.needed

    def handle(self, batch: Sequence[Incoming]) -> Sequence[Outgoing]:
        requests = [i.record for i in batch if isinstance(i.record, ForecastRequested)]
        self.batches.append([request.request_id for request in requests])
        if self.raises:
            raise self.raises.pop(0)
        for request in requests:
            if request.request_id in self.invalid:
                raise InvalidMessage(f"{request.request_id} is not to be handled")
        return [Outgoing(topic=FORECASTS, record=forecast_refused(request.request_id)) for request in requests]


class Network(PromptNetwork):
    """Appends at once and acknowledges when told to, or fails as often as told."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 0
        self.acknowledges = True
        self.lost_topic = "forecasts"

    def on_send(self, sent: SentMessage) -> None:
        if sent.partition.topic != self.lost_topic:
            super().on_send(sent)
        elif self.failures:
            self.failures -= 1
            sent.fail("the leader has moved")
        else:
            sent.append()
            if self.acknowledges:
                sent.acknowledge()


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
def broker(clock: ManualClock, network: Network) -> MemoryBroker:
    broker = MemoryBroker(clock, network=network)
    broker.ensure_topics(specs())
    return broker


@pytest.fixture
def handler() -> Refuser:
    return Refuser()


def make_worker(broker: MemoryBroker, handler: Refuser, **changes: object) -> Worker:
    values: dict[str, object] = {
        "service": "predictor",
        "broker": broker,
        "topics": [FORECAST_REQUESTS],
        "handler": handler,
        "clock": broker.clock,
        "delivery_timeout_seconds": 5.0,
        **changes,
    }
    return Worker(**values)  # type: ignore[arg-type]


@pytest.fixture
def worker(broker: MemoryBroker, handler: Refuser) -> Worker:
    return make_worker(broker, handler)


def ask(broker: MemoryBroker, *request_ids: str, partition: int = 0) -> None:
    producer = broker.producer()
    for request_id in request_ids:
        message = outgoing_message(
            FORECAST_REQUESTS, forecast_request(request_id), traceparent=TRACE, partition=partition
        )
        producer.send(message)


def junk(broker: MemoryBroker, count: int = 1) -> None:
    producer = broker.producer()
    for _ in range(count):
        producer.send(OutgoingMessage("forecast-requests", b"key", b"junk", (("x", b"y"),), partition=0))


def everything(broker: MemoryBroker, topic: Topic) -> list[Message]:
    reader = broker.reader({TopicPartition(topic.name, number): 0 for number in range(topic.partitions)})
    return list(reader.poll(0, 10_000))


def records(broker: MemoryBroker, topic: Topic) -> list[Record]:
    return [decode_message(topic, message).record for message in everything(broker, topic)]


def answered(broker: MemoryBroker) -> list[str]:
    return [record.request_id for record in records(broker, FORECASTS) if isinstance(record, ForecastRefused)]


def committed(broker: MemoryBroker, partition: int = 0) -> int:
    key = TopicPartition("forecast-requests", partition)
    return broker.committed("predictor", [key]).get(key, 0)


def effects_until(steps: Iterator[str], last: str) -> list[str]:
    seen = []
    for effect in steps:
        seen.append(effect)
        if effect == last:
            break
    return seen


def test_a_cycle_does_its_effects_in_this_order(broker: MemoryBroker, worker: Worker) -> None:
    ask(broker, "a", "b")

    effects = [effect for effect in worker.steps() if effect.startswith("before")]

    assert effects == [
        "before-poll",
        "before-handle",
        "before-publish",
        "before-publish",
        "before-acknowledge",
        "before-commit",
    ]
    assert answered(broker) == ["a", "b"]
    assert committed(broker) == 2


def test_nothing_is_committed_before_the_acknowledgement(
    broker: MemoryBroker, worker: Worker, network: Network
) -> None:
    """Red when `commit` comes before `flush`, or when a failed `flush` is passed over."""
    ask(broker, "a")
    network.acknowledges = False

    effects_until(worker.steps(), "before-back-off")

    assert answered(broker) == ["a"]
    assert committed(broker) == 0


def test_the_commit_waits_for_every_record_of_the_batch(broker: MemoryBroker, worker: Worker, network: Network) -> None:
    """Red when the worker waits for the last delivery alone: here the first of three is lost."""
    ask(broker, "a", "b", "c")
    network.failures = 1

    effects_until(worker.steps(), "before-back-off")

    assert answered(broker) == ["b", "c"]
    assert committed(broker) == 0


@pytest.mark.parametrize("crash_at", range(16))
def test_a_crash_between_any_two_effects_loses_nothing(
    broker: MemoryBroker, worker: Worker, handler: Refuser, crash_at: int
) -> None:
    """Red with a commit in a `finally`, or anywhere before the acknowledgement."""
    ask(broker, "a", "b")
    junk(broker)
    steps = worker.steps()
    for _ in range(crash_at):
        next(steps, None)
    steps.close()  # type: ignore[attr-defined]  # a generator: what a crash leaves undone stays undone
    if worker.consumer is not None:
        broker.expire(worker.consumer)  # type: ignore[arg-type]  # the memory broker's own consumer

    successor = make_worker(broker, handler)
    list(successor.steps())

    assert set(answered(broker)) == {"a", "b"}
    assert len({message.key for message in everything(broker, DEAD_LETTERS)}) == 1
    assert committed(broker) == 3


def test_a_lost_delivery_is_sent_again_without_handling_again(
    broker: MemoryBroker, worker: Worker, handler: Refuser, network: Network
) -> None:
    """Red when a retry calls `handle` again: a handler that remembers its answers would say nothing the second time."""
    ask(broker, "a")
    network.failures = 2

    list(worker.steps())

    assert handler.batches == [["a"]]
    assert answered(broker) == ["a"]
    assert committed(broker) == 1


def test_a_transient_error_gives_the_same_messages_again_after_a_growing_wait(
    broker: MemoryBroker, worker: Worker, handler: Refuser, clock: ManualClock
) -> None:
    ask(broker, "a", "b")
    handler.raises = [TransientError("registry is away")] * 3

    list(worker.steps())

    assert handler.batches == [["a", "b"]] * 4
    assert clock.sleeps == pytest.approx([0.1, 0.2, 0.4])
    assert answered(broker) == ["a", "b"]


def test_an_outage_of_the_broker_is_waited_out(broker: MemoryBroker, worker: Worker, clock: ManualClock) -> None:
    """Red when `resume` after a failed poll is left out: the partitions would stay paused for ever."""
    ask(broker, "a")
    steps = worker.steps()
    effects_until(steps, "before-publish")
    broker.stop_answering()
    effects_until(steps, "before-back-off")
    next(steps)
    broker.answer_again()

    list(steps)
    ask(broker, "b")
    list(worker.steps())

    assert answered(broker) == ["a", "b"]
    assert committed(broker) == 2


def test_while_it_backs_off_it_stays_a_member_and_reads_nothing(
    broker: MemoryBroker, handler: Refuser, clock: ManualClock
) -> None:
    """Red without the poll in `_wait_as_member`: a second member would take the partitions over."""
    impatient = MemoryBroker(clock, max_poll_interval_seconds=3.0)
    impatient.ensure_topics(specs())
    worker = make_worker(impatient, handler)
    ask(impatient, "a")
    handler.raises = [TransientError("away")] * 8
    steps = worker.steps()
    effects_until(steps, "after-poll")
    ask(impatient, "b")
    for effect in steps:
        assert impatient.members("predictor") == 1, effect

    assert handler.batches == [["a"]] * 9
    assert committed(impatient) == 1


def test_what_comes_while_it_backs_off_is_read_again(
    broker: MemoryBroker, handler: Refuser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Red without the seek in `_wait_as_member`: a client that gives messages of a paused partition would lose them."""
    worker = make_worker(broker, handler)
    ask(broker, "a")
    handler.raises = [TransientError("away")]
    steps = worker.steps()
    effects_until(steps, "after-poll")
    assert worker.consumer is not None
    pause, asked = worker.consumer.pause, []

    def late(partitions: Collection[TopicPartition]) -> None:
        asked.append(partitions)
        if len(asked) > 1:
            pause(partitions)

    monkeypatch.setattr(worker.consumer, "pause", late)
    ask(broker, "b")
    list(steps)
    list(worker.steps())

    assert answered(broker) == ["a", "b"]
    assert committed(broker) == 2


def test_junk_becomes_a_dead_letter_with_its_original_bytes(broker: MemoryBroker, worker: Worker) -> None:
    ask(broker, "a")
    junk(broker)
    ask(broker, "b")

    list(worker.steps())

    (letter,) = records(broker, DEAD_LETTERS)
    assert isinstance(letter, DeadLetter)
    assert (letter.topic, letter.partition, letter.offset) == ("forecast-requests", 0, 1)
    assert (letter.key, letter.value, letter.headers) == (b"key", b"junk", {"x": b"y"})
    assert letter.service == "predictor"
    assert "ce_id" in letter.reason
    assert answered(broker) == ["a", "b"]
    assert committed(broker) == 3


def test_a_dead_letter_is_acknowledged_before_its_message_is_committed(
    broker: MemoryBroker, worker: Worker, network: Network
) -> None:
    """Red when dead letters are written past the flush."""
    junk(broker)
    network.lost_topic = "dead-letters"
    network.acknowledges = False

    effects_until(worker.steps(), "before-back-off")

    assert len(everything(broker, DEAD_LETTERS)) == 1
    assert committed(broker) == 0


def test_a_dead_letter_whose_delivery_was_lost_is_sent_again_alone(
    broker: MemoryBroker, worker: Worker, network: Network
) -> None:
    """Red without `is_judged`: every try would add the same dead letters, and count them, once more."""
    junk(broker)
    network.lost_topic = "dead-letters"
    network.failures = 2

    list(worker.steps())

    assert len(everything(broker, DEAD_LETTERS)) == 1
    assert committed(broker) == 1


def test_a_message_that_the_handler_refuses_does_not_take_the_others_with_it(
    broker: MemoryBroker, worker: Worker, handler: Refuser
) -> None:
    ask(broker, "a", "b", "c")
    handler.invalid = {"b"}

    list(worker.steps())

    (letter,) = records(broker, DEAD_LETTERS)
    assert isinstance(letter, DeadLetter)
    assert (letter.offset, letter.reason) == (1, "b is not to be handled")
    assert answered(broker) == ["a", "c"]
    assert handler.batches == [["a", "b", "c"], ["a"], ["b"], ["c"]]


def test_a_transient_error_while_messages_go_one_by_one_loses_no_answer(
    broker: MemoryBroker, worker: Worker, handler: Refuser
) -> None:
    """Red when the split begins anew: what was answered before the error would be handled twice."""
    ask(broker, "a", "b", "c")
    handler.invalid = {"b"}
    steps = worker.steps()
    handler.raises = [InvalidMessage("one of them")]
    original = handler.handle

    def handle(batch: Sequence[Incoming]) -> Sequence[Outgoing]:
        if len(handler.batches) == 2:
            handler.raises = [TransientError("away")]
        return original(batch)

    handler.handle = handle  # type: ignore[method-assign]  # our own fake, not product code
    list(steps)

    assert answered(broker) == ["a", "c"]
    assert handler.batches == [["a", "b", "c"], ["a"], ["b"], ["b"], ["c"]]


def test_any_other_error_stops_without_a_commit(broker: MemoryBroker, worker: Worker, handler: Refuser) -> None:
    """Red when the worker catches what it does not know."""
    ask(broker, "a")
    handler.raises = [KeyError("a bug")]

    with pytest.raises(KeyError, match="a bug"):
        worker.run(threading.Event())

    assert committed(broker) == 0
    assert broker.members("predictor") == 0


def test_too_many_dead_letters_in_a_row_stop_the_worker(broker: MemoryBroker, handler: Refuser) -> None:
    """Red without `self._limit.observe`."""
    worker = make_worker(broker, handler, dead_letter_limit=DeadLetterLimit(max_consecutive=3))
    junk(broker, 4)

    with pytest.raises(TooManyDeadLetters, match="more than 3 dead letters in a row"):
        list(worker.steps())

    assert committed(broker) == 0


def test_a_service_that_writes_no_dead_letters_counts_them_and_goes_on(broker: MemoryBroker, handler: Refuser) -> None:
    metrics = Metrics("gateway")
    worker = make_worker(broker, handler, writes_dead_letters=False, metrics=metrics)
    junk(broker)

    list(worker.steps())

    assert everything(broker, DEAD_LETTERS) == []
    assert committed(broker) == 1
    assert b'foretopic_dead_letters_total{topic="forecast-requests"} 1.0' in metrics.text()
    assert b'foretopic_handled_total{outcome="ignored",topic="forecast-requests"} 1.0' in metrics.text()


def test_work_of_a_lost_partition_is_dropped_and_done_by_its_new_owner(broker: MemoryBroker, handler: Refuser) -> None:
    """Red without `self._batch.drop`: the worker would handle, and try to commit, what another one has now."""
    lost: list[TopicPartition] = []
    worker = make_worker(broker, handler, on_revoked=lost.extend)
    ask(broker, "near", partition=0)
    ask(broker, "far", partition=11)
    handler.raises = [TransientError("away")]
    steps = worker.steps()
    effects_until(steps, "before-back-off")
    other_handler = Refuser()
    other = make_worker(broker, other_handler, poll_timeout_seconds=0.0)
    list(other.steps())

    list(steps)
    list(other.steps())

    assert len(lost) == 12
    assert set(handler.batches[0]) == {"near", "far"}
    assert handler.batches[1:] == [["near"]]
    assert other_handler.batches == [["far"]]
    assert (committed(broker, 0), committed(broker, 11)) == (1, 1)


def test_a_member_that_was_expired_commits_nothing_and_reads_again(broker: MemoryBroker, handler: Refuser) -> None:
    """Red when a refused commit is taken for done."""
    worker = make_worker(broker, handler)
    ask(broker, "a")
    steps = worker.steps()
    effects_until(steps, "before-commit")
    broker.expire(worker.consumer)  # type: ignore[arg-type]  # the memory broker's own consumer

    list(steps)

    assert handler.batches == [["a"], ["a"]]
    assert committed(broker) == 1


def test_the_follower_reaches_what_the_handler_needs_before_it_handles(
    broker: MemoryBroker, handler: Refuser, clock: ManualClock
) -> None:
    """Red without the catch-up: the deployment is written after the worker's own look at the topic."""
    applied: list[int] = []
    key = TopicPartition("deployments", 0)
    follower = Follower(
        broker,
        topics=[DEPLOYMENTS],
        topic_prefix="",
        apply=lambda incoming: applied.append(incoming.message.offset),
        on_invalid=lambda message, error: None,
        clock=clock,
    )
    follower.add({key: 0})
    worker = make_worker(broker, handler, follower=follower)
    ask(broker, "a")
    steps = worker.steps()
    effects_until(steps, "after-poll")
    broker.producer().send(outgoing_message(DEPLOYMENTS, deployment()))
    handler.needed = {key: 1}

    effects_until(steps, "before-handle")

    assert applied == [0]


def test_a_need_beyond_the_end_of_the_log_is_not_waited_for(
    broker: MemoryBroker, handler: Refuser, clock: ManualClock
) -> None:
    """Red without the `min` with the end offsets: the worker would wait for what may never come."""
    key = TopicPartition("deployments", 0)
    follower = Follower(
        broker,
        topics=[DEPLOYMENTS],
        topic_prefix="",
        apply=lambda incoming: None,
        on_invalid=lambda message, error: None,
        clock=clock,
    )
    follower.add({key: 0})
    worker = make_worker(broker, handler, follower=follower)
    handler.needed = {key: 1_000_000}
    ask(broker, "a")

    list(worker.steps())

    assert answered(broker) == ["a"]
    assert clock.sleeps == []


def test_messages_polled_before_the_follower_failed_are_not_passed_over(
    broker: MemoryBroker, handler: Refuser, clock: ManualClock
) -> None:
    """Red when the batch is kept only after `follower.poll`."""
    follower = Follower(
        broker,
        topics=[DEPLOYMENTS],
        topic_prefix="",
        apply=lambda incoming: (_ for _ in ()).throw(TransientError("state is away")),
        on_invalid=lambda message, error: None,
        clock=clock,
    )
    follower.add({TopicPartition("deployments", 0): 0})
    worker = make_worker(broker, handler, follower=follower)
    broker.producer().send(outgoing_message(DEPLOYMENTS, deployment()))
    ask(broker, "a")
    effects_until(worker.steps(), "before-back-off")
    follower.remove([TopicPartition("deployments", 0)])
    ask(broker, "b")

    list(worker.steps())
    list(worker.steps())

    assert answered(broker) == ["a", "b"]


def test_run_finishes_what_it_has_and_leaves_the_group(broker: MemoryBroker, handler: Refuser) -> None:
    stop = threading.Event()
    worker = make_worker(broker, handler, on_assigned=lambda partitions: stop.set())
    ask(broker, "a")

    worker.run(stop)

    assert committed(broker) == 1
    assert broker.members("predictor") == 0


def test_run_stops_in_the_middle_of_a_back_off(broker: MemoryBroker, handler: Refuser) -> None:
    stop = threading.Event()
    ask(broker, "a")
    worker = make_worker(broker, handler, on_assigned=lambda partitions: stop.set())
    handler.raises = [TransientError("away for good")] * 1000

    worker.run(stop)

    assert committed(broker) == 0
    assert broker.members("predictor") == 0


def test_every_handled_message_has_one_log_line(broker: MemoryBroker, handler: Refuser) -> None:
    with capture_logs() as lines:
        worker = make_worker(broker, handler, log_fields=lambda incoming: {"extra": 1})
        ask(broker, "a")
        junk(broker)
        list(worker.steps())

    handled, refused = [line for line in lines if line["event"] == "message"]
    assert handled["outcome"] == "handled"
    assert (handled["topic"], handled["partition"], handled["offset"]) == ("forecast-requests", 0, 0)
    assert (handled["traceparent"], handled["correlation_id"]) == (TRACE, "a" * 32)
    assert handled["key"] == forecast_request().series_id
    assert handled["extra"] == 1
    assert handled["duration_ms"] >= 0
    assert refused["outcome"] == "dead-letter"
    assert "ce_id" in refused["reason"]


def test_the_metrics_tell_outcomes_and_backlog(broker: MemoryBroker, handler: Refuser) -> None:
    metrics = Metrics("predictor")
    worker = make_worker(broker, handler, metrics=metrics, max_messages=1)
    ask(broker, "a", "b", "c")

    list(worker.steps())

    text = metrics.text().decode()
    assert 'foretopic_handled_total{outcome="handled",topic="forecast-requests"} 1.0' in text
    assert 'foretopic_backlog_messages{partition="0",topic="forecast-requests"} 2.0' in text
    assert 'foretopic_handle_duration_seconds_count{topic="forecast-requests"} 1.0' in text
