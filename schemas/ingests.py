"""Asking for data, and what became of it."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from msgspec import Meta

from schemas.record import Freq, Id, Record, Requester, SeriesId, UtcTime, require, require_utc

IngestState = Literal["running", "succeeded", "failed"]


class IngestRequested(Record, frozen=True, kw_only=True):
    """Somebody wants the observations of a series fetched or brought up to date."""

    ingest_id: Id
    series_id: SeriesId
    #: Data sources, tried in this order until one can be reached.
    sources: Annotated[tuple[str, ...], Meta(min_length=1)]
    #: What the source calls the series: a ticker for `yahoo`, a path for `file`.
    symbol: str
    freq: Freq
    #: Exchange calendar code, or `24/7`.
    calendar: str
    #: First and last day wanted, both inclusive; null leaves it to the source's default (ten years, today).
    start: date | None = None
    end: date | None = None
    #: True: prices adjusted for splits and dividends; false: for splits alone, the adjusted close in its own column.
    adjust: bool = False
    #: Columns that are known in the future: rows later than now keep these alone, see `docs/sources.md`.
    known_future: tuple[str, ...] = ()
    #: Whether the quality gate lets everything in that is not impossible, with its flags told.
    force: bool = False
    #: Who or what asked: `user`, `first-start`, `schedule`.
    cause: str = "user"
    requester: Requester = ""

    def __post_init__(self) -> None:
        require(self.series_id.endswith(f"@{self.freq}"), f"series_id must end in @{self.freq}, was {self.series_id}")
        require(
            self.start is None or self.end is None or self.start <= self.end,
            f"start must not be after end, was {self.start} after {self.end}",
        )

    def identity(self) -> tuple[object, ...]:
        return (self.ingest_id,)


class IngestEvent(Record, frozen=True, kw_only=True):
    """How an ingest goes. The first event with a final state in log order, `succeeded` or `failed`, is its end."""

    ingest_id: Id
    series_id: SeriesId
    state: IngestState
    #: The source that delivered, once one has.
    source: str | None = None
    #: Rows that the source gave, and rows that were new or changed and therefore published.
    rows_received: Annotated[int, Meta(ge=0)] = 0
    rows_published: Annotated[int, Meta(ge=0)] = 0
    #: Rows that the quality gate held back, and what it let in with a flag.
    rows_quarantined: Annotated[int, Meta(ge=0)] = 0
    flags: tuple[str, ...] = ()
    #: Part done, in [0, 1], of an ingest that takes long.
    fraction: Annotated[float, Meta(ge=0, le=1)] = 0.0
    #: First and last time that the source gave (UTC).
    first_time: UtcTime | None = None
    last_time: UtcTime | None = None
    #: Why it failed, or what the reader should know: which source could not be reached and was passed over.
    reason: str = ""

    def __post_init__(self) -> None:
        require_utc("first_time", self.first_time)
        require_utc("last_time", self.last_time)

    def identity(self) -> tuple[object, ...]:
        # All that it says: after a crash the source is asked again, and may give more, or nothing new any more.
        return (
            self.ingest_id,
            self.state,
            self.source,
            self.rows_received,
            self.rows_published,
            self.first_time,
            self.last_time,
            self.reason,
            *((self.rows_quarantined, self.flags, float(self.fraction)) if self.tells_more else ()),
        )

    @property
    def tells_more(self) -> bool:
        """Whether a field that came later says something; without them the identity is what it always was."""
        return bool(self.rows_quarantined or self.flags or self.fraction)
