"""Whether the times of a series are those that its freq and calendar promise.

Rows may be missing: that is a gap, and `forecasting.gaps` has the rules for it. A time at which no observation can
start, or a spacing of another freq, is no gap: forecasts of such a series would have the wrong times and seasons.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from forecasting.calendars import MONTHS, SECONDS, parse_freq
from forecasting.errors import CalendarError, InvalidObservations
from forecasting.grid import bars_between, least_step, month_of
from forecasting.sessions import ALWAYS, DAY, IntArray

if TYPE_CHECKING:  # the panel cuts windows by the rules for gaps, which need this module
    from forecasting.panel import Observations

#: Share of the rows that may stand off the grid: special trading days, bars after an early close, days that a calendar
#: of the past has wrong.
MOST_OFF_GRID = 0.05
_HOUR = 3600
#: Clock steps from here on may be an hour off: local days of summer time.
_LONG_STEP = 4 * _HOUR
#: Share of equal spacings that makes a series one of another freq even where missing rows count as zero.
_EVEN = 0.9


class Places(NamedTuple):
    """Where the rows of a series stand on its grid.

    Attributes:
        step: Steps since the first time of the grid, shape (n,); ascending.
        fits: Whether an observation starts then, and no earlier row has the same place; shape (n,).
    """

    step: IntArray
    fits: npt.NDArray[np.bool_]


def places_of(calendar: str, freq: str, time: IntArray) -> Places:
    """Return where ascending times stand on the grid of a freq and calendar.

    A whole grid may be shifted (daily rows at 05:00, months from the 15th): the phase that most rows have counts.
    Steps of four hours and longer may be an hour off, where local days follow summer time, and weeks a day, for
    holidays; of a month, a quarter or a year each day of it is the same step.

    Args:
        calendar: Exchange calendar code, ``24/7`` or ``24/5``.
        freq: Length of one observation.
        time: UTC seconds since 1970, strictly ascending, shape (n,), n >= 1.

    Raises:
        CalendarError: ``unknown-calendar``, ``unknown-freq``, ``beyond-calendar``.
    """
    count, unit = parse_freq(freq)
    if unit in MONTHS:
        months = month_of(time)
        step = count * MONTHS[unit]
        phase = _most_common(months % step)
        index, is_on_grid = (months - phase) // step, months % step == phase
    elif calendar == ALWAYS or unit == "w":
        seconds = count * SECONDS[unit]
        phase = _most_common(time % seconds)
        tolerance = DAY if unit == "w" else _HOUR if seconds >= _LONG_STEP else 0
        index = (time - phase + seconds // 2) // seconds
        is_on_grid = np.abs(time - phase - index * seconds) <= tolerance
    else:
        stride = count if unit == "d" else 1
        starts = time - time % DAY if unit == "d" else time
        bars = bars_between(calendar, count, unit, int(time[0]), int(time[-1]))
        place = np.searchsorted(bars, starts, side="right") - 1
        is_on_grid = (place >= 0) & (bars[np.maximum(place, 0)] == starts)
        phase = _most_common(place[is_on_grid] % stride) if is_on_grid.any() else 0
        index, is_on_grid = (place - phase) // stride, is_on_grid & (place % stride == phase)
    is_new = np.ones(len(time), dtype=bool)
    is_new[1:] = index[1:] > index[:-1]
    return Places(np.asarray(index - index[0], dtype=np.int64), np.asarray(is_on_grid & is_new))


def _most_common(values: IntArray) -> int:
    found, counts = np.unique(values, return_counts=True)
    return int(found[int(np.argmax(counts))])


def require_regular(observations: Observations, *, absent_is_zero: bool = False) -> None:
    """Refuse a series whose times do not fit its freq and calendar.

    Args:
        observations: At least one row.
        absent_is_zero: Missing rows stand for zero, so that a series may consist of gaps for the most part.

    Raises:
        InvalidObservations: ``unsorted-times``; ``wrong-freq``: the spacing of most rows is another one;
            ``irregular-series``: more than a twentieth of the rows stand where no observation can start.
        CalendarError: ``unknown-calendar``, ``unknown-freq``.
    """
    time = observations.time
    _require_ascending(observations)
    try:
        places = places_of(observations.calendar, observations.freq, time)
    except CalendarError as error:
        if error.code != "beyond-calendar":
            raise
        return  # the exchange's holidays of those years are not known, so there is nothing to hold the times against
    _require_freq(observations, places, absent_is_zero=absent_is_zero)
    off = np.flatnonzero(~places.fits)
    if len(off) <= max(MOST_OFF_GRID * len(time), 1):
        return
    raise InvalidObservations(
        "irregular-series",
        field=f"observations.{observations.series_id}.time",
        expected=f"at which an observation of {observations.freq} can start by the calendar {observations.calendar}, "
        f"for at least {1 - MOST_OFF_GRID:.0%} of the rows",
        found=f"one that is for {len(time) - len(off)} of {len(time)} rows; the first that is not is "
        f"{told(int(time[off[0]]))}",
        advice="give the series the freq and calendar that its rows follow, or bring it to a regular grid first",
    )


def _require_ascending(observations: Observations) -> None:
    steps = np.diff(observations.time)
    if (steps > 0).all():
        return
    row = int(np.argmin(steps > 0)) + 1
    what = "duplicated-times" if steps[row - 1] == 0 else "unsorted-times"
    raise InvalidObservations(
        what,
        field=f"observations.{observations.series_id}.time",
        expected="strictly ascending",
        found=f"{told(int(observations.time[row]))} in row {row} after {told(int(observations.time[row - 1]))}",
        advice="sort the rows and give each time once",
    )


def _require_freq(observations: Observations, places: Places, *, absent_is_zero: bool) -> None:
    if len(places.step) < 3:  # noqa: PLR2004  # one spacing says nothing about the others
        return
    steps, spacing = np.diff(places.step), float(np.median(np.diff(observations.time)))
    middle = float(np.median(steps))
    is_finer = middle < 1 and spacing <= least_step(observations.freq) / 2
    is_coarser = middle >= 2 and (not absent_is_zero or float(np.mean(steps == middle)) >= _EVEN)  # noqa: PLR2004
    if not is_finer and not is_coarser:
        return
    raise InvalidObservations(
        "wrong-freq",
        field=f"observations.{observations.series_id}.freq",
        expected=f"the spacing of the rows, which is {told_length(spacing)} for most",
        found=observations.freq,
        advice="load the series under the freq that it has",
    )


def told(time: int) -> str:
    """Return a time for an error message, to the second where it has any."""
    moment = datetime.fromtimestamp(time, UTC)
    return f"{moment:%Y-%m-%d}" if time % DAY == 0 else f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def told_length(seconds: float) -> str:
    """Return a length of time in the largest unit that it fills.

    >>> told_length(3600.0), told_length(604800.0), told_length(5400.0)
    ('1h', '7d', '90min')
    """
    for length, name in ((DAY, "d"), (_HOUR, "h"), (60, "min")):
        if seconds >= length and (seconds % length == 0 or length == 60):  # noqa: PLR2004  # seconds a minute
            return f"{seconds / length:g}{name}"
    return f"{seconds:g}s"
