"""What an ingest request means: fetched first, then compared with the log, then published and told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ingestor.core import Series, plan
from ingestor.errors import SourceFault, SourceUnreachable
from ingestor.fetching import Fetched
from ingestor.sources import Wanted
from ingestor.state import IngestLog
from runtime.broker import TopicPartition, partition_for
from runtime.clock import Clock
from runtime.errors import InvalidMessage
from runtime.incoming import Incoming, Outgoing
from schemas.ingests import IngestEvent, IngestRequested, IngestState
from schemas.observations import ObservationBatch
from schemas.topics import INGEST_EVENTS, OBSERVATIONS

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
        topics = [topic.full_name(self._topic_prefix) for topic in (OBSERVATIONS, INGEST_EVENTS)]
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
            request = _request(incoming)
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
                f"wrong-partition: {_request(incoming).series_id} belongs to partition {self._home(incoming)}, "
                f"the request stands in {incoming.message.partition}; use Kafka's default partitioner"
            )
        outcome = self._outcomes.get(_request(incoming).ingest_id)
        return () if outcome is None else self._decide(incoming, outcome)

    def _decide(self, incoming: Incoming, outcome: _Outcome) -> Sequence[Outgoing]:
        request = _request(incoming)
        batches: tuple[ObservationBatch, ...] = ()
        event = _event_of(request, "failed", reason=_reason(outcome.reasons))
        if outcome.fetched is not None:
            known = self._log.known(incoming.message.partition, request.series_id)
            series = Series(series_id=request.series_id, freq=request.freq, calendar=request.calendar)
            frame = outcome.fetched.frame
            try:
                batches = plan(series, known, frame, outcome.received_at)
            except SourceFault as fault:
                event = _event_of(request, "failed", reason=_reason([*outcome.reasons, str(fault)]))
            else:
                event = _event_of(
                    request,
                    "succeeded",
                    source=frame.source,
                    rows_received=outcome.fetched.rows_received,
                    rows_published=sum(len(batch.time) for batch in batches),
                    first_time=datetime.fromtimestamp(int(frame.time[0]), UTC),
                    last_time=datetime.fromtimestamp(int(frame.time[-1]), UTC),
                    reason=_reason([*outcome.reasons, *frame.notes]),
                )
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
        return partition_for(_request(incoming).series_id.encode(), self._partitions())

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
