"""When a series is due: over changes of the clocks, half days, holidays and long downtimes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.errors import CalendarError
from ingestor.schedule import Timetable, late_from, retrain_timetable, timetable
from runtime.cron import cron_times
from schemas.schedules import RetrainRule
from tests.factories import schedule

YORK = "America/New_York"


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


def first(table: Timetable, after: str, count: int = 3) -> list[str]:
    return [f"{due:%Y-%m-%dT%H:%M}" for due in islice(table.dues(at(after)), count)]


def york(cron: str, after: str, count: int = 3) -> list[str]:
    return first(timetable(schedule(cron=cron, timezone=YORK)), after, count)


def test_a_fixed_hour_follows_the_clocks_of_its_zone():
    # 2025-03-09: from UTC-5 to UTC-4; 2025-11-02 back.
    assert york("30 18 * * *", "2025-03-07T12:00") == ["2025-03-07T23:30", "2025-03-08T23:30", "2025-03-09T22:30"]
    assert york("30 18 * * *", "2025-11-01T12:00") == ["2025-11-01T22:30", "2025-11-02T23:30", "2025-11-03T23:30"]


def test_an_hour_that_is_left_out_runs_at_the_end_of_the_gap_and_once():
    assert york("30 2 * * *", "2025-03-08T12:00") == ["2025-03-09T07:00", "2025-03-10T06:30", "2025-03-11T06:30"]
    assert york("0,30 2 * * *", "2025-03-08T12:00", 2) == ["2025-03-09T07:00", "2025-03-10T06:00"]


def test_an_hour_that_comes_twice_runs_once():
    assert york("30 1 * * *", "2025-11-01T12:00", 2) == ["2025-11-02T05:30", "2025-11-03T06:30"]
    # Asked within the repeated hour, it is not given again.
    assert york("30 1 * * *", "2025-11-02T06:10", 1) == ["2025-11-03T06:30"]


def test_an_hourly_run_goes_by_the_hours_that_there_are():
    assert york("0 * * * *", "2025-03-09T05:30", 3) == ["2025-03-09T06:00", "2025-03-09T07:00", "2025-03-09T08:00"]
    assert york("0 * * * *", "2025-11-02T04:30", 3) == ["2025-11-02T05:00", "2025-11-02T06:00", "2025-11-02T07:00"]


@settings(max_examples=60, deadline=None)
@given(
    cron=st.sampled_from(["30 2 * * *", "15,45 1 * * *", "*/20 * * * *", "0 */2 * * *", "30 18 * * 1-5", "0 3 1 * *"]),
    zone=st.sampled_from([YORK, "Europe/Berlin", "Australia/Lord_Howe", "Asia/Tokyo", "UTC"]),
    start=st.integers(0, 366 * 24 * 60),
    later=st.integers(1, 3 * 24 * 60),
)
def test_due_times_do_not_depend_on_when_they_are_asked(cron, zone, start, later):
    """Every instance finds the same runs, whenever it was started: without this a run would have two ids."""
    begin = at("2025-01-01T00:00") + timedelta(minutes=start)
    middle, end = begin + timedelta(minutes=later), begin + timedelta(days=5)

    def within(after: datetime) -> list[datetime]:
        return list(takewhile(lambda due: due <= end, cron_times(cron, zone, after)))

    assert [due for due in within(begin) if due > middle] == within(middle)


@pytest.mark.parametrize(
    "cron", ["", "0 0 * *", "0 0 * * * *", "61 0 * * *", "0 0 31 2 *", "never", "@daily", "0 0 * * x"]
)
def test_what_is_no_cron_expression_is_refused(cron):
    with pytest.raises(ValueError, match="cron must be five fields"):
        cron_times(cron, "UTC", at("2025-01-01T00:00"))


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd", "America"])
def test_what_is_no_zone_is_refused(zone):
    with pytest.raises(ValueError, match="timezone must be an IANA name"):
        cron_times("0 0 * * *", zone, at("2025-01-01T00:00"))


def after_close(minutes: int = 30, **changes) -> Timetable:
    return timetable(schedule(after_close_minutes=minutes, **changes))


def test_after_the_close_of_each_session_with_half_days_and_holidays():
    table = after_close(calendar="XNYS", series_id="market/A@1d")
    # Thanksgiving on 2025-11-27, half a day after it; the weekend.
    assert first(table, "2025-11-26T12:00") == ["2025-11-26T21:30", "2025-11-28T18:30", "2025-12-01T21:30"]
    # Summer time from 2025-03-09 on.
    assert first(table, "2025-03-07T12:00", 2) == ["2025-03-07T21:30", "2025-03-10T20:30"]
    # Over the new year.
    assert first(table, "2025-12-31T22:00", 1) == ["2026-01-02T21:30"]


def test_after_the_close_in_a_delay_that_reaches_past_the_next_session():
    table = after_close(3 * 24 * 60, calendar="XNYS", series_id="market/A@1d")
    assert first(table, "2025-01-06T12:00", 2) == ["2025-01-06T21:00", "2025-01-09T21:00"]


def test_business_days_close_at_midnight():
    assert first(after_close(calendar="24/5"), "2025-01-03T12:00", 2) == ["2025-01-04T00:30", "2025-01-07T00:30"]


@pytest.mark.parametrize(
    ("freq", "expected"),
    [
        ("15min", ["2025-01-03T12:15", "2025-01-03T12:30", "2025-01-03T12:45"]),
        ("4h", ["2025-01-03T16:00", "2025-01-03T20:00", "2025-01-04T00:00"]),
        ("1d", ["2025-01-04T00:00", "2025-01-05T00:00", "2025-01-06T00:00"]),
        ("1w", ["2025-01-06T00:00", "2025-01-13T00:00", "2025-01-20T00:00"]),
        ("1mo", ["2025-02-01T00:00", "2025-03-01T00:00", "2025-04-01T00:00"]),
        ("1q", ["2025-04-01T00:00", "2025-07-01T00:00", "2025-10-01T00:00"]),
        ("1y", ["2026-01-01T00:00", "2027-01-01T00:00", "2028-01-01T00:00"]),
    ],
)
def test_around_the_clock_each_observation_ends(freq, expected):
    assert first(after_close(0, freq=freq, series_id=f"crypto/B@{freq}"), "2025-01-03T12:00") == expected


def test_an_unknown_calendar_is_told_at_once():
    with pytest.raises(CalendarError, match="calendar must be"):
        after_close(calendar="NOWHERE")


def test_missed_runs_collapse_into_the_newest():
    table = after_close(calendar="XNYS", series_id="market/A@1d")
    written = at("2025-01-01T00:00")

    assert table.newest(written, at("2025-02-20T12:00")) == at("2025-02-19T21:30")
    assert table.newest(written, at("2025-01-02T21:29")) is None
    assert table.newest(at("2025-01-02T21:30"), at("2025-01-03T12:00")) is None


@pytest.mark.parametrize("cron", ["* * * * *", "0 * * * *", "0 6 * * 1", "0 0 1 * *", "0 0 29 2 *"])
def test_the_newest_missed_run_is_found_however_rare_it_is(cron):
    table = timetable(schedule(cron=cron))
    now = at("2025-01-31T12:00")
    expected = None
    for due in table.dues(at("2023-01-01T00:00")) if cron[0] != "*" else table.dues(at("2025-01-31T00:00")):
        if due > now:
            break
        expected = due

    assert table.newest(at("2023-01-01T00:00"), now) == expected


def test_jitter_is_the_same_for_the_same_run_and_spreads_series():
    due = at("2025-01-02T00:00")
    one = timetable(schedule(jitter_seconds=600.0))
    again = timetable(schedule("another", jitter_seconds=600.0))
    moments = {timetable(schedule(series_id=f"shop/{n}@1d", jitter_seconds=600.0)).moment(due) for n in range(50)}

    assert one.moment(due) == again.moment(due)
    assert len(moments) == 50
    assert all(due <= moment <= due + timedelta(seconds=600) for moment in moments)


def test_a_run_waits_for_its_jitter():
    table = timetable(schedule(jitter_seconds=3600.0))
    written, due = at("2025-01-01T12:00"), at("2025-01-02T00:00")
    moment = table.moment(due)
    assert moment > due

    assert table.newest(written, moment - timedelta(milliseconds=1)) is None
    assert table.newest(written, moment) == due
    assert table.next_moment(due) == moment


@settings(max_examples=50, deadline=None)
@given(jitter=st.floats(0, 3600), minute=st.integers(0, 59), second=st.integers(0, 59))
def test_the_next_moment_is_the_earliest_of_all(jitter, minute, second):
    table = timetable(schedule(cron="*/7 * * * *", jitter_seconds=jitter))
    now = datetime(2025, 1, 1, 5, minute, second, tzinfo=UTC)
    moments = [table.moment(due) for due in islice(table.dues(now - timedelta(hours=2)), 60)]

    assert table.next_moment(now) == min(moment for moment in moments if moment > now)


def test_a_model_is_trained_by_the_clock_of_the_schedule():
    rule = RetrainRule(model="shop/apples-1d", cron="0 3 * * 0")
    table = retrain_timetable(schedule(timezone="Europe/Berlin"), rule)

    assert first(table, "2025-03-28T00:00", 2) == ["2025-03-30T01:00", "2025-04-06T01:00"]


def test_when_a_series_becomes_late():
    # The close of the session after Thanksgiving's.
    assert late_from("XNYS", "1d", at("2025-11-26T00:00")) == at("2025-11-28T18:00")
    assert late_from("24/7", "1h", at("2025-11-26T10:00")) == at("2025-11-26T12:00")
    assert late_from("XNYS", "1h", at("2025-11-26T10:07")) is None
