"""What the predictor tells of itself: log lines and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from predictor.asks import Decision
from predictor.lane import Taken
from runtime.broker import Message, TopicPartition
from runtime.metrics import Metrics
from runtime.tracing import correlation_id
from schemas.errors import InvalidRecord

_log = structlog.get_logger()


class Report:
    """Logs one line a request or message, and counts."""

    def __init__(self, metrics: Metrics, topic_prefix: str) -> None:
        self._metrics = metrics
        self._prefix = topic_prefix

    def handled(self, batch: Sequence[Taken], decisions: Sequence[Decision], now: float) -> None:
        """Tell of a batch that is acknowledged."""
        taken_at = {(taken.message.topic, taken.message.partition, taken.message.offset): taken for taken in batch}
        for decision in decisions:
            message = decision.incoming.message
            taken = taken_at[message.topic, message.partition, message.offset]
            self._line(decision, now - taken.taken_at)
            self._count(message, decision.outcome, now - taken.taken_at)
        for taken in batch:
            if taken.invalid is not None:
                self._metrics.dead_letter(taken.message.topic.removeprefix(self._prefix))
                self._invalid("dead-letter", taken.message, taken.invalid)
                self._count(taken.message, "dead-letter", now - taken.taken_at)

    def ignored(self, message: Message, error: InvalidRecord) -> None:
        """Tell of a message that is no record, whose dead letter somebody else writes."""
        self._invalid("ignored", message, error)

    def _invalid(self, outcome: str, message: Message, error: InvalidRecord) -> None:
        _log.warning(
            "message_invalid",
            outcome=outcome,
            topic=message.topic.removeprefix(self._prefix),
            partition=message.partition,
            offset=message.offset,
            reason=str(error),
        )

    def retry(self) -> None:
        """Count one more try of the same messages."""
        self._metrics.retry()

    def backlog(self, messages: Mapping[TopicPartition, int]) -> None:
        """Tell how many messages wait."""
        self._metrics.backlog(messages)

    def _count(self, message: Message, outcome: str, seconds: float) -> None:
        self._metrics.handled(message.topic.removeprefix(self._prefix), outcome, seconds, message.timestamp_ms)

    def _line(self, decision: Decision, seconds: float) -> None:
        message, trace = decision.incoming.message, decision.outgoing.traceparent if decision.outgoing else None
        _log.info(
            "handled",
            outcome=decision.outcome,
            topic=message.topic.removeprefix(self._prefix),
            partition=message.partition,
            offset=message.offset,
            request_id=decision.request_id,
            series_id=decision.series_id,
            model_version=decision.model_version,
            code=decision.code,
            duration_ms=round(seconds * 1000, 3),
            correlation_id=correlation_id(trace) if trace else "",
            traceparent=trace or "",
        )
