"""How a long range is cut: the newest first, all of it, and each part as large as one page."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestor.cryptocompare import FREQS, PAGE_BARS
from ingestor.providers import Policy
from ingestor.ranges import Range, planned
from ingestor.registry import policies
from ingestor.settings import IngestorSettings
from schemas.ingests import IngestEvent
from tests.factories import ingest_request

TODAY = date(2025, 6, 1)
DAY = timedelta(days=1)
PARTS = Policy(chunk_rows=240, first_day=lambda _freq, today: today - timedelta(days=100))


def request(freq: str = "1h", **changes):
    return ingest_request("ingest-1", series_id=f"market/X@{freq}", freq=freq, **changes)


def days_of(left: tuple[Range, ...]) -> list[date]:
    found = []
    for part in left:
        assert part.start is not None
        assert part.end is not None
        found += [part.start + number * DAY for number in range((part.end - part.start).days + 1)]
    return found


@given(
    days=st.integers(0, 900),
    length=st.integers(0, 900),
    rows=st.integers(1, 5000),
    freq=st.sampled_from(["15min", "1h", "1d", "1w"]),
)
def test_every_day_is_asked_for_once_the_newest_part_first(days: int, length: int, rows: int, freq: str) -> None:
    start = TODAY - timedelta(days=days)
    end = min(start + timedelta(days=length), TODAY)
    found = planned(request(freq, start=start, end=end), Policy(chunk_rows=rows), TODAY, None)

    assert sorted(days_of(found.left)) == [start + number * DAY for number in range((end - start).days + 1)]
    assert [part.start for part in found.left] == sorted((part.start for part in found.left), reverse=True)
    fractions = [found.fraction(left) for left in range(len(found.left), 0, -1)]
    assert fractions == sorted(fractions)


@pytest.mark.parametrize("freq", FREQS)
def test_a_part_of_cryptocompare_is_one_page(freq: str) -> None:
    """Red when `PAGE_BARS` is the length of a part of another freq: each would cost the budget two pages."""
    policy = policies(IngestorSettings())["cryptocompare"]
    found = planned(request(freq, start=date(2015, 1, 1)), policy, TODAY, None)

    step = FREQS[freq][1]
    assert max((part.end - part.start + DAY).total_seconds() / step for part in found.left) <= PAGE_BARS


def test_without_a_start_the_source_says_where_it_begins() -> None:
    assert min(days_of(planned(request(), PARTS, TODAY, None).left)) == TODAY - timedelta(days=100)
    assert planned(request(), Policy(), TODAY, None).left == (Range(None, None),)


def test_what_was_interrupted_goes_on_below_what_was_told_and_above_what_has_come_since() -> None:
    done = IngestEvent(
        ingest_id="ingest-1",
        series_id="market/X@1h",
        state="running",
        fraction=0.5,
        first_time=datetime(2025, 4, 1, 7, tzinfo=UTC),
        last_time=datetime(2025, 5, 20, tzinfo=UTC),
    )
    found = planned(request(start=date(2025, 3, 1)), PARTS, TODAY, None, done)

    assert found.left[0] == Range(date(2025, 5, 20), TODAY)
    assert found.left[1].end == date(2025, 3, 31)
    assert min(days_of(found.left)) == date(2025, 3, 1)


def test_where_nothing_is_left_the_end_is_still_to_be_told() -> None:
    day = datetime(2025, 5, 31, tzinfo=UTC)
    done = IngestEvent(ingest_id="i", series_id="market/X@1h", state="running", first_time=day, last_time=day)

    assert planned(request(start=day.date()), PARTS, TODAY, None, done).left == (Range(day.date(), day.date()),)


@pytest.mark.parametrize("cause", ["user", "schedule"])
def test_only_a_scheduled_run_of_a_source_that_restates_nothing_is_incremental(cause: str) -> None:
    known = (datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 5, 30, 12, tzinfo=UTC))
    policy = Policy(chunk_rows=240, first_day=PARTS.first_day, is_incremental=True)

    first = min(days_of(planned(request(cause=cause), policy, TODAY, known).left))
    assert first == (date(2025, 5, 28) if cause == "schedule" else TODAY - timedelta(days=100))
