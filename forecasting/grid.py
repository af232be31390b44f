"""The grid of a series: every time at which its freq and calendar say that an observation starts.

`forecasting.calendars` answers for one cutoff; this module has the same rules for whole histories, in arrays of UTC
seconds since 1970. The phase of a grid (the minute of the hour, the day of the month) comes from the time that it
starts from.
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from forecasting.calendars import MONTHS, SECONDS, parse_freq
from forecasting.errors import CalendarError
from forecasting.sessions import ALWAYS, DAY, IntArray, bars_of, sessions_between

#: Days by which more of the calendar is looked at, until there are as many sessions as are asked for.
_MORE_DAYS = 40


def times_between(calendar: str, freq: str, first: int, last: int) -> IntArray:
    """Return the times of the grid from ``first`` on (always the first of them) to ``last`` at most, ascending.

    Raises:
        CalendarError: ``unknown-calendar``, ``unknown-freq``, ``beyond-calendar``.
    """
    count, unit = parse_freq(freq)
    if unit in MONTHS:
        steps = max(int(month_of(np.array([last]))[0] - month_of(np.array([first]))[0]), 0) // (count * MONTHS[unit])
        times: IntArray = months_after(np.array([first], dtype=np.int64), count * MONTHS[unit], np.arange(steps + 1))[0]
        return times[times <= last]
    seconds = count * SECONDS[unit]
    if calendar == ALWAYS or unit == "w":
        times = np.arange(first, last + 1, seconds, dtype=np.int64)
        return times if calendar == ALWAYS else times[_opens(calendar, times, seconds) | (times == first)]
    bars = bars_between(calendar, count, unit, first, last)
    later = bars[(bars > first) & (bars <= last)]
    if unit == "d":
        later = later[count - 1 :: count]
    return np.concatenate([np.array([first], dtype=np.int64), later]) if first <= last else later


def step_times(calendar: str, freq: str, cutoffs: IntArray, horizon: int) -> IntArray:
    """Return the starts of the ``horizon`` observations after every cutoff: `calendars.next_times` for many at once.

    A cutoff within a day at which no bar starts is followed by the next bars; `next_times` refuses it.

    Args:
        calendar: Exchange calendar code, ``24/7`` or ``24/5``.
        freq: Length of one observation.
        cutoffs: UTC seconds since 1970, shape (n,).
        horizon: Steps, >= 1.

    Returns:
        Shape (n, horizon).

    Raises:
        CalendarError: ``unknown-calendar``, ``unknown-freq``, ``beyond-calendar``.
    """
    count, unit = parse_freq(freq)
    steps = np.arange(1, horizon + 1, dtype=np.int64)
    if unit in MONTHS:
        return months_after(cutoffs, count * MONTHS[unit], steps)
    seconds = count * SECONDS[unit]
    if calendar == ALWAYS:
        return cutoffs[:, None] + seconds * steps
    if not len(cutoffs):
        return np.empty((0, horizon), dtype=np.int64)
    if unit == "w":
        return np.stack([_weeks(calendar, seconds, int(cutoff), horizon) for cutoff in cutoffs])
    stride = count if unit == "d" else 1
    first, last, needed = int(cutoffs.min()), int(cutoffs.max()), stride * horizon
    bars = bars_between(calendar, count, unit, first, last)
    while len(bars) - np.searchsorted(bars, last, side="right") < needed:
        last += _MORE_DAYS * DAY
        bars = bars_between(calendar, count, unit, first, last)
    return np.asarray(bars[np.searchsorted(bars, cutoffs, side="right")[:, None] + stride * steps - 1])


def previous_times(calendar: str, freq: str, cutoff: datetime, rows: int) -> IntArray:
    """Return the times of ``rows`` observations without a gap, of which the one at ``cutoff`` is the last.

    For windows that come with their cutoff alone.

    Raises:
        CalendarError: ``unknown-calendar``, ``unknown-freq``, ``beyond-calendar``; ``cutoff-off-calendar``: no bar of
            a session starts at ``cutoff``.
    """
    count, unit = parse_freq(freq)
    end = int(cutoff.timestamp())
    if unit in MONTHS:
        earlier: IntArray = months_after(np.array([end], dtype=np.int64), count * MONTHS[unit], np.arange(1 - rows, 1))[
            0
        ]
        return earlier
    seconds = count * SECONDS[unit]
    if calendar == ALWAYS:
        return end + seconds * np.arange(1 - rows, 1, dtype=np.int64)
    if unit == "w":
        return _weeks_until(calendar, seconds, end, rows)
    stride = count if unit == "d" else 1
    year = cutoff.year
    bars = _bars_of_years(calendar, count, unit, year, year)
    while np.searchsorted(bars, end) < stride * (rows - 1):
        year -= 1
        bars = np.concatenate([_bars_of_years(calendar, count, unit, year, year), bars])
    before = int(np.searchsorted(bars, end))
    if unit != "d" and (before == len(bars) or bars[before] != end):
        raise CalendarError(
            "cutoff-off-calendar",
            field="cutoff",
            expected=f"the start of a bar of {freq} of {calendar}",
            found=f"{cutoff:%Y-%m-%dT%H:%M:%SZ}",
            advice="give the series the calendar that its bars follow",
        )
    earlier = bars[before - stride * (rows - 1) : before : stride]
    return np.append(earlier, np.int64(end))


def least_step(freq: str) -> int:
    """Return the shortest time between two rows, in seconds: what a weekend or a month adds is no gap."""
    count, unit = parse_freq(freq)
    return count * MONTHS[unit] * 28 * DAY if unit in MONTHS else count * SECONDS[unit]


def months_after(times: IntArray, months: int, steps: IntArray) -> IntArray:
    """Return the same day of other months; from the last day of a month, their last days.

    Args:
        times: UTC seconds since 1970, shape (n,).
        months: Months a step.
        steps: Steps to go, of either sign, shape (k,).

    Returns:
        Shape (n, k).
    """
    month, day, length, rest = _parts(times)
    later = month[:, None] + months * steps
    days = _month_start(later + 1) - _month_start(later)
    chosen = np.where((day == length)[:, None], days, np.minimum(day[:, None], days))
    return np.asarray((_month_start(later) + chosen - 1) * DAY + rest[:, None])


def _parts(times: IntArray) -> tuple[IntArray, IntArray, IntArray, IntArray]:
    """Return month since 1970, day of the month, length of the month in days and second of the day."""
    month, days = month_of(times), times // DAY
    start = _month_start(month)
    return month, days - start + 1, _month_start(month + 1) - start, times % DAY


def month_of(times: IntArray) -> IntArray:
    """Return the months since January 1970."""
    return np.asarray(times).astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)


def _month_start(months: IntArray) -> IntArray:
    return np.asarray(months).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)


def bars_between(calendar: str, count: int, unit: str, first: int, last: int) -> IntArray:
    """Return the session dates (unit d) or the starts of bars of all years from ``first`` to ``last``."""
    # A session may begin on the UTC day before its date (Sydney, Tokyo).
    years = [datetime.fromtimestamp(time, UTC).year for time in (first - 2 * DAY, last)]
    return _bars_of_years(calendar, count, unit, *years)


def _bars_of_years(calendar: str, count: int, unit: str, first_year: int, last_year: int) -> IntArray:
    sessions = sessions_between(calendar, first_year, last_year)
    return sessions.date if unit == "d" else bars_of(sessions, count * SECONDS[unit])


def _opens(calendar: str, times: IntArray, seconds: int) -> npt.NDArray[np.bool_]:
    """Return which of the weeks that begin at ``times`` have a session."""
    years = [datetime.fromtimestamp(int(time), UTC).year for time in (times[0], times[-1] + seconds - 1)]
    dates = sessions_between(calendar, *years).date
    start = times - times % DAY
    return np.asarray(np.searchsorted(dates, times + seconds) > np.searchsorted(dates, start))


def _weeks(calendar: str, seconds: int, cutoff: int, horizon: int) -> IntArray:
    weeks = horizon
    while True:
        weeks += 4
        times = cutoff + seconds * np.arange(1, weeks + 1, dtype=np.int64)
        found = times[_opens(calendar, times, seconds)]
        if len(found) >= horizon:
            return found[:horizon]


def _weeks_until(calendar: str, seconds: int, end: int, rows: int) -> IntArray:
    times, found = end, [np.array([end], dtype=np.int64)]
    while sum(map(len, found)) < rows:
        earlier = times - seconds * np.arange(rows, 0, -1, dtype=np.int64)
        found.insert(0, earlier[_opens(calendar, earlier, seconds)])
        times = int(earlier[0])
    return np.concatenate(found)[-rows:]
