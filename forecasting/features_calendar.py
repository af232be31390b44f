"""What the calendar says of a time: terms, cycles and public holidays, for the rows of a window and for its steps.

Times are UTC seconds since 1970, and the terms are those of the UTC time itself: a daily bar has the midnight of its
session's date, an hourly one the start of its hour. Everything here is made element by element, whatever the shape.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from forecasting.panel import FloatArray, IntArray

#: Days to and since a holiday are held at this many: beyond it a holiday is simply far.
HOLIDAY_DAYS = 14
#: Seconds.
_HOUR, DAY = 3600, 86_400
#: 1970-01-01 was a Thursday, three days after a Monday.
_EPOCH_WEEKDAY = 3
_SATURDAY = 5
#: ISO 3166-1.
_COUNTRY = re.compile(r"[A-Z]{2,3}")


@dataclass(frozen=True, kw_only=True)
class Term:
    """A whole number that the calendar gives to a time.

    Attributes:
        least: The smallest value.
        count: How many values there are from it on.
        says: What it is, for people.
        of: From times to values, same shape.
    """

    least: int
    count: int
    says: str
    of: Callable[[IntArray], IntArray]


def _days(time: IntArray) -> IntArray:
    return time // DAY


def _months(time: IntArray) -> IntArray:
    """Return months since January 1970."""
    return np.asarray(_days(time).astype("M8[D]").astype("M8[M]").astype(np.int64))


def _month_start(months: IntArray) -> IntArray:
    """Return days since 1970 of the first day of a month."""
    return np.asarray(months.astype("M8[M]").astype("M8[D]").astype(np.int64))


def _weekday(days: IntArray) -> IntArray:
    return (days + _EPOCH_WEEKDAY) % 7


def _day_of_month(time: IntArray) -> IntArray:
    return _days(time) - _month_start(_months(time)) + 1


def _day_of_year(time: IntArray) -> IntArray:
    months = _months(time)
    return _days(time) - _month_start(months - months % 12) + 1


def _week_of_year(time: IntArray) -> IntArray:
    """Return the week of ISO 8601: it belongs to the year that its Thursday is in."""
    days = _days(time)
    thursday = days - _weekday(days) + _EPOCH_WEEKDAY
    return (_day_of_year(thursday * DAY) - 1) // 7 + 1


def _days_to_month_end(time: IntArray) -> IntArray:
    return _month_start(_months(time) + 1) - _days(time) - 1


TERMS: Mapping[str, Term] = {
    "minute-of-hour": Term(least=0, count=60, says="0 to 59", of=lambda time: time // 60 % 60),
    "hour-of-day": Term(least=0, count=24, says="0 to 23", of=lambda time: time // _HOUR % 24),
    "day-of-week": Term(least=0, count=7, says="0 is Monday", of=lambda time: _weekday(_days(time))),
    "is-weekend": Term(
        least=0,
        count=2,
        says="1 on Saturday and Sunday",
        of=lambda time: (_weekday(_days(time)) >= _SATURDAY).astype(np.int64),
    ),
    "hour-of-week": Term(
        least=0,
        count=168,
        says="0 is the first hour of Monday",
        of=lambda time: _weekday(_days(time)) * 24 + time // _HOUR % 24,
    ),
    "day-of-month": Term(least=1, count=31, says="1 to 31", of=_day_of_month),
    "days-to-month-end": Term(least=0, count=31, says="0 on the last day of the month", of=_days_to_month_end),
    "is-month-start": Term(
        least=0, count=2, says="1 on the first day", of=lambda time: (_day_of_month(time) == 1).astype(np.int64)
    ),
    "is-month-end": Term(
        least=0, count=2, says="1 on the last day", of=lambda time: (_days_to_month_end(time) == 0).astype(np.int64)
    ),
    "week-of-year": Term(least=1, count=53, says="1 to 53, ISO 8601", of=_week_of_year),
    "month": Term(least=1, count=12, says="1 to 12", of=lambda time: _months(time) % 12 + 1),
    "quarter": Term(least=1, count=4, says="1 to 4", of=lambda time: _months(time) % 12 // 3 + 1),
    "day-of-year": Term(least=1, count=366, says="1 to 366", of=_day_of_year),
}


def _within_months(time: IntArray, months: int) -> FloatArray:
    """Return which part of a cycle of so many months, counted from January, has passed."""
    month = _months(time)
    first = month - month % months
    start, end = _month_start(first) * DAY, _month_start(first + months) * DAY
    return np.asarray((time - start) / (end - start), dtype=np.float64)


#: Cycle -> the part of it that has passed at a time, in [0, 1).
CYCLES: Mapping[str, Callable[[IntArray], FloatArray]] = {
    "hour": lambda time: time % _HOUR / _HOUR,
    "day": lambda time: time % DAY / DAY,
    "week": lambda time: (time + _EPOCH_WEEKDAY * DAY) % (7 * DAY) / (7 * DAY),
    "month": lambda time: _within_months(time, 1),
    "quarter": lambda time: _within_months(time, 3),
    "year": lambda time: _within_months(time, 12),
}


def cycle_of_days(time: IntArray, days: float) -> FloatArray:
    """Return which part of a cycle of so many days, counted from 1970, has passed."""
    return np.asarray(time % (days * DAY) / (days * DAY), dtype=np.float64)


def wave(part: FloatArray, order: int, *, is_sine: bool) -> FloatArray:
    """Return sin or cos of 2 pi order part, a Fourier term of the cycle whose passed part is given."""
    angle = 2 * np.pi * (order * part % 1)
    return np.sin(angle) if is_sine else np.cos(angle)


def is_region(region: str) -> bool:
    """Return whether the `holidays` package knows a country, such as US, or a part of one, such as DE/BW."""
    import holidays  # noqa: PLC0415  # 0.2 s, which only models with holidays pay

    country, _, part = region.partition("/")
    # The package takes any name of its module for a country.
    if not _COUNTRY.fullmatch(country):
        return False
    try:
        holidays.country_holidays(country, subdiv=part or None)
    except NotImplementedError:
        return False
    return True


@lru_cache(maxsize=64)
def _holidays(region: str, first_year: int, last_year: int) -> IntArray:
    """Return the days since 1970 of all holidays of these years, ascending, with one far day at each end."""
    import holidays  # noqa: PLC0415  # see is_region

    country, _, part = region.partition("/")
    dates = holidays.country_holidays(country, subdiv=part or None, years=range(first_year, last_year + 1))
    days = np.array(sorted(dates), dtype="M8[D]").astype(np.int64)
    far = np.iinfo(np.int32)
    return np.concatenate([[far.min], days, [far.max]])


def _known_holidays(time: IntArray, region: str) -> tuple[IntArray, IntArray]:
    """Return the day of each time, and the holidays of all years about them."""
    days = _days(time)
    # The year before and after: a holiday may be near across New Year. Whole decades, so that few lists are made.
    first, last = (
        int(edge.astype("M8[D]").astype("M8[Y]").astype(np.int64)) + 1970 for edge in (days.min(), days.max())
    )
    return days, _holidays(region, (first - 1) // 10 * 10, (last + 1) // 10 * 10 + 9)


def is_holiday(time: IntArray, region: str) -> FloatArray:
    """Return 1 on a public holiday of a region, else 0."""
    days, known = _known_holidays(time, region)
    return np.asarray(known[np.searchsorted(known, days)] == days, dtype=np.float64)


def days_to_holiday(time: IntArray, region: str) -> FloatArray:
    """Return the days to the next public holiday, 0 on one, at most `HOLIDAY_DAYS`."""
    days, known = _known_holidays(time, region)
    next_one = known[np.searchsorted(known, days)]
    return np.asarray(np.minimum(next_one - days, HOLIDAY_DAYS), dtype=np.float64)


def days_since_holiday(time: IntArray, region: str) -> FloatArray:
    """Return the days since the last public holiday, 0 on one, at most `HOLIDAY_DAYS`."""
    days, known = _known_holidays(time, region)
    last_one = known[np.searchsorted(known, days, side="right") - 1]
    return np.asarray(np.minimum(days - last_one, HOLIDAY_DAYS), dtype=np.float64)


HOLIDAYS: Mapping[str, Callable[[IntArray, str], FloatArray]] = {
    "holiday": is_holiday,
    "days-to-holiday": days_to_holiday,
    "days-since-holiday": days_since_holiday,
}
