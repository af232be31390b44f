"""Faust's aiokafka driver, with what it does not do by itself.

Four protections live here; `tests/unit/predictor/test_driver.py` holds each:

- Forecasts are produced idempotently and acknowledged by all in-sync replicas; messages are read committed.
- Nothing is acknowledged but by `acknowledge`. Faust acknowledges by itself where it must not: a message that is still
  in a stream's buffer when a rebalance starts is skipped *and* acknowledged, one whose agent raised is acknowledged.
  Either would commit past a request that nobody answered.
- The state of a partition is asked for before its messages are taken, not while they come.
- What is fetched is noted and expected at the agent. Faust drops messages of a partition that is paused while a fetch
  is under way, and the next one would be acknowledged past them: a gap ends the process, before anything is committed.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, cast

import aiokafka
import faust
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaError
from faust.tables.manager import TableManager
from faust.transport.consumer import RecordMap
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from predictor.kafka_records import install

install()

#: How long the broker may hold a fetch that finds nothing. A partition whose messages were taken slowly waits for the
#: fetch of the others to return, so this bounds that delay; an idle predictor fetches ten times a second.
FETCH_MAX_WAIT_MS = 100


class MessageLost(Exception):
    """Say that Faust lost a message between the broker and us."""


class PredictorConsumerThread(driver.AIOKafkaConsumerThread):
    """Makes a consumer that reads committed messages only."""

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        self._assignor = RoundRobinPartitionAssignor
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            bootstrap_servers=driver.server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            auto_offset_reset=conf.consumer_auto_offset_reset,
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            isolation_level="read_committed",
        )

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: set[TP],
        timeout: float | None = None,  # noqa: ASYNC109  # as Faust has it
        max_records: int | None = None,
    ) -> RecordMap:
        batches = await super()._fetch_records(consumer, active_partitions, timeout, max_records)
        expected = cast("PredictorConsumer", self.consumer).expected
        for source, records in batches.items():
            expected[TP(source.topic, source.partition)].extend(record.offset for record in records)
        return batches


class PredictorConsumer(driver.Consumer):
    """Commits only what was explicitly acknowledged, and expects at the agents what was fetched."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Partition -> offsets that were fetched and did not come to an agent yet, in order.
        self.expected: defaultdict[TP, deque[int]] = defaultdict(deque)

    def _new_consumer_thread(self) -> PredictorConsumerThread:
        return PredictorConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def perform_seek(self) -> None:
        """Go back to what is committed; what was fetched before comes again."""
        self.expected.clear()
        await super().perform_seek()
        self.expected.clear()

    def arrive(self, message: Any) -> None:
        """Note that a message came to an agent.

        Raises:
            MessageLost: One that was fetched before it did not.
        """
        expected = self.expected[TP(message.topic, message.partition)]
        if expected and message.offset > expected[0]:
            raise MessageLost(
                f"{message.topic}-{message.partition}: offset {expected[0]} was fetched, {message.offset} came to us"
            )
        if expected and message.offset == expected[0]:
            expected.popleft()

    def ack(self, message: Any) -> bool:
        """Do nothing: Faust's own acknowledgements do not mean that a message was handled."""
        del message
        return False

    def acknowledge(self, message: Any) -> bool:
        """Let the offset of a handled message be committed; call it in log order a partition.

        Returns whether it counts: not when the message came in an earlier generation of the group.
        """
        if message.generation_id != self.app.consumer_generation_id:
            return False
        return bool(super().ack(message))

    def fetch_positions(self) -> Mapping[TP, int]:
        """Return the next offset to be fetched of each assigned partition that has one."""
        consumer = self._thread._consumer  # noqa: SLF001  # the driver offers no view that needs no call into its thread
        subscription = None if consumer is None else consumer._subscription.subscription  # noqa: SLF001
        assignment = None if subscription is None else subscription.assignment
        if assignment is None:
            return {}
        states = {tp: assignment.state_value(tp) for tp in assignment.tps}
        return {
            TP(tp.topic, tp.partition): state.position
            for tp, state in states.items()
            if state is not None and state.has_valid_position
        }


class PredictorProducer(driver.Producer):
    """Produces idempotently."""

    def _settings_extra(self) -> Mapping[str, Any]:
        return {"acks": "all", "enable_idempotence": True}


class PredictorTransport(driver.Transport):
    """The aiokafka transport with our consumer and producer."""

    Consumer = PredictorConsumer
    Producer = PredictorProducer


class NoTables(TableManager):
    """Begins at once: Faust gives tables a second to be declared, and there are none."""

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


class PredictorApp(faust.App):
    """A Faust app on `PredictorTransport` that asks before it reads newly assigned partitions."""

    #: Called with the partitions that are ours from now on, before any message of theirs is taken. Faust's own signal
    #: `on_partitions_assigned` comes while messages may flow already.
    before_assigned: Callable[[Collection[TP]], Awaitable[None]]

    async def _on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        try:
            await self.before_assigned(assigned)
        except KafkaError as error:
            await self.crash(error)
        else:
            await super()._on_partitions_assigned(assigned, generation_id)

    def _new_transport(self) -> PredictorTransport:
        return PredictorTransport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> PredictorTransport:
        return PredictorTransport(self.conf.broker_producer, self)
