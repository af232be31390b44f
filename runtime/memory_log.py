"""One partition in memory: messages by offset, with the gaps that compaction and transactions leave."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from runtime.broker import Message, OutgoingMessage, TopicPartition


class PartitionLog:
    """An append-only sequence of messages; offsets ascend and are never given twice."""

    def __init__(self, partition: TopicPartition) -> None:
        self._partition = partition
        self._messages: list[Message] = []
        self._offsets: list[int] = []
        self.begin = 0
        self.end = 0

    def append(self, message: OutgoingMessage, timestamp_ms: int) -> int:
        """Add a message at the end and return its offset."""
        offset = self.end
        self._messages.append(
            Message(
                topic=self._partition.topic,
                partition=self._partition.partition,
                offset=offset,
                key=message.key,
                value=message.value,
                headers=message.headers,
                timestamp_ms=timestamp_ms,
            )
        )
        self._offsets.append(offset)
        self.end = offset + 1
        return offset

    def skip(self, count: int) -> None:
        """Use up offsets without a message, as the markers of a transaction do."""
        self.end += count

    def read(self, position: int, limit: int) -> Sequence[Message]:
        """Return at most ``limit`` messages at or after ``position``."""
        start = bisect_left(self._offsets, position)
        return self._messages[start : start + limit]

    def next_position(self, position: int) -> int:
        """Return where a reader at ``position`` stands once it has looked: past a gap at the end."""
        return position if bisect_left(self._offsets, position) < len(self._offsets) else max(position, self.end)

    def offset_at(self, timestamp_ms: int) -> int:
        """Return the first offset whose time is at or after ``timestamp_ms``, else the end."""
        for message in self._messages:
            if message.timestamp_ms >= timestamp_ms:
                return message.offset
        return self.end

    def compact(self) -> None:
        """Keep the newest message of each key; what has no key stays."""
        newest = {message.key: message.offset for message in self._messages}
        self._keep([m for m in self._messages if m.key is None or newest[m.key] == m.offset])

    def delete_before(self, offset: int) -> None:
        """Forget the messages below ``offset``, as retention does."""
        self.begin = max(self.begin, min(offset, self.end))
        self._keep([m for m in self._messages if m.offset >= self.begin])

    def _keep(self, messages: list[Message]) -> None:
        self._messages = messages
        self._offsets = [message.offset for message in messages]
