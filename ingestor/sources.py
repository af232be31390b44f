"""The port to data sources: what is asked of one, and what it gives.

A new source is one module and one line in `ingestor.registry`; see ``docs/sources.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Protocol

import numpy as np
import numpy.typing as npt

PRICE_COLUMNS = ("open", "high", "low", "close")
_DAY_SECONDS = 86_400

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is asked of a source.

    Attributes:
        symbol: What the source calls the series.
        freq: Length of one observation, e.g. ``1d``.
        calendar: Exchange calendar code, or ``24/7``.
        start: First day, inclusive; ``None`` is the source's default.
        end: Last day, inclusive; ``None`` is today.
        adjust: Prices adjusted for splits and dividends instead of splits alone.
        known_since: Day of the first observation that the log has; a default start is never later, since a source
            that restates (a split) restates everything.
        known_future: Columns that rows that have not ended may have; the others are withheld there.
        now: The moment of asking (UTC).
    """

    symbol: str
    freq: str
    calendar: str
    start: date | None = None
    end: date | None = None
    adjust: bool = False
    known_since: date | None = None
    known_future: tuple[str, ...] = ()
    now: datetime


@dataclass(frozen=True, kw_only=True)
class SourceFrame:
    """Observations as a source gave them.

    Attributes:
        source: Name of the source.
        unit: Unit of the price or amount columns; empty when the source does not say.
        time: UTC starts in seconds since 1970, shape (n,). Daily and longer: midnight of the (session) date.
        columns: Column name -> values, shape (n,); NaN is a missing value.
        notes: What the reader should know, each a short sentence.
    """

    source: str
    unit: str
    time: IntArray
    columns: dict[str, FloatArray]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.time)

    def rows(self, keep: npt.NDArray[np.bool_] | IntArray, *notes: str) -> SourceFrame:
        """Return the rows that ``keep`` selects, with further notes."""
        return SourceFrame(
            source=self.source,
            unit=self.unit,
            time=self.time[keep],
            columns={name: values[keep] for name, values in self.columns.items()},
            notes=(*self.notes, *notes),
        )


class Source(Protocol):
    """A place that observations come from.

    Adapters may not vary in this: `fetch` blocks, no longer than its time-outs say, tries over HTTP included; it keeps
    nothing between calls but raw answers on the disk; it raises `SourceUnreachable`, `UnknownSymbol` or
    `BadSourceData` and nothing else; rows may come unsorted, repeated or broken (`ingestor.cleaning` judges them), but
    never from another series.
    """

    @property
    def name(self) -> str:
        """The name by which requests ask for it."""
        ...

    def fetch(self, wanted: Wanted) -> SourceFrame:
        """Return the observations of a series, from ``wanted.start`` to ``wanted.end``."""
        ...


def within_days(frame: SourceFrame, wanted: Wanted) -> SourceFrame:
    """Return the rows from ``wanted.start`` to ``wanted.end``, both inclusive, in UTC days."""
    keep = np.ones(len(frame), dtype=bool)
    if wanted.start is not None:
        keep &= frame.time >= _midnight(wanted.start)
    if wanted.end is not None:
        keep &= frame.time < _midnight(wanted.end) + _DAY_SECONDS
    return frame.rows(keep)


def _midnight(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())
