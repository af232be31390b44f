"""What becomes of a message between ``send`` and its acknowledgement, under the control of whoever tests.

A `Network` decides; the one that stands without a choice appends and acknowledges at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from runtime.broker import OutgoingMessage, TopicPartition
from runtime.errors import DeliveryFailed


class SentMessage:
    """A message on its way, and the `Delivery` that its sender holds.

    A network calls `append` and `acknowledge`, or `fail`. To append and then fail is honest: the message stands in the
    log and the acknowledgement was lost.
    """

    def __init__(
        self,
        message: OutgoingMessage,
        partition: TopicPartition,
        sequence: int,
        *,
        append: Callable[[SentMessage, bool], int],
        wait: Callable[[SentMessage, float], None],
        settled: Callable[[], None],
    ) -> None:
        self.message = message
        self.partition = partition
        #: Counts the sends of its producer.
        self.sequence = sequence
        self._append = append
        self._wait = wait
        self._settled = settled
        self._offset: int | None = None
        self._is_acknowledged = False
        self._failure: str | None = None

    @property
    def is_settled(self) -> bool:
        """Whether the sender knows what became of it."""
        return self._is_acknowledged or self._failure is not None

    @property
    def failure(self) -> str | None:
        """Why it was not acknowledged; ``None`` while it may still be."""
        return self._failure

    def append(self) -> int:
        """Put the message into the log, where every reader sees it, and return its offset.

        Raises:
            ValueError: It stands there already, or a later message of the same producer to the same partition does:
                Kafka never reorders those.
        """
        if self._offset is not None:
            raise ValueError(f"{self.partition} offset {self._offset}: the message is in the log already")
        self._offset = self._append(self, True)
        return self._offset

    def append_again(self) -> int:
        """Put it into the log a second time, as a producer that is not idempotent does after a lost acknowledgement."""
        return self._append(self, False)

    def acknowledge(self) -> None:
        """Tell the sender that the message is in the log."""
        if self._offset is None:
            raise ValueError("a message that is not in the log cannot be acknowledged; append it first")
        self._is_acknowledged = self._failure is None
        self._settled()

    def fail(self, reason: str) -> None:
        """Tell the sender that no acknowledgement will come."""
        if self._is_acknowledged:
            raise ValueError("an acknowledged message cannot fail any more")
        self._failure = reason
        self._settled()

    def result(self, timeout_seconds: float) -> tuple[int, int]:
        if not self.is_settled:
            self._wait(self, timeout_seconds)
        if self._failure is not None:
            raise DeliveryFailed(f"{self.partition.topic}-{self.partition.partition}: {self._failure}")
        if not self._is_acknowledged or self._offset is None:
            raise DeliveryFailed(
                f"{self.partition.topic}-{self.partition.partition}: not acknowledged in {timeout_seconds} s"
            )
        return self.partition.partition, self._offset


class Network(Protocol):
    """Decides when sent messages arrive and in which order partitions are read."""

    def on_send(self, sent: SentMessage) -> None:
        """Hear of a message at its ``send``: settle it now, or keep it and settle it later."""
        ...

    def on_wait(self, sent: SentMessage) -> None:
        """Hear that its sender waits for it now; what stays unsettled runs into the sender's timeout."""
        ...

    def order(self, partitions: Sequence[TopicPartition]) -> Sequence[TopicPartition]:
        """Return the order in which one poll looks at these partitions."""
        ...


class PromptNetwork:
    """Appends and acknowledges at once; each poll begins one partition further on."""

    def __init__(self) -> None:
        self._turn = 0

    def on_send(self, sent: SentMessage) -> None:
        sent.append()
        sent.acknowledge()

    def on_wait(self, sent: SentMessage) -> None:
        """Leave it: everything is settled at its send."""

    def order(self, partitions: Sequence[TopicPartition]) -> Sequence[TopicPartition]:
        if not partitions:
            return partitions
        self._turn += 1
        start = self._turn % len(partitions)
        return [*partitions[start:], *partitions[:start]]
