"""Records to the log: encoded, stamped with who wrote them, and refused when too large."""

from __future__ import annotations

from runtime.broker import Delivery, OutgoingMessage, Producer
from runtime.clock import Clock
from runtime.message_size import require_size
from runtime.version import CODE_VERSION
from schemas.codec import encode
from schemas.record import Record
from schemas.topics import Topic


class Publisher:
    """Writes the records of one service."""

    def __init__(
        self,
        producer: Producer,
        *,
        service: str,
        clock: Clock,
        topic_prefix: str = "",
        code_version: str = CODE_VERSION,
    ) -> None:
        self._producer = producer
        self._source = f"/foretopic/{service}"
        self._clock = clock
        self._topic_prefix = topic_prefix
        self._code_version = code_version

    def send(
        self, topic: Topic, record: Record, *, traceparent: str | None = None, partition: int | None = None
    ) -> Delivery:
        """Queue a record; it is in the log for sure once its delivery is acknowledged.

        Raises:
            ValueError: The message is larger than ``topic`` takes, or the topic does not carry such records.
        """
        encoded = encode(
            topic,
            record,
            source=self._source,
            time=self._clock.now(),
            code_version=self._code_version,
            traceparent=traceparent,
        )
        message = OutgoingMessage(
            topic=topic.full_name(self._topic_prefix),
            key=encoded.key,
            value=encoded.value,
            headers=encoded.headers,
            partition=partition,
        )
        require_size(message, topic.max_message_bytes)
        return self._producer.send(message)

    def flush(self, timeout_seconds: float) -> None:
        """Wait until everything sent is acknowledged.

        Raises:
            DeliveryFailed: Something was not.
        """
        self._producer.flush(timeout_seconds)

    def close(self) -> None:
        """Send what is queued, then let go of the broker."""
        self._producer.close()
