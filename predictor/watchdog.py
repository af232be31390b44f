"""Sees partitions in which messages wait and nothing happens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from runtime.broker import TopicPartition


@dataclass(frozen=True, slots=True)
class Stuck:
    """A partition that does not move."""

    partition: TopicPartition
    position: int
    end_offset: int
    seconds: float


class Watchdog:
    """Compare how far each partition is handled with how far it goes, from one look to the next.

    Args:
        stuck_after_seconds: Messages that wait so long without any of their partition being handled are stuck.
    """

    def __init__(self, stuck_after_seconds: float) -> None:
        self._stuck_after = stuck_after_seconds
        #: Partition -> its position, and since when it stands there with messages waiting.
        self._waiting: dict[TopicPartition, tuple[int, float]] = {}

    def look(
        self, positions: Mapping[TopicPartition, int], end_offsets: Mapping[TopicPartition, int], now: float
    ) -> Stuck | None:
        """Take note of the positions now and return the partition that is stuck the longest, if one is.

        Args:
            positions: Next offset to be handled of each partition that is ours; others are forgotten.
            end_offsets: The offset after the last message of each.
            now: Seconds of a monotonic clock.
        """
        waiting: dict[TopicPartition, tuple[int, float]] = {}
        for partition, position in positions.items():
            if end_offsets.get(partition, 0) > position:
                before = self._waiting.get(partition)
                waiting[partition] = before if before is not None and before[0] == position else (position, now)
        self._waiting = waiting
        stuck = [
            Stuck(partition, position, end_offsets[partition], now - since)
            for partition, (position, since) in waiting.items()
            if now - since >= self._stuck_after
        ]
        return max(stuck, key=lambda found: found.seconds, default=None)
