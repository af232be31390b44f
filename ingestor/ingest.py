"""One message at work: which source is asked for which days next, what came of it, and what is to be published."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum, auto

from msgspec import structs

from forecasting.panel import Observations
from ingestor import handlers
from ingestor.errors import NothingOlder, SourceFault, SourceUnreachable
from ingestor.fetching import Fetched
from ingestor.handlers import Decided, judged, reason_of, request_of, rows_to_send
from ingestor.providers import Provider, Providers
from ingestor.ranges import Range, Ranges, planned
from ingestor.sources import Wanted
from ingestor.state import IngestLog
from runtime.incoming import Incoming, Outgoing
from schemas.ingests import IngestEvent, IngestRequested

#: Records that are published between two looks at everything else.
_SLICE = 50
_NEVER = datetime.min.replace(tzinfo=UTC)


class Phase(Enum):
    """Where an ingest stands."""

    WAITING = auto()
    FETCHING = auto()
    FETCHED = auto()
    PUBLISHING = auto()


@dataclass(kw_only=True, eq=False)
class Ingest:
    """A request, or a decision about held rows, from when it is read until its end stands in the log.

    Attributes:
        incoming: The message.
        series_id: One message of a series is at work at a time.
        phase: Where it stands.
        not_before: It waits until then, in seconds of a clock that never goes back.
        told: What is told of it, as far as it has come.
        outcome: What the last fetch gave.
        to_send: Records with rows that are still to be published.
    """

    incoming: Incoming
    series_id: str
    phase: Phase = Phase.WAITING
    not_before: float = float("-inf")
    told: IngestEvent
    outcome: Fetched | SourceFault | None = None
    to_send: list[Outgoing] = field(default_factory=list)
    is_begun: bool = False
    _sources: tuple[str, ...] = ()
    _source: int = 0
    _away: list[str] = field(default_factory=list)
    _give_up_at: float | None = None
    _waits_for: str = ""
    _ranges: Ranges | None = None
    _left: int = 0
    _records: int = 0
    _asked_at: datetime = _NEVER

    @property
    def partition(self) -> int:
        """Number of the partition that owns the series."""
        return self.incoming.message.partition

    @property
    def is_over(self) -> bool:
        """Whether what is told is final."""
        return self.told.state != "running"

    @property
    def source(self) -> str | None:
        """The source to ask next; ``None`` when none is left."""
        return self._sources[self._source] if self._source < len(self._sources) else None

    def announcement(self) -> Outgoing:
        """Return the event that says that it has begun, or what it waits for; it waits for nothing itself."""
        running = structs.replace(self.told, state="running", reason=self._waits_for or self.told.reason)
        return replace(handlers.event_to_send(self.incoming, running), after_acknowledged=False)

    def begin(self, progress: IngestEvent | None) -> None:
        """Begin, or go on where an earlier process was interrupted."""
        self.is_begun = True
        self._sources = request_of(self.incoming).sources
        if progress is not None and progress.source in self._sources:
            self.told, self._sources = progress, (progress.source,)

    def choose(self, providers: Providers, known: Collection[str], at: float, patience: float) -> Provider | None:
        """Return the provider to ask now; ``None``: it waits, or it is over.

        Args:
            providers: All that were asked.
            known: Names of the sources that there are.
            at: Now, in seconds of a clock that never goes back.
            patience: How long it is tried again while no provider answers, in seconds.
        """
        symbol = request_of(self.incoming).symbol
        while (name := self.source) is not None:
            if name not in known:
                self.fail([*self._away, f"source must be one of {', '.join(known)}, was {name!r}"])
                return None
            provider = providers.of(name, symbol, at)
            if not provider.is_away(at):
                return provider if provider.has_room(at) else None
            self._pass_over(provider.reason)
        self._wait(providers, at, patience)
        return None

    def _pass_over(self, reason: str) -> None:
        if reason not in self._away:
            self._away.append(reason)
        self._source += 1

    def _wait(self, providers: Providers, at: float, patience: float) -> None:
        """Wait until the first provider is to be asked again, or give up."""
        if self._give_up_at is None:
            self._give_up_at = at + patience
        symbol = request_of(self.incoming).symbol
        back = [found.away_until for name in self._sources if (found := providers.of(name, symbol, at)).is_away(at)]
        if not back or min(back) > self._give_up_at:
            self.fail(self._away)
            return
        self._waits_for = reason_of([self.told.reason, *self._away])
        self._source, self._away, self.not_before = 0, [], min(back)

    def ask(self, providers: Providers, known: Observations | None, now: datetime) -> tuple[str, Wanted]:
        """Return the source that `choose` found, and what to ask of it."""
        request, source = request_of(self.incoming), self._sources[self._source]
        self._asked_at = now
        self.phase = Phase.FETCHING
        times = None if known is None else (_time(known, 0), _time(known, -1))
        if self._ranges is None:
            done = self.told if self.told.source else None
            self._ranges = planned(request, providers.policy(source), now.date(), times, done)
            self._left = len(self._ranges.left)
        days = self._ranges.left[-self._left] if self._left else Range(request.start, request.end)
        return source, _wanted(request, days, times, now)

    def took(self, outcome: Fetched | SourceFault) -> None:
        """Take in what a fetch gave."""
        self.phase, self.outcome = Phase.FETCHED, outcome

    def decide(self, log: IngestLog) -> None:
        """Decide what becomes of what the fetch gave; the log is known to its end."""
        outcome, self.outcome = self.outcome, None
        has_rows = self.told.rows_received > 0
        if isinstance(outcome, SourceUnreachable):
            self._pass_over(str(outcome))
            self.phase = Phase.WAITING
            if not has_rows:
                self._ranges = None  # the next source may be asked in other parts
        elif isinstance(outcome, NothingOlder) and has_rows:
            self._end()
        elif isinstance(outcome, SourceFault):
            self.fail([*self._away, str(outcome)])
        elif isinstance(outcome, Fetched):
            self._take_rows(outcome, log)

    def _take_rows(self, fetched: Fetched, log: IngestLog) -> None:
        self._left = max(self._left - 1, 0)
        source = fetched.frame.source
        if len(fetched.frame) == 0:
            if self._left:
                self.phase = Phase.WAITING
            elif self.told.rows_received:
                self._end()
            else:
                self.fail([*self._away, f"{source}: no complete observation", *fetched.frame.notes])
            return
        self._note_source(source)
        try:
            self.decided(judged(self.incoming, self.told, fetched, self._asked_at, log))
        except SourceFault as fault:
            self.fail([self.told.reason, str(fault)])
            return
        if self._left and self._ranges is not None:
            self.told = structs.replace(self.told, fraction=max(self.told.fraction, self._ranges.fraction(self._left)))
        else:
            self._end()

    def _note_source(self, source: str) -> None:
        """Stay with the source that answered; what was passed over on the way to it is told."""
        if self._source:
            reasons = [*self._away[:-1], *(f"{reason}; {source} taken instead" for reason in self._away[-1:])]
            self.told = structs.replace(self.told, reason=reason_of([self.told.reason, *reasons]))
        self._sources, self._source = (self._sources[self._source],), 0
        self._away, self._give_up_at, self._waits_for = [], None, ""

    def decided(self, decided: Decided) -> None:
        """Publish what was decided."""
        self.phase = Phase.PUBLISHING
        self.told, self.to_send = decided.event, rows_to_send(self.incoming, decided)
        self._records = len(self.to_send)

    def fail(self, reasons: Collection[str]) -> None:
        """End without more rows."""
        self.phase, self.to_send = Phase.PUBLISHING, []
        self.told = structs.replace(self.told, state="failed", fraction=0.0, reason=reason_of(tuple(reasons)))

    def _end(self) -> None:
        self.phase = Phase.PUBLISHING
        self.told = structs.replace(self.told, state="succeeded", fraction=1.0 if self.told.fraction else 0.0)

    def group(self) -> tuple[list[Outgoing], Outgoing]:
        """Return the records with rows that are to be published next, and what is then told."""
        rows, rest = self.to_send[:_SLICE], len(self.to_send) - _SLICE
        if rest <= 0:
            return rows, handlers.event_to_send(self.incoming, self.told)
        # Whoever goes on after a crash fetches all of this again: nothing is counted yet.
        on_the_way = IngestEvent(
            ingest_id=self.told.ingest_id,
            series_id=self.series_id,
            state="running",
            source=self.told.source,
            fraction=round(1 - rest / self._records, 3),
        )
        return rows, handlers.event_to_send(self.incoming, on_the_way)

    def sent(self) -> bool:
        """Note that `group` is acknowledged; return whether nothing is left to do."""
        del self.to_send[:_SLICE]
        if self.to_send:
            return False
        if not self.is_over:
            self.phase = Phase.WAITING
        return self.is_over


def waiting(incoming: Incoming, series_id: str, ingest_id: str) -> Ingest:
    """Return a message that nothing has been done for yet."""
    told = IngestEvent(ingest_id=ingest_id, series_id=series_id, state="running")
    return Ingest(incoming=incoming, series_id=series_id, told=told)


def _time(known: Observations, index: int) -> datetime:
    return datetime.fromtimestamp(int(known.time[index]), UTC)


def _wanted(
    request: IngestRequested,
    days: Range,
    known: tuple[datetime, datetime] | None,
    now: datetime,
) -> Wanted:
    return Wanted(
        symbol=request.symbol,
        freq=request.freq,
        calendar=request.calendar,
        start=days.start,
        end=days.end,
        adjust=request.adjust,
        known_since=None if known is None else known[0].date(),
        known_future=request.known_future,
        now=now,
    )
