"""The grid of a series: whole histories by the rules of `calendars.next_times`."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest

from forecasting.calendars import next_times, parse_freq, season_length
from forecasting.errors import CalendarError
from forecasting.grid import previous_times, step_times, times_between
from forecasting.sessions import bars_of, sessions_of
from tests.timing import processor_seconds

CALENDARS = ("24/7", "24/5", "XNYS", "BVMF", "XLON", "XHKG", "XTKS", "XASX", "us_futures")
FREQS = ("1min", "7min", "1h", "4h", "1d", "3d", "1w", "2w", "1mo", "1q", "1y")


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def days(times: np.ndarray) -> list[str]:
    return [f"{datetime.fromtimestamp(int(one), UTC):%Y-%m-%d}" for one in times]


def origin_of(calendar: str, freq: str) -> datetime:
    """A time that stands on the grid."""
    if parse_freq(freq)[1] in ("min", "h") and calendar != "24/7":
        return datetime.fromtimestamp(int(bars_of(sessions_of(calendar, 2010), 60)[0]), UTC)
    by_session = calendar if parse_freq(freq)[1] == "d" else "24/7"
    return next_times(by_session, "1d", datetime(2009, 12, 31, tzinfo=UTC), 1)[0]


@pytest.mark.parametrize("calendar", CALENDARS)
@pytest.mark.parametrize("freq", FREQS)
def test_arrays_say_what_next_times_says(calendar: str, freq: str) -> None:
    origin, rows = origin_of(calendar, freq), 40 if freq in ("1q", "1y") else 130
    expected = [int(one.timestamp()) for one in next_times(calendar, freq, origin, rows)]

    assert times_between(calendar, freq, int(origin.timestamp()), expected[-1]).tolist()[1:] == expected
    steps = step_times(calendar, freq, np.array([int(origin.timestamp()), *expected[:10]]), 20)
    assert steps.tolist() == [expected[row : row + 20] for row in range(11)]
    back = previous_times(calendar, freq, datetime.fromtimestamp(expected[-1], UTC), 30)
    assert back.tolist() == expected[-30:]


def test_business_days_are_days_of_the_calendar_of_weekdays() -> None:
    assert days(times_between("24/5", "1d", seconds("2024-07-03"), seconds("2024-07-09"))) == [
        "2024-07-03",
        "2024-07-04",  # a holiday in New York
        "2024-07-05",
        "2024-07-08",
        "2024-07-09",
    ]
    assert season_length("1d", "24/5") == 5
    with pytest.raises(CalendarError, match="business days are 1d with the calendar 24/5"):
        parse_freq("1b")


@pytest.mark.parametrize("year", [1999, 2024, 2025])
def test_our_business_days_are_those_of_the_package(year: int) -> None:
    import exchange_calendars

    theirs = exchange_calendars.get_calendar("24/5", start=f"{year}-01-01", end=f"{year}-12-31").schedule
    ours = sessions_of("24/5", year)
    for name, found in (("open", ours.open), ("close", ours.close)):
        assert found.tolist() == [int(one.timestamp()) for one in theirs[name]]
    assert days(ours.date) == [f"{one:%Y-%m-%d}" for one in theirs.index]


def test_sessions_of_a_year_do_not_depend_on_the_years_asked_beside_it() -> None:
    from forecasting.sessions import _ask

    for calendar in ("XNYS", "BVMF", "XTKS"):
        for alone, together in zip(_ask(calendar, 2019, 2019), sessions_of(calendar, 2019), strict=True):
            np.testing.assert_array_equal(alone, together)


def test_years_that_the_exchange_knows_are_found_beside_years_that_it_does_not() -> None:
    # Tokyo is known from 1997 on, in the middle of a block of years.
    assert days(sessions_of("XTKS", 1997).date[:2]) == ["1997-01-06", "1997-01-07"]
    with pytest.raises(CalendarError, match="1997"):
        sessions_of("XTKS", 1995)


@pytest.mark.parametrize(
    ("freq", "cutoff", "expected"),
    [
        ("1d", "2024-07-08", ["2024-07-03", "2024-07-05", "2024-07-08"]),  # Independence Day and a weekend
        ("1d", "2025-01-02", ["2024-12-30", "2024-12-31", "2025-01-02"]),  # across the year
        ("2d", "2024-07-09", ["2024-07-02", "2024-07-05", "2024-07-09"]),
        ("1mo", "2024-03-31", ["2024-01-31", "2024-02-29", "2024-03-31"]),
        ("1q", "2024-07-15", ["2024-01-15", "2024-04-15", "2024-07-15"]),
        ("1y", "2024-02-29", ["2022-02-28", "2023-02-28", "2024-02-29"]),
    ],
)
def test_rows_before_a_cutoff_have_their_times(freq: str, cutoff: str, expected: list[str]) -> None:
    assert days(previous_times("XNYS", freq, datetime.fromtimestamp(seconds(cutoff), UTC), 3)) == expected


def test_bars_before_a_cutoff_end_with_it() -> None:
    cutoff = datetime(2024, 12, 2, 14, 30, tzinfo=UTC)
    found = previous_times("XNYS", "1h", cutoff, 3)
    assert [f"{datetime.fromtimestamp(int(one), UTC):%d %H:%M}" for one in found] == [
        "29 16:30",
        "29 17:30",
        "02 14:30",
    ]
    with pytest.raises(CalendarError) as caught:
        previous_times("XNYS", "1h", datetime(2024, 12, 2, 15, 0, tzinfo=UTC), 3)
    assert caught.value.code == "cutoff-off-calendar"


def test_week_without_a_session_is_left_out_backwards_too() -> None:
    found = previous_times("XSHG", "1w", datetime(2024, 10, 8, tzinfo=UTC), 3)
    assert days(found) == ["2024-09-17", "2024-09-24", "2024-10-08"]


def test_long_histories_cost_less_than_a_tenth_of_them_one_by_one() -> None:
    """By what the same machine takes for it: a limit in seconds would say how fast that is, and who else works there."""
    first, last = seconds("2015-01-02T14:30"), seconds("2024-12-31")
    begin = datetime.fromtimestamp(first, UTC)
    bars = times_between("XNYS", "1min", first, last)
    origins = [datetime.fromtimestamp(int(one), UTC) for one in bars[-1_000:]]

    assert len(bars) == 977_250
    assert all(a < b for a, b in pairwise(bars[:1000].tolist()))
    # Only once: what `next_times` was asked before it remembers.
    one_by_one = processor_seconds(lambda: next_times("XNYS", "1min", begin, 90_000), 1)
    assert processor_seconds(lambda: times_between("XNYS", "1min", first, last), 5) < one_by_one
    one_by_one = processor_seconds(lambda: [next_times("XNYS", "1min", origin, 24) for origin in origins], 1)
    assert processor_seconds(lambda: step_times("XNYS", "1min", bars[-10_000:], 24), 5) < one_by_one
    assert len(times_between("24/7", "1min", seconds("2000-01-01"), seconds("2002-01-01"))) == 1_052_641
