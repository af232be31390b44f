"""When the next observations are due."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from forecasting.calendars import next_times, parse_freq, season_length
from forecasting.errors import CalendarError


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(calendar: str, freq: str, cutoff: str, horizon: int) -> list[str]:
    return [f"{time:%Y-%m-%dT%H:%M}" for time in next_times(calendar, freq, utc(cutoff), horizon)]


@pytest.mark.parametrize(
    ("calendar", "cutoff", "expected"),
    [
        ("XNYS", "2024-07-03", ["2024-07-05", "2024-07-08"]),  # Independence Day, then a weekend
        ("XNYS", "2024-12-24", ["2024-12-26", "2024-12-27"]),  # Christmas
        ("XNYS", "2025-01-08", ["2025-01-10", "2025-01-13"]),  # day of mourning for President Carter
        ("XNYS", "2024-12-31", ["2025-01-02", "2025-01-03"]),  # across the year
        ("BVMF", "2024-02-09", ["2024-02-14", "2024-02-15"]),  # Carnival
        ("XLON", "2024-03-28", ["2024-04-02", "2024-04-03"]),  # Easter
        ("24/7", "2024-02-28", ["2024-02-29", "2024-03-01"]),
    ],
)
def test_days_are_sessions_of_the_exchange(calendar: str, cutoff: str, expected: list[str]) -> None:
    assert times(calendar, "1d", cutoff, 2) == [f"{day}T00:00" for day in expected]


def test_bars_within_a_day_run_from_the_open_to_the_close() -> None:
    # The day after Thanksgiving closes at 13:00 in New York.
    assert times("XNYS", "1h", "2024-11-29T16:30", 3) == ["2024-11-29T17:30", "2024-12-02T14:30", "2024-12-02T15:30"]


def test_bars_within_a_day_follow_summer_time() -> None:
    assert times("XNYS", "1h", "2024-03-08T20:30", 1) == ["2024-03-11T13:30"]


def test_bars_within_a_day_leave_out_the_break() -> None:
    # Hong Kong rests from 12:00 to 13:00 local time, 4:00 to 5:00 UTC.
    assert times("XHKG", "30min", "2024-06-03T03:30", 2) == ["2024-06-03T05:00", "2024-06-03T05:30"]


def test_cutoff_off_the_bars_of_a_session_is_refused_with_the_next_one() -> None:
    with pytest.raises(CalendarError, match="2024-12-02T15:30Z, was 2024-12-02T15:00:00Z") as caught:
        times("XNYS", "1h", "2024-12-02T15:00", 1)
    assert caught.value.code == "cutoff-off-calendar"


@pytest.mark.parametrize(
    ("freq", "cutoff", "expected"),
    [
        ("15min", "2024-02-28T23:45", ["2024-02-29T00:00", "2024-02-29T00:15"]),
        ("4h", "2024-12-31T20:00", ["2025-01-01T00:00", "2025-01-01T04:00"]),
        ("1w", "2024-12-23", ["2024-12-30T00:00", "2025-01-06T00:00"]),
        ("1mo", "2024-11-01", ["2024-12-01T00:00", "2025-01-01T00:00"]),
        ("1mo", "2024-01-31", ["2024-02-29T00:00", "2024-03-31T00:00"]),  # month ends stay month ends
        ("1mo", "2024-01-30", ["2024-02-29T00:00", "2024-03-30T00:00"]),
        ("1q", "2024-10-01", ["2025-01-01T00:00", "2025-04-01T00:00"]),
        ("1y", "2024-02-29", ["2025-02-28T00:00", "2026-02-28T00:00"]),
        ("2y", "2024-01-01", ["2026-01-01T00:00", "2028-01-01T00:00"]),
    ],
)
def test_the_endless_calendar_goes_by_the_clock_and_the_month(freq: str, cutoff: str, expected: list[str]) -> None:
    assert times("24/7", freq, cutoff, 2) == expected


def test_every_second_session() -> None:
    assert times("XNYS", "2d", "2024-07-02", 2) == ["2024-07-05T00:00", "2024-07-09T00:00"]


def test_week_without_a_session_is_left_out() -> None:
    # Shanghai was closed from 2024-10-01 to 2024-10-07: the week from Tuesday to Monday has no session.
    assert times("XSHG", "1w", "2024-09-24", 1) == ["2024-10-08T00:00"]


def test_calendar_bound_is_an_error_and_not_a_guess() -> None:
    with pytest.raises(CalendarError, match="holidays of XHKG are known for every step") as caught:
        times("XHKG", "1d", "2049-12-23", 40)
    assert caught.value.code == "beyond-calendar"


def test_the_end_of_time_is_an_error_too() -> None:
    for freq in ("1d", "1y"):
        with pytest.raises(CalendarError, match="so early that 1000 steps"):
            times("24/7", freq, "9998-01-01", 1000)


def test_unknown_calendar_and_freq_are_refused() -> None:
    with pytest.raises(
        CalendarError, match="a code of exchange_calendars such as XNYS, BVMF, XLON, was 'NOPE'"
    ) as caught:
        times("NOPE", "1d", "2024-01-02", 1)
    assert caught.value.code == "unknown-calendar"
    for freq in ("d", "0d", "1s", "1D", "", "1.5h"):
        with pytest.raises(CalendarError, match=r"freq must be a count and one of min, h, d, w, mo, q, y"):
            parse_freq(freq)


def test_cutoff_without_a_zone_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="cutoff must be a UTC time"):
        next_times("24/7", "1d", datetime(2024, 1, 1), 1)  # noqa: DTZ001


@pytest.mark.parametrize(
    ("freq", "calendar", "expected"),
    [
        ("1d", "XNYS", 5),
        ("1d", "24/7", 7),
        ("1h", "24/7", 24),
        ("1h", "XNYS", 7),
        ("30min", "XNYS", 13),
        ("30min", "XHKG", 11),
        ("15min", "24/7", 96),
        ("7h", "24/7", 1),
        ("1w", "XNYS", 52),
        ("1mo", "24/7", 12),
        ("3mo", "24/7", 4),
        ("1q", "24/7", 4),
        ("1y", "24/7", 1),
    ],
)
def test_season_length(freq: str, calendar: str, expected: int) -> None:
    assert season_length(freq, calendar) == expected


def test_calendars_do_not_depend_on_the_day_of_the_run() -> None:
    # exchange_calendars ends a year from now by default: red when the year is not asked for by name.
    far = next_times("XNYS", "1d", utc("2090-01-03"), 5)
    assert len(far) == 5
    assert all(b - a <= timedelta(days=5) for a, b in pairwise(far))


def test_the_endless_calendar_does_not_import_pandas() -> None:
    code = (
        "import sys; from datetime import UTC, datetime; from forecasting.calendars import next_times;"
        "next_times('24/7', '1d', datetime(2024, 1, 1, tzinfo=UTC), 3); import forecasting.serving;"
        "print([name for name in ('pandas', 'exchange_calendars', 'torch', 'sklearn', 'onnx') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
