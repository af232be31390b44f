"""The broker as one process sees it: what it opened is known, so that a crash can take it away."""

from __future__ import annotations

from typing import Any

from runtime.broker import OutgoingMessage
from runtime.memory_broker import MemoryBroker, MemoryProducer
from runtime.memory_consumer import MemoryConsumer
from runtime.memory_delivery import SentMessage


class ProcessBroker:
    """Hands every call on to the broker and keeps what was opened and sent through it."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self.consumers: list[MemoryConsumer] = []
        self.sent: list[SentMessage] = []

    def producer(self) -> _Producer:
        return _Producer(self._broker.producer(), self.sent)

    def consumer(self, **options: Any) -> MemoryConsumer:
        opened = self._broker.consumer(**options)
        self.consumers.append(opened)
        return opened

    def expire(self) -> None:
        """Take its members out of their groups, as the broker does when a session has run out."""
        for consumer in self.consumers:
            self._broker.expire(consumer)

    def unsettled(self) -> list[SentMessage]:
        """Return what is still on its way, in the order in which it was sent."""
        return [sent for sent in self.sent if not sent.is_settled]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)


class _Producer:
    """A producer whose messages are noted."""

    def __init__(self, producer: MemoryProducer, sent: list[SentMessage]) -> None:
        self._producer = producer
        self._sent = sent

    def send(self, message: OutgoingMessage) -> SentMessage:
        sent = self._producer.send(message)
        self._sent.append(sent)
        return sent

    def flush(self, timeout_seconds: float) -> None:
        self._producer.flush(timeout_seconds)

    def close(self) -> None:
        self._producer.close()
