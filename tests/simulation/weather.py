"""A network that is late, loses acknowledgements and repeats messages, all from one seed."""

from __future__ import annotations

import random
from collections import defaultdict, deque
from collections.abc import Sequence

from runtime.broker import TopicPartition
from runtime.memory_delivery import SentMessage


class StormyNetwork:
    """Decides by its generator what becomes of each message; `calm` makes it prompt.

    Messages of one partition arrive in the order of their sends, as Kafka has it for one producer. What a killed
    process has sent arrives, if at all, before its session runs out; what a hanging one has sent may arrive after the
    messages of its successor.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.is_calm = False
        self._late: defaultdict[TopicPartition, deque[SentMessage]] = defaultdict(deque)

    def on_send(self, sent: SentMessage) -> None:
        if self._late[sent.partition] or (not self.is_calm and self._rng.random() < 0.5):
            self._late[sent.partition].append(sent)
        else:
            sent.append()
            sent.acknowledge()

    def on_wait(self, sent: SentMessage) -> None:
        queue = self._late[sent.partition]
        while sent in queue:
            if not self.is_calm and self._rng.random() < 0.02:
                return  # its sender runs into the timeout; the message arrives later all the same
            self._arrive(queue.popleft())

    def order(self, partitions: Sequence[TopicPartition]) -> Sequence[TopicPartition]:
        """Look at the partitions in any order, and not at all of them: the others come late."""
        shuffled = list(partitions)
        self._rng.shuffle(shuffled)
        return shuffled if self.is_calm else shuffled[: self._rng.randint(0, len(shuffled))]

    def drift(self) -> None:
        """Let one late message arrive, if there is one; its sender hears of it."""
        waiting = sorted(partition for partition, queue in self._late.items() if queue)
        if waiting:
            self._arrive(self._late[self._rng.choice(waiting)].popleft())

    def end(self, sent: Sequence[SentMessage]) -> None:
        """Bring what a dead process has sent to its end, in order: it arrives now, or from some message on it is lost."""
        is_lost = False
        for message in sent:
            if message in self._late[message.partition]:
                self._late[message.partition].remove(message)
                is_lost = is_lost or self._rng.random() < 0.5
                if is_lost:
                    message.fail("its sender died")
                else:
                    self._arrive(message)

    def settle(self) -> None:
        """Let everything arrive that is still on its way."""
        for queue in self._late.values():
            while queue:
                self._arrive(queue.popleft())

    def _arrive(self, sent: SentMessage) -> None:
        if sent.is_settled:
            return
        chance = 1.0 if self.is_calm else self._rng.random()
        if chance < 0.03:
            sent.fail("lost on its way")
            return
        sent.append()
        if chance < 0.06:
            sent.append_again()
        if chance < 0.09:
            sent.fail("its acknowledgement was lost")
        else:
            sent.acknowledge()
