"""Consumer groups in memory: members, generations and committed offsets, with Kafka's eager rebalance.

A rebalance begins when a member comes, goes or is expired. Every member gives up all its partitions inside its next
``poll`` and joins again; once all have joined, the new generation begins and each takes its partitions up inside its
next ``poll``. So no partition has two owners, and a member hears of a loss before another one has the partition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from runtime.broker import TopicPartition
from runtime.errors import TransientError


class Member:
    """One consumer as its group sees it."""

    def __init__(self, topics: tuple[str, ...]) -> None:
        self.topics = topics
        self.owned: frozenset[TopicPartition] = frozenset()
        #: The generation whose assignment it has taken up; 0 before the first.
        self.generation = 0
        self.has_joined = False
        self.last_poll = 0.0


class Group:
    """One consumer group. Not locked: the broker holds its lock around every call."""

    def __init__(self, name: str, partitions_of: Callable[[str], int]) -> None:
        self.name = name
        self.committed: dict[TopicPartition, int] = {}
        self.members: list[Member] = []
        self.generation = 0
        self.is_rebalancing = False
        self._partitions_of = partitions_of
        self._assignments: dict[int, frozenset[TopicPartition]] = {}

    def join(self, member: Member) -> None:
        """Take a member into the coming generation; a new one starts a rebalance."""
        if member not in self.members:
            self.members.append(member)
            member.generation = 0
            self.begin_rebalance()
        member.has_joined = True
        self._complete_when_all_joined()

    def leave(self, member: Member) -> None:
        """Let a member go; the others share its partitions."""
        if member not in self.members:
            return
        self.members.remove(member)
        self.begin_rebalance()
        self._complete_when_all_joined()

    def expire(self, *, silent_since: float) -> None:
        """Remove the members that last polled before ``silent_since``, without a call."""
        for member in [m for m in self.members if m.last_poll < silent_since]:
            self.leave(member)

    def begin_rebalance(self) -> None:
        """Ask all members to join again."""
        if self.is_rebalancing:
            return
        self.is_rebalancing = True
        for member in self.members:
            member.has_joined = False

    def must_rejoin(self, member: Member) -> bool:
        """Say whether a member has to give up its partitions now."""
        return self.is_rebalancing and not member.has_joined

    def take_up(self, member: Member) -> bool:
        """Give a member its partitions of a generation that it does not know yet; say whether there was one."""
        if self.is_rebalancing or member not in self.members or member.generation == self.generation:
            return False
        member.generation = self.generation
        member.owned = self._assignments[id(member)]
        return True

    def commit(self, member: Member, offsets: Mapping[TopicPartition, int]) -> None:
        """Store offsets.

        Raises:
            TransientError: The member is not of the present generation, or a partition is not its own.
        """
        if member not in self.members or member.generation != self.generation:
            raise TransientError(f"group {self.name} has moved on: this member is not of generation {self.generation}")
        lost = sorted(set(offsets) - member.owned)
        if lost:
            raise TransientError(f"group {self.name}: not ours any more: {', '.join(f'{t}-{p}' for t, p in lost)}")
        self.committed.update(offsets)

    def _complete_when_all_joined(self) -> None:
        if not self.is_rebalancing or not all(member.has_joined for member in self.members):
            return
        self.is_rebalancing = False
        self.generation += 1
        self._assignments = self._assign()

    def _assign(self) -> dict[int, frozenset[TopicPartition]]:
        """Share each topic's partitions in ranges, so that co-partitioned topics stay together (Kafka's range)."""
        shares: dict[int, set[TopicPartition]] = {id(member): set() for member in self.members}
        for topic in sorted({topic for member in self.members for topic in member.topics}):
            takers = [member for member in self.members if topic in member.topics]
            size, extra = divmod(self._partitions_of(topic), len(takers))
            start = 0
            for index, member in enumerate(takers):
                count = size + (1 if index < extra else 0)
                shares[id(member)].update(TopicPartition(topic, p) for p in range(start, start + count))
                start += count
        return {key: frozenset(share) for key, share in shares.items()}
