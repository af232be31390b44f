"""The broker as one process sees it: what it opened is known, so that a crash can take it away."""

from __future__ import annotations

from typing import Any

from runtime.memory_broker import MemoryBroker
from runtime.memory_consumer import MemoryConsumer


class ProcessBroker:
    """Hands every call on to the broker and keeps the group members that were opened through it."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self.consumers: list[MemoryConsumer] = []

    def consumer(self, **options: Any) -> MemoryConsumer:
        opened = self._broker.consumer(**options)
        self.consumers.append(opened)
        return opened

    def expire(self) -> None:
        """Take its members out of their groups, as the broker does when a session has run out."""
        for consumer in self.consumers:
            self._broker.expire(consumer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)
