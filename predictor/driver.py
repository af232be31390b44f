"""Faust's aiokafka driver, with what it does not do by itself.

Four protections live here; `tests/unit/predictor/test_driver.py` holds each:

- Forecasts are produced idempotently and acknowledged by all in-sync replicas; messages are read committed.
- Nothing is acknowledged but by `acknowledge`. Faust acknowledges by itself where it must not: a message that is still
  in a stream's buffer when a rebalance starts is skipped *and* acknowledged, one whose agent raised is acknowledged.
  Either would commit past a request that nobody answered.
- The state of a partition is asked for before its messages are taken, not while they come.
- What was taken from the broker is noted, so that the watchdog sees a message that got lost on the way to the agent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

import aiokafka
import faust
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

#: How long the broker may hold a fetch that finds nothing. A partition whose messages were taken slowly waits for the
#: fetch of the others to return, so this bounds that delay; an idle predictor fetches ten times a second.
FETCH_MAX_WAIT_MS = 100


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


class PredictorConsumer(driver.Consumer):
    """Commits only what was explicitly acknowledged, and notes what was taken from the broker."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Partition -> offsets of the first and the newest message that were taken since it was assigned.
        self.taken: dict[TP, tuple[int, int]] = {}

    def _new_consumer_thread(self) -> PredictorConsumerThread:
        return PredictorConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: TP, record: Any) -> Any:
        source = TP(tp.topic, tp.partition)
        first = self.taken[source][0] if source in self.taken else record.offset
        self.taken[source] = (first, record.offset)
        return super()._to_message(tp, record)

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
