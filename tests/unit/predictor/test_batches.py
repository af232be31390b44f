from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import KafkaTimeoutError

from predictor.batches import BatchHandler, FaustPublisher
from predictor.lane import Taken
from predictor.messages import message_of
from predictor.report import Report
from runtime.dead_letter import DeadLetterLimit
from runtime.errors import DeliveryFailed, TooManyDeadLetters
from runtime.incoming import Incoming, Outgoing
from runtime.metrics import Metrics
from schemas.codec import decode, encode
from schemas.dead_letters import DeadLetter
from schemas.errors import MalformedRecord
from schemas.forecasts import ForecastIssued
from schemas.topics import DEAD_LETTERS, FORECAST_REQUESTS, FORECASTS, OBSERVATIONS, PARTITIONS
from tests import factories
from tests.fakes import ManualClock
from tests.predictor_world import World, day_after, observed


class Bench:
    """A handler with its effects written down in order."""

    def __init__(self, *, failures: int = 0, limit: DeadLetterLimit | None = None) -> None:
        self.world = World()
        observed(self.world)
        self.effects: list[Any] = []
        self.published: list[Outgoing] = []
        self.failures = failures
        self.is_ours = True
        self.handler = BatchHandler(
            predictor=self.world.predictor,
            topics={topic.name: topic for topic in (FORECAST_REQUESTS, OBSERVATIONS)},
            publish=self.publish,
            acknowledge=lambda taken: self.effects.append(("acknowledged", taken.message.offset)),
            is_current=lambda _: self.is_ours,
            limit=limit or DeadLetterLimit(),
            report=Report(Metrics("predictor"), ""),
            retry_seconds=0,
        )

    async def publish(self, outgoing: Sequence[Outgoing]) -> None:
        self.effects.append("sent")
        if self.failures:
            self.failures -= 1
            raise KafkaTimeoutError
        self.published += outgoing
        self.effects.append("broker acknowledged")

    def request(self, request_id: str) -> Taken:
        record = factories.forecast_request(request_id, as_of=factories.as_of())
        return taken(self.world.write(FORECAST_REQUESTS, record))

    def handle(self, *batch: Taken) -> None:
        asyncio.run(self.handler.handle(batch))


def taken(incoming: Incoming) -> Taken:
    return Taken(SimpleNamespace(), incoming.message, incoming, None, 0.0)


def junk(offset: int = 0) -> Taken:
    message = factories.message(FORECAST_REQUESTS, factories.forecast_request(), offset=offset)
    return Taken(SimpleNamespace(), message, None, MalformedRecord("forecast-requests", "not JSON"), 0.0)


def test_messages_are_acknowledged_in_order_after_the_brokers_acknowledgement() -> None:
    """Red when `BatchHandler.handle` acknowledges before `_publish_until_acknowledged` returns."""
    bench = Bench()
    bench.handle(bench.request("a"), bench.request("b"))

    assert bench.effects == ["sent", "broker acknowledged", ("acknowledged", 0), ("acknowledged", 1)]
    assert [type(outgoing.record) for outgoing in bench.published] == [ForecastIssued] * 2


def test_acknowledged_answer_is_not_given_again() -> None:
    """Red when `BatchHandler.handle` does not tell the memory of answers: they are not read back from the log."""
    bench = Bench()
    request = bench.request("a")
    bench.handle(request)
    bench.handle(request)

    assert len(bench.published) == 1


def test_failed_publication_is_tried_again_with_the_same_records() -> None:
    bench = Bench(failures=2)
    bench.handle(bench.request("a"))

    assert bench.effects == ["sent", "sent", "sent", "broker acknowledged", ("acknowledged", 0)]
    assert len(bench.published) == 1


def test_batch_that_was_taken_from_us_while_publishing_failed_is_dropped() -> None:
    """Red when `_publish_until_acknowledged` does not ask `is_current`."""
    bench = Bench(failures=1)
    bench.is_ours = False
    bench.handle(bench.request("a"))

    assert bench.effects == ["sent"]


def test_broker_that_never_acknowledges_ends_the_process() -> None:
    bench = Bench(failures=1000)
    with pytest.raises(DeliveryFailed):
        bench.handle(bench.request("a"))

    assert ("acknowledged", 0) not in bench.effects


