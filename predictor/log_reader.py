"""Reads what the predictor's state is made of, outside any group: the same path at the start and ever after."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any

import aiokafka
import msgspec
import structlog

from predictor.core import Predictor
from predictor.kafka_records import install
from predictor.messages import message_of
from runtime.broker import Message, TopicPartition
from runtime.incoming import decode_message
from schemas.codec import record_type_name
from schemas.errors import InvalidRecord, MalformedRecord
from schemas.identity import content_id
from schemas.topics import DEPLOYMENTS, FORECASTS, MODELS, OBSERVATIONS, TOPIC_BY_NAME, Topic

install()

#: How long one poll waits for messages; only a stop waits for its end.
_POLL_MILLISECONDS = 1_000
#: Between two tries of a reader that the broker does not answer, in seconds.
_RETRY_SECONDS = 0.5

_log = structlog.get_logger()


class _Answer(msgspec.Struct, frozen=True):
    """As much of a forecast or refusal as the memory of answered requests needs."""

    request_id: str


_ANSWERS = msgspec.json.Decoder(_Answer)
_ANSWER_TYPES = {
    record_type_name(record, version).encode(): record.__name__ for record, version in FORECASTS.records.items()
}


def answered_request(message: Message) -> str:
    """Return the id of the request that a message of `forecasts` ends, without decoding the forecast.

    Raises:
        MalformedRecord: It is no forecast and no refusal, or its ``ce_id`` is not that of the request.
    """
    headers = dict(message.headers)
    name = _ANSWER_TYPES.get(headers.get("ce_type", b""))
    if name is None or message.value is None:
        raise MalformedRecord(
            FORECASTS.name, f"a forecast or a refusal was expected, ce_type is {headers.get('ce_type')!r}"
        )
    try:
        request_id = _ANSWERS.decode(message.value).request_id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedRecord(FORECASTS.name, f"not a {name}: {error}") from error
    if headers.get("ce_id") != content_id(name, (request_id,)).encode():
        raise MalformedRecord(FORECASTS.name, f"ce_id must be that of request {request_id}")
    return request_id


class LogReader:
    """Feeds a `Predictor` from `models` and `deployments` whole, and `observations` and `forecasts` by partition.

    Args:
        predictor: What learns.
        bootstrap_servers: Where the brokers are.
        client_id: Name of this client in the broker's logs.
        topic_prefix: Prefix of the topic names.
        on_invalid: Told of each message that is no record; the reader goes on.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        bootstrap_servers: str,
        client_id: str,
        topic_prefix: str,
        on_invalid: Callable[[Message, InvalidRecord], None],
    ) -> None:
        self._predictor = predictor
        self._prefix = topic_prefix
        self._on_invalid = on_invalid
        self._bootstrap_servers = bootstrap_servers
        self._client_id = client_id
        self._consumer: aiokafka.AIOKafkaConsumer
        self._positions: dict[TopicPartition, int] = {}
        self._owned: frozenset[int] = frozenset()
        #: What is read now; and of `forecasts` the partitions whose answers are still to be read, with their ends.
        self._followed: set[TopicPartition] = set()
        self._answer_ends: dict[TopicPartition, int] = {}
        self._advanced = asyncio.Condition()

    def positions(self) -> Mapping[TopicPartition, int]:
        """Return the next offset to be learned of each followed partition; gaps that were passed count as learned."""
        return self._positions

    async def start(self) -> None:
        """Connect, and follow `models` and `deployments` from their beginning."""
        self._consumer = aiokafka.AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap_servers,
            client_id=self._client_id,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            request_timeout_ms=30_000,
            # Newly followed topics are unknown to the client at first; it asks again so soon.
            retry_backoff_ms=20,
        )
        await self._consumer.start()
        shared = [TopicPartition(topic.full_name(self._prefix), 0) for topic in (MODELS, DEPLOYMENTS)]
        self._predictor.require(await self.end_offsets(shared))
        self._positions.update(dict.fromkeys(shared, 0))
        self._follow()

    async def stop(self) -> None:
        """Let go of the broker."""
        await self._consumer.stop()

    async def own(self, partitions: Collection[int]) -> None:
        """Follow exactly these partitions; state of the others is dropped, state that is kept is brought up to date.

        Nothing of a partition is handled before the ends that its topics have now were reached: whoever had it before
        may have answered requests until this moment. What it writes later (it does not know yet that it is out) needs
        no reading: it answers requests that we read too, in the same order and with the same bytes. So `forecasts` is
        read to that end only, and what we publish ourselves is never read back.
        """
        observations = [self._partition(OBSERVATIONS, partition) for partition in partitions]
        answers = [self._partition(FORECASTS, partition) for partition in partitions]
        ends = await self.end_offsets([*observations, *answers])
        # From here on without waiting: `run` must not learn of a partition that is forgotten and still followed.
        for partition in self._owned - frozenset(partitions):
            self._predictor.forget(partition)
            for topic in (OBSERVATIONS, FORECASTS):
                self._positions.pop(self._partition(topic, partition), None)
        self._owned = frozenset(partitions)
        for source in observations:
            self._positions.setdefault(source, 0)
        for source in answers:
            oldest = max(0, ends[source] - self._predictor.answered.limit)
            self._positions[source] = max(self._positions.get(source, 0), oldest)
        for source in (*observations, *answers):
            self._predictor.require({source: ends[source]}, source.partition)
        self._answer_ends = {source: ends[source] for source in answers}
        self._follow()
        async with self._advanced:
            self._advanced.notify_all()

    async def run(self) -> None:
        """Learn until cancelled."""
        while True:
            try:
                batches = await self._consumer.getmany(timeout_ms=_POLL_MILLISECONDS)
            except aiokafka.errors.KafkaError as error:
                _log.warning("log_reader_poll_failed", error=repr(error))
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            for source, records in batches.items():
                if TopicPartition(source.topic, source.partition) in self._followed:
                    for record in records:
                        self._learn(message_of(record))
            await self._advance()
            if any(self._positions[source] >= end for source, end in self._answer_ends.items()):
                self._follow()

    async def reach(self, needs: Mapping[TopicPartition, int]) -> None:
        """Return once these next offsets are learned, or all that the log has where it ends before them."""
        while True:
            try:
                ends = await self.end_offsets(list(needs))
                break
            except aiokafka.errors.KafkaError as error:
                _log.warning("end_offsets_failed", error=repr(error))
                await asyncio.sleep(_RETRY_SECONDS)
        targets = {source: min(offset, ends[source]) for source, offset in needs.items()}
        async with self._advanced:
            await self._advanced.wait_for(lambda: self._is_reached(targets))

    async def end_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the offset after the last committed message of each partition."""
        asked = [aiokafka.TopicPartition(source.topic, source.partition) for source in partitions]
        found = await self._consumer.end_offsets(asked)
        return {TopicPartition(source.topic, source.partition): offset for source, offset in found.items()}

    def _is_reached(self, targets: Mapping[TopicPartition, int]) -> bool:
        # A partition that was given up meanwhile is waited for no longer.
        return all(self._positions.get(source, offset) >= offset for source, offset in targets.items())

    def _partition(self, topic: Topic, partition: int) -> TopicPartition:
        return TopicPartition(topic.full_name(self._prefix), partition)

    def _follow(self) -> None:
        """Read exactly what is to be followed now, each partition from where it stands."""
        self._answer_ends = {key: end for key, end in self._answer_ends.items() if self._positions[key] < end}
        answers = FORECASTS.full_name(self._prefix)
        self._followed = {
            source for source in self._positions if source.topic != answers or source in self._answer_ends
        }
        partitions = [aiokafka.TopicPartition(*source) for source in self._followed]
        self._consumer.assign(partitions)
        for source in partitions:
            self._consumer.seek(source, self._positions[TopicPartition(*source)])

    def _learn(self, message: Message) -> None:
        topic = TOPIC_BY_NAME[message.topic.removeprefix(self._prefix)]
        try:
            if topic is FORECASTS:
                self._predictor.answered.see(message.partition, answered_request(message))
            else:
                self._predictor.apply(decode_message(topic, message))
        except InvalidRecord as error:
            self._on_invalid(message, error)
        self._positions[TopicPartition(message.topic, message.partition)] = message.offset + 1

    async def _advance(self) -> None:
        """Count what was passed without a message (compaction, transactions) as learned; wake who waits."""
        for source in self._consumer.assignment():
            known = TopicPartition(source.topic, source.partition)
            position: Any = self._position(source)
            if position is not None and known in self._followed:
                self._positions[known] = max(self._positions[known], position)
        async with self._advanced:
            self._advanced.notify_all()

    def _position(self, source: aiokafka.TopicPartition) -> int | None:
        assignment = self._consumer._subscription.subscription.assignment  # noqa: SLF001  # position() may wait for the broker
        state = assignment.state_value(source)
        return state.position if state is not None and state.has_valid_position else None
