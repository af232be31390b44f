"""What an ingest request means: fetched, judged by the quality gate, compared with the log, published and told.

And what a decision about quarantined rows means: they are published once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from msgspec import structs

from ingestor.core import Series, plan
from ingestor.errors import SourceFault, SourceUnreachable
from ingestor.fetching import Fetched
from ingestor.gate import judge
from ingestor.quarantine import held_back, released
from ingestor.sources import Wanted
from ingestor.state import IngestLog
from runtime.broker import TopicPartition, partition_for
from runtime.clock import Clock
from runtime.errors import InvalidMessage
from runtime.incoming import Incoming, Outgoing
from schemas.ingests import IngestEvent, IngestRequested, IngestState
from schemas.observations import ObservationBatch
from schemas.quarantine import ObservationsQuarantined, QuarantineDecided, release_id
from schemas.topics import INGEST_EVENTS, OBSERVATIONS, QUARANTINE

#: Source name -> how it is asked.
Fetchers = Mapping[str, Callable[[Wanted], Fetched]]
#: Publishes a record at once, without waiting for it.
Announce = Callable[[Outgoing], None]
#: "All that stands in the partition now": the worker takes the end of the log where it is nearer.
_END = 2**63 - 1
_MAX_REASON_CHARACTERS = 2000


@dataclass(kw_only=True)
class _Outcome:
    """What came of asking the sources of one request."""

    fetched: Fetched | None = None
    received_at: datetime
    #: Why it failed, or what was passed over on the way.
    reasons: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _Decided:
    """What becomes of one request."""

    batches: tuple[ObservationBatch, ...] = ()
    held: tuple[ObservationsQuarantined, ...] = ()
    event: IngestEvent


class IngestHandler:
    """Handles one request a time: the next one must see what this one has published.

    `prepare` does what needs the world outside (tells that the ingest runs, and fetches), `handle` decides.
    """

    def __init__(
        self,
        *,
        fetchers: Fetchers,
        log: IngestLog,
        announce: Announce,
        clock: Clock,
        partitions: Callable[[], int],
        topic_prefix: str = "",
    ) -> None:
        self._fetchers = fetchers
        self._log = log
        self._announce = announce
        self._clock = clock
        self._partitions = partitions
        self._topic_prefix = topic_prefix
        self._outcomes: dict[str, _Outcome] = {}

    def needs(self, batch: Sequence[Incoming]) -> Mapping[TopicPartition, int]:
        """Return the ends of the partitions that say what is known: all of it counts."""
        topics = [topic.full_name(self._topic_prefix) for topic in (OBSERVATIONS, INGEST_EVENTS, QUARANTINE)]
        return {
            TopicPartition(topic, incoming.message.partition): _END
            for incoming in batch
            if self._is_at_home(incoming)
            for topic in topics
        }

    def prepare(self, batch: Sequence[Incoming]) -> None:
        """Fetch what the requests ask for. Blocks as long as the sources do."""
        self._outcomes = {}
        for incoming in batch:
            if not isinstance(incoming.record, IngestRequested):
                continue
            request = incoming.record
            if not self._is_at_home(incoming) or self._log.has_ended(incoming.message.partition, request.ingest_id):
                continue
            self._announce(_event(incoming, _event_of(request, "running")))
            self._outcomes[request.ingest_id] = self._fetch(request, incoming.message.partition)

    def handle(self, batch: Sequence[Incoming]) -> Sequence[Outgoing]:
        """Return the new observations and, to be sent once those are acknowledged, the final event.

        Raises:
            InvalidMessage: The request stands in another partition than its series.
            ValueError: More than one request at a time: a mistake in how the worker was built.
        """
        if len(batch) != 1:
            raise ValueError(f"one request at a time is handled, were {len(batch)}")
        [incoming] = batch
        if not self._is_at_home(incoming):
            raise InvalidMessage(
                f"wrong-partition: {_series_id(incoming)} belongs to partition {self._home(incoming)}, "
                f"the request stands in {incoming.message.partition}; use Kafka's default partitioner"
            )
        if isinstance(incoming.record, ObservationsQuarantined):
            return ()  # our own; the follower has learned it
        if isinstance(incoming.record, QuarantineDecided):
            return self._release(incoming, incoming.record)
        outcome = self._outcomes.get(_request(incoming).ingest_id)
        return () if outcome is None else self._decide(incoming, outcome)

    def _decide(self, incoming: Incoming, outcome: _Outcome) -> Sequence[Outgoing]:
        request = _request(incoming)
        decided = _Decided(event=_event_of(request, "failed", reason=_reason(outcome.reasons)))
        if outcome.fetched is not None:
            try:
                decided = self._judge(request, incoming.message.partition, outcome, outcome.fetched)
            except SourceFault as fault:
                decided = _Decided(event=_event_of(request, "failed", reason=_reason([*outcome.reasons, str(fault)])))
        traceparent = incoming.envelope.traceparent
        return [
            *(Outgoing(topic=QUARANTINE, record=record, traceparent=traceparent) for record in decided.held),
            *(Outgoing(topic=OBSERVATIONS, record=batch, traceparent=traceparent) for batch in decided.batches),
            _event(incoming, decided.event),
        ]

    def _judge(self, request: IngestRequested, partition: int, outcome: _Outcome, fetched: Fetched) -> _Decided:
        known = self._log.known(partition, request.series_id)
        series = Series(series_id=request.series_id, freq=request.freq, calendar=request.calendar)
        frame = fetched.frame
        verdict = judge(
            frame,
            known,
            freq=request.freq,
            calendar=request.calendar,
            now=outcome.received_at,
            known_future=request.known_future,
            force=request.force,
            calendar_times=fetched.calendar_times,
        )
        # What is held already, or was rejected, is not asked about again.
        new = verdict.held & ~self._log.held(partition, request.series_id).has(frame)
        held = plan(series, known, frame.rows(new), outcome.received_at, request.known_future)
        batches = plan(series, known, frame.rows(~verdict.held), outcome.received_at, request.known_future)
        event = _event_of(
            request,
            "succeeded",
            source=frame.source,
            rows_received=fetched.rows_received,
            rows_published=sum(len(batch.time) for batch in batches),
            rows_quarantined=int(verdict.held.sum()),
            flags=verdict.flags,
            first_time=datetime.fromtimestamp(int(frame.time[0]), UTC),
            last_time=datetime.fromtimestamp(int(frame.time[-1]), UTC),
            reason=_reason([*outcome.reasons, *(f"held: {broken.reason}" for broken in verdict.broken), *frame.notes]),
        )
        return _Decided(batches=batches, held=held_back(request.ingest_id, held, verdict.broken), event=event)

    def _release(self, incoming: Incoming, decision: QuarantineDecided) -> Sequence[Outgoing]:
        """Publish what a person let in, unless that was done.

        Raises:
            InvalidMessage: Nothing is held under that id.
        """
        partition = incoming.message.partition
        held = self._log.held(partition, decision.series_id)
        record = held.get(decision.quarantine_id)
        if record is None:
            raise InvalidMessage(f"unknown-quarantine: nothing is held under {decision.quarantine_id}")
        ingest_id = release_id(decision.quarantine_id)
        if decision.decision == "reject" or not held.counts(decision) or self._log.has_ended(partition, ingest_id):
            return ()
        known = self._log.known(partition, decision.series_id)
        event = IngestEvent(
            ingest_id=ingest_id,
            series_id=decision.series_id,
            state="succeeded",
            source=record.batch.source,
            rows_received=len(record.batch.time),
            first_time=record.batch.time[0],
            last_time=record.batch.time[-1],
            reason=f"released from quarantine {decision.quarantine_id}",
        )
        batches: tuple[ObservationBatch, ...] = ()
        try:
            since = self._log.received_since(partition, decision.series_id, record.batch.received_at)
            batches = released(record, known, since, self._clock.now())
        except SourceFault as fault:
            event = structs.replace(event, state="failed", reason=_reason([event.reason, str(fault)]))
        event = structs.replace(event, rows_published=sum(len(batch.time) for batch in batches))
        traceparent = incoming.envelope.traceparent
        return [
            *(Outgoing(topic=OBSERVATIONS, record=batch, traceparent=traceparent) for batch in batches),
            _event(incoming, event),
        ]

    def _fetch(self, request: IngestRequested, partition: int) -> _Outcome:
        known = self._log.known(partition, request.series_id)
        outcome = _Outcome(received_at=self._clock.now())
        wanted = Wanted(
            symbol=request.symbol,
            freq=request.freq,
            calendar=request.calendar,
            start=request.start,
            end=request.end,
            adjust=request.adjust,
            known_since=None if known is None else datetime.fromtimestamp(int(known.time[0]), UTC).date(),
            known_future=request.known_future,
            now=outcome.received_at,
        )
        unreachable: list[str] = []
        for name in request.sources:
            fetcher = self._fetchers.get(name)
            if fetcher is None:
                outcome.reasons = [*unreachable, f"source must be one of {', '.join(self._fetchers)}, was {name!r}"]
                return outcome
            try:
                fetched = fetcher(wanted)
            except SourceUnreachable as fault:
                unreachable.append(str(fault))
            except SourceFault as fault:
                outcome.reasons = [*unreachable, str(fault)]
                return outcome
            else:
                return _with_rows(outcome, fetched, unreachable)
        outcome.reasons = unreachable
        return outcome

    def _home(self, incoming: Incoming) -> int:
        return partition_for(_series_id(incoming).encode(), self._partitions())

    def _is_at_home(self, incoming: Incoming) -> bool:
        return self._home(incoming) == incoming.message.partition


def _with_rows(outcome: _Outcome, fetched: Fetched, unreachable: list[str]) -> _Outcome:
    source = fetched.frame.source
    if len(fetched.frame) == 0:
        outcome.reasons = [*unreachable, f"{source}: no complete observation", *fetched.frame.notes]
        return outcome
    outcome.fetched = fetched
    outcome.reasons = [f"{reason}; {source} taken instead" for reason in unreachable[-1:]]
    outcome.reasons = [*unreachable[:-1], *outcome.reasons]
    return outcome


def _series_id(incoming: Incoming) -> str:
    record = incoming.record
    if isinstance(record, ObservationsQuarantined | QuarantineDecided):
        return record.series_id
    return _request(incoming).series_id


def _request(incoming: Incoming) -> IngestRequested:
    if not isinstance(incoming.record, IngestRequested):
        raise TypeError(f"an IngestRequested was expected, was {type(incoming.record).__name__}")
    return incoming.record


def _event_of(request: IngestRequested, state: IngestState, **told: Any) -> IngestEvent:
    return IngestEvent(ingest_id=request.ingest_id, series_id=request.series_id, state=state, **told)


def _event(incoming: Incoming, event: IngestEvent) -> Outgoing:
    return Outgoing(
        topic=INGEST_EVENTS, record=event, traceparent=incoming.envelope.traceparent, after_acknowledged=True
    )


def _reason(parts: Sequence[str]) -> str:
    text = "; ".join(parts)
    return text if len(text) <= _MAX_REASON_CHARACTERS else f"{text[: _MAX_REASON_CHARACTERS - 3]}..."