def test_junk_becomes_a_dead_letter_beside_the_answers() -> None:
    bench = Bench()
    misplaced = bench.world.write(OBSERVATIONS, day_after(30), (bench.request("x").message.partition + 1) % PARTITIONS)
    bench.handle(junk(), bench.request("a"), taken(misplaced))

    letters = [outgoing.record for outgoing in bench.published if isinstance(outgoing.record, DeadLetter)]
    assert [(letter.topic, letter.service) for letter in letters] == [
        ("forecast-requests", "predictor"),
        ("observations", "predictor"),
    ]
    assert "not JSON" in letters[0].reason
    assert len(bench.published) == 3


def test_moved_request_is_acknowledged_after_the_broker_has_it() -> None:
    bench = Bench(failures=1)
    record = factories.forecast_request("a")
    home = factories.message(FORECAST_REQUESTS, record).partition
    bench.handle(taken(bench.world.write(FORECAST_REQUESTS, record, (home + 1) % PARTITIONS)))

    assert bench.effects == ["sent", "sent", "broker acknowledged", ("acknowledged", 0)]
    assert [(outgoing.record, outgoing.partition) for outgoing in bench.published] == [(record, home)]


def test_header_without_a_value_leaves_a_dead_letter_that_can_be_read() -> None:
    """Red when `message_of` hands ``None`` on."""
    record = SimpleNamespace(
        topic=FORECAST_REQUESTS.name, partition=0, offset=7, key=None, value=b"{", headers=[("x", None)], timestamp=None
    )
    bench = Bench()
    error = MalformedRecord("forecast-requests", "not JSON")
    bench.handle(Taken(SimpleNamespace(), message_of(record), None, error, 0.0))

    (letter,) = [outgoing.record for outgoing in bench.published]
    encoded = encode(DEAD_LETTERS, letter, source="/t", time=factories.START)
    assert decode(DEAD_LETTERS, encoded.value, encoded.headers).record == letter


def test_too_much_junk_ends_the_process_before_anything_is_acknowledged() -> None:
    """Red when `_dead_letters` does not tell the limit."""
    bench = Bench(limit=DeadLetterLimit(max_consecutive=2))
    with pytest.raises(TooManyDeadLetters):
        bench.handle(*(junk(offset) for offset in range(3)))

    assert bench.effects == []


class Producer:
    """Keeps what is sent; the acknowledgements come when the test says so."""

    def __init__(self) -> None:
        self.sent: list[tuple[Any, ...]] = []
        self.futures: list[asyncio.Future[None]] = []
        self.has_two = asyncio.Event()

    async def send(self, *message: Any) -> asyncio.Future[None]:
        self.sent.append(message)
        self.futures.append(asyncio.get_running_loop().create_future())
        if len(self.futures) == 2:
            self.has_two.set()
        return self.futures[-1]


def test_publisher_waits_for_every_acknowledgement() -> None:
    """Red when `FaustPublisher.publish` does not await the futures."""

    async def case() -> None:
        producer = Producer()
        publisher = FaustPublisher(lambda: producer, clock=ManualClock(), topic_prefix="x-", timeout_seconds=30)
        records = [Outgoing(topic=FORECASTS, record=factories.forecast_issued(name), partition=4) for name in "ab"]
        task = asyncio.create_task(publisher.publish(records))
        await producer.has_two.wait()
        producer.futures[1].set_result(None)
        await asyncio.sleep(0)
        assert not task.done()
        producer.futures[0].set_result(None)
        await task
        topic, key, _, partition, _, headers = producer.sent[0]
        assert (topic, key, partition) == ("x-forecasts", b"shop/apples@1d", 4)
        assert dict(headers)["ce_source"] == b"/foretopic/predictor"
        assert "ce_codeversion" in dict(headers)

    asyncio.run(case())


def test_publisher_gives_up_waiting_after_its_timeout() -> None:
    async def case() -> None:
        publisher = FaustPublisher(Producer, clock=ManualClock(), topic_prefix="", timeout_seconds=0.01)
        with pytest.raises(TimeoutError):
            await publisher.publish([Outgoing(topic=FORECASTS, record=factories.forecast_issued())])

    asyncio.run(case())
