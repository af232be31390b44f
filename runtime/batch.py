"""The messages of one poll on their way through a worker."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from runtime.broker import Message, TopicPartition
from runtime.incoming import Incoming, Outgoing, decode_message
from schemas.errors import InvalidRecord
from schemas.topics import Topic


def partition_of(message: Message) -> TopicPartition:
    """Return where a message stands."""
    return TopicPartition(message.topic, message.partition)


class Batch:
    """What was polled, what is left to handle, what came of it, and how far it has got.

    A retry goes on where the last try failed: what was handled is not handled again, since a handler that remembers
    what it has answered would answer nothing the second time.
    """

    def __init__(self, topics: Mapping[str, Topic], messages: Sequence[Message], polled_at: float) -> None:
        self.messages = list(messages)
        #: When the poll returned, by the monotonic clock.
        self.polled_at = polled_at
        #: Decoded messages that are not handled yet, in order.
        self.todo: list[Incoming] = []
        #: Messages that can never be handled -> why.
        self.refused: dict[Message, str] = {}
        self.outgoing: list[Outgoing] = []
        self.envelopes: dict[Message, Incoming] = {}
        self.must_split = False
        self.is_judged = False
        self.is_acknowledged = False
        for message in self.messages:
            try:
                incoming = decode_message(topics[message.topic], message)
            except InvalidRecord as error:
                self.refused[message] = error.reason
            else:
                self.todo.append(incoming)
                self.envelopes[message] = incoming

    def next_offsets(self) -> dict[TopicPartition, int]:
        """Return what is to be committed once everything is acknowledged."""
        return {partition_of(message): message.offset + 1 for message in self.messages}

    def drop(self, partitions: Collection[TopicPartition]) -> int:
        """Forget the messages of partitions that are lost; whoever has them now reads them again. Return how many."""
        lost = set(partitions)
        before = len(self.messages)
        self.messages = [m for m in self.messages if partition_of(m) not in lost]
        self.todo = [incoming for incoming in self.todo if partition_of(incoming.message) not in lost]
        self.refused = {m: reason for m, reason in self.refused.items() if partition_of(m) not in lost}
        return before - len(self.messages)
