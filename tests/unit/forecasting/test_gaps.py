"""Missing rows and values by declared rules, and series that fit no grid."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import pytest

from forecasting.errors import InvalidObservations
from forecasting.gaps import Gaps, cutoffs_of, filled, with_missing_rows
from forecasting.grid import times_between
from forecasting.panel import Observations, complete_rows, window_of
from forecasting.regularity import require_regular
from tests.unit.forecasting.series import DAY, START, observations_of

FIRST = int(START.timestamp())  # a Monday
NAN = float("nan")


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def at(time: np.ndarray, *, freq: str = "1d", calendar: str = "24/7", **columns: list[float]) -> Observations:
    """A series at given times; the close counts the rows where nothing is given."""
    made = {name: np.array(values, dtype=float) for name, values in columns.items()}
    given = made or {"close": np.arange(len(time), dtype=float)}
    return Observations(
        series_id=f"shop/berlin@{freq}",
        freq=freq,
        calendar=calendar,
        unit="EUR",
        source="mock",
        time=np.asarray(time, dtype=np.int64),
        columns=given,
        newest_offset=3,
    )


def on_days(*days: int, **columns: list[float]) -> Observations:
    return at(FIRST + DAY * np.array(days), **columns)


def days_of(observations: Observations) -> list[int]:
    return ((observations.time - FIRST) // DAY).tolist()


@pytest.mark.parametrize(
    ("rule", "days", "close"),
    [
        ("skip", [0, 1, 4, 5, 6], [NAN, 2, 8, NAN, 4]),
        ("forward-fill", [0, 1, 2, 3, 4, 5, 6], [NAN, 2, 2, 2, 8, 8, 4]),
        ("interpolate", [0, 1, 2, 3, 4, 5, 6], [NAN, 2, 4, 6, 8, 6, 4]),
        ("zero", [0, 1, 2, 3, 4, 5, 6], [0, 2, 0, 0, 8, 0, 4]),
    ],
)
def test_rule_decides_about_missing_rows_and_values(rule: str, days: list[int], close: list[float]) -> None:
    given = on_days(0, 1, 4, 5, 6, close=[NAN, 2, 8, NAN, 4])

    found = filled(given, ("close",), Gaps(rule, "close"))

    assert days_of(found) == days
    np.testing.assert_array_equal(found.columns["close"], close)


def test_refuse_says_what_is_missing() -> None:
    given = on_days(0, 1, 4, 5, close=[1, 2, 3, 4], volume=[1, NAN, 3, 4])
    with pytest.raises(InvalidObservations) as caught:
        filled(given, ("close", "volume"), Gaps("refuse", "close"))
    assert caught.value.code == "missing-observations"
    assert caught.value.found == ("2 missing, the first 2020-01-08; 1 values missing, the first volume of 2020-01-07")
    whole = on_days(0, 1, 2, close=[1, 2, 3])
    assert days_of(filled(whole, ("close",), Gaps("refuse", "close"))) == [0, 1, 2]


@pytest.mark.parametrize("rule", ["forward-fill", "interpolate", "zero", "refuse"])
def test_rows_after_the_last_target_are_the_future_and_not_filled(rule: str) -> None:
    given = on_days(0, 1, 2, 3, close=[1, 2, NAN, NAN], promotion=[0, 1, 1, 0])

    found = filled(given, ("close", "promotion"), Gaps(rule, "close"))

    assert days_of(found) == [0, 1]


def test_a_static_column_keeps_its_value_whatever_the_rule() -> None:
    given = on_days(0, 1, 3, close=[1, 2, 3], size=[7, 7, 7])

    found = filled(given, ("close", "size"), Gaps("zero", "close", ("size",)))

    assert found.columns["size"].tolist() == [7, 7, 7, 7]
    assert found.columns["close"].tolist() == [1, 2, 0, 3]


@pytest.mark.parametrize("rule", ["skip", "forward-fill", "interpolate", "zero"])
def test_no_fill_knows_what_follows_its_cutoff(rule: str) -> None:
    """Whatever follows a cutoff, the rows until then are the same.

    Red where `cutoffs_of` lets a cutoff stand on an interpolated row.
    """
    rng = np.random.default_rng(3)
    days = np.flatnonzero(rng.random(120) > 0.3)
    columns = {name: np.where(rng.random(len(days)) > 0.2, rng.normal(size=len(days)), NAN) for name in ("close", "x")}
    given, gaps = on_days(*days, **columns), Gaps(rule, "close")
    whole = filled(given, ("close", "x"), gaps)
    allowed = cutoffs_of(given, ("close", "x"), gaps, whole.time)

    assert allowed.sum() > 20
    for row in np.flatnonzero(allowed):
        later = given.time > whole.time[row]
        wild = {
            name: np.where(later, rng.normal(scale=1e6, size=len(days)), column) for name, column in columns.items()
        }
        found = filled(on_days(*days, **wild), ("close", "x"), gaps)
        assert found.time[: row + 1].tolist() == whole.time[: row + 1].tolist()
        for name in ("close", "x"):
            np.testing.assert_array_equal(found.columns[name][: row + 1], whole.columns[name][: row + 1])


@pytest.mark.parametrize("rule", ["skip", "forward-fill", "interpolate", "zero"])
def test_a_window_of_a_forecast_is_that_of_the_whole_history(rule: str) -> None:
    """Serving fills a short tail, training everything: where a cutoff is the newest row, both see the same."""
    rng = np.random.default_rng(5)
    days = np.flatnonzero(rng.random(200) > 0.2)
    columns = {name: np.where(rng.random(len(days)) > 0.1, rng.normal(size=len(days)), NAN) for name in ("close", "x")}
    given, gaps = on_days(*days, **columns), Gaps(rule, "close")
    whole = complete_rows(filled(given, ("close", "x"), gaps), ("close", "x"))

    for end in range(60, len(days)):
        known = given.slice(0, end)
        window = window_of(known, ("close", "x"), 12, gaps=gaps)
        last = int(np.searchsorted(whole.time, int(window.cutoff.timestamp())))
        np.testing.assert_array_equal(window.time, whole.time[last - 11 : last + 1])
        np.testing.assert_array_equal(window.values, whole.matrix(("close", "x"))[last - 11 : last + 1])


def test_a_window_with_an_interpolated_end_is_not_a_window() -> None:
    # x of the second row could be interpolated from the third, after that cutoff.
    given = on_days(0, 1, 2, close=[1, 2, 3], x=[1, NAN, 3], y=[1, 1, NAN])

    window = window_of(given, ("close", "x", "y"), 1, gaps=Gaps("interpolate", "close"))

    assert window.cutoff == START


def test_a_missing_row_of_the_known_future_is_filled_too() -> None:
    given = on_days(0, 1, 3, 4, close=[1, 2, NAN, NAN], promotion=[0, 1, 0, 1])

    window = window_of(given, ("close", "promotion"), 2, ("promotion",), Gaps("forward-fill", "close"))

    assert window.future is not None
    assert ((window.future.time - FIRST) // DAY).tolist() == [2, 3, 4]
    assert window.future.values[:, 0].tolist() == [1, 0, 1]


def test_a_cutoff_on_an_interpolated_row_would_know_the_future() -> None:
    # A planted leak: the check above must be able to fail.
    given = on_days(0, 1, 2, close=[1, 2, 3], x=[1, NAN, 3])
    whole = filled(given, ("close", "x"), Gaps("interpolate", "close"))
    then = filled(given.slice(0, 2), ("close", "x"), Gaps("interpolate", "close"))

    assert whole.columns["x"][1] == 2
    assert days_of(then) == [0]
    assert cutoffs_of(given, ("close", "x"), Gaps("interpolate", "close"), whole.time).tolist() == [
        True,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("calendar", "freq", "start", "end"),
    [
        ("24/7", "1h", "2024-03-01", "2024-03-20"),
        ("24/5", "1d", "2024-01-01", "2024-12-31"),
        ("XNYS", "1d", "2024-01-02", "2024-12-31"),
        ("XNYS", "1h", "2024-11-01T13:30", "2024-12-31"),
        ("BVMF", "1d", "2024-01-02", "2024-12-30"),
        ("XSHG", "1w", "2024-01-02", "2024-12-31"),
        ("24/7", "1mo", "2000-01-31", "2024-12-31"),
        ("24/7", "1q", "2000-01-01", "2024-12-31"),
    ],
)
def test_missing_rows_come_back_where_they_were(calendar: str, freq: str, start: str, end: str) -> None:
    whole = times_between(calendar, freq, seconds(start), seconds(end))
    kept = np.random.default_rng(1).random(len(whole)) > 0.3
    kept[[0, -1]] = True

    grid, rows = with_missing_rows(calendar, freq, whole[kept], "x/y@1d")

    assert grid.tolist() == whole.tolist()
    assert rows.tolist() == np.flatnonzero(kept).tolist()


def test_local_days_of_summer_time_are_no_gaps() -> None:
    # New York midnights: 5:00 UTC in winter, 4:00 in summer.
    local = np.array([FIRST + DAY * day + (5 if day < 60 else 4) * 3600 for day in range(120)])
    local[100:] += 3600
    given = at(local)

    require_regular(given)
    assert with_missing_rows("24/7", "1d", local, "x")[0].tolist() == local.tolist()


def test_a_stray_time_does_not_become_millions_of_rows() -> None:
    given = at(np.array([seconds("1700-01-01"), *(FIRST + 60 * np.arange(100))]), freq="1min")
    with pytest.raises(InvalidObservations) as caught:
        filled(given, ("close",), Gaps("forward-fill", "close"))
    assert caught.value.code == "too-many-gaps"
    assert "1700-01-01" in caught.value.found


def test_a_series_on_its_grid_is_regular() -> None:
    for calendar, freq, start in (
        ("24/7", "5min", "2024-01-01"),
        ("24/7", "1d", "2024-01-01T05:00"),
        ("24/5", "1d", "2024-01-01"),
        ("XNYS", "30min", "2024-01-02T14:30"),
        ("XLON", "1d", "2024-01-02"),
        ("24/7", "1w", "2024-01-03"),
        ("24/7", "1mo", "2020-01-31"),
        ("24/7", "1y", "1990-06-01"),
    ):
        times = times_between(calendar, freq, seconds(start), seconds("2025-01-01"))[:400]
        require_regular(at(times, freq=freq, calendar=calendar))
        require_regular(at(times[np.arange(len(times)) % 4 != 1], freq=freq, calendar=calendar))


def test_last_business_days_are_months() -> None:
    ends = np.array([seconds(day) for day in ("2024-01-31", "2024-02-29", "2024-03-29", "2024-04-30", "2024-05-31")])
    require_regular(at(ends, freq="1mo"))


@pytest.mark.parametrize(
    ("freq", "calendar", "spacing", "told"),
    [
        ("1d", "24/7", 3600, "1h"),
        ("1h", "24/7", DAY, "1d"),
        ("1d", "24/7", 7 * DAY, "7d"),
        ("1mo", "24/7", DAY, "1d"),
        ("1w", "24/7", DAY, "1d"),
        ("1d", "XNYS", 3600, "1h"),
        ("15min", "24/7", 60, "1min"),
    ],
)
def test_wrong_freq_is_refused_with_the_spacing(freq: str, calendar: str, spacing: int, told: str) -> None:
    for absent_is_zero in (False, True):
        with pytest.raises(InvalidObservations, match=f"which is {told} for most, was {freq}") as caught:
            require_regular(
                at(FIRST + spacing * np.arange(100), freq=freq, calendar=calendar), absent_is_zero=absent_is_zero
            )
        assert caught.value.code == "wrong-freq"


def test_sales_on_few_days_are_regular_where_absent_is_zero() -> None:
    rng = np.random.default_rng(0)
    few = at(FIRST + DAY * np.flatnonzero(rng.random(400) > 0.7))

    require_regular(few, absent_is_zero=True)
    with pytest.raises(InvalidObservations) as caught:
        require_regular(few)
    assert caught.value.code == "wrong-freq"


@pytest.mark.parametrize(
    ("times", "freq", "calendar", "found"),
    [
        # Random minutes: no hour fits most of them.
        (np.cumsum(np.random.default_rng(0).integers(1800, 5400, 200) // 60 * 60), "1h", "24/7", "2020-01-06T"),
        # Days of crypto under an exchange: weekends.
        (DAY * np.arange(200), "1d", "XNYS", "2020-01-11"),
        # Bars on the full hour, where the exchange opens at half past.
        (3600 * np.arange(14, 200), "1h", "XNYS", "2020-01-06T14:00:00Z"),
    ],
)
def test_irregular_series_is_refused_with_the_first_row_that_does_not_fit(
    times: np.ndarray, freq: str, calendar: str, found: str
) -> None:
    with pytest.raises(InvalidObservations) as caught:
        require_regular(at(FIRST + times, freq=freq, calendar=calendar))
    assert caught.value.code == "irregular-series"
    assert f"of {len(times)} rows; the first that is not is {found}" in caught.value.found


def test_a_few_rows_may_stand_off_the_grid() -> None:
    bars = times_between("XNYS", "1d", seconds("2024-01-02"), seconds("2024-12-31"))
    special = np.sort(np.append(bars, seconds("2024-07-06")))  # a Saturday

    require_regular(at(special, calendar="XNYS"))


@pytest.mark.parametrize(("times", "code"), [([0, 2, 1, 3], "unsorted-times"), ([0, 1, 1, 2], "duplicated-times")])
def test_times_that_do_not_ascend_are_refused(times: list[int], code: str) -> None:
    with pytest.raises(InvalidObservations) as caught:
        require_regular(on_days(*times))
    assert (caught.value.code, caught.value.field) == (code, "observations.shop/berlin@1d.time")
    assert "in row 2 after" in caught.value.found


def test_a_calendar_that_does_not_know_the_past_refuses_nothing() -> None:
    # Tokyo's holidays are known from 1997 on.
    require_regular(at(seconds("1990-01-04") + DAY * np.arange(50), calendar="XTKS"))


def test_real_markets_keep_their_calendars(shared_data) -> None:
    from tests.unit.forecasting.series import real_observations

    for path, calendar in (("stocks/AAPL.csv.gz", "XNYS"), ("stocks/PETR4.SA_2018_2025.csv.gz", "BVMF")):
        given = real_observations(shared_data, path, calendar=calendar, columns=("Close",))
        require_regular(given)
        grid = with_missing_rows(calendar, "1d", given.time, given.series_id)[0]
        assert len(grid) - len(given) <= 1
        assert all(a < b for a, b in pairwise(grid.tolist()))


def test_several_series_of_the_factory_are_regular() -> None:
    require_regular(observations_of({"close": np.ones(50)}))
