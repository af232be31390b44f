"""The quality gate: a clean random walk passes in silence; the same walk with a planted fault is caught by its rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.grid import times_between
from forecasting.panel import Observations
from ingestor.errors import BadSourceData
from ingestor.gate import RULES
from ingestor.sources import SourceFrame, Wanted
from ingestor.timetable import calendar_times
from tests.unit.ingestor import planted
from tests.unit.ingestor.planted import (
    DAY,
    HOUR,
    NOW,
    OPENING,
    PRICES,
    Place,
    changed,
    flagged_rules,
    held_rules,
    judged,
    known_of,
    scaled,
    shifted,
    told_split,
    walk,
    with_columns,
)

DAILY, HOURLY, SESSIONS, BUSINESS_DAYS = Place(), Place("1h", "24/7"), Place("1h", "XNYS"), Place("1d", "XNYS")
ROWS = 300

Planted = tuple[SourceFrame, Observations | None]


@dataclass(frozen=True)
class Fault:
    """One fault: how it is planted at a row, the rule that must name it, and the rows that must be held."""

    rule: str
    plant: Callable[[SourceFrame, int], Planted]
    held: Callable[[int], slice] | None
    place: Place = DAILY

    def __str__(self) -> str:
        return f"{self.rule}-{self.plant.__name__.strip('_<>')}"


def unit_of_one_row(frame: SourceFrame, row: int) -> Planted:
    return scaled(frame, slice(row, row + 1), 100.0), None


def unit_of_the_last_rows(frame: SourceFrame, row: int) -> Planted:
    return scaled(frame, slice(-20, None), 0.01), None


def unit_of_every_second_block(frame: SourceFrame, row: int) -> Planted:
    return scaled(scaled(frame, slice(0, 100), 100.0), slice(200, None), 100.0), None


def unit_of_new_rows(frame: SourceFrame, row: int) -> Planted:
    return scaled(frame.rows(np.arange(row, ROWS)), slice(None), 100.0), known_of(frame.rows(np.arange(row)))


def unit_of_the_whole_answer(frame: SourceFrame, row: int) -> Planted:
    return scaled(frame, slice(None), 100.0), known_of(frame.rows(np.arange(row)))


def thousands(frame: SourceFrame, row: int) -> Planted:
    return scaled(frame, slice(row, row + 3), 1000.0), None


def close_in_another_unit(frame: SourceFrame, row: int) -> Planted:
    low = changed(frame, "low", row, frame.columns["low"][row] / 100)
    return changed(low, "close", row, frame.columns["close"][row] / 100), None


def split_not_applied_before(frame: SourceFrame, row: int) -> Planted:
    return told_split(scaled(frame, slice(0, row), 4.0), row, 4.0), None


def split_applied_twice(frame: SourceFrame, row: int) -> Planted:
    return told_split(scaled(frame, slice(0, row), 0.25), row, 4.0), None


def reverse_split_not_applied(frame: SourceFrame, row: int) -> Planted:
    return told_split(scaled(frame, slice(0, row), 0.1), row, 0.1), None


def split_of_new_rows_only(frame: SourceFrame, row: int) -> Planted:
    new = told_split(scaled(frame, slice(row, None), 0.25), row, 4.0).rows(np.arange(row, ROWS))
    return new, known_of(frame.rows(np.arange(row)))


def split_of_some_rows(frame: SourceFrame, row: int) -> Planted:
    return scaled(frame, slice(row, row + 5), 0.5), None


def odd_split_of_some_rows(frame: SourceFrame, row: int) -> Planted:
    return told_split(scaled(frame, slice(row, row + 5), 1e-4), 250, 1e-4), None


def times_of_the_first_bars_early(frame: SourceFrame, row: int) -> Planted:
    # Up to the end of a session: what is moved may not meet what is not.
    return shifted(frame, slice(0, 7 * (row // 7)), -5 * HOUR), None


def times_of_the_last_bars_late(frame: SourceFrame, row: int) -> Planted:
    return shifted(frame, slice(7 * (row // 7), None), 5 * HOUR), None


def dates_of_some_days_a_day_early(frame: SourceFrame, row: int) -> Planted:
    return shifted(frame, slice(0, row), -DAY), None


def values_of_other_hours(frame: SourceFrame, row: int) -> Planted:
    return shifted(frame, slice(None), 3 * HOUR), known_of(frame)


def close_above_high(frame: SourceFrame, row: int) -> Planted:
    return changed(frame, "close", row, frame.columns["high"][row] * 1.05), None


def open_below_low(frame: SourceFrame, row: int) -> Planted:
    return changed(frame, "open", row, frame.columns["low"][row] * 0.9), None


def bars_that_stand_still(frame: SourceFrame, row: int) -> Planted:
    columns = {name: values.copy() for name, values in frame.columns.items()}
    for values in columns.values():
        values[row : row + 4] = values[row]
    return replace(frame, columns=columns), None


def new_bars_that_are_the_last_known(frame: SourceFrame, row: int) -> Planted:
    still, _ = bars_that_stand_still(frame, row - 1)
    return still.rows(np.arange(row, ROWS)), known_of(frame.rows(np.arange(row)))


def other_columns(frame: SourceFrame, row: int) -> Planted:
    new = replace(frame, columns={"last": frame.columns["close"]})
    return new.rows(np.arange(row, ROWS)), known_of(frame.rows(np.arange(row)))


def at(count: int) -> Callable[[int], slice]:
    return lambda row: slice(row, row + count)


EVERY: Callable[[int], slice] = lambda _row: slice(None)  # noqa: E731  # one of the table's entries
FAULTS = [
    Fault("unit-error", unit_of_one_row, at(1)),
    Fault("unit-error", unit_of_the_last_rows, lambda _row: slice(-20, None)),
    Fault("unit-error", unit_of_every_second_block, EVERY),
    Fault("unit-error", unit_of_new_rows, EVERY),
    Fault("unit-error", unit_of_the_whole_answer, None),
    Fault("unit-error", thousands, at(3)),
    Fault("mixed-units", close_in_another_unit, at(1)),
    Fault("split", split_not_applied_before, EVERY),
    Fault("split", split_applied_twice, EVERY),
    Fault("split", reverse_split_not_applied, EVERY),
    Fault("split", split_of_new_rows_only, EVERY),
    Fault("split", split_of_some_rows, at(5)),
    Fault("split", odd_split_of_some_rows, at(5)),
    Fault("timezone-slip", times_of_the_first_bars_early, lambda row: slice(0, 7 * (row // 7)), SESSIONS),
    Fault("timezone-slip", times_of_the_last_bars_late, lambda row: slice(7 * (row // 7), None), SESSIONS),
    Fault("timezone-slip", dates_of_some_days_a_day_early, None, BUSINESS_DAYS),
    Fault("timezone-slip", values_of_other_hours, None, HOURLY),
    Fault("bar-consistency", close_above_high, at(1)),
    Fault("bar-consistency", open_below_low, at(1)),
    Fault("stale-repeat", bars_that_stand_still, lambda row: slice(row + 1, row + 4)),
    Fault("stale-repeat", new_bars_that_are_the_last_known, lambda _row: slice(0, 3)),
    Fault("schema", other_columns, EVERY),
]
seeds = st.integers(0, 2**32 - 1)
volatilities = st.sampled_from([0.001, 0.01, 0.03])


@settings(max_examples=40, deadline=None)
@given(seed=seeds, volatility=volatilities, place=st.sampled_from([DAILY, HOURLY, SESSIONS, BUSINESS_DAYS]))
def test_a_clean_walk_passes_in_silence(seed, volatility, place):
    clean = walk(seed, ROWS, place, volatility)
    half = clean.rows(np.arange(150))

    for known in (None, known_of(half, place)):
        verdict = judged(clean, known, place)
        assert (held_rules(verdict), verdict.flags) == ([], ())


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@settings(max_examples=12, deadline=None)
@given(seed=seeds, volatility=volatilities, row=st.integers(60, 240))
def test_a_planted_fault_is_held_by_its_rule(fault, seed, volatility, row):
    frame, known = fault.plant(walk(seed, ROWS, fault.place, volatility), row)

    verdict = judged(frame, known, fault.place)

    assert fault.rule in held_rules(verdict)
    if fault.held is not None:
        expected = np.zeros(len(frame), dtype=bool)
        expected[fault.held(row)] = True
        assert verdict.held.tolist() == expected.tolist()
    told = [broken for broken in verdict.broken if broken.rule == fault.rule]
    assert all(broken.rows > 0 and broken.reason and len(broken.times) <= 20 for broken in told)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_force_lets_in_what_would_be_held_and_tells_it(fault):
    frame, known = fault.plant(walk(3, ROWS, fault.place, 0.01), 120)

    verdict = judged(frame, known, fault.place, force=True)

    assert (verdict.held.any(), verdict.broken) == (False, ())
    assert fault.rule in flagged_rules(verdict)


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_what_the_log_has_is_not_judged_again(fault):
    """Red without `is_news`: what a person let in would be held at the next fetch."""
    frame, _ = fault.plant(walk(3, ROWS, fault.place, 0.01), 120)

    verdict = judged(frame, known_of(frame, fault.place), fault.place)

    assert (verdict.held.any(), verdict.flags) == (False, ())


# --- what can never be true -------------------------------------------------------------------------------------------


def int_times(frame: SourceFrame) -> SourceFrame:
    return replace(frame, time=frame.time.astype(np.float64))


def whole_numbers(frame: SourceFrame) -> SourceFrame:
    return with_columns(frame, volume=frame.columns["volume"].astype(np.int64))


def short_column(frame: SourceFrame) -> SourceFrame:
    return with_columns(frame, volume=frame.columns["volume"][:-1])


def column_with_a_line_feed(frame: SourceFrame) -> SourceFrame:
    return with_columns(frame, **{"a\nb": frame.columns["close"]})


def no_column(frame: SourceFrame) -> SourceFrame:
    return replace(frame, columns={})


def backwards(frame: SourceFrame) -> SourceFrame:
    return frame.rows(np.arange(len(frame))[::-1])


def a_time_twice(frame: SourceFrame) -> SourceFrame:
    return frame.rows(np.append(np.arange(len(frame)), len(frame) - 1))


def another_currency(frame: SourceFrame) -> SourceFrame:
    return replace(frame, unit="GBp")


def of_the_future(frame: SourceFrame) -> SourceFrame:
    return shifted(frame, slice(-1, None), 10 * 366 * DAY)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("rule", "plant"),
    [
        ("schema", int_times),
        ("schema", whole_numbers),
        ("schema", short_column),
        ("schema", column_with_a_line_feed),
        ("schema", no_column),
        ("order", backwards),
        ("duplicates", a_time_twice),
        ("currency-change", another_currency),
        ("future-date", of_the_future),
    ],
)
def test_what_can_never_be_true_is_refused_whoever_asks(rule, plant, force):
    frame = walk()

    with pytest.raises(BadSourceData, match=f"{rule}: "):
        judged(plant(frame), known_of(frame), force=force)


def test_declared_columns_may_stand_in_the_future():
    rows = 320
    nothing = np.full(rows, np.nan)
    frame = walk(rows=rows)
    past = {name: np.where(np.arange(rows) < ROWS, values, nothing) for name, values in frame.columns.items()}
    frame = replace(frame, columns={**past, "promo": np.ones(rows)})
    now = NOW.fromtimestamp(int(frame.time[ROWS - 1]) + DAY, NOW.tzinfo)

    assert judged(frame, now=now, known_future=("promo",)).flags == ()
    with pytest.raises(BadSourceData, match="future-date: rows later than now"):
        judged(frame, now=now)
    with pytest.raises(BadSourceData, match="future-date"):
        judged(changed(frame, "close", -1, 1.0), now=now, known_future=("promo",))


def test_a_bar_that_begins_while_clocks_differ_is_not_of_the_future():
    frame = walk()
    judged(frame, now=NOW.fromtimestamp(int(frame.time[-1]), NOW.tzinfo) - timedelta(seconds=30))


# --- what is let in and told ------------------------------------------------------------------------------------------


def crash(frame: SourceFrame) -> SourceFrame:
    fallen = scaled(frame, slice(150, None), 0.6)
    # It begins at the price before: the bar spans the fall.
    opened = changed(fallen, "open", 150, frame.columns["open"][150])
    return changed(opened, "high", 150, frame.columns["high"][150])


def one_repeat(frame: SourceFrame) -> SourceFrame:
    columns = {name: values.copy() for name, values in frame.columns.items()}
    for values in columns.values():
        values[100] = values[99]
    return replace(frame, columns=columns)


@pytest.mark.parametrize(
    ("rule", "plant"),
    [
        ("jumps", crash),
        ("split", lambda frame: scaled(frame, slice(150, None), 0.5)),
        ("gaps", lambda frame: frame.rows(np.delete(np.arange(ROWS), [100, 101]))),
        ("off-calendar", lambda frame: shifted(frame, slice(150, 151), 5 * HOUR)),
        ("missing-values", lambda frame: changed(frame, "open", 100, np.nan)),
        ("zero-volume", lambda frame: changed(frame, "volume", 100, 0.0)),
        ("bar-consistency", lambda frame: changed(frame, "close", 100, frame.columns["high"][100] * 1.001)),
        ("stale-repeat", one_repeat),
    ],
)
def test_what_may_be_true_is_let_in_with_a_flag(rule, plant):
    verdict = judged(plant(walk(volatility=0.01)))

    assert not verdict.held.any()
    assert rule in flagged_rules(verdict)


def test_a_gap_between_the_log_and_the_new_rows_is_told():
    frame = walk()
    verdict = judged(frame.rows(np.arange(203, ROWS)), known_of(frame.rows(np.arange(200))))

    assert "gaps: 101 rows were expected by the calendar, 3 are missing" in verdict.flags[0]


def test_a_split_that_restates_the_whole_series_passes():
    """Every row is changed by the same ratio, in the frame nothing jumps, and the splits column tells why."""
    old = walk()
    for ratio in (4.0, 100.0):
        new = told_split(scaled(old, slice(None), 1 / ratio), ROWS - 1, ratio)
        verdict = judged(new, known_of(old.rows(np.arange(ROWS - 1))))
        assert (held_rules(verdict), verdict.flags) == ([], ())


def test_prices_that_never_move_are_no_fault():
    frame = walk()
    still = with_columns(frame, **{name: np.full(ROWS, 14.55) for name in PRICES}, volume=np.zeros(ROWS))

    assert flagged_rules(judged(still)) == ["zero-volume"]


def test_columns_without_a_close_are_judged_by_their_form_alone():
    rng = np.random.default_rng(1)
    sales = replace(walk(), columns={"sales": rng.poisson(5, ROWS).astype(np.float64), "promo": np.zeros(ROWS)})

    verdict = judged(sales)
    assert (held_rules(verdict), verdict.flags) == ([], ())


@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize("is_known", [False, True])
def test_few_rows_are_judged_too(rows, is_known):
    frame = walk(rows=rows + 2)
    known = known_of(frame.rows(np.arange(2))) if is_known else None

    assert judged(frame.rows(np.arange(2, rows + 2)), known).flags == ()


def test_every_rule_has_a_test():
    source = {fault.rule for fault in FAULTS} | {
        "order", "duplicates", "currency-change", "future-date", "jumps", "gaps", "missing-values", "zero-volume",
    }  # fmt: skip
    assert source == set(RULES)


# --- times of the calendar that came with the rows --------------------------------------------------------------------

FREQS = [
    ("1d", "XNYS"),
    ("1h", "XNYS"),
    ("5d", "XNYS"),
    ("1w", "XNYS"),
    ("1d", "24/5"),
    ("1d", "24/7"),
    ("1mo", "XNYS"),
]


@pytest.mark.parametrize(("freq", "calendar"), FREQS)
def test_times_that_came_with_the_rows_say_what_the_calendar_says(freq, calendar):
    """Red when `calendar_times` begins after the last row of the log, or `grid_of` counts from another row."""
    times = times_between(calendar, freq, int(walk(place=Place("1h", "XNYS")).time[0]), OPENING + 400 * DAY)
    times = times if freq.endswith("h") else times_between(calendar, freq, planted.START, planted.START + 900 * DAY)
    place = Place(freq, calendar)
    frame = replace(walk(rows=len(times), volatility=0.001), time=times)
    known = known_of(frame.rows(np.arange(20)), place)
    asked = Wanted(
        symbol="X",
        freq=freq,
        calendar=calendar,
        now=NOW,
        known_since=NOW.fromtimestamp(int(times[0]), NOW.tzinfo).date(),
    )
    for rows in (np.arange(20, len(times)), np.delete(np.arange(22, len(times)), [5, 6])):
        new = frame.rows(rows)
        came = judged(new, known, place, calendar_times=calendar_times(new, asked))
        assert came.flags == judged(new, known, place).flags
        assert bool(came.flags) == (len(rows) != len(times) - 20)


def test_only_an_exchange_is_asked_for_its_times():
    frame = walk()
    for freq, calendar in (("1d", "24/7"), ("15min", "24/7"), ("1mo", "XNYS"), ("1y", "NOPE")):
        assert calendar_times(frame, Wanted(symbol="X", freq=freq, calendar=calendar, now=NOW)) is None
    with pytest.raises(BadSourceData, match="a code of exchange_calendars"):
        calendar_times(frame, Wanted(symbol="X", freq="1d", calendar="NOPE", now=NOW))


def test_where_the_sessions_are_not_known_nothing_is_missing():
    old = replace(walk(), time=walk().time - 120 * 365 * DAY)
    times = calendar_times(old, Wanted(symbol="X", freq="1d", calendar="XTKS", now=NOW))

    assert times is not None
    assert len(times) == 0
    assert judged(old, place=Place("1d", "XTKS"), calendar_times=times).flags == ()
