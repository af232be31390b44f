from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from predictor.lane import Lane, Taken
from runtime.broker import TopicPartition
from runtime.incoming import Incoming
from schemas.topics import FORECAST_REQUESTS
from tests import factories

MODELS = TopicPartition("models", 0)


def taken(offset: int, partition: int = 0, generation: int = 1) -> Taken:
    incoming = factories.incoming(
        FORECAST_REQUESTS, factories.forecast_request(f"r{partition}-{offset}"), offset=offset, partition=partition
    )
    return Taken(SimpleNamespace(generation_id=generation), incoming.message, incoming, None, 0.0)


class Bench:
    """A lane whose needs and generation are set by the test, and whose batches are kept."""

    def __init__(self, *, max_batch: int = 100, capacity: int = 100) -> None:
        self.batches: list[list[tuple[int, int]]] = []
        self.generation = 1
        #: (partition, offset) of a message -> what it needs.
        self.needed: dict[tuple[int, int], Mapping[TopicPartition, int]] = {}
        self.reached = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.lane = Lane(
            capacity=capacity,
            max_batch=max_batch,
            needs=self.needs,
            reach=self.reach,
            is_current=lambda taken: taken.source.generation_id == self.generation,
            handle=self.handle,
        )

    def needs(self, batch: Sequence[Incoming]) -> dict[TopicPartition, int]:
        found: dict[TopicPartition, int] = {}
        for incoming in batch:
            found.update(self.needed.get((incoming.message.partition, incoming.message.offset), {}))
        return found

    async def reach(self, needs: Any) -> None:
        await self.reached.wait()

    async def handle(self, batch: list[Taken]) -> None:
        self.batches.append([(one.message.partition, one.message.offset) for one in batch])
        await self.gate.wait()


def run(case: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(60):
            await case()

    asyncio.run(within())


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_what_arrives_while_a_batch_is_handled_makes_the_next_one() -> None:
    async def case() -> None:
        bench = Bench()
        task = asyncio.create_task(bench.lane.run())
        bench.gate.clear()
        await bench.lane.put(taken(0))
        await settled()
        for offset in (1, 2, 3):
            await bench.lane.put(taken(offset))
        await settled()
        assert bench.lane.unhandled() == {TopicPartition("forecast-requests", 0): 0}
        bench.gate.set()
        await settled()
        assert bench.batches == [[(0, 0)], [(0, 1), (0, 2), (0, 3)]]
        await bench.lane.drain()
        assert bench.lane.unhandled() == {}
        task.cancel()

    run(case)


def test_batch_has_at_most_so_many_messages_and_keeps_the_order() -> None:
    async def case() -> None:
        bench = Bench(max_batch=2)
        for offset in range(5):
            await bench.lane.put(taken(offset))
        task = asyncio.create_task(bench.lane.run())
        await settled()
        assert bench.batches == [[(0, 0), (0, 1)], [(0, 2), (0, 3)], [(0, 4)]]
        task.cancel()

    run(case)


def test_partition_that_must_wait_for_the_log_holds_up_nobody_else_and_keeps_its_order() -> None:
    """Red when `_next_batch` does not add the partition to ``blocked``."""

    async def case() -> None:
        bench = Bench()
        bench.needed = {(0, 0): {MODELS: 5}}
        task = asyncio.create_task(bench.lane.run())
        for one in (taken(0, 0), taken(1, 0), taken(0, 1), taken(1, 1)):
            await bench.lane.put(one)
        await settled()
        assert bench.batches == [[(1, 0), (1, 1)]]
        bench.needed = {}
        bench.reached.set()
        await settled()
        assert bench.batches[1:] == [[(0, 0), (0, 1)]]
        task.cancel()

    run(case)


def test_message_whose_needs_the_log_cannot_meet_is_handled_as_things_stand() -> None:
    async def case() -> None:
        bench = Bench()
        bench.needed = {(0, 0): {MODELS: 5}}
        bench.reached.set()
        task = asyncio.create_task(bench.lane.run())
        await bench.lane.put(taken(0))
        await bench.lane.put(taken(1))
        await settled()
        assert [one for batch in bench.batches for one in batch] == [(0, 0), (0, 1)]
        task.cancel()

    run(case)


def test_messages_from_before_a_rebalance_are_dropped() -> None:
    """Red when `_next_batch` does not ask `is_current`."""

    async def case() -> None:
        bench = Bench()
        await bench.lane.put(taken(0))
        await bench.lane.put(taken(0, generation=2))
        bench.generation = 2
        task = asyncio.create_task(bench.lane.run())
        await settled()
        assert bench.batches == [[(0, 0)]]
        task.cancel()

    run(case)


def test_full_lane_holds_the_stream_until_there_is_room_also_when_all_of_it_is_stale() -> None:
    """Red when nobody calls `Lane.wake` after a rebalance."""

    async def case() -> None:
        bench = Bench(capacity=2)
        bench.gate.clear()
        task = asyncio.create_task(bench.lane.run())
        await bench.lane.put(taken(0))
        await settled()
        await bench.lane.put(taken(1))
        put = asyncio.create_task(bench.lane.put(taken(2)))
        await settled()
        assert not put.done()
        bench.generation = 2
        bench.gate.set()
        bench.lane.wake()
        await put
        assert bench.batches == [[(0, 0)]]
        task.cancel()

    run(case)
