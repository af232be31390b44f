"""What a fetch means: judged by the quality gate, compared with the log, published and told.

And what a decision about quarantined rows means: they are published once. No I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from msgspec import structs

from ingestor.core import Series, plan
from ingestor.errors import SourceFault
from ingestor.fetching import Fetched
from ingestor.gate import judge
from ingestor.quarantine import held_back, released
from ingestor.state import IngestLog
from runtime.incoming import Incoming, Outgoing
from schemas.ingests import IngestEvent, IngestRequested
from schemas.observations import ObservationBatch
from schemas.quarantine import ObservationsQuarantined, QuarantineDecided, release_id
from schemas.topics import INGEST_EVENTS, OBSERVATIONS, QUARANTINE

_MAX_REASON_CHARACTERS = 2000


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What becomes of some rows.

    Attributes:
        batches: To be published.
        held: To be held back.
        event: What is told of the ingest so far; ``running`` where it is not over.
    """

    batches: tuple[ObservationBatch, ...] = ()
    held: tuple[ObservationsQuarantined, ...] = ()
    event: IngestEvent


def judged(incoming: Incoming, told: IngestEvent, fetched: Fetched, received_at: datetime, log: IngestLog) -> Decided:
    """Return what becomes of the rows of one fetch, at least one, with the event that counts them too.

    Args:
        incoming: An `IngestRequested`.
        told: What the fetches before came to.
        fetched: What the source gave.
        received_at: When it was asked (UTC).
        log: All that is known of the series.

    Raises:
        SourceFault: The rows cannot be of this series.
    """
    request, partition, frame = request_of(incoming), incoming.message.partition, fetched.frame
    known = log.known(partition, request.series_id)
    series = Series(series_id=request.series_id, freq=request.freq, calendar=request.calendar)
    verdict = judge(
        frame,
        known,
        freq=request.freq,
        calendar=request.calendar,
        now=received_at,
        known_future=request.known_future,
        force=request.force,
        calendar_times=fetched.calendar_times,
    )
    # What is held already, or was rejected, is not asked about again.
    new = verdict.held & ~log.held(partition, request.series_id).has(frame)
    held = plan(series, known, frame.rows(new), received_at, request.known_future)
    batches = plan(series, known, frame.rows(~verdict.held), received_at, request.known_future)
    first, last = (datetime.fromtimestamp(int(frame.time[index]), UTC) for index in (0, -1))
    event = structs.replace(
        told,
        source=frame.source,
        rows_received=told.rows_received + fetched.rows_received,
        rows_published=told.rows_published + sum(len(batch.time) for batch in batches),
        rows_quarantined=told.rows_quarantined + int(verdict.held.sum()),
        flags=tuple(dict.fromkeys((*told.flags, *verdict.flags))),
        first_time=first if told.first_time is None else min(first, told.first_time),
        last_time=last if told.last_time is None else max(last, told.last_time),
        reason=reason_of([told.reason, *(f"held: {broken.reason}" for broken in verdict.broken), *frame.notes]),
    )
    return Decided(batches=batches, held=held_back(request.ingest_id, held, verdict.broken), event=event)


def released_by(incoming: Incoming, decision: QuarantineDecided, now: datetime, log: IngestLog) -> Decided | None:
    """Return what a person let in; ``None`` when that was done, or when nothing is to be let in.

    Args:
        incoming: The decision as it came, about a batch that the log holds.
        decision: Its record.
        now: When the rows become known (UTC).
        log: All that is known of the series.
    """
    partition = incoming.message.partition
    held = log.held(partition, decision.series_id)
    record = held.get(decision.quarantine_id)
    ingest_id = release_id(decision.quarantine_id)
    if (
        record is None
        or decision.decision == "reject"
        or not held.counts(decision)
        or log.has_ended(partition, ingest_id)
    ):
        return None
    known = log.known(partition, decision.series_id)
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
        since = log.received_since(partition, decision.series_id, record.batch.received_at)
        batches = released(record, known, since, now)
    except SourceFault as fault:
        event = structs.replace(event, state="failed", reason=reason_of([event.reason, str(fault)]))
    return Decided(
        batches=batches, event=structs.replace(event, rows_published=sum(len(batch.time) for batch in batches))
    )


def rows_to_send(incoming: Incoming, decided: Decided) -> list[Outgoing]:
    """Return the records with rows, in the order in which they are to be published."""
    traceparent = incoming.envelope.traceparent
    return [
        *(Outgoing(topic=QUARANTINE, record=record, traceparent=traceparent) for record in decided.held),
        *(Outgoing(topic=OBSERVATIONS, record=batch, traceparent=traceparent) for batch in decided.batches),
    ]


def event_to_send(incoming: Incoming, event: IngestEvent) -> Outgoing:
    """Return an event, which is true only once the rows that it counts are acknowledged."""
    return Outgoing(
        topic=INGEST_EVENTS, record=event, traceparent=incoming.envelope.traceparent, after_acknowledged=True
    )


def request_of(incoming: Incoming) -> IngestRequested:
    """Return the request that a message is."""
    if not isinstance(incoming.record, IngestRequested):
        raise TypeError(f"an IngestRequested was expected, was {type(incoming.record).__name__}")
    return incoming.record


def reason_of(parts: Sequence[str]) -> str:
    """Return the reason of an event, shortened to what one may have."""
    text = "; ".join(part for part in dict.fromkeys(parts) if part)
    return text if len(text) <= _MAX_REASON_CHARACTERS else f"{text[: _MAX_REASON_CHARACTERS - 3]}..."
