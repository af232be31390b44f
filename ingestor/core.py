"""What a fetched frame means for the log: which rows are new, which have changed. No I/O, no clock.

- A time that the log does not have is published: as `history` on the first load and before the newest observed time, as
  `append` after it. A row that has only columns that are known in the future is not observed yet: what comes for it
  later, and takes nothing back, is an `append` too.
- A value counts as changed when it differs by more than one part in a million (`TOLERANCE`): Yahoo's adjusted closes
  wander in their seventh digit from one answer to the next. A changed row is published whole, as `restatement`.
- A missing value never replaces a known one, and a column that the source does not give keeps its values: the latest
  record of a time counts as a whole, so a restated row carries them on.
- What the log already says is not published, so a repeated ingest publishes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from forecasting.panel import Observations
from ingestor.errors import BadSourceData
from ingestor.sources import PRICE_COLUMNS, FloatArray, IntArray, SourceFrame
from schemas.observations import MAX_ROWS_A_BATCH, BatchKind, ObservationBatch

#: Relative difference up to which two values are the same.
TOLERANCE = 1e-6
#: A number in JSON takes at most so many bytes, and a batch stays well below the topic's largest message.
_BYTES_A_VALUE = 26
_BYTES_A_BATCH = 2 * 1024 * 1024
MAX_COLUMNS = 500
_TOLD_CHANGES = 3
#: Two rows whose prices changed by one factor are no accident; sources round them, so the factor may differ a little.
_LEAST_ROWS_OF_A_FACTOR = 2
_FACTOR_SPREAD = 1e-4
_BEFORE_ALL = -(2**62)


@dataclass(frozen=True, kw_only=True)
class Series:
    """What a request says of its series."""

    series_id: str
    freq: str
    calendar: str


def plan(
    series: Series,
    known: Observations | None,
    frame: SourceFrame,
    received_at: datetime,
    known_future: Collection[str] = (),
) -> tuple[ObservationBatch, ...]:
    """Return the batches that bring the log up to ``frame``, in the order in which they are to be published.

    Args:
        series: What the request says of it.
        known: The latest view of the series in the log; ``None`` when it has none.
        frame: Clean rows, strictly ascending in time.
        received_at: When the frame was fetched (UTC).
        known_future: Columns whose values may come before their row is observed.

    Raises:
        BadSourceData: The frame cannot be of this series.
    """
    _require_same_series(series, known, frame)
    writer = _Writer(series=series, received_at=received_at, unit=frame.unit)
    if known is None:
        return tuple(writer.batches(frame, "history"))
    index = np.searchsorted(known.time, frame.time)
    index[index == len(known)] = 0
    is_known = known.time[index] == frame.time
    is_later = frame.time > _observed_until(known, known_future)
    writer = replace(writer, unit=frame.unit or known.unit)
    changed = _changed(known, index[is_known], frame.rows(is_known))
    arrived = changed.only_adds & is_later[is_known][changed.rows]
    return (
        *writer.batches(frame.rows(~is_known & ~is_later), "history"),
        *writer.batches(changed.frame.rows(~arrived), "restatement", changed.reason),
        *writer.batches(changed.frame.rows(arrived), "append"),
        *writer.batches(frame.rows(~is_known & is_later), "append"),
    )


def _observed_until(known: Observations, known_future: Collection[str]) -> int:
    """Return the time of the last row that has more than what is known in the future."""
    observed = np.zeros(len(known), dtype=bool)
    for name, values in known.columns.items():
        if name not in known_future:
            observed |= ~np.isnan(values)
    rows = np.flatnonzero(observed)
    return int(known.time[rows[-1]]) if len(rows) else _BEFORE_ALL


def _require_same_series(series: Series, known: Observations | None, frame: SourceFrame) -> None:
    if len(frame.columns) > MAX_COLUMNS:
        raise BadSourceData(frame.source, f"at most {MAX_COLUMNS} columns are expected, found {len(frame.columns)}")
    if known is None:
        return
    if known.calendar != series.calendar:
        raise BadSourceData(
            frame.source,
            f"{series.series_id} has calendar {known.calendar} in the log, asked was {series.calendar}; "
            "ask with that one or for another series",
        )
    if known.unit and frame.unit and known.unit != frame.unit:
        raise BadSourceData(
            frame.source,
            f"{series.series_id} is in {known.unit} in the log, the source gives {frame.unit}; load another series",
        )


class _Changed(NamedTuple):
    """Rows that differ from the log, completed by what the log has.

    Attributes:
        frame: The rows.
        rows: Where they stood in the frame that was compared, shape (n,).
        only_adds: Whether a row takes no known value back, shape (n,).
        reason: In what they differ.
    """

    frame: SourceFrame
    rows: IntArray
    only_adds: npt.NDArray[np.bool_]
    reason: str


def _changed(known: Observations, index: IntArray, frame: SourceFrame) -> _Changed:
    """Return the rows of ``frame`` that differ from the log.

    Args:
        known: The log's view.
        index: Where each row of ``frame`` stands in it, shape (n,).
        frame: Rows whose times the log has.
    """
    missing = np.full(len(frame), np.nan)
    columns: dict[str, FloatArray] = {}
    is_changed = np.zeros(len(frame), dtype=bool)
    takes_back = np.zeros(len(frame), dtype=bool)
    told: list[str] = []
    for name in dict.fromkeys([*known.columns, *frame.columns]):
        old = known.columns[name][index] if name in known.columns else missing
        given = frame.columns.get(name, missing)
        new = np.where(np.isnan(given), old, given)
        columns[name] = new
        # A known value differs by more than the tolerance; a missing one differs from every value.
        is_same = np.abs(new - old) <= TOLERANCE * np.maximum(np.abs(new), np.abs(old))
        differs = ~is_same & ~np.isnan(new)
        is_changed |= differs
        takes_back |= differs & ~np.isnan(old)
        told += [
            f"{_day(frame.time[row])} {name} from {_number(old[row])} to {_number(new[row])}"
            for row in np.flatnonzero(differs)[:_TOLD_CHANGES]
        ]
    count = int(is_changed.sum())
    # The offset makes a change there, back and there again another record each time: readers drop repeated content.
    reason = (
        f"{frame.source} gives other values than the log had up to offset {known.newest_offset} (from {known.source}) "
        f"in {count} row{'s' * (count != 1)}: {', '.join(told[:_TOLD_CHANGES])}{', ...' * (len(told) > _TOLD_CHANGES)}"
    )
    reason += _cause(known, index[is_changed], {name: values[is_changed] for name, values in columns.items()})
    carried = SourceFrame(source=frame.source, unit=frame.unit, time=frame.time, columns=columns)
    return _Changed(carried.rows(is_changed), np.flatnonzero(is_changed), ~takes_back[is_changed], reason)


def _cause(known: Observations, index: IntArray, columns: Mapping[str, FloatArray]) -> str:
    """Return what the changed rows look like, as the end of the reason; nothing where they look like nothing known.

    Args:
        known: The log's view.
        index: Where each changed row stands in it, shape (n,).
        columns: Their new values, shape (n,) each.
    """
    if len(index) == 1 and index[0] == len(known) - 1:
        return "; it was the newest row, which a source may settle later"
    prices = [name for name in PRICE_COLUMNS if name in known.columns]
    if len(index) < _LEAST_ROWS_OF_A_FACTOR or not prices:
        return ""
    old = known.matrix(prices)[index]
    ratios = np.column_stack([columns[name] for name in prices])[old > 0] / old[old > 0]
    ratios = ratios[np.isfinite(ratios)]
    if len(ratios) == 0 or np.ptp(ratios) > _FACTOR_SPREAD * ratios[0] or abs(ratios[0] - 1) <= _FACTOR_SPREAD:
        return ""
    return f"; every price is {ratios[0]:.6g} of what it was, as after a split or a dividend adjustment"


@dataclass(frozen=True, kw_only=True)
class _Writer:
    """Turns rows into the records of one series."""

    series: Series
    unit: str
    received_at: datetime

    def batches(self, frame: SourceFrame, kind: BatchKind, reason: str = "") -> Iterator[ObservationBatch]:
        """Yield the rows of ``frame`` in batches that a message can hold."""
        size = max(1, min(MAX_ROWS_A_BATCH, _BYTES_A_BATCH // (_BYTES_A_VALUE * (len(frame.columns) + 1))))
        for start in range(0, len(frame), size):
            part = slice(start, start + size)
            yield ObservationBatch.of(
                series_id=self.series.series_id,
                freq=self.series.freq,
                calendar=self.series.calendar,
                kind=kind,
                source=frame.source,
                received_at=self.received_at,
                time=tuple(map(_utc, frame.time[part].tolist())),
                columns={name: _values(values[part]) for name, values in frame.columns.items()},
                unit=self.unit,
                reason=reason,
            )


def _values(column: FloatArray) -> tuple[float | None, ...]:
    values = column.tolist()
    return tuple(None if math.isnan(value) else value for value in values) if np.isnan(column).any() else tuple(values)


@lru_cache(maxsize=16_384)
def _utc(seconds: int) -> datetime:
    """Return a time in UTC; the series of one file have most of theirs in common."""
    return datetime.fromtimestamp(seconds, UTC)


def _day(time: int) -> str:
    return f"{datetime.fromtimestamp(int(time), UTC):%Y-%m-%dT%H:%MZ}".removesuffix("T00:00Z")


def _number(value: float) -> str:
    return "missing" if np.isnan(value) else f"{value:.12g}"
