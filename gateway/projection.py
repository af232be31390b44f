"""The log to the SQL store: two readers, one writer.

One reader follows what is asked and answered, and hands each answer on at once to whoever waits for it; the other
follows all other topics. Both put what they read into one buffer, which the writer empties in transactions together
with the positions. The readers run ahead of the store by what stands in the buffer, never by more than its limit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog

from gateway.open_requests import OpenRequests
from gateway.rows import rows_of
from gateway.store import Alarm, Position, Store
from runtime.broker import Broker, Message, TopicPartition
from runtime.clock import Clock
from runtime.errors import TransientError
from runtime.follower import Follower
from runtime.incoming import Incoming
from schemas.errors import InvalidRecord
from schemas.forecasts import ForecastIssued, ForecastRefused
from schemas.observations import ObservationBatch
from schemas.topics import (
    DEAD_LETTERS,
    DEPLOYMENTS,
    FORECAST_REQUESTS,
    FORECASTS,
    INGEST_EVENTS,
    INGEST_REQUESTS,
    INGEST_SCHEDULES,
    MODELS,
    OBSERVATIONS,
    QUARANTINE,
    TRAINING_EVENTS,
    TRAINING_REQUESTS,
    Topic,
)

#: Every forecast writes to these.
_BUSY = (FORECASTS, FORECAST_REQUESTS)
_CALM = (
    OBSERVATIONS,
    INGEST_REQUESTS,
    INGEST_SCHEDULES,
    INGEST_EVENTS,
    QUARANTINE,
    TRAINING_REQUESTS,
    TRAINING_EVENTS,
    MODELS,
    DEPLOYMENTS,
    DEAD_LETTERS,
)
FOLLOWED: tuple[Topic, ...] = (*_CALM, *_BUSY)
#: A fetch costs Kafka, and its client here, something for each partition that is followed, also for those without
#: news: so what comes all the time is followed apart from what mostly rests.
_READERS: tuple[tuple[Topic, ...], ...] = (_CALM, _BUSY)
#: Junk on these is dead-lettered here; junk on the others by the service that works on them. Never that on
#: `dead-letters`, which would be read again as another one, without end.
OWNED = frozenset(topic.name for topic in (MODELS, DEPLOYMENTS, FORECASTS, TRAINING_EVENTS, INGEST_EVENTS))
_POLL_SECONDS = 0.1
_MAX_BUFFERED_MESSAGES = 5_000
#: A decoded batch of observations, with the rows that are made of it, takes fifteen times its bytes.
_MAX_BUFFERED_BYTES = 8 * 1024 * 1024
#: Read and decoded before the limits are looked at.
_MAX_POLLED_MESSAGES = 100
_BACK_OFF_SECONDS = 1.0

_LOG = structlog.get_logger("gateway")


@dataclass(frozen=True)
class Junk:
    """A message that is no record of its topic."""

    message: Message
    topic: Topic
    error: InvalidRecord


@dataclass
class Buffer:
    """What is read and not yet written."""

    messages: list[Incoming] = field(default_factory=list)
    junk: list[Junk] = field(default_factory=list)
    positions: dict[TopicPartition, Position] = field(default_factory=dict)
    bytes: int = 0

    @property
    def is_full(self) -> bool:
        """Return whether the readers have to wait for the writer."""
        return len(self.messages) > _MAX_BUFFERED_MESSAGES or self.bytes > _MAX_BUFFERED_BYTES


class Projection:
    """Follows the log and keeps the store up to date.

    Attributes:
        failure: The unexpected error that ended a thread; the process must be started again.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        store: Store,
        open_requests: OpenRequests,
        clock: Clock,
        topic_prefix: str,
        min_write_interval_seconds: float,
        bury: Callable[[Sequence[Junk]], None],
        on_alarms: Callable[[Sequence[Alarm]], None],
        on_written: Callable[[Sequence[Incoming], Mapping[TopicPartition, int]], None],
        on_failure: Callable[[], None],
    ) -> None:
        self._broker = broker
        self._store = store
        self._open_requests = open_requests
        self._clock = clock
        self._prefix = topic_prefix
        self._min_write_interval_seconds = min_write_interval_seconds
        self._bury = bury
        self._on_alarms = on_alarms
        self._on_written = on_written
        self._on_failure = on_failure
        self._names = {topic.name: topic.full_name(topic_prefix) for topic in FOLLOWED}
        self.failure: BaseException | None = None
        self._changed = threading.Condition()
        self._buffer = Buffer()
        self._seen: dict[TopicPartition, Position] = {}
        self._written: dict[TopicPartition, Position] = {}
        self._ends_at_start: dict[str, dict[TopicPartition, int]] = {}
        self._is_caught_up = False
        self._series_ids: set[str] = set()
        self._is_stopping = False
        self._stop_event = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Read the positions from the store and start to follow."""
        self._written = self._store.positions()
        self._seen = dict(self._written)
        self._series_ids = set(self._store.series_ids())
        for name, run in (
            *((f"follow-{topics[0].name}", partial(self._follow, topics)) for topics in _READERS),
            ("write-store", self._write),
        ):
            thread = threading.Thread(target=self._guard, args=(run,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """Stop following; what is not written yet is read again at the next start."""
        with self._changed:
            self._is_stopping = True
            self._stop_event.set()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout_seconds)

    def place(self, topic: Topic, partition: int) -> TopicPartition:
        """Return a partition of a topic of this installation."""
        return TopicPartition(topic.full_name(self._prefix), partition)

    def seen(self, topic: Topic, partition: int) -> int:
        """Return the end of what this gateway has read of a partition: a request may be pinned to it."""
        position = self._seen.get(TopicPartition(topic.full_name(self._prefix), partition))
        return 0 if position is None else position.next_offset

    def knows_series(self, series_id: str) -> bool:
        """Return whether an observation of the series has been read."""
        return series_id in self._series_ids

    def written(self) -> dict[TopicPartition, Position]:
        """Return how far the store is."""
        return dict(self._written)

    def has_written(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Return whether the store is at or beyond these next offsets."""
        written = self._written
        return all(end == 0 or (place in written and written[place].next_offset >= end) for place, end in ends.items())

    def wait_written(self, ends: Mapping[TopicPartition, int], timeout_seconds: float) -> bool:
        """Wait until the store is at or beyond these next offsets; return whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self._is_stopping or self.has_written(ends), timeout_seconds) and (
                self.has_written(ends)
            )

    def write_what_is_seen(self, timeout_seconds: float) -> bool:
        """Wait until the store has what had been read when this was called; return whether it has."""
        seen = dict(self._seen)
        return self.wait_written({place: position.next_offset for place, position in seen.items()}, timeout_seconds)

    def wait_for_write(self, timeout_seconds: float) -> None:
        """Return after the next transaction, or after ``timeout_seconds``."""
        with self._changed:
            if not self._is_stopping:
                self._changed.wait(timeout_seconds)

    @property
    def is_stopping(self) -> bool:
        """Return whether the gateway is about to end; open streams must end too."""
        return self._is_stopping

    @property
    def is_caught_up(self) -> bool:
        """Return whether the store has what stood in the log when this gateway started; stays true."""
        if not self._is_caught_up and len(self._ends_at_start) == len(_READERS):
            self._is_caught_up = all(self.has_written(ends) for ends in self._ends_at_start.values())
        return self._is_caught_up

    def progress(self) -> tuple[int, int]:
        """Return how many offsets are written of those that stood in the log at the start, and how many those are."""
        # A list of its own: the second reader may begin meanwhile.
        ends = {place: end for of_topics in list(self._ends_at_start.values()) for place, end in of_topics.items()}
        written = self._written
        done = sum(min(end, written[place].next_offset) for place, end in ends.items() if place in written)
        return done, sum(ends.values())

    def _guard(self, run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001  # the shell of a thread: told and ended, never passed over
            # A bug or a broken invariant: nothing more is written, and whoever supervises starts us again.
            self.failure = error
            _LOG.critical("projection-stopped", exc_info=error)
            self._on_failure()

    def _partitions(self, topics: Sequence[Topic]) -> list[TopicPartition]:
        places = []
        for topic in topics:
            name = topic.full_name(self._prefix)
            count = self._broker.partitions(name)
            if count == 0:
                raise TransientError(f"topic {name} must exist, it does not; `foretopic topics create` creates it")
            places += [TopicPartition(name, partition) for partition in range(count)]
        return places

    def _follow(self, topics: tuple[Topic, ...]) -> None:
        while not self._is_stopping:
            try:
                self._follow_until_fault(topics)
            except TransientError as error:
                _LOG.warning("follow-interrupted", topics=[topic.name for topic in topics], reason=str(error))
                self._stop_event.wait(_BACK_OFF_SECONDS)

    def _follow_until_fault(self, topics: tuple[Topic, ...]) -> None:
        places = self._partitions(topics)
        collected: list[Incoming] = []
        junk: list[Junk] = []
        by_name = {topic.full_name(self._prefix): topic for topic in topics}

        def on_invalid(message: Message, error: InvalidRecord) -> None:
            junk.append(Junk(message, by_name[message.topic], error))

        follower = Follower(
            self._broker,
            topics=topics,
            topic_prefix=self._prefix,
            apply=self._on_answer(collected) if FORECASTS in topics else self._on_fact(collected),
            on_invalid=on_invalid,
        )
        try:
            start = {place: self._seen[place].next_offset if place in self._seen else 0 for place in places}
            follower.assign(start)
            self._ends_at_start.setdefault(topics[0].name, self._broker.end_offsets(places))
            while not self._is_stopping:
                follower.poll(_POLL_SECONDS, _MAX_POLLED_MESSAGES)
                self._take(collected, junk, follower.positions())
        finally:
            follower.close()

    def _on_answer(self, collected: list[Incoming]) -> Callable[[Incoming], None]:
        def apply(incoming: Incoming) -> None:
            collected.append(incoming)
            answer = incoming.record
            if isinstance(answer, ForecastIssued | ForecastRefused) and incoming.message.value is not None:
                self._open_requests.answered(
                    answer.request_id, incoming.message.value, is_refused=isinstance(answer, ForecastRefused)
                )

        return apply

    def _on_fact(self, collected: list[Incoming]) -> Callable[[Incoming], None]:
        def apply(incoming: Incoming) -> None:
            collected.append(incoming)
            if isinstance(incoming.record, ObservationBatch):
                self._series_ids.add(incoming.record.series_id)

        return apply

    def _take(self, collected: list[Incoming], junk: list[Junk], positions: Mapping[TopicPartition, int]) -> None:
        newest: dict[TopicPartition, int] = {}
        for message in [incoming.message for incoming in collected] + [item.message for item in junk]:
            newest[TopicPartition(message.topic, message.partition)] = message.timestamp_ms
        with self._changed:
            for place, next_offset in positions.items():
                known = self._seen.get(place)
                if known is None or known.next_offset != next_offset:
                    last_ms = newest.get(place, 0 if known is None else known.last_record_ms)
                    self._seen[place] = self._buffer.positions[place] = Position(next_offset, last_ms)
            self._buffer.messages += collected
            self._buffer.bytes += sum(len(incoming.message.value or b"") for incoming in collected)
            self._buffer.junk += junk
            collected.clear()
            junk.clear()
            if self._buffer.positions:
                self._changed.notify_all()
            while self._buffer.is_full and not self._is_stopping:
                self._changed.wait(_POLL_SECONDS)

    def _write(self) -> None:
        while True:
            with self._changed:
                while not self._buffer.positions:
                    if self._is_stopping:
                        return
                    self._changed.wait(_POLL_SECONDS)
                buffer, self._buffer = self._buffer, Buffer()
                self._changed.notify_all()
            started = self._clock.monotonic()
            if not self._write_until_done(buffer):
                return
            pause = self._min_write_interval_seconds - (self._clock.monotonic() - started)
            if pause > 0:
                self._stop_event.wait(pause)

    def _write_until_done(self, buffer: Buffer) -> bool:
        rows = rows_of(buffer.messages)
        before = {place: self._written[place] for place in buffer.positions if place in self._written}
        while True:
            try:
                self._bury(buffer.junk)
                alarms = self._store.apply(rows, before, buffer.positions, self._names)
                break
            except TransientError as error:
                _LOG.warning("write-interrupted", reason=str(error))
                if self._stop_event.wait(_BACK_OFF_SECONDS):
                    return False
        self._on_alarms(alarms)
        with self._changed:
            self._written.update(buffer.positions)
            self._changed.notify_all()
        self._open_requests.stored_requests(row["request_id"] for row in rows.forecast_requests)
        self._open_requests.stored_answers(row["request_id"] for row in rows.forecasts)
        self._on_written(buffer.messages, {place: position.next_offset for place, position in buffer.positions.items()})
        return True
