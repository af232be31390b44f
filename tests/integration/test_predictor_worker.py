from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import aiokafka
import pytest
from kafka import KafkaProducer

from predictor.asks import Decision, asks_of
from predictor.compose import build
from predictor.core import Predictor
from predictor.settings import PredictorSettings
from predictor.worker import Ending, PredictorWorker
from runtime.broker import TopicPartition
from runtime.incoming import Incoming
from schemas.codec import encode
from schemas.forecasts import AsOf, ForecastRequestBatch
from schemas.record import Record
from schemas.topics import (
    DEAD_LETTERS,
    DEPLOYMENTS,
    FORECAST_REQUESTS,
    FORECASTS,
    MODELS,
    OBSERVATIONS,
    PARTITIONS,
    Topic,
)
from tests import factories
from tests.integration.predictor_processes import KafkaLog, furnish, wait_until
from tests.predictor_world import champion, day_after, recipe, release

pytestmark = [
    pytest.mark.kafka,
    # Faust's threads leave sockets and cancelled tasks of aiokafka behind when they stop.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

HOME = factories.message(OBSERVATIONS, factories.observation_batch()).partition
PIN = AsOf(observations=1, models=1, deployments=1)


class Running:
    """A predictor in a thread of this process."""

    def __init__(self, servers: str, prefix: str, predictor: type[Predictor] = Predictor, **settings: Any) -> None:
        self._settings = PredictorSettings(
            kafka_bootstrap_servers=servers, topic_prefix=prefix, session_timeout_seconds=6, **settings
        )
        self._predictor = predictor
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self.worker: PredictorWorker
        self.ending: Ending | None = None
        self._is_built = threading.Event()

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self.worker = build(self._settings, partitions=PARTITIONS, predictor_type=self._predictor)
        self._is_built.set()
        self.ending = await self.worker.run(self._stop)

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)

    def join(self, seconds: float = 120.0) -> Ending | None:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"still running after {seconds} s"
        return self.ending

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._is_built.wait(120)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self.join()


@pytest.fixture
def log(kafka: str, topic_prefix: str) -> Iterator[KafkaLog]:
    log = KafkaLog(kafka, topic_prefix)
    try:
        furnish(log)
        yield log
    finally:
        log.close()


def committed(log: KafkaLog, partition: int) -> int:
    source = TopicPartition(FORECAST_REQUESTS.full_name(log.prefix), partition)
    return log.broker.committed(f"{log.prefix}predictor", [source]).get(source, 0)


def test_requests_of_all_kinds_are_answered_and_committed(log: KafkaLog, kafka: str, topic_prefix: str) -> None:
    with Running(kafka, topic_prefix) as running:
        log.write(FORECAST_REQUESTS, factories.forecast_request("free"), factories.forecast_request("set", as_of=PIN))
        log.write(
            FORECAST_REQUESTS, factories.forecast_request("far", as_of=AsOf(observations=99, models=1, deployments=1))
        )
        assert log.answer("free")["model"]["role"] == "champion"
        assert log.answer("set")["steps"] == log.answer("free")["steps"]
        assert log.answer("far")["code"] == "as-of-beyond-log"
        # The pinned copy of the free one stands behind the three.
        wait_until(lambda: committed(log, HOME) == 4, "everything committed")
        running.stop()
        assert running.join() is Ending.STOPPED


def test_junk_of_every_kind_becomes_a_dead_letter_and_blocks_nobody(
    log: KafkaLog, kafka: str, topic_prefix: str
) -> None:
    unknown = [
        ("ce_id", b"x"),
        ("ce_type", b"foretopic.ForecastRequested.v9"),
        ("ce_source", b"x"),
        ("ce_time", b"2025-01-01T00:00:00Z"),
    ]
    with Running(kafka, topic_prefix):
        junk = {
            (topic.name, *log.write_raw(topic, value, HOME, headers))
            for topic in (FORECAST_REQUESTS, OBSERVATIONS)
            for value, headers in ((b"\xff\x00", ()), (None, ()), (b"{}", unknown), (b"[" * 100_000, unknown))
        }
        misplaced = log.write(OBSERVATIONS, day_after(30), partition=(HOME + 1) % PARTITIONS)
        junk.add(("observations", *misplaced[0]))
        for topic in (MODELS, DEPLOYMENTS, FORECASTS):
            log.write_raw(topic, b"junk", 0, unknown)
        log.write(FORECAST_REQUESTS, factories.forecast_request("after", as_of=PIN))

        assert log.answer("after")["steps"]
        letters = wait_until(lambda: len(found := log.records(DEAD_LETTERS)) >= len(junk) and found, "dead letters")
        assert {(letter.topic, letter.partition, letter.offset) for letter in letters} == junk


