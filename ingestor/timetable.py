"""The times at which the calendar of a series expects rows.

What an exchange's calendar loads (pandas, 100 MB) must not stay in the service: where one is needed, its times are read
beside the fetch, in the process that ends with it, and travel with the rows.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, time

import numpy as np

from forecasting.calendars import MONTHS, parse_freq
from forecasting.errors import CalendarError
from forecasting.grid import times_between
from forecasting.sessions import ALWAYS
from ingestor.errors import BadSourceData
from ingestor.sources import IntArray, SourceFrame, Wanted

#: Beyond the rows, for those whose times have slipped.
MARGIN_SECONDS = 4 * 86_400
_WEEK = 7 * 86_400


def has_sessions(freq: str, calendar: str) -> bool:
    """Return whether the calendar alone says when a bar starts, not the phase of the series."""
    return parse_freq(freq)[1] in ("min", "h", "d") and calendar != ALWAYS


def needs_exchange(freq: str, calendar: str) -> bool:
    """Return whether the times depend on the sessions of a calendar."""
    return parse_freq(freq)[1] not in MONTHS and calendar != ALWAYS


def calendar_times(frame: SourceFrame, wanted: Wanted) -> IntArray | None:
    """Return the times of the calendar from the first row that the log has, or ``frame``, until after the last row.

    Of daily and longer freqs the unit counts, not how many of it: which day begins a bar is the phase of the series.
    Empty where the exchange's sessions are not known for all of that; ``None`` where they are not needed.

    Raises:
        BadSourceData: There is no such calendar.
    """
    if not len(frame) or not needs_exchange(wanted.freq, wanted.calendar):
        return None
    first, last = int(frame.time[0]), int(frame.time[-1])
    if wanted.known_since is not None:
        first = min(first, int(datetime.combine(wanted.known_since, time(), UTC).timestamp()))
    unit = parse_freq(wanted.freq)[1]
    first -= MARGIN_SECONDS
    if unit == "w":
        first -= (first - int(frame.time[0])) % _WEEK
    freq = wanted.freq if unit in ("min", "h") else f"1{unit}"
    try:
        # The first time is always one of the grid, whatever the calendar says.
        return times_between(wanted.calendar, freq, first, last + MARGIN_SECONDS)[1:]
    except CalendarError as error:
        if error.code == "beyond-calendar":
            return np.empty(0, dtype=np.int64)
        raise BadSourceData(frame.source, str(error)) from error


def grid_of(freq: str, calendar: str, times: IntArray | None, rows: IntArray) -> Callable[[int, int], IntArray]:
    """Return how the times of the grid from a first (always one of them) to a last one are found.

    Args:
        freq: Length of one observation.
        calendar: Exchange calendar code, or ``24/7``.
        times: What `calendar_times` gave.
        rows: The times of the rows, which are all that is known where the calendar says nothing.
    """
    if times is None:
        return lambda first, last: times_between(calendar, freq, first, last)
    count, unit = parse_freq(freq)
    known = times if len(times) else rows
    stride = count if unit in ("d", "w") and len(times) else 1

    def grid(first: int, last: int) -> IntArray:
        later = known[np.searchsorted(known, first, side="right") : np.searchsorted(known, last, side="right")]
        return np.concatenate([np.array([first], dtype=np.int64), later[stride - 1 :: stride]])

    return grid
