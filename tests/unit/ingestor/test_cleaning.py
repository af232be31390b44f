"""What can never be true does not reach the log, and what is missing is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import inf, nan

import numpy as np
import pytest

from forecasting.calendars import interval_end
from ingestor.cleaning import clean
from ingestor.errors import BadSourceData
from tests.unit.ingestor.frames import DAY, START, frame, wanted

NOW = datetime(2025, 1, 2, 12, tzinfo=UTC)


def test_unsorted_rows_are_sorted():
    found = clean(frame([2, 0, 1], close=[3, 1, 2]), wanted())

    assert found.columns["close"].tolist() == [1, 2, 3]
    assert found.notes == ()


def test_empty_rows_are_dropped_and_told():
    found = clean(frame(close=[1, nan, 3], volume=[1, nan, 1]), wanted())

    assert found.columns["close"].tolist() == [1, 3]
    assert found.notes == ("1 row dropped, without any value: 2024-01-03",)


def test_equal_repeats_are_dropped_once():
    found = clean(frame([0, 1, 1, 2], close=[1, 2, 2, 3], volume=[1, nan, nan, 1]), wanted())

    assert found.columns["close"].tolist() == [1, 2, 3]
    assert found.notes == ("1 row dropped, given twice: 2024-01-03",)


def test_a_time_with_two_different_rows_is_refused():
    with pytest.raises(BadSourceData, match="2024-01-03 came again with different values"):
        clean(frame([0, 1, 1, 2], close=[1, 2, 2.5, 3]), wanted())


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        ({"close": nan}, "without a close"),
        ({"close": inf}, "with an infinite value"),
        ({"volume": -inf}, "with an infinite value"),
        ({"open": 0.0}, "with a price of 0 or less"),
        ({"low": -1.0}, "with a price of 0 or less"),
        ({"volume": -1.0}, "with a negative volume"),
        ({"high": 0.5}, "with high below low"),
    ],
)
def test_broken_rows_are_dropped_and_told(broken, why):
    good = {"open": 2.0, "high": 3.0, "low": 1.0, "close": 2.0, "volume": 10.0}
    rows = [good, good | broken, good]
    found = clean(frame(**{name: [row[name] for row in rows] for name in good}), wanted())

    assert [int(time - START) // DAY for time in found.time] == [0, 2]
    assert found.notes == (f"1 row dropped, {why}: 2024-01-03",)


def test_negative_values_that_are_no_prices_stay():
    found = clean(frame(close=[1, 1], adj_close=[-0.5, 0.5], sentiment=[-3, 2]), wanted())

    assert len(found) == 2


def test_a_source_with_many_broken_rows_is_refused():
    closes = [1.0] * 40 + [-1.0] * 6
    with pytest.raises(BadSourceData, match="6 of 46 were: 6 rows dropped, with a price of 0 or less"):
        clean(frame(close=closes), wanted())

    assert len(clean(frame(close=closes[:-1]), wanted())) == 40


@pytest.mark.parametrize("year", [1, 1699, 2200, 9999])
def test_times_beyond_what_calendars_hold_are_refused(year):
    time = int(datetime(year, 6, 1, tzinfo=UTC).timestamp())
    with pytest.raises(BadSourceData, match="times must lie between the years 1700 and 2200"):
        clean(replace(frame(close=[1.0]), time=np.array([time])), wanted())


def test_a_series_without_a_close_may_have_gaps():
    found = clean(frame(sales=[1, nan, 0], customers=[1, 2, nan]), wanted())

    assert len(found) == 3


def test_rows_closer_than_freq_are_refused():
    hourly = replace(frame(close=[1, 2, 3]), time=START + 3600 * np.arange(3))
    with pytest.raises(BadSourceData, match="at least 1d apart, found 2024-01-02, 2024-01-02T01:00Z"):
        clean(hourly, wanted())


def test_rows_much_further_apart_than_freq_are_refused():
    with pytest.raises(BadSourceData, match=r"the typical distance is 24\.0 times that"):
        clean(frame(close=[1, 2, 3]), wanted(freq="1h"))


def test_weekends_and_holidays_are_no_other_freq():
    assert len(clean(frame([0, 3, 4, 8, 9], close=[1, 2, 3, 4, 5]), wanted())) == 5


@pytest.mark.parametrize(
    ("now", "kept"),
    [
        # 3 January 2024 was a Wednesday; New York closes at 16:00, 21:00 UTC in winter.
        (datetime(2024, 1, 3, 20, 59, 59, tzinfo=UTC), 1),
        (datetime(2024, 1, 3, 21, 0, 0, tzinfo=UTC), 2),
        (datetime(2024, 1, 2, 12, 0, 0, tzinfo=UTC), 0),
    ],
)
def test_a_bar_is_withheld_until_its_session_has_closed(now, kept):
    found = clean(frame(close=[1, 2]), wanted(calendar="XNYS", now=now))

    assert len(found) == kept
    assert ("withheld until complete" in " ".join(found.notes)) == (kept < 2)


def test_an_early_close_is_known():
    """The day after Thanksgiving 2024 ends at 13:00 in New York."""
    assert interval_end("XNYS", "1d", datetime(2024, 11, 29, tzinfo=UTC)) == datetime(2024, 11, 29, 18, tzinfo=UTC)


@pytest.mark.parametrize(
    ("calendar", "freq", "time", "end"),
    [
        ("24/7", "1d", datetime(2025, 1, 2, tzinfo=UTC), datetime(2025, 1, 3, tzinfo=UTC)),
        ("24/7", "15min", datetime(2025, 1, 2, 1, tzinfo=UTC), datetime(2025, 1, 2, 1, 15, tzinfo=UTC)),
        ("24/7", "1mo", datetime(2025, 1, 31, tzinfo=UTC), datetime(2025, 2, 28, tzinfo=UTC)),
        ("XNYS", "1h", datetime(2025, 1, 2, 20, 30, tzinfo=UTC), datetime(2025, 1, 2, 21, tzinfo=UTC)),
        ("XNYS", "1d", datetime(2025, 1, 4, tzinfo=UTC), datetime(2025, 1, 5, tzinfo=UTC)),  # a Saturday
        ("XASX", "1d", datetime(2025, 1, 2, tzinfo=UTC), datetime(2025, 1, 2, 5, tzinfo=UTC)),
        ("XNYS", "1w", datetime(2025, 1, 6, tzinfo=UTC), datetime(2025, 1, 13, tzinfo=UTC)),
    ],
)
def test_intervals_end_with_their_session_or_their_length(calendar, freq, time, end):
    assert interval_end(calendar, freq, time) == end


def test_long_past_rows_need_no_calendar():
    """A calendar costs a second and 100 MB, so that is left to those who have a fresh bar."""
    assert len(clean(frame(close=[1, 2]), wanted(calendar="NOPE", now=NOW))) == 2
    with pytest.raises(BadSourceData, match="calendar must be"):
        clean(frame(close=[1, 2]), wanted(calendar="NOPE", now=datetime(2024, 1, 3, tzinfo=UTC) + timedelta(hours=1)))
