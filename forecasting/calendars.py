"""When the next observations are due: exchange sessions and the endless calendar.

Daily bars have the midnight UTC of their session date, bars within a day start with the session and run to its close,
weeks and longer follow the Gregorian calendar. Business days are `1d` of the calendar `24/5`: a freq says how long an
observation is, a calendar when there is one. `forecasting.grid` has the same rules for whole histories.
"""

from __future__ import annotations

import calendar as gregorian
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice

import numpy as np

from forecasting.errors import CalendarError
from forecasting.sessions import ALWAYS, DAY, Sessions, bars_of, sessions_of

_FREQ = re.compile(r"([1-9][0-9]*)(min|h|d|w|mo|q|y)")
#: Seconds of the units that have always the same length, months of the others.
SECONDS = {"min": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
MONTHS = {"mo": 1, "q": 3, "y": 12}
#: A year with ordinary sessions, from which the bars of a session are counted.
_REFERENCE_YEAR = 2024
#: The last year that pandas' nanoseconds hold whole.
_LAST_YEAR = 2261
_MAX_YEAR = 9999


def parse_freq(freq: str) -> tuple[int, str]:
    """Return count and unit of a freq.

    >>> parse_freq("15min")
    (15, 'min')

    Raises:
        CalendarError: ``unknown-freq``.
    """
    match = _FREQ.fullmatch(freq)
    if match is None:
        raise CalendarError(
            "unknown-freq",
            field="freq",
            expected="a count and one of min, h, d, w, mo, q, y, e.g. 1d",
            found=repr(freq),
            advice="business days are 1d with the calendar 24/5" if freq.lower().endswith("b") else "",
        )
    return int(match[1]), match[2]


@lru_cache(maxsize=1024)
def next_times(calendar: str, freq: str, cutoff: datetime, horizon: int) -> tuple[datetime, ...]:
    """Return the UTC starts of the ``horizon`` observations that follow the one at ``cutoff``.

    Raises:
        CalendarError: ``unknown-calendar``, ``unknown-freq``; ``beyond-calendar``: the exchange's holidays are not
            known that far; ``cutoff-off-calendar``: no bar of the session starts at ``cutoff``.
        ValueError: ``cutoff`` is not a UTC time.
    """
    if cutoff.utcoffset() != timedelta(0):
        raise ValueError(f"cutoff must be a UTC time, was {cutoff}")
    count, unit = parse_freq(freq)
    try:
        times = tuple(islice(_following(calendar, count, unit, cutoff), horizon))
    except OverflowError:
        times = ()
    if len(times) < horizon:
        raise CalendarError(
            "beyond-calendar",
            field="cutoff",
            expected=f"so early that {horizon} steps of {freq} have a date",
            found=cutoff.isoformat(),
        )
    return times


def interval_end(calendar: str, freq: str, time: datetime) -> datetime:
    """Return the moment at which the observation that starts at ``time`` is complete (UTC, exclusive).

    A daily bar is complete at its session's close, a bar within a day at its end or the session's, whichever comes
    first. A bar that no session explains (a special trading day) is complete after its whole length.

    Raises:
        CalendarError: ``unknown-calendar``, ``unknown-freq``, ``beyond-calendar``.
    """
    count, unit = parse_freq(freq)
    if unit in MONTHS:
        return next(_months(count * MONTHS[unit], time))
    length = timedelta(seconds=count * SECONDS[unit])
    if calendar == ALWAYS or unit == "w" or (unit == "d" and count > 1):
        return time + length
    start = int(time.timestamp())
    for year in sorted({(time - timedelta(days=2)).year, (time + timedelta(days=2)).year}):
        sessions = sessions_of(calendar, year)
        explained = sessions.date == start if unit == "d" else (sessions.open <= start) & (start < sessions.close)
        if explained.any():
            close = datetime.fromtimestamp(int(sessions.close[int(np.argmax(explained))]), UTC)
            return close if unit == "d" else min(close, time + length)
    return time + length


def season_length(freq: str, calendar: str) -> int:
    """Return how many steps make one season: a day within days, a week of days, a year of longer freqs.

    >>> season_length("1h", "24/7"), season_length("1d", "24/7"), season_length("1mo", "24/7")
    (24, 7, 12)

    Raises:
        CalendarError: ``unknown-calendar``, ``unknown-freq``.
    """
    count, unit = parse_freq(freq)
    if unit in ("min", "h") and count * SECONDS[unit] < DAY:
        if calendar == ALWAYS:
            return _whole(DAY, count * SECONDS[unit])
        sessions = sessions_of(calendar, _REFERENCE_YEAR)
        bars = [len(_bars(sessions, index, count * SECONDS[unit])) for index in range(len(sessions.date))]
        return max(int(np.median(bars)), 1)
    if unit in ("min", "h", "d"):
        days = count if unit == "d" else count * SECONDS[unit] // DAY
        return _whole(7 if calendar == ALWAYS else _trading_days_a_week(calendar), days)
    return _whole({"w": 52, "mo": 12, "q": 4, "y": 1}[unit], count)


def _trading_days_a_week(calendar: str) -> int:
    weekdays = {int(date) // DAY % 7 for date in sessions_of(calendar, _REFERENCE_YEAR).date}
    return len(weekdays)


def _whole(season: int, step: int) -> int:
    """Return steps a season, or 1 (no season) where they do not fit whole."""
    return season // step if season % step == 0 else 1


def _following(calendar: str, count: int, unit: str, cutoff: datetime) -> Iterator[datetime]:
    if unit in MONTHS:
        return _months(count * MONTHS[unit], cutoff)
    seconds = count * SECONDS[unit]
    if calendar == ALWAYS:
        return _steps(seconds, cutoff)
    if unit == "w":
        return _weeks_with_sessions(calendar, seconds, cutoff)
    if unit == "d":
        return islice(_session_dates(calendar, cutoff), count - 1, None, count)
    return _session_bars(calendar, seconds, cutoff)


def _steps(seconds: int, cutoff: datetime) -> Iterator[datetime]:
    step, time = timedelta(seconds=seconds), cutoff
    while True:
        time += step
        yield time


def _months(months: int, cutoff: datetime) -> Iterator[datetime]:
    """Yield the same day of later months; from the last day of a month, their last days."""
    last_day = cutoff.day == gregorian.monthrange(cutoff.year, cutoff.month)[1]
    month = cutoff.year * 12 + cutoff.month - 1
    while True:
        month += months
        year, index = divmod(month, 12)
        if year > _MAX_YEAR:
            return
        days = gregorian.monthrange(year, index + 1)[1]
        yield cutoff.replace(year=year, month=index + 1, day=days if last_day else min(cutoff.day, days))


def _weeks_with_sessions(calendar: str, seconds: int, cutoff: datetime) -> Iterator[datetime]:
    """Yield the weeks in which the exchange opens: some close for a whole one."""
    for time in _steps(seconds, cutoff):
        start = int(time.timestamp())
        years = {time.year, (time + timedelta(seconds=seconds - 1)).year}
        dates = np.concatenate([sessions_of(calendar, year).date for year in sorted(years)])
        if ((dates >= start - start % DAY) & (dates < start + seconds)).any():
            yield time


def _session_dates(calendar: str, cutoff: datetime) -> Iterator[datetime]:
    after = int(cutoff.timestamp())
    for year in range(cutoff.year, _LAST_YEAR):
        for date in sessions_of(calendar, year).date:
            if date > after:
                yield datetime.fromtimestamp(int(date), UTC)


def _session_bars(calendar: str, seconds: int, cutoff: datetime) -> Iterator[datetime]:
    after = int(cutoff.timestamp())
    # A session may begin on the UTC day before its date (Sydney, Tokyo), so the year before counts too.
    is_known = False
    for year in range((cutoff - timedelta(days=2)).year, _LAST_YEAR):
        sessions = sessions_of(calendar, year)
        first = int(np.searchsorted(sessions.close, after, side="left"))
        for index in range(first, len(sessions.date)):
            for start in _bars(sessions, index, seconds):
                is_known = is_known or start == after
                if start > after:
                    if not is_known:
                        raise _off_calendar(calendar, seconds, cutoff, start)
                    yield datetime.fromtimestamp(start, UTC)


def _off_calendar(calendar: str, seconds: int, cutoff: datetime, following: int) -> CalendarError:
    return CalendarError(
        "cutoff-off-calendar",
        field="cutoff",
        expected=f"the start of a {seconds // 60}-minute bar of {calendar}; the one that follows starts at "
        f"{datetime.fromtimestamp(following, UTC):%Y-%m-%dT%H:%MZ}",
        found=f"{cutoff:%Y-%m-%dT%H:%M:%SZ}",
        advice="give the series the calendar that its bars follow",
    )


def _bars(sessions: Sessions, index: int, seconds: int) -> list[int]:
    """Return the starts of the bars of one session."""
    starts: list[int] = bars_of(sessions.rows(slice(index, index + 1)), seconds).tolist()
    return starts