def test_misplaced_requests_are_moved_and_answered_once_at_home(log: KafkaLog, kafka: str, topic_prefix: str) -> None:
    elsewhere = (HOME + 1) % PARTITIONS
    free, fixed = factories.forecast_request("free"), factories.forecast_request("fixed", as_of=PIN)
    members = (factories.forecast_request("first", as_of=PIN), factories.forecast_request("second"))
    with Running(kafka, topic_prefix):
        log.write(FORECAST_REQUESTS, free, fixed, ForecastRequestBatch(requests=members), partition=elsewhere)
        log.write(FORECAST_REQUESTS, free, fixed)
        for request_id in ("free", "fixed", "first", "second"):
            assert log.answer(request_id)["steps"]
        wait_until(lambda: committed(log, elsewhere) == 3, "what was moved is committed")
        wait_until(lambda: committed(log, HOME) == log.end(FORECAST_REQUESTS, HOME), "all is answered")

        answers = log.messages(FORECASTS)
        assert {message.partition for message in answers} == {HOME}
        assert len(answers) == 4
        assert log.messages(DEAD_LETTERS) == []


class BadName(str):
    """A header name that kafka-python writes as bytes that are no UTF-8; any C client can write such."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"na\xff\xfeme"


def test_header_name_that_is_no_utf8_stops_no_partition(log: KafkaLog, kafka: str, topic_prefix: str) -> None:
    """Red without `predictor.kafka_records.install`: neither Faust nor the reader of the log gets past it."""

    def write(topic: Topic, record: Record, *headers: tuple[str, bytes]) -> tuple[str, int, int]:
        encoded = encode(topic, record, source="/t", time=factories.START)
        producer = KafkaProducer(bootstrap_servers=kafka)
        sent = producer.send(
            topic.full_name(topic_prefix),
            encoded.value,
            key=encoded.key,
            headers=[*(headers or encoded.headers), (BadName("bad"), b"2")],
        ).get(60)
        producer.close()
        return topic.name, sent.partition, sent.offset

    with Running(kafka, topic_prefix):
        first = factories.forecast_request("first", as_of=PIN)
        junk = {write(FORECAST_REQUESTS, first, ("x", b"1")), write(OBSERVATIONS, day_after(30), ("x", b"1"))}
        # What is whole but for an unknown header is what it says it is, to every reader.
        write(OBSERVATIONS, day_after(30))
        write(FORECAST_REQUESTS, factories.forecast_request("odd"))
        log.write(
            FORECAST_REQUESTS, factories.forecast_request("after", as_of=AsOf(observations=3, models=1, deployments=1))
        )

        assert log.answer("after")["lineage"]["observation_offset"] == 2
        assert log.answer("odd")["steps"]
        letters = wait_until(lambda: len(found := log.records(DEAD_LETTERS)) >= len(junk) and found, "dead letters")
        assert {(letter.topic, letter.partition, letter.offset) for letter in letters} == junk
        assert [letter.headers for letter in letters] == [{"x": b"1", "na??me": b"2"}] * 2


def test_request_of_an_aborted_transaction_is_not_answered(log: KafkaLog, kafka: str, topic_prefix: str) -> None:
    """Red when `PredictorConsumerThread` does not set ``isolation_level``."""

    async def abort() -> None:
        producer = aiokafka.AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=f"{topic_prefix}test")
        await producer.start()
        try:
            encoded = encode(
                FORECAST_REQUESTS, factories.forecast_request("aborted", as_of=PIN), source="/t", time=factories.START
            )
            await producer.begin_transaction()
            await producer.send_and_wait(
                FORECAST_REQUESTS.full_name(topic_prefix), encoded.value, key=encoded.key, headers=list(encoded.headers)
            )
            await producer.abort_transaction()
        finally:
            await producer.stop()

    asyncio.run(abort())
    # The broker writes the mark of the end after it has answered.
    wait_until(lambda: log.end(FORECAST_REQUESTS, HOME) == 2, "the request and the mark in the log")
    with Running(kafka, topic_prefix):
        log.write(FORECAST_REQUESTS, factories.forecast_request("after", as_of=PIN))
        log.answer("after")

        assert log.answers().keys() == {"after"}
        wait_until(lambda: committed(log, HOME) == 3, "the gap committed too")


def test_partition_that_stands_still_ends_the_process(log: KafkaLog, kafka: str, topic_prefix: str) -> None:
    """Red when `PredictorWorker._watch` does not look: Faust leaves a partition paused, and nobody notices."""
    # Until the first answer a slow machine may take as long as a real one: what is waited for in the end is set then.
    with Running(kafka, topic_prefix) as running:
        log.write(FORECAST_REQUESTS, factories.forecast_request("before", as_of=PIN))
        log.answer("before")
        running.worker._watchdog._stuck_after = 1.0
        consumer: Any = running.worker.app.consumer
        consumer.pause_partitions(consumer.assignment())
        log.write(FORECAST_REQUESTS, factories.forecast_request("stuck", as_of=PIN))

        assert running.join() is Ending.STUCK

    with Running(kafka, topic_prefix):
        assert log.answer("stuck")["steps"]


class Exploding(Predictor):
    """A predictor with a bug that one request brings out."""

    def decide(self, batch: Sequence[Incoming]) -> list[Decision]:
        if any(ask.request.request_id == "explosive" for incoming in batch for ask in asks_of(incoming)):
            raise ZeroDivisionError("a bug")
        return super().decide(batch)


def test_bug_ends_the_process_and_commits_nothing_that_was_not_answered(
    log: KafkaLog, kafka: str, topic_prefix: str
) -> None:
    """Red when `_guarded` lets the lane die alone, or `PredictorConsumer.ack` lets Faust acknowledge."""
    with Running(kafka, topic_prefix, Exploding) as running:
        log.write(FORECAST_REQUESTS, factories.forecast_request("fine", as_of=PIN))
        log.answer("fine")
        log.write(FORECAST_REQUESTS, *(factories.forecast_request(name, as_of=PIN) for name in ("explosive", "next")))
        assert running.join() is Ending.FAILED
    assert committed(log, HOME) <= 1

    with Running(kafka, topic_prefix):
        assert log.answer("explosive")["steps"]
        assert log.answer("next")["steps"]
        assert all(len(found) == 1 for found in log.answers().values())


def test_new_deployment_is_taken_up_without_losing_a_request(log: KafkaLog, kafka: str, topic_prefix: str) -> None:
    second = release(recipe(drift=0.5))
    with Running(kafka, topic_prefix):
        log.write(FORECAST_REQUESTS, *(factories.forecast_request(f"old-{index}", as_of=PIN) for index in range(50)))
        log.write(MODELS, second)
        log.write(DEPLOYMENTS, champion(second, "deployment-2"))
        pin = AsOf(observations=1, models=2, deployments=2)
        log.write(FORECAST_REQUESTS, *(factories.forecast_request(f"new-{index}", as_of=pin) for index in range(50)))
        log.write(FORECAST_REQUESTS, *(factories.forecast_request(f"late-{index}", as_of=PIN) for index in range(5)))

        versions = {
            name: {log.answer(f"{name}-{index}")["model"]["version"] for index in range(count)}
            for name, count in (("old", 50), ("new", 50), ("late", 5))
        }

    assert versions == {"old": {release().version}, "new": {second.version}, "late": {release().version}}


def test_new_observation_of_a_deployed_series_is_forecast_at_once(log: KafkaLog, kafka: str, topic_prefix: str) -> None:
    with Running(kafka, topic_prefix):
        log.write(FORECAST_REQUESTS, factories.forecast_request("warm", as_of=PIN))
        log.answer("warm")
        log.write(OBSERVATIONS, day_after(30))

        def automatic() -> list[Any]:
            return [record for record in log.records(FORECASTS) if record.cause == "observation"]

        (forecast,) = wait_until(automatic, "an automatic forecast")

    assert forecast.cutoff == factories.START + timedelta(days=30)
    assert forecast.lineage.observation_offset == 1
