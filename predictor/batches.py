"""What happens to a batch: decide, publish, and acknowledge once the broker has acknowledged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog
from aiokafka.errors import KafkaError
from faust.exceptions import FaustError

from predictor.asks import Decision
from predictor.core import Predictor
from predictor.lane import Taken
from predictor.report import Report
from predictor.settings import SERVICE
from runtime.clock import Clock
from runtime.dead_letter import DeadLetterLimit, dead_letter
from runtime.errors import DeliveryFailed
from runtime.incoming import Outgoing
from runtime.version import CODE_VERSION
from schemas.codec import encode
from schemas.topics import DEAD_LETTERS, Topic

#: Between two tries to publish the same answers, in seconds.
_RETRY_SECONDS = 0.5
#: So many tries without success end the process: a producer may have failed for good.
_MAX_TRIES = 20

_log = structlog.get_logger()

Publish = Callable[[Sequence[Outgoing]], Awaitable[None]]


class BatchHandler:
    """Handles batches one after the other.

    Args:
        predictor: Decides.
        topics: Full name -> topic, of what is consumed.
        publish: Returns once the broker has acknowledged all records; raises otherwise.
        acknowledge: Lets the offset of a message be committed; called in order a partition.
        is_current: Whether a message still is ours.
        limit: How many dead letters are borne.
        report: Logs and counts.
    """

    def __init__(
        self,
        *,
        predictor: Predictor,
        topics: Mapping[str, Topic],
        publish: Publish,
        acknowledge: Callable[[Taken], None],
        is_current: Callable[[Taken], bool],
        limit: DeadLetterLimit,
        report: Report,
        retry_seconds: float = _RETRY_SECONDS,
    ) -> None:
        self._predictor = predictor
        self._topics = topics
        self._publish = publish
        self._acknowledge = acknowledge
        self._is_current = is_current
        self._limit = limit
        self._report = report
        self._retry_seconds = retry_seconds

    async def handle(self, batch: Sequence[Taken]) -> None:
        """Decide once, publish until that succeeds, then acknowledge; a batch that was taken from us is dropped.

        Raises:
            TooManyDeadLetters: More is refused than can be the senders' fault.
            DeliveryFailed: The broker acknowledged nothing in many tries.
        """
        decisions = self._predictor.decide([taken.incoming for taken in batch if taken.incoming is not None])
        outgoing = [decision.outgoing for decision in decisions if decision.outgoing is not None]
        if not await self._publish_until_acknowledged([*self._dead_letters(batch, decisions), *outgoing], batch):
            return
        # Only now: whatever stops us before leaves the messages to be handled again.
        for taken in batch:
            self._acknowledge(taken)
        for decision in decisions:
            if decision.outcome in ("issued", "refused"):
                self._predictor.answered.see(decision.incoming.message.partition, decision.request_id)
        self._report.handled(batch, decisions, time.monotonic())

    async def _publish_until_acknowledged(self, outgoing: Sequence[Outgoing], batch: Sequence[Taken]) -> bool:
        """Return whether the broker has acknowledged everything; not when the batch was taken from us meanwhile."""
        for attempt in range(1, _MAX_TRIES + 1):
            try:
                await self._publish(outgoing)
            except (KafkaError, FaustError, TimeoutError) as error:
                _log.warning("publish_failed", error=repr(error), attempt=attempt, messages=len(batch))
                self._report.retry()
                await asyncio.sleep(self._retry_seconds)
                if not all(map(self._is_current, batch)):
                    return False
            else:
                return True
        raise DeliveryFailed(f"the broker did not acknowledge {len(outgoing)} records in {_MAX_TRIES} tries")

    def _dead_letters(self, batch: Sequence[Taken], decisions: Sequence[Decision]) -> list[Outgoing]:
        """Return a dead letter for each message that is no record, or stands in a partition that is not its own."""
        faults = {id(taken.message): str(taken.invalid) for taken in batch if taken.invalid is not None}
        for decision in decisions:
            if decision.outcome == "wrong-partition":
                faults[id(decision.incoming.message)] = decision.reason
        letters = []
        for taken in batch:
            reason = faults.get(id(taken.message))
            self._limit.observe(is_dead=reason is not None)
            if reason is not None:
                topic = self._topics[taken.message.topic]
                letter = dead_letter(topic, taken.message, reason=reason, service=SERVICE)
                letters.append(Outgoing(topic=DEAD_LETTERS, record=letter))
        return letters


class FaustPublisher:
    """Publishes records through the producer of a Faust app.

    Args:
        producer: Gives the producer once the app has one.
        clock: Stamps the messages.
        topic_prefix: Prefix of the topic names.
        timeout_seconds: How long the broker may take to acknowledge.
    """

    def __init__(self, producer: Callable[[], Any], *, clock: Clock, topic_prefix: str, timeout_seconds: float) -> None:
        self._producer = producer
        self._clock = clock
        self._prefix = topic_prefix
        self._timeout = timeout_seconds

    async def publish(self, outgoing: Sequence[Outgoing]) -> None:
        """Send records and return once the broker has acknowledged all of them.

        Raises:
            KafkaError: One was not.
            FaustError: One could not be sent.
            TimeoutError: It took too long.
        """
        producer, now = self._producer(), self._clock.now()
        futures = []
        async with asyncio.timeout(self._timeout):
            for record in outgoing:
                encoded = encode(
                    record.topic,
                    record.record,
                    source=f"/foretopic/{SERVICE}",
                    time=now,
                    code_version=CODE_VERSION,
                    traceparent=record.traceparent,
                )
                futures.append(
                    await producer.send(
                        record.topic.full_name(self._prefix),
                        encoded.key,
                        encoded.value,
                        record.partition,
                        None,
                        list(encoded.headers),
                    )
                )
            await asyncio.gather(*futures)
