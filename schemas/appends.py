"""Live rows: a few new rows of many series, written by whoever has them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from schemas.columns import require_rows
from schemas.record import Id, Record, Requester, SeriesId, UtcTime, require

MAX_SERIES_AN_APPEND = 1_000
MAX_ROWS_A_SERIES = 1_000


class SeriesRows(Record, frozen=True, kw_only=True):
    """New rows of one series, column by column; its freq is the end of its name."""

    series_id: SeriesId
    #: Unit of the price or amount columns, e.g. `USD`; empty: as the log has it.
    unit: Annotated[str, Meta(max_length=40)] = ""
    #: UTC start of each row's interval, strictly ascending, shape (n,).
    time: Annotated[tuple[UtcTime, ...], Meta(min_length=1, max_length=MAX_ROWS_A_SERIES)]
    #: Column name -> values, shape (n,); null is a missing value.
    columns: Annotated[dict[str, tuple[float | None, ...]], Meta(min_length=1, max_length=500)]

    def __post_init__(self) -> None:
        require_rows(self.time, self.columns)

    @property
    def freq(self) -> str:
        """Length of one observation."""
        return self.series_id.rpartition("@")[2]


class AppendRequested(Record, frozen=True, kw_only=True):
    """Somebody has new rows of series that belong to one partition; each goes through the quality gate by itself.

    The calendar is `24/7`: what needs an exchange's calendar comes by a source, a file or an upload.
    """

    ingest_id: Id
    #: Each series once.
    series: Annotated[tuple[SeriesRows, ...], Meta(min_length=1, max_length=MAX_SERIES_AN_APPEND)]
    #: Who or what asked: `user`.
    cause: str = "user"
    requester: Requester = ""

    def __post_init__(self) -> None:
        names = [rows.series_id for rows in self.series]
        require(len(set(names)) == len(names), "series must have each series once")

    @property
    def series_id(self) -> str:
        """The first series: it says in which partition the record stands, and all others with it."""
        return self.series[0].series_id

    def identity(self) -> tuple[object, ...]:
        return (self.ingest_id,)
