"""One topic's way through the predictor: from Faust's stream to handled and acknowledged, in order a partition."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from runtime.broker import Message, TopicPartition
from runtime.incoming import Incoming
from schemas.errors import InvalidRecord


@dataclass(slots=True, eq=False)
class Taken:
    """A message that was taken from the stream and is not acknowledged yet."""

    #: Faust's message: what is acknowledged.
    source: Any
    message: Message
    #: The record in it, or why there is none.
    incoming: Incoming | None
    invalid: InvalidRecord | None
    #: When it was taken, in seconds of the monotonic clock.
    taken_at: float
    #: Whether the log was read as far for it as it goes.
    is_cleared: bool = False


class Lane:
    """Collects what arrives while a batch is handled, and hands it over in one go: no lingering, no polling.

    A partition whose next message needs more of the log than has been read waits by itself; the others go on.

    Args:
        capacity: Messages that may wait; beyond it the stream is held, and with it the fetching.
        max_batch: Messages in one batch.
        needs: What must have been read first.
        reach: Reads until then, or to the end of the log.
        is_current: Whether a message still is ours: not when it came before the last rebalance.
        handle: Handles and acknowledges a batch.
    """

    def __init__(
        self,
        *,
        capacity: int,
        max_batch: int,
        needs: Callable[[Sequence[Incoming]], Any],
        reach: Callable[[Any], Awaitable[None]],
        is_current: Callable[[Taken], bool],
        handle: Callable[[list[Taken]], Awaitable[None]],
    ) -> None:
        self._capacity = capacity
        self._max_batch = max_batch
        self._needs = needs
        self._reach = reach
        self._is_current = is_current
        self._handle = handle
        self._pending: deque[Taken] = deque()
        self._waiting: dict[int, asyncio.Task[None]] = {}
        self._arrived = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._handling: list[Taken] = []
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    async def put(self, taken: Taken) -> None:
        """Take a message in; waits while too many wait."""
        self._pending.append(taken)
        self._arrived.set()
        if len(self._pending) >= self._capacity:
            self._has_room.clear()
            await self._has_room.wait()

    def wake(self) -> None:
        """Look again at what waits: some of it may not be ours any more."""
        self._arrived.set()

    def unhandled(self) -> dict[TopicPartition, int]:
        """Return the first offset of each partition that was taken and is not acknowledged."""
        first: dict[TopicPartition, int] = {}
        for taken in [*self._handling, *self._pending]:
            first.setdefault(TopicPartition(taken.message.topic, taken.message.partition), taken.message.offset)
        return first

    async def run(self) -> None:
        """Handle what arrives until cancelled."""
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while batch := self._next_batch():
                    self._handling = batch
                    self._is_idle.clear()
                    await self._handle(batch)
                    self._handling = []
                    self._is_idle.set()
        finally:
            for task in self._waiting.values():
                task.cancel()

    async def drain(self) -> None:
        """Return once nothing is being handled."""
        await self._is_idle.wait()

    def _next_batch(self) -> list[Taken]:
        """Take out the messages that can be handled now: in order a partition, stale ones dropped."""
        batch: list[Taken] = []
        kept: deque[Taken] = deque()
        blocked = set(self._waiting)
        must_check = bool(
            self._needs([taken.incoming for taken in self._pending if taken.incoming is not None])
            if self._pending
            else ()
        )
        for taken in self._pending:
            partition = taken.message.partition
            if not self._is_current(taken):
                continue
            if len(batch) >= self._max_batch or partition in blocked:
                kept.append(taken)
            elif must_check and self._must_wait(taken):
                blocked.add(partition)
                kept.append(taken)
            else:
                batch.append(taken)
        self._pending = kept
        if len(kept) < self._capacity:
            self._has_room.set()
        return batch

    def _must_wait(self, taken: Taken) -> bool:
        """Say whether the log must be read further for this message, and begin to wait for it."""
        if taken.is_cleared or taken.incoming is None:
            return False
        needs = self._needs([taken.incoming])
        if not needs:
            return False
        partition = taken.message.partition
        self._waiting[partition] = asyncio.get_running_loop().create_task(self._wait(taken, needs))
        return True

    async def _wait(self, taken: Taken, needs: Any) -> None:
        await self._reach(needs)
        # Beyond the end of the log there is nothing to wait for: it is handled as things stand, and refused.
        taken.is_cleared = True
        del self._waiting[taken.message.partition]
        self._arrived.set()
