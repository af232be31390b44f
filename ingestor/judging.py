"""What a rule of the quality gate sees, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from forecasting.panel import Observations
from ingestor.cleaning import told_times
from ingestor.core import TOLERANCE
from ingestor.sources import PRICE_COLUMNS, FloatArray, IntArray, SourceFrame

Mask = npt.NDArray[np.bool_]
#: `flag`: let in and told. `rows`: the rows at fault are held back. `all`: nothing of the fetch goes on.
#: `refuse`: it can never be true of this series: the ingest fails, whoever asked.
Outcome = Literal["flag", "rows", "all", "refuse"]
#: Rows of the log before the fetched ones that a rule looks at.
CONTEXT_ROWS = 300
#: Changes from which the usual change is told.
_BLOCK = 250
_TO_SIGMA = 1.4826


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One rule that rows of a frame break.

    Attributes:
        rule: Its name.
        outcome: What becomes of the rows.
        rows: Which rows of the frame, shape (n,).
        column: The column at fault; empty when it is the row or the series.
        reason: What was expected and what was found.
    """

    rule: str
    outcome: Outcome
    rows: Mask
    column: str = ""
    reason: str


@dataclass(frozen=True)
class Case:
    """Cleaned rows of one fetch, and what is known of their series.

    Attributes:
        frame: What was fetched.
        known: The log's view; ``None`` when it has none.
        grid: Returns the times of the calendar from a first (always one of them) to a last one (UTC seconds).
        future_from: UTC seconds since 1970 from which a row is later than now.
        known_future: Columns that rows later than now may have.
        is_daily: Whether a time is a date.
        has_sessions: Whether the calendar alone says at which times bars start, not the phase of the series.
    """

    frame: SourceFrame
    known: Observations | None
    grid: Callable[[int, int], IntArray]
    future_from: int
    known_future: frozenset[str] = frozenset()
    is_daily: bool = True
    has_sessions: bool = False

    @cached_property
    def before(self) -> Observations | None:
        """The newest rows of the log before the first one of the frame."""
        if self.known is None or len(self.frame) == 0:
            return None
        end = int(np.searchsorted(self.known.time, self.frame.time[0]))
        return self.known.slice(max(end - CONTEXT_ROWS, 0), end)

    @cached_property
    def lead(self) -> int:
        """How many rows of the log stand before those of the frame in what `joined` returns."""
        return 0 if self.before is None else len(self.before)

    @cached_property
    def time(self) -> IntArray:
        """Times of the rows of the log before the frame, and of the frame."""
        return self.frame.time if self.before is None else np.concatenate([self.before.time, self.frame.time])

    def joined(self, name: str) -> FloatArray | None:
        """Return a column of the log before the frame, and of the frame; ``None`` where the frame has none."""
        values = self.frame.columns.get(name)
        if values is None or self.before is None:
            return values
        earlier = self.before.columns.get(name)
        return np.concatenate([np.full(self.lead, np.nan) if earlier is None else earlier, values])

    @cached_property
    def overlap(self) -> tuple[IntArray, IntArray]:
        """Rows of the frame whose times the log has, and where they stand in it."""
        if self.known is None:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        index = np.minimum(np.searchsorted(self.known.time, self.frame.time), len(self.known) - 1)
        rows = np.flatnonzero(self.known.time[index] == self.frame.time)
        return rows, index[rows]

    @cached_property
    def is_news(self) -> Mask:
        """Rows that the log does not have, or has with other values: only they can be held back."""
        news = np.ones(len(self.frame), dtype=bool)
        if self.known is None:
            return news
        rows, index = self.overlap
        differs = np.zeros(len(rows), dtype=bool)
        for name, values in self.frame.columns.items():
            new = values[rows]
            old = self.known.columns[name][index] if name in self.known.columns else np.full(len(rows), np.nan)
            differs |= ~(np.abs(new - old) <= TOLERANCE * np.maximum(np.abs(new), np.abs(old))) & ~np.isnan(new)
        news[rows] = differs
        return news

    @cached_property
    def prices(self) -> tuple[str, ...]:
        """The price columns that the frame has."""
        return tuple(name for name in PRICE_COLUMNS if name in self.frame.columns)

    def told(self, rows: Mask) -> str:
        """Return how many rows, and the first of them, for a reason."""
        count = int(rows.sum())
        return f"{count} row{'s' * (count != 1)} ({told_times(self.frame, rows)})"


def log_changes(values: FloatArray) -> FloatArray:
    """Return the change of the logarithm from the last value that is there, shape (n,); the first is 0.

    What is missing or not above 0 changes nothing.
    """
    changes = np.zeros(len(values))
    there = np.flatnonzero(np.isfinite(values) & (values > 0))
    changes[there[1:]] = np.diff(np.log(values[there]))
    return changes


def _median(values: FloatArray) -> float:
    """Return the median of values that are all there: what `numpy.median` returns, in a fourth of its time."""
    middle = len(values) // 2
    if len(values) % 2:
        return float(np.partition(values, middle)[middle])
    low, high = np.partition(values, (middle - 1, middle))[middle - 1 : middle + 1]
    return float(low + high) / 2


def usual_change(changes: FloatArray) -> FloatArray:
    """Return for each row the usual size of a change about it: 1.4826 times the median absolute deviation.

    Of the rows of a block of 250 and the block before it, so that a calm decade does not judge a wild year. Half the
    rows of a series that hardly ever trades do not move; the mean size of the moves then stands in.
    """
    usual = np.zeros(len(changes))
    for start in range(0, len(changes), _BLOCK):
        near = changes[max(start - _BLOCK, 0) : start + _BLOCK]
        deviation = np.abs(near - _median(near))
        spread = _median(deviation)
        if spread == 0:
            moves = deviation[deviation > 0]
            spread = _median(moves) / 2 if len(moves) else 0.0
        usual[start : start + _BLOCK] = _TO_SIGMA * spread
    return usual
