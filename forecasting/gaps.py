"""Missing rows and missing values, and the declared rules for them.

| rule | a row that is missing | a value that is missing |
|---|---|---|
| `skip` | is passed over: its neighbours stand side by side | passes its whole row over |
| `forward-fill` | the newest known value of each column | the newest known value |
| `interpolate` | on the line between the known values around it | likewise |
| `zero` | 0 in every column | 0 |
| `refuse` | the series is refused | the series is refused |

The same code makes the rows of a training and the window of a forecast. Nothing is filled before the first value of a
column, nor after the last row with a target: that is the cutoff, and what stands behind it is the future. A value is
interpolated only between known ones, so a window needs nothing beyond its cutoff as long as every value of the
cutoff's row was observed: by that rule no other row is a cutoff. A static column has one value: any gap in it is that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from forecasting.errors import InvalidObservations
from forecasting.grid import least_step, step_times, times_between
from forecasting.regularity import told
from forecasting.sessions import IntArray
from schemas.trainings import GapRule

if TYPE_CHECKING:  # the panel cuts windows by these rules
    from forecasting.panel import Observations

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
#: A next row may be this part of a step late before rows are missing between: days of summer time, months of 31 days.
_LATE = 0.5
#: Rows that filling may make of one, and always: a stray time must not become millions of invented rows.
_MOST_FILLED, _ALWAYS_FILLED = 50, 10_000


class Gaps(NamedTuple):
    """How the gaps of a series are treated.

    Attributes:
        rule: What becomes of missing rows and values.
        target: The forecast column; it says where the history ends. May be empty for the rule `skip`.
        static: Columns that are constant within a series.
    """

    rule: GapRule = "skip"
    target: str = ""
    static: tuple[str, ...] = ()


SKIP = Gaps()


def filled(observations: Observations, columns: Sequence[str], gaps: Gaps) -> Observations:
    """Return the series up to its last row with a target (interpolated: its last whole row), its gaps treated.

    Rows that still lack a value (before the first known one, or by the rule `skip`) are left for the caller to pass
    over.

    Args:
        observations: Ascending rows.
        columns: Columns that are needed, the target among them; the result has no others.
        gaps: The rule.

    Raises:
        InvalidObservations: ``unknown-column``; ``missing-observations`` with the rule `refuse`; ``too-many-gaps``.
        CalendarError: ``unknown-calendar``, ``unknown-freq``, ``beyond-calendar``.
    """
    if gaps.rule == "skip":
        return observations
    needed = columns if gaps.rule == "interpolate" else [gaps.target]
    known = np.flatnonzero(np.isfinite(observations.matrix(needed)).all(axis=1))
    return filled_to_the_end(observations.slice(0, int(known[-1]) + 1 if len(known) else 0), columns, gaps)


def filled_to_the_end(observations: Observations, columns: Sequence[str], gaps: Gaps) -> Observations:
    """Return the series with its gaps treated by the rule, its last row the last one given.

    Raises:
        InvalidObservations, CalendarError: See `filled`.
    """
    if gaps.rule == "skip":
        return observations
    time, values = observations.time, observations.matrix(columns)
    grid, row_of = with_missing_rows(observations.calendar, observations.freq, time, observations.series_id)
    if gaps.rule == "refuse":
        _require_no_gap(observations, columns, grid, values)
    whole = np.full((len(grid), len(columns)), np.nan)
    whole[row_of] = values
    for index, name in enumerate(columns):
        if gaps.rule == "forward-fill" or name in gaps.static:
            _fill_forward(whole[:, index])
        elif gaps.rule == "interpolate":
            _interpolate(whole[:, index], grid)
        elif gaps.rule == "zero":
            np.nan_to_num(whole[:, index], copy=False, nan=0.0)
    return replace(observations, time=grid, columns={name: whole[:, index] for index, name in enumerate(columns)})


def cutoffs_of(given: Observations, columns: Sequence[str], gaps: Gaps, time: IntArray) -> BoolArray:
    """Return at which of ``time`` a forecast of the backtest may begin.

    Interpolation looks at the next known value, so that a cutoff whose row has an interpolated value would know the
    future: by that rule only rows that were observed whole count. Every other rule makes a row from earlier ones.

    Args:
        given: The series before anything was filled.
        columns: Columns that are needed.
        gaps: The rule.
        time: Times of the rows that there are now, shape (n,).
    """
    if gaps.rule != "interpolate":
        return np.ones(len(time), dtype=bool)
    return np.isin(time, given.time[np.isfinite(given.matrix(columns)).all(axis=1)])


def with_missing_rows(calendar: str, freq: str, time: IntArray, series_id: str) -> tuple[IntArray, IntArray]:
    """Return the times of all rows, missing ones included, and where the given ones stand among them.

    The times between two rows come from the earlier one, so that what is filled depends on the neighbours alone.

    Args:
        calendar: Exchange calendar code, ``24/7`` or ``24/5``.
        freq: Length of one observation.
        time: UTC seconds since 1970, strictly ascending, shape (n,).
        series_id: For the error.

    Raises:
        InvalidObservations: ``too-many-gaps``.
        CalendarError: ``unknown-calendar``, ``unknown-freq``, ``beyond-calendar``.
    """
    if len(time) < 2:  # noqa: PLR2004  # nothing is between
        return time, np.arange(len(time))
    _require_dense(freq, time, series_id)
    due = step_times(calendar, freq, time[:-1], 1)[:, 0]
    gaps = np.flatnonzero(time[1:] > due + _LATE * least_step(freq))
    if not len(gaps):
        return time, np.arange(len(time))
    late = int(_LATE * least_step(freq))
    made = [times_between(calendar, freq, int(time[row]), int(time[row + 1]) - late - 1)[1:] for row in gaps]
    before = np.zeros(len(time), dtype=np.int64)
    before[gaps + 1] = [len(times) for times in made]
    return np.insert(time, np.repeat(gaps + 1, [len(times) for times in made]), np.concatenate(made)), np.arange(
        len(time)
    ) + np.cumsum(before)


def _require_dense(freq: str, time: IntArray, series_id: str) -> None:
    steps = int(time[-1] - time[0]) // least_step(freq)
    most = max(_MOST_FILLED * len(time), _ALWAYS_FILLED)
    if steps > most:
        gap = int(np.argmax(np.diff(time)))
        raise InvalidObservations(
            "too-many-gaps",
            field=f"observations.{series_id}.time",
            expected=f"within {most} steps of {freq}, if missing rows are to be filled",
            found=f"{len(time)} rows over {steps} steps, the longest gap after {told(int(time[gap]))}",
            advice="use the rule skip, or leave out what stands before the gap",
        )


def _require_no_gap(observations: Observations, columns: Sequence[str], grid: IntArray, values: FloatArray) -> None:
    time = observations.time
    missing = np.setdiff1d(grid, time, assume_unique=True)
    holes = np.argwhere(~np.isfinite(values))
    if not len(missing) and not len(holes):
        return
    found = [f"{len(missing)} missing, the first {told(int(missing[0]))}"] if len(missing) else []
    if len(holes):
        row, column = holes[0]
        found.append(f"{len(holes)} values missing, the first {columns[column]} of {told(int(time[row]))}")
    raise InvalidObservations(
        "missing-observations",
        field=f"observations.{observations.series_id}",
        expected="without a missing row or value, as the rule refuse demands",
        found="; ".join(found),
        advice="load what is missing, or choose another rule: skip, forward-fill, interpolate, zero",
    )


def _fill_forward(values: FloatArray) -> None:
    known = np.isfinite(values)
    newest = np.maximum.accumulate(np.where(known, np.arange(len(values)), -1))
    holes = ~known & (newest >= 0)
    values[holes] = values[newest[holes]]


def _interpolate(values: FloatArray, time: IntArray) -> None:
    """Fill holes between known values by the line through the two around them; the ends stay as they are."""
    known = np.flatnonzero(np.isfinite(values))
    holes = np.flatnonzero(~np.isfinite(values))
    after = np.searchsorted(known, holes)
    inside = (after > 0) & (after < len(known))
    holes, after = holes[inside], after[inside]
    left, right = known[after - 1], known[after]
    share = (time[holes] - time[left]) / (time[right] - time[left])
    values[holes] = values[left] + (values[right] - values[left]) * share
