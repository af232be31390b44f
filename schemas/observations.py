"""Observations: closed intervals of a series, in columnar batches."""

from __future__ import annotations

from datetime import datetime
from operator import lt
from typing import Annotated, Literal, Self

from msgspec import Meta

from schemas.columns import require_rows
from schemas.identity import digest_of
from schemas.record import (
    Digest,
    Freq,
    Record,
    SeriesId,
    UtcTime,
    require,
    require_utc,
)

BatchKind = Literal["history", "append", "restatement"]
MAX_ROWS_A_BATCH = 5_000


class ObservationBatch(Record, frozen=True, kw_only=True):
    """Some observations of one series, column by column.

    A row says what held over ``[time, time + freq)``. The latest record that names a time is the one that counts:
    ``restatement`` marks rows that replace others, with the reason.
    """

    series_id: SeriesId
    freq: Freq
    #: Exchange calendar code of the `exchange_calendars` package (`XNYS`), or `24/7`.
    calendar: str
    #: Unit of the price or amount columns, e.g. `USD`; empty when the source does not say.
    unit: str = ""
    #: `history`: the first load; `append`: later rows; `restatement`: changed values of rows already published.
    kind: BatchKind
    #: Why rows are restated; empty for the other kinds.
    reason: str = ""
    #: Name of the data source: `yahoo`, `sample`, `file`, `mock`, ...
    source: str
    #: When the ingestor saw the rows (UTC); not part of the identity.
    received_at: UtcTime
    #: UTC start of each row's interval, strictly ascending, shape (n,), 1 <= n <= 5000.
    time: Annotated[tuple[UtcTime, ...], Meta(min_length=1, max_length=MAX_ROWS_A_BATCH)]
    #: Column name -> values, shape (n,); null is a missing value.
    columns: Annotated[dict[str, tuple[float | None, ...]], Meta(min_length=1)]
    #: SHA-256 of the content without `received_at`.
    digest: Digest

    def __post_init__(self) -> None:
        require_utc("received_at", self.received_at)
        require_rows(self.time, self.columns)
        require(self.series_id.endswith(f"@{self.freq}"), f"series_id must end in @{self.freq}, was {self.series_id}")
        require(
            (self.kind == "restatement") == bool(self.reason),
            f"reason must be given for a restatement and for nothing else; kind is {self.kind}, reason {self.reason!r}",
        )
        self._require_consistent_bars()

    def _require_consistent_bars(self) -> None:
        """Refuse a bar whose high is below its low; other faults are the quality gate's."""
        try:
            if not any(map(lt, self.columns.get("high", ()), self.columns.get("low", ()))):  # type: ignore[arg-type]
                return
        except TypeError:  # a value is missing
            pass
        for index, (high, low) in enumerate(
            zip(self.columns.get("high", ()), self.columns.get("low", ()), strict=False)
        ):
            if high is not None and low is not None and high < low:
                raise ValueError(f"high must be >= low, but row {self.time[index]} has high {high} and low {low}")

    def identity(self) -> tuple[object, ...]:
        return (self.series_id, self.digest)

    @classmethod
    def of(
        cls,
        *,
        series_id: str,
        freq: str,
        calendar: str,
        kind: BatchKind,
        source: str,
        received_at: datetime,
        time: tuple[datetime, ...],
        columns: dict[str, tuple[float | None, ...]],
        unit: str = "",
        reason: str = "",
    ) -> Self:
        """Return a batch with its digest computed."""
        digest = digest_of([series_id, freq, calendar, unit, kind, reason, source, time, columns])
        return cls(
            series_id=series_id,
            freq=freq,
            calendar=calendar,
            unit=unit,
            kind=kind,
            reason=reason,
            source=source,
            received_at=received_at,
            time=time,
            columns=columns,
            digest=digest,
        )
