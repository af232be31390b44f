"""When exchanges are open: sessions of the `exchange_calendars` package, and the bars within them.

The package is asked by named years, so that nothing depends on the day on which the code runs (its own default ends a
year from now), and for several years at once, which costs hardly more than one. The endless calendar and the one of
business days need no exchange and are made here.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from forecasting.errors import CalendarError

IntArray = npt.NDArray[np.int64]

#: Every day of the week, around the clock.
ALWAYS = "24/7"
#: Business days: Monday to Friday, around the clock.
WEEKDAYS = "24/5"
DAY = 86_400
_WEEK_DAYS, _THURSDAY, _SATURDAY = 7, 3, 5
#: Years that are asked for together.
_BLOCK = 8


class Sessions(NamedTuple):
    """Sessions in order, in seconds since 1970, shape (n,) each; a session without a break has break -1."""

    date: IntArray
    open: IntArray
    close: IntArray
    break_start: IntArray
    break_end: IntArray

    def rows(self, chosen: slice | npt.NDArray[np.bool_]) -> Sessions:
        """Return some of the sessions."""
        return Sessions(*(times[chosen] for times in self))


@lru_cache(maxsize=1024)
def sessions_of(calendar: str, year: int) -> Sessions:
    """Return the sessions whose dates lie in ``year``.

    Raises:
        CalendarError: ``unknown-calendar``; ``beyond-calendar``: the exchange's holidays are not known that far.
    """
    if calendar in (ALWAYS, WEEKDAYS):
        return _around_the_clock(year, weekdays_only=calendar == WEEKDAYS)
    first = year - year % _BLOCK
    try:
        sessions = _block(calendar, first)
    except CalendarError as error:
        if error.code != "beyond-calendar":
            raise
        # The block reaches beyond what is known of the exchange; the year itself may not.
        return _ask(calendar, year, year)
    start, end = (int(np.datetime64(f"{one:04d}-01-01", "s").astype(np.int64)) for one in (year, year + 1))
    return sessions.rows(slice(*np.searchsorted(sessions.date, [start, end]).tolist()))


def sessions_between(calendar: str, first_year: int, last_year: int) -> Sessions:
    """Return the sessions of several years, both ends included.

    Raises:
        CalendarError: As `sessions_of`.
    """
    years = [sessions_of(calendar, year) for year in range(first_year, last_year + 1)]
    return Sessions(*(np.concatenate(times) for times in zip(*years, strict=True)))


#: Gives the sessions of an exchange whose dates lie in these years, both included.
AskExchange = Callable[[str, int, int], Sessions]


def ask_exchanges_through(ask: AskExchange) -> None:
    """Have exchanges' sessions read by ``ask`` from now on, for a process that must not hold what they load.

    Args:
        ask: Gives what `ask_exchange` gives and raises what it raises.
    """
    global _ask  # noqa: PLW0603  # one a process, as the caches in front of it
    _ask = ask


def bars_of(sessions: Sessions, seconds: int) -> IntArray:
    """Return the starts of the bars of all sessions: from each open, and again from the end of each break."""
    has_break = sessions.break_start >= 0
    starts = np.column_stack([sessions.open, np.where(has_break, sessions.break_end, sessions.close)]).ravel()
    ends = np.column_stack([np.where(has_break, sessions.break_start, sessions.close), sessions.close]).ravel()
    counts = -(-(ends - starts) // seconds)
    before = np.repeat(np.cumsum(counts) - counts, counts)
    bars: IntArray = np.repeat(starts, counts) + seconds * (np.arange(counts.sum(), dtype=np.int64) - before)
    return bars


def _around_the_clock(year: int, *, weekdays_only: bool) -> Sessions:
    start, end = (np.datetime64(f"{one:04d}-01-01", "D").astype(np.int64) for one in (year, year + 1))
    days = np.arange(start, end, dtype=np.int64)
    if weekdays_only:
        days = days[(days + _THURSDAY) % _WEEK_DAYS < _SATURDAY]  # 1970-01-01 was a Thursday
    dates = days * DAY
    none = np.full(len(dates), -1, dtype=np.int64)
    return Sessions(dates, dates, dates + DAY, none, none)


@lru_cache(maxsize=128)
def _block(calendar: str, first: int) -> Sessions:
    return _ask(calendar, first, first + _BLOCK - 1)


def ask_exchange(calendar: str, first: int, last: int) -> Sessions:
    """Return the sessions of an exchange whose dates lie in these years, both included.

    Raises:
        CalendarError: ``unknown-calendar``, ``beyond-calendar``.
    """
    # pandas and the calendars cost 2 s and 100 MB: only who needs an exchange pays.
    import exchange_calendars  # noqa: PLC0415

    try:
        with warnings.catch_warnings():
            # exchange_calendars 4.13 reads Series.values and others, which pandas 3 says will change.
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            warnings.filterwarnings("ignore", category=FutureWarning)
            schedule = exchange_calendars.get_calendar(
                calendar, start=f"{first:04d}-01-01", end=f"{last:04d}-12-31"
            ).schedule
    except exchange_calendars.errors.InvalidCalendarName as error:
        raise CalendarError(
            "unknown-calendar",
            field="calendar",
            expected="24/7 or a code of exchange_calendars such as XNYS, BVMF, XLON",
            found=repr(calendar),
            advice="business days without an exchange are 24/5",
        ) from error
    except ValueError as error:
        raise CalendarError(
            "beyond-calendar",
            field="cutoff",
            expected=f"such that the holidays of {calendar} are known for every step",
            found=f"a step in {first} ({error})",
            advice="ask for a shorter horizon",
        ) from error
    found = [_seconds(schedule[name]) for name in ("open", "close", "break_start", "break_end")]
    return Sessions(_seconds(schedule.index.to_series()), *found)


_ask: AskExchange = ask_exchange


def _seconds(times: object) -> IntArray:
    """Return a pandas series of times as seconds since 1970; a missing time is -1."""
    array = np.asarray(times, dtype="datetime64[s]")
    return np.where(np.isnat(array), -1, array.astype(np.int64))
