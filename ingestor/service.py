"""The ingests of the partitions that this instance owns, under the loop of jobs.

Requests are read ahead; each series does one at a time, in order; fetches run beside the loop, as many of each provider
as it may have. What is published is decided from all that stands in the log at that moment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import structlog

from ingestor.appends import Appends, DecidedAppend, together
from ingestor.handlers import released_by, request_of
from ingestor.ingest import Ingest, Phase, waiting
from ingestor.jobs import FetchEnded, FetchJob, FetchRunner
from ingestor.owned import OwnedPartitions
from ingestor.providers import Provider, Providers
from ingestor.state import IngestLog
from runtime.batch import partition_of
from runtime.broker import Message, TopicPartition, partition_for
from runtime.clock import Clock
from runtime.errors import InvalidMessage
from runtime.incoming import Incoming, Outgoing
from runtime.job_worker import Partitions
from runtime.offsets import OffsetTracker
from runtime.publisher import Sent
from runtime.worker import close_all
from schemas.appends import AppendRequested
from schemas.ingests import IngestEvent, IngestRequested
from schemas.quarantine import ObservationsQuarantined, QuarantineDecided, release_id

#: A fetch that ends within so long after another is decided in the same turn.
_AT_ONCE_SECONDS = 0.01
#: What is gathered in one turn: for so long at most, and so many rows, since all of it is in memory at once.
_GATHER_SECONDS = 0.25
_GATHER_ROWS = 60_000
_LOG = structlog.get_logger()


class Ingests:
    """See `runtime.job_worker.JobCore`. Its effects: ``turn``, ``fetched``, ``catch-up`` and ``fetch``.

    Args:
        owned: What the log says of our partitions.
        log: What was learned from it.
        runner: Does the fetches.
        sources: Names of the sources that there are.
        providers: How much is asked of each.
        clock: Stamps what is published.
        patience: How long a request is tried again while no source of it answers; with the cause ``schedule`` longer.
        poll_seconds: How long one turn waits for messages or fetches.
        read_ahead: Unfinished messages of one partition past which no more of it is read.
    """

    def __init__(
        self,
        *,
        owned: OwnedPartitions,
        log: IngestLog,
        runner: FetchRunner,
        sources: Collection[str],
        providers: Providers,
        clock: Clock,
        patience: timedelta,
        scheduled_patience: timedelta,
        poll_seconds: float = 0.2,
        read_ahead: int = 1000,
    ) -> None:
        self._owned = owned
        self._log = log
        self._runner = runner
        self._sources = sources
        self._providers = providers
        self._clock = clock
        self._patience = patience.total_seconds()
        self._scheduled_patience = scheduled_patience.total_seconds()
        self._poll_seconds = poll_seconds
        self._read_ahead = read_ahead
        self._trackers: dict[TopicPartition, OffsetTracker] = {}
        #: Messages of each series that are not finished, in order; the first is at work.
        self._series: dict[str, deque[Ingest]] = {}
        #: Fetches that run, those included whose partition was taken: they keep their place at the provider.
        self._jobs: dict[int, tuple[Ingest, Provider]] = {}
        self._job = 0
        #: Those of which it is to be told that they have begun, or what they wait for.
        self._begun: list[tuple[Ingest | DecidedAppend, Outgoing]] = []
        self._appends = Appends(log)
        #: Those whose rows and ends are to be acknowledged before more is decided of their series.
        self._appended: list[DecidedAppend] = []
        self._outbox: list[tuple[Ingest | DecidedAppend, Outgoing]] = []
        #: Those whose rows or end stand in the outbox.
        self._publishing: list[Ingest] = []

    # --- partitions --------------------------------------------------------------------------------------------

    def connect(self) -> None:
        self._owned.connect()

    def assigned(self, partitions: Partitions) -> None:
        for partition in partitions:
            self._trackers.setdefault(partition, OffsetTracker())
        self._owned.take({partition.partition for partition in partitions})

    def revoked(self, partitions: Partitions) -> None:
        """Drop the work of these partitions: whoever has them now begins it again."""
        gone = {partition.partition for partition in partitions}
        self._owned.lose(gone)
        self._trackers = {place: kept for place, kept in self._trackers.items() if place.partition not in gone}
        self._series = {name: queue for name, queue in self._series.items() if queue[0].partition not in gone}
        self._begun = [(one, outgoing) for one, outgoing in self._begun if one.partition not in gone]
        self._outbox = [(one, outgoing) for one, outgoing in self._outbox if one.partition not in gone]
        self._publishing = [one for one in self._publishing if one.partition not in gone]
        self._appended = [one for one in self._appended if one.partition not in gone]
        self._appends.drop(gone)

    @property
    def full(self) -> frozenset[TopicPartition]:
        return frozenset(place for place, kept in self._trackers.items() if kept.unfinished >= self._read_ahead)

    def committable(self) -> Mapping[TopicPartition, int]:
        return {place: kept.committable for place, kept in self._trackers.items() if kept.committable is not None}

    # --- messages ----------------------------------------------------------------------------------------------

    def patience_seconds(self) -> float:
        at = self._clock.monotonic()
        if self._jobs or self._is_busy(at):
            return 0.0
        due_in = self._appends.due_in(at)
        return self._poll_seconds if due_in is None else min(due_in, self._poll_seconds)

    def learn(self, messages: Sequence[Message]) -> Iterator[str]:
        until = self._clock.monotonic() + self._poll_seconds
        while self._owned.follower.poll(0) and self._clock.monotonic() < until:
            pass
        yield "before-turn"
        self._owned.scheduler.turn()
        yield "after-turn"
        self._owned.know_quarantine(messages)

    def receive(self, incoming: Incoming) -> None:
        tracker, offset = self._trackers[partition_of(incoming.message)], incoming.message.offset
        if tracker.knows(offset):
            return
        record = incoming.record
        if isinstance(record, AppendRequested):
            self._appends.receive(incoming, record, self._owned.partitions())
            tracker.received(offset)
            return
        if not isinstance(record, IngestRequested | ObservationsQuarantined | QuarantineDecided):
            raise InvalidMessage(f"a request or a decision was expected, found a {type(record).__name__}")
        self._require_home(incoming, record.series_id)
        if isinstance(record, ObservationsQuarantined):  # our own; it is learned from the log
            tracker.received(offset)
            tracker.finished(offset)
            return
        ingest_id = record.ingest_id if isinstance(record, IngestRequested) else release_id(record.quarantine_id)
        if isinstance(record, QuarantineDecided):
            held = self._log.held(incoming.message.partition, record.series_id)
            if held.get(record.quarantine_id) is None:
                raise InvalidMessage(f"unknown-quarantine: nothing is held under {record.quarantine_id}")
        tracker.received(offset)
        one = waiting(incoming, record.series_id, ingest_id)
        self._series.setdefault(record.series_id, deque()).append(one)

    def _require_home(self, incoming: Incoming, series_id: str) -> None:
        home = partition_for(series_id.encode(), self._owned.partitions())
        if home != incoming.message.partition:
            raise InvalidMessage(
                f"wrong-partition: {series_id} belongs to partition {home}, "
                f"the request stands in {incoming.message.partition}; use Kafka's default partitioner"
            )

    def skip(self, message: Message) -> None:
        tracker = self._trackers[partition_of(message)]
        if not tracker.knows(message.offset):
            tracker.received(message.offset)
            tracker.finished(message.offset)

    # --- work --------------------------------------------------------------------------------------------------

    def work(self) -> Iterator[str]:
        at = self._clock.monotonic()
        must_wait = self._jobs and not self._outbox and not self._is_busy(at)
        for ended in self._runner.poll(self._poll_seconds if must_wait else 0.0):
            self._take(ended)
        appending = {name for one in self._appended for name in one.series_ids}
        heads = [queue[0] for name, queue in self._series.items() if name not in appending]
        fetched = [one for one in heads if one.phase is Phase.FETCHED]
        at = self._clock.monotonic()
        resting = [one for one in heads if self._may_go_on(one, at)]
        must_append = self._appends.due_in(at) == 0
        if not fetched and not resting and not must_append:
            return
        yield "before-catch-up"
        # Those of running fetches too: what ends at once is decided in this turn.
        appending_to = self._appends.partitions() if must_append else set()
        self._owned.know_all({one.partition for one in heads} | appending_to)
        yield "after-catch-up"
        for one in fetched:
            one.decide(self._log)
        for one in resting:
            if isinstance(one.incoming.record, QuarantineDecided):
                self._release(one, one.incoming.record)
            elif self._begin(one):
                yield from self._fetch(one)
        yield from self._gather(heads)
        if must_append:
            self._append(at)

    def _gather(self, heads: Sequence[Ingest]) -> Iterator[str]:
        """Decide what ends at once, too, and begin others in its place: one turn then publishes for many series.

        A turn takes several round trips to the broker, whatever it publishes; a short file is read in less than one.
        """
        until = self._clock.monotonic() + _GATHER_SECONDS
        at_work = set(heads)
        rows = sum(one.told.rows_received for one in heads if one.phase is Phase.PUBLISHING)
        waiting = deque(one for one in heads if one.is_begun and one.phase is Phase.WAITING)
        while self._jobs and rows < _GATHER_ROWS and self._clock.monotonic() < until:
            ended = self._runner.poll(_AT_ONCE_SECONDS)
            if not ended:
                return
            for each in ended:
                one = self._take(each)
                if one in at_work:  # its partition is still ours, and none of its rows are on their way
                    one.decide(self._log)
                    rows += one.told.rows_received
            places = len(ended)
            while waiting and places:
                one = waiting.popleft()
                if self._may_go_on(one, self._clock.monotonic()):
                    yield from self._fetch(one)
                    places -= 1

    def _append(self, began: float) -> None:
        """Decide the appends whose turn it is, unless others are on their way."""
        if self._outbox or self._appended:
            return
        self._appends.begin(began)
        busy = {name for name, queue in self._series.items() if queue[0].phase is Phase.PUBLISHING}
        self._appended, ended = self._appends.decide(busy, self._clock.now())
        for incoming in ended:
            self._trackers[partition_of(incoming.message)].finished(incoming.message.offset)

    def _is_busy(self, at: float) -> bool:
        """Return whether there is something to do before anything new comes."""
        heads = (queue[0] for queue in self._series.values())
        return any(one.phase in (Phase.FETCHED, Phase.PUBLISHING) or self._may_go_on(one, at) for one in heads)

    def _may_go_on(self, one: Ingest, at: float) -> bool:
        if one.phase is not Phase.WAITING or one.not_before > at:
            return False
        if not one.is_begun:
            return self._has_room(one, request_of(one.incoming).sources[0], at) if _is_request(one) else True
        return self._has_room(one, one.source, at)

    def _has_room(self, one: Ingest, source: str | None, at: float) -> bool:
        """Return whether a source can be asked, or it is known that it cannot be."""
        if source is None or source not in self._sources:
            return True
        provider = self._providers.of(source, request_of(one.incoming).symbol, at)
        return provider.is_away(at) or provider.has_room(at)

    def _begin(self, one: Ingest) -> bool:
        """Return whether a request is at work; one that has ended in the log is finished."""
        if one.is_begun:
            return True
        if self._log.has_ended(one.partition, one.told.ingest_id):
            self._finish(one)
            return False
        progress = self._log.progress(one.partition, one.told.ingest_id)
        one.begin(progress)
        if progress is None:
            self._begun.append((one, one.announcement()))
        return True

    def _fetch(self, one: Ingest) -> Iterator[str]:
        at = self._clock.monotonic()
        is_scheduled = request_of(one.incoming).cause == "schedule"
        patience = self._scheduled_patience if is_scheduled else self._patience
        provider = one.choose(self._providers, self._sources, at, patience)
        if provider is None:
            if one.not_before > at:
                self._begun.append((one, one.announcement()))  # people see what it waits for
            return
        yield "before-fetch"
        source, wanted = one.ask(self._providers, self._log.known(one.partition, one.series_id), self._clock.now())
        provider.begin()
        self._job += 1
        self._jobs[self._job] = one, provider
        self._runner.start(FetchJob(self._job, source, wanted))
        yield "after-fetch"

    def _take(self, ended: FetchEnded) -> Ingest:
        one, provider = self._jobs.pop(ended.number)
        fault = ended.outcome if isinstance(ended.outcome, Exception) else None
        provider.end(fault, self._clock.monotonic())
        one.took(ended.outcome)  # dropped with its partition, nobody looks at it
        return one

    def _release(self, one: Ingest, decision: QuarantineDecided) -> None:
        decided = released_by(one.incoming, decision, self._clock.now(), self._log)
        if decided is None:
            self._finish(one)
        else:
            one.decided(decided)

    def _finish(self, one: Ingest) -> None:
        self._trackers[partition_of(one.incoming.message)].finished(one.incoming.message.offset)
        queue = self._series[one.series_id]
        queue.popleft()
        if not queue:
            del self._series[one.series_id]

    # --- publishing --------------------------------------------------------------------------------------------

    def outgoing(self) -> Sequence[Outgoing]:
        """Return the rows of all that are decided, then what is told of them; the same until they are acknowledged."""
        if not self._outbox:
            self._publishing = [queue[0] for queue in self._series.values() if queue[0].phase is Phase.PUBLISHING]
            self._outbox, self._begun = self._begun, []
            told: list[tuple[Ingest | DecidedAppend, Outgoing]] = []
            for one in self._publishing:
                rows, event = one.group()
                self._outbox += [(one, outgoing) for outgoing in rows]
                # One wait for all rows: what is told of one need not wait for what is told of another.
                told.append((one, replace(event, after_acknowledged=event.after_acknowledged and not told)))
            for append in self._appended:
                self._outbox += [(append, outgoing) for outgoing in append.rows]
                told.append((append, replace(append.told, after_acknowledged=not told)))
            self._outbox += told
        return [outgoing for _, outgoing in self._outbox]

    def sent(self, group: Sequence[Sent]) -> None:
        # Reading and decoding it again would take a quarter of the time of a backfill.
        for each in group:
            self._owned.follower.take(each.acknowledged())
        published, self._outbox, self._publishing = self._publishing, [], []
        for one in published:
            if one.sent():
                self._tell(one.told)
                self._finish(one)
        if self._appended:
            self._appends.end(self._clock.monotonic())
        appended, self._appended = self._appended, []
        for append in appended:
            self._tell(append.event)
            self._trackers[partition_of(append.incoming.message)].finished(append.incoming.message.offset)

    def _tell(self, told: IngestEvent) -> None:
        _LOG.info(
            "ingest",
            ingest_id=told.ingest_id,
            series_id=told.series_id,
            state=told.state,
            source=told.source,
            rows_published=told.rows_published,
            reason=told.reason,
        )

    def rejected(self, outgoing: Outgoing, reason: str) -> None:
        """Fail the ingest that one of its records is too large for."""
        one = next(one for one, each in self._outbox if each is outgoing)
        if isinstance(one, DecidedAppend):
            failed = together(one, self._appended)
            self._appended = [each.failed(reason) if each in failed else each for each in self._appended]
        else:
            one.fail([reason])
        self._outbox, self._publishing = [], []

    def measure(self) -> None:
        """Count nothing more than the loop does."""

    def close(self) -> None:
        self._runner.close()
        self._jobs.clear()
        close_all(self._owned.follower, self._owned.scheduler)


def _is_request(one: Ingest) -> bool:
    return isinstance(one.incoming.record, IngestRequested)
