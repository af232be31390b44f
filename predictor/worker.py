"""The Faust shell around `predictor.core`: takes messages in, publishes what the core decides, then acknowledges.

What Faust 0.15.3 does by itself would lose requests, so this is how it is used (each point has a test):

- The agents only hand messages over (`noack`); no exception can leave their loops, and if one did, the process ends:
  Faust would acknowledge the message and go on.
- Messages are acknowledged in log order a partition, after the broker has acknowledged all that was published for them.
- What came before a rebalance is dropped, not acknowledged. Only the generation of the group tells: messages of the new
  generation may come while Faust still says that it is rebalancing.
- A partition whose messages wait while nothing of it is handled ends the process: its supervisor starts it anew.
"""

from __future__ import annotations

import asyncio
import enum
import tempfile
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any, cast

import structlog
from aiokafka.errors import KafkaError
from faust.types import TP
from yarl import URL

from predictor.batches import BatchHandler, FaustPublisher
from predictor.core import Predictor
from predictor.driver import NoTables, PredictorApp, PredictorConsumer
from predictor.lane import Lane, Taken
from predictor.log_reader import LogReader
from predictor.messages import message_of
from predictor.report import Report
from predictor.settings import SERVICE, PredictorSettings
from predictor.watchdog import Watchdog
from runtime.broker import TopicPartition
from runtime.clock import Clock
from runtime.dead_letter import DeadLetterLimit
from runtime.errors import TooManyDeadLetters
from runtime.health import Health
from runtime.incoming import decode_message
from schemas.errors import InvalidRecord
from schemas.topics import DEAD_LETTERS, FORECAST_REQUESTS, OBSERVATIONS, Topic

#: Messages that may wait in a lane before fetching is held.
_CAPACITY = 4_096
#: Largest batch of messages to one partition; a topic takes 1 MiB at once.
_PRODUCER_BATCH_BYTES = 512 * 1024

#: How long a stop may take at each of its two steps.
_STOP_SECONDS = 10.0

_log = structlog.get_logger()


class Ending(enum.IntEnum):
    """Why the predictor ended; the exit code of its process."""

    STOPPED = 0
    FAILED = 1
    STUCK = 3


