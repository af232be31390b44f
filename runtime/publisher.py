"""Records to the log: encoded, stamped with who wrote them, and refused when too large."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.broker import Delivery, Message, OutgoingMessage, Producer
from runtime.clock import Clock
from runtime.incoming import Incoming
from runtime.message_size import require_size
from runtime.version import CODE_VERSION
from schemas.codec import Envelope, encode
from schemas.record import Record
from schemas.topics import Topic


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A record on its way; a `Delivery`."""

    topic: Topic
    record: Record
    envelope: Envelope
    message: OutgoingMessage
    delivery: Delivery

    def result(self, timeout_seconds: float) -> tuple[int, int]:
        """Wait for the acknowledgement and return ``(partition, offset)``.

        Raises:
            DeliveryFailed: Not acknowledged in time, or refused by the broker.
        """
        return self.delivery.result(timeout_seconds)

    def acknowledged(self) -> Incoming:
        """Return it as who reads the log gets it; it is acknowledged.

        Raises:
            DeliveryFailed: It is not.
        """
        partition, offset = self.result(0)
        message = Message(
            topic=self.message.topic,
            partition=partition,
            offset=offset,
            key=self.message.key,
            value=self.message.value,
            headers=self.message.headers,
            timestamp_ms=int(self.envelope.time.timestamp() * 1000),
        )
        return Incoming(message=message, topic=self.topic, record=self.record, envelope=self.envelope)


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
    ) -> Sent:
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
        delivery = self._producer.send(message)
        return Sent(topic=topic, record=record, envelope=encoded.envelope, message=message, delivery=delivery)

    def flush(self, timeout_seconds: float) -> None:
        """Wait until everything sent is acknowledged.

        Raises:
            DeliveryFailed: Something was not.
        """
        self._producer.flush(timeout_seconds)

    def close(self) -> None:
        """Send what is queued, then let go of the broker."""
        self._producer.close()
