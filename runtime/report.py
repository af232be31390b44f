"""What a worker tells of its work: one log line a message, and the metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog

from runtime.batch import Batch
from runtime.broker import Broker, Consumer, Message
from runtime.clock import Clock
from runtime.errors import TransientError
from runtime.incoming import Incoming
from runtime.metrics import Metrics
from runtime.tracing import correlation_id
from schemas.topics import Topic

LogFields = Callable[[Incoming], Mapping[str, object]]
_BACKLOG_EVERY_SECONDS = 5.0


class Report:
    """Writes log lines and metrics.

    Args:
        clock: Measures durations.
        topics: Full name -> topic of what is consumed.
        metrics: Where it is counted.
        refused_as: Outcome of a message that was refused: ``dead-letter`` or ``ignored``.
        log_fields: Gives further fields for the log line of a message.
    """

    def __init__(
        self,
        clock: Clock,
        topics: Mapping[str, Topic],
        metrics: Metrics,
        *,
        refused_as: str,
        log_fields: LogFields | None,
    ) -> None:
        self._clock = clock
        self._topics = topics
        self._metrics = metrics
        self._refused_as = refused_as
        self._log_fields = log_fields
        self._log = structlog.get_logger()
        self._backlog_at = float("-inf")

    def handled(self, batch: Batch) -> None:
        """Tell of messages whose offsets are committed."""
        seconds = self._clock.monotonic() - batch.polled_at
        for message in batch.messages:
            outcome = self._refused_as if message in batch.refused else "handled"
            self._metrics.handled(self._topics[message.topic].name, outcome, seconds, message.timestamp_ms)
            fields = self._fields(batch, message)
            self._log.info("message", outcome=outcome, duration_ms=round(seconds * 1000, 3), **fields)

    def backlog(self, broker: Broker, consumer: Consumer) -> None:
        """Measure how many messages wait, every few seconds."""
        if self._clock.monotonic() - self._backlog_at < _BACKLOG_EVERY_SECONDS:
            return
        assignment = consumer.assignment()
        try:
            ends = broker.end_offsets(assignment)
            self._metrics.backlog({key: max(0, ends[key] - consumer.position(key)) for key in assignment})
        except TransientError as error:
            # A figure that is missing for a while is no reason to stop work.
            self._log.debug("backlog_unknown", reason=str(error))
        self._backlog_at = self._clock.monotonic()

    def _fields(self, batch: Batch, message: Message) -> dict[str, object]:
        fields: dict[str, object] = {
            "topic": message.topic,
            "partition": message.partition,
            "offset": message.offset,
            "key": None if message.key is None else message.key.decode(errors="replace"),
        }
        incoming = batch.envelopes.get(message)
        if incoming is not None:
            traceparent = incoming.envelope.traceparent or ""
            fields |= {"ce_id": incoming.envelope.id, "traceparent": traceparent}
            fields["correlation_id"] = correlation_id(traceparent)
            if self._log_fields is not None:
                fields |= self._log_fields(incoming)
        if message in batch.refused:
            fields["reason"] = batch.refused[message]
        return fields