class PredictorWorker:
    """Runs a predictor against Kafka until it is told to stop, or must.

    Args:
        settings: See `predictor.settings`.
        predictor: What decides.
        reader: Feeds it from the log.
        report: Logs and counts.
        health: Told that work goes on.
        clock: Stamps what is published.
    """

    def __init__(
        self,
        settings: PredictorSettings,
        *,
        predictor: Predictor,
        reader: LogReader,
        report: Report,
        health: Health,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._predictor = predictor
        self._reader = reader
        self._report = report
        self._health = health
        self._watchdog = Watchdog(settings.stuck_after_seconds)
        self._end: asyncio.Future[Ending] | None = None
        self._rebalancing_since: float | None = None
        topics = (FORECAST_REQUESTS, OBSERVATIONS)
        publisher = FaustPublisher(
            lambda: self.app.producer,
            clock=clock,
            topic_prefix=settings.topic_prefix,
            timeout_seconds=settings.delivery_timeout_seconds + 5,
        )
        self._handler = BatchHandler(
            predictor=predictor,
            topics={topic.full_name(settings.topic_prefix): topic for topic in topics},
            publish=publisher.publish,
            acknowledge=self._acknowledge,
            is_current=self._is_current,
            limit=DeadLetterLimit(),
            report=report,
        )
        self._lanes = {topic.name: self._new_lane() for topic in topics}
        self.app = self._new_app()
        for topic in topics:
            self._add_agent(topic, self._lanes[topic.name])

    async def run(self, stop: asyncio.Event) -> Ending:
        """Work until ``stop`` is set or it cannot go on; returns why it ended."""
        loop = asyncio.get_running_loop()
        self._end = loop.create_future()
        await self._reader.start()
        self.app.loop = loop
        parts = [self._reader.run(), self.app.start(), self._watch(), *(lane.run() for lane in self._lanes.values())]
        tasks = [loop.create_task(self._guarded(part)) for part in parts]
        tasks.append(loop.create_task(self._end_when(stop.wait(), Ending.STOPPED)))
        tasks.append(loop.create_task(self._end_when(self.app._crashed.wait(), Ending.FAILED)))  # noqa: SLF001  # mode tells it nowhere else
        try:
            ending = await self._end
            if ending is Ending.STOPPED:
                async with asyncio.timeout(_STOP_SECONDS):
                    await asyncio.gather(*(lane.drain() for lane in self._lanes.values()))
        except TimeoutError:
            _log.warning("stopped_with_work_in_hand")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._close()
        return ending

    async def _close(self) -> None:
        """Commit what is acknowledged and leave; a broker that does not answer is waited for a while only."""
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await self.app.stop()
                await self._reader.stop()
        except TimeoutError:
            _log.warning("left_without_goodbye")

    # --- Faust -------------------------------------------------------------------------------------------------

    def _new_app(self) -> PredictorApp:
        settings = self._settings
        app = PredictorApp(
            id=f"{settings.topic_prefix}{SERVICE}",
            broker=[URL(f"kafka://{server.strip()}") for server in settings.kafka_bootstrap_servers.split(",")],
            broker_client_id=f"foretopic-{SERVICE}",
            broker_commit_interval=settings.commit_interval_seconds,
            broker_session_timeout=settings.session_timeout_seconds,
            broker_heartbeat_interval=settings.session_timeout_seconds / 4,
            broker_request_timeout=max(30.0, settings.session_timeout_seconds + 5),
            broker_rebalance_timeout=max(30.0, settings.session_timeout_seconds),
            consumer_group_instance_id=settings.instance_id or None,
            consumer_auto_offset_reset="earliest",
            producer_linger=0.0,
            producer_max_batch_size=_PRODUCER_BATCH_BYTES,
            producer_max_request_size=DEAD_LETTERS.max_message_bytes + 1024,
            producer_request_timeout=settings.delivery_timeout_seconds,
            processing_guarantee="at_least_once",
            stream_buffer_maxsize=_CAPACITY,
            # What waits is dropped on a rebalance, so there is nothing to wait for.
            stream_wait_empty=False,
            stream_recovery_delay=0.0,
            table_standby_replicas=0,
            topic_allow_declare=False,
            topic_disable_leader=True,
            web_enabled=False,
            key_serializer="raw",
            value_serializer="raw",
            store="memory://",
            TableManager=NoTables,
            # Faust makes folders for tables, which nobody has here; the working directory may be read-only.
            datadir=str(Path(tempfile.gettempdir(), f"foretopic-{SERVICE}")),
        )
        app.before_assigned = self._before_assigned
        return app

    def _new_lane(self) -> Lane:
        return Lane(
            capacity=_CAPACITY,
            max_batch=self._settings.max_batch,
            needs=self._predictor.needs,
            reach=self._reader.reach,
            is_current=self._is_current,
            handle=self._handler.handle,
        )

    def _add_agent(self, topic: Topic, lane: Lane) -> None:
        channel = self.app.topic(topic.full_name(self._settings.topic_prefix), key_type=bytes, value_type=bytes)

        async def agent(stream: Any) -> None:
            await self._guarded(self._hand_over(stream, topic, lane))

        agent.__name__ = topic.name.replace("-", "_")
        self.app.agent(channel, name=topic.name, concurrency=1)(agent)

    async def _hand_over(self, stream: Any, topic: Topic, lane: Lane) -> None:
        async for event in stream.noack().events():
            self._consumer().arrive(event.message)
            await lane.put(self._take(topic, event.message))

    def _take(self, topic: Topic, source: Any) -> Taken:
        message = message_of(source)
        try:
            return Taken(source, message, decode_message(topic, message), None, time.monotonic())
        except InvalidRecord as error:
            return Taken(source, message, None, error, time.monotonic())

    def _is_current(self, taken: Taken) -> bool:
        return bool(taken.source.generation_id == self.app.consumer_generation_id)

    async def _before_assigned(self, assigned: Collection[TP]) -> None:
        partitions = {source.partition for source in assigned}
        await self._reader.own(partitions)
        for lane in self._lanes.values():
            lane.wake()
        _log.info("partitions_assigned", partitions=sorted(partitions))

    def _consumer(self) -> PredictorConsumer:
        return cast("PredictorConsumer", self.app.consumer)

    def _acknowledge(self, taken: Taken) -> None:
        self._consumer().acknowledge(taken.source)

    # --- watching ----------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            if self.app.rebalancing:
                self._watch_rebalance()
            else:
                self._rebalancing_since = None
                await self._look()
            await asyncio.sleep(min(5.0, self._settings.stuck_after_seconds / 4))

    async def _look(self) -> None:
        positions = self._positions()
        try:
            ends = await self._reader.end_offsets(list(positions))
        except KafkaError:  # the broker is away: nothing can move, and nothing is stuck
            self._watchdog.look({}, {}, time.monotonic())
            return
        self._health.beat()
        self._report.backlog({key: max(0, ends[key] - positions[key]) for key in positions})
        stuck = self._watchdog.look(positions, ends, time.monotonic())
        if stuck is not None:
            _log.error(
                "partition_stuck",
                topic=stuck.partition.topic,
                partition=stuck.partition.partition,
                position=stuck.position,
                end_offset=stuck.end_offset,
                seconds=round(stuck.seconds, 1),
            )
            self._finish(Ending.STUCK)

    def _watch_rebalance(self) -> None:
        now = time.monotonic()
        self._rebalancing_since = self._rebalancing_since or now
        if now - self._rebalancing_since >= self._settings.stuck_after_seconds:
            _log.error("rebalance_stuck", seconds=round(now - self._rebalancing_since, 1))
            self._finish(Ending.STUCK)

    def _positions(self) -> dict[TopicPartition, int]:
        """Return how far each partition of ours is handled: below it, everything is."""
        consumer = self._consumer()
        waiting: dict[TopicPartition, int] = {}
        for lane in self._lanes.values():
            waiting.update(lane.unhandled())
        positions = {}
        for source, fetched in consumer.fetch_positions().items():
            key = TopicPartition(source.topic, source.partition)
            expected = consumer.expected.get(source)
            # What was fetched and did not come to us may be on its way, or lost: the position stands there.
            positions[key] = waiting[key] if key in waiting else expected[0] if expected else fetched
        return positions

    async def _guarded(self, work: Any) -> None:
        """Run a part that must not end; whatever it raises ends the process without acknowledging anything."""
        try:
            await work
        except asyncio.CancelledError:
            raise
        except TooManyDeadLetters as error:
            _log.error("too_many_dead_letters", error=str(error))
            self._finish(Ending.FAILED)
        except Exception:
            _log.exception("worker_failed")
            self._finish(Ending.FAILED)
            raise

    async def _end_when(self, event: Any, ending: Ending) -> None:
        await event
        self._finish(ending)

    def _finish(self, ending: Ending) -> None:
        self._health.fail(ending.name.lower())
        if self._end is not None and not self._end.done():
            self._end.set_result(ending)
