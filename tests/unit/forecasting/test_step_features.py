"""Features of the steps: bits of a history and of one window, an obvious pandas version, nothing from the future."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import NamedTuple

import holidays
import msgspec
import numpy as np
import pandas as pd
import pytest

from forecasting.artefact import (
    Artefact,
    IntervalRecipe,
    Recipe,
    StepFeatureRecipe,
    VolatilityRecipe,
    recipe_from_json,
    recipe_to_json,
)
from forecasting.errors import InvalidTraining
from forecasting.features_calendar import TERMS
from forecasting.step_features import STEP_FEATURES, StepContext, StepFeature, contexts_of, step_feature_of

ROWS, HORIZON, SEASON = 60, 17, 7
_DAY = 86_400
_START = int(dt.datetime(2023, 11, 2, tzinfo=dt.UTC).timestamp())


def recipe(**changes: object) -> Recipe:
    fields: dict[str, object] = {
        "algorithm": "linear",
        "target": "sales",
        "columns": ("sales", "promo", "discount", "customers", "size"),
        "freq": "1d",
        "calendar": "24/7",
        "season_length": SEASON,
        "window_size": ROWS,
        "horizon": HORIZON,
        "transform": "difference",
        "volatility": VolatilityRecipe(decay=0.94, shrinkage=0.1, long_run=1.0),
        "drift": 0.0,
        "intervals": IntervalRecipe(is_symmetric=True, scores=((0.0,),) * HORIZON),
        "future_columns": ("promo", "discount"),
        "static_columns": ("size",),
    }
    return Recipe(**(fields | changes))  # type: ignore[arg-type]


def history(rows: int = 300) -> StepContext:
    """Daily sales over two New Years with days missing, as of a shop that is closed on some."""
    rng = np.random.default_rng(7)
    days = np.flatnonzero(rng.random(2 * rows) > 0.2)[:rows]
    columns = {
        "sales": 50 + np.cumsum(rng.normal(size=rows)),
        "promo": rng.integers(0, 2, rows).astype(np.float64),
        "discount": rng.choice([0.0, 0.05, 0.125], rows),
        "customers": rng.normal(size=rows),
        "size": np.full(rows, 3.5),
    }
    known = {name: columns[name] for name in ("promo", "discount")}
    return StepContext(columns, _START + _DAY * days, columns["sales"], None, known, HORIZON, SEASON)


def context_at(whole: StepContext, cutoff: int, rows: int = ROWS) -> StepContext:
    """The context that serving makes of one window."""
    window, steps = slice(cutoff - rows + 1, cutoff + 1), slice(cutoff + 1, cutoff + 1 + HORIZON)
    assert whole.time is not None
    return whole._replace(
        columns={name: values[window].copy() for name, values in whole.columns.items()},
        time=whole.time[window].copy(),
        working=whole.working[window].copy(),
        future_time=whole.time[steps].copy(),
        future={name: values[steps].copy() for name, values in whole.future.items()},
    )


class Frames(NamedTuple):
    """A context as pandas sees it."""

    window: pd.DataFrame
    steps: pd.DataFrame


def frames_of(context: StepContext) -> Frames:
    window = pd.DataFrame(dict(context.columns), index=pd.to_datetime(context.time, unit="s"))
    return Frames(window, pd.DataFrame(dict(context.future), index=pd.to_datetime(context.future_time, unit="s")))


Slow = Callable[[Frames], object]


def passed_year(frames: Frames) -> np.ndarray:
    index = frames.steps.index
    return (index.dayofyear - 1) / np.where(index.is_leap_year, 366, 365)


def days_to(frames: Frames, step: int) -> list[int]:
    known = holidays.country_holidays("DE", subdiv="BW", years=range(2022, 2028))
    return [
        next(days for days in range(15) if days == 14 or time.date() + dt.timedelta(days=step * days) in known)
        for time in frames.steps.index
    ]


def seasonal(frames: Frames, season: int, back: int) -> list[float]:
    sales = list(frames.window.sales)
    found = []
    for step in range(1, HORIZON + 1):
        same_phase = [sales[row] for row in range(ROWS) if (ROWS - 1 + step - row) % season == 0]
        found.append(same_phase[-back])
    return found


def matched(frames: Frames, columns: list[str], newest: int = 0) -> list[float]:
    def keys(frame: pd.DataFrame) -> list[tuple[float, ...]]:
        terms = {"day-of-week": frame.index.dayofweek, "month": frame.index.month, "day-of-month": frame.index.day}
        return list(zip(*(terms.get(name, frame.get(name)) for name in columns), strict=True))

    rows, found = keys(frames.window), []
    for key in keys(frames.steps):
        agreeing = [value for value, row in zip(frames.window.sales, rows, strict=True) if row == key]
        found.append(np.mean(agreeing[-newest:]) if agreeing else frames.window.sales.mean())
    return found


def part(name: str, **parameters: object) -> StepFeatureRecipe:
    return StepFeatureRecipe(name=name, **parameters)  # type: ignore[arg-type]


CASES: list[tuple[StepFeatureRecipe, Slow]] = [
    (part("step"), lambda _: np.arange(1, HORIZON + 1)),
    (part("minute-of-hour"), lambda frames: frames.steps.index.minute),
    (part("hour-of-day"), lambda frames: frames.steps.index.hour),
    (part("day-of-week"), lambda frames: frames.steps.index.dayofweek),
    (part("is-weekend"), lambda frames: frames.steps.index.dayofweek > 4),
    (part("hour-of-week"), lambda frames: frames.steps.index.dayofweek * 24 + frames.steps.index.hour),
    (part("day-of-month"), lambda frames: frames.steps.index.day),
    (part("days-to-month-end"), lambda frames: frames.steps.index.days_in_month - frames.steps.index.day),
    (part("is-month-start"), lambda frames: frames.steps.index.is_month_start),
    (part("is-month-end"), lambda frames: frames.steps.index.is_month_end),
    (part("week-of-year"), lambda frames: frames.steps.index.isocalendar().week),
    (part("month"), lambda frames: frames.steps.index.month),
    (part("quarter"), lambda frames: frames.steps.index.quarter),
    (part("day-of-year"), lambda frames: frames.steps.index.dayofyear),
    (part("fourier-sin", option="year", order=2), lambda frames: np.sin(4 * np.pi * passed_year(frames))),
    (part("fourier-cos", option="year"), lambda frames: np.cos(2 * np.pi * passed_year(frames))),
    (
        part("fourier-sin", option="week", order=3),
        lambda frames: np.sin(6 * np.pi * frames.steps.index.dayofweek / 7),
    ),
    (
        part("fourier-sin", option="month"),
        lambda frames: np.sin(2 * np.pi * (frames.steps.index.day - 1) / frames.steps.index.days_in_month),
    ),
    (
        part("fourier-cos", option="days", period=29.53),
        lambda frames: np.cos(2 * np.pi * (frames.steps.index - pd.Timestamp("1970-01-01")).days / 29.53),
    ),
    (
        part("fourier-cos", period=SEASON, order=2),
        lambda _: np.cos(4 * np.pi * np.arange(1, HORIZON + 1) / SEASON),
    ),
    (part("holiday", option="DE/BW"), lambda frames: np.array(days_to(frames, 1)) == 0),
    (part("days-to-holiday", option="DE/BW"), lambda frames: days_to(frames, 1)),
    (part("days-since-holiday", option="DE/BW"), lambda frames: days_to(frames, -1)),
    (
        part("gap"),
        lambda frames: np.diff([frames.window.index[-1], *frames.steps.index]) / np.timedelta64(1, "D"),
    ),
    (part("known", columns=("promo",)), lambda frames: frames.steps.promo),
    (part("static", columns=("size",)), lambda _: np.full(HORIZON, 3.5)),
    (part("seasonal-lag"), lambda frames: seasonal(frames, SEASON, 1)),
    (part("seasonal-lag", period=12, order=3), lambda frames: seasonal(frames, 12, 3)),
    (part("seasonal-lag", period=1, order=5), lambda frames: np.full(HORIZON, frames.window.sales.iloc[-5])),
    (
        part("seasonal-mean", order=3),
        lambda frames: np.mean([seasonal(frames, SEASON, back) for back in (1, 2, 3)], axis=0),
    ),
    (part("window-mean"), lambda frames: np.full(HORIZON, frames.window.sales.mean())),
    (part("window-mean", order=9), lambda frames: np.full(HORIZON, frames.window.sales.iloc[-9:].mean())),
    (part("window-deviation", order=9), lambda frames: np.full(HORIZON, frames.window.sales.iloc[-9:].std(ddof=0))),
    (part("window-min", order=9), lambda frames: np.full(HORIZON, frames.window.sales.iloc[-9:].min())),
    (part("window-max"), lambda frames: np.full(HORIZON, frames.window.sales.max())),
    (part("matched-mean", columns=("day-of-week",)), lambda frames: matched(frames, ["day-of-week"])),
    (
        part("matched-mean", columns=("day-of-week", "promo"), order=2),
        lambda frames: matched(frames, ["day-of-week", "promo"], 2),
    ),
    (
        # More combinations than are counted one by one, and a column that holds no whole numbers.
        part("matched-mean", columns=("discount", "month", "day-of-month", "day-of-week")),
        lambda frames: matched(frames, ["discount", "month", "day-of-month", "day-of-week"]),
    ),
]
NAMES = [f"{number}-{case.name}" for number, (case, _) in enumerate(CASES)]


def test_every_step_feature_is_tested() -> None:
    assert {case.name for case, _ in CASES} == set(STEP_FEATURES)


@pytest.mark.parametrize("case", [case for case, _ in CASES], ids=NAMES)
def test_a_whole_history_has_the_bits_of_single_windows(case: StepFeatureRecipe) -> None:
    feature, whole = step_feature_of(case, recipe()), history()
    cutoffs = np.arange(ROWS - 1, 300 - HORIZON)

    together = feature.compute(contexts_of(whole, cutoffs, ROWS))

    assert together.shape == (len(cutoffs), HORIZON)
    for values, cutoff in zip(together, cutoffs, strict=True):
        np.testing.assert_array_equal(values, feature.compute(context_at(whole, cutoff)))


@pytest.mark.parametrize(("case", "slow"), CASES, ids=NAMES)
def test_each_equals_the_obvious_pandas_version(case: StepFeatureRecipe, slow: Slow) -> None:
    feature, whole = step_feature_of(case, recipe()), history()

    for cutoff in range(ROWS - 1, 300 - HORIZON, 13):
        context = context_at(whole, cutoff)
        expected = np.asarray(slow(frames_of(context)), dtype=np.float64)
        np.testing.assert_allclose(feature.compute(context), expected, rtol=1e-9, atol=1e-9)


def test_hours_and_minutes_are_those_of_the_time() -> None:
    time = _START + 15 * 60 * np.arange(3_000)
    index = pd.to_datetime(time, unit="s")

    np.testing.assert_array_equal(TERMS["minute-of-hour"].of(time), index.minute)
    np.testing.assert_array_equal(TERMS["hour-of-day"].of(time), index.hour)
    np.testing.assert_array_equal(TERMS["hour-of-week"].of(time), index.dayofweek * 24 + index.hour)


@pytest.mark.parametrize("name", TERMS)
def test_calendar_terms_stay_in_their_range_over_a_century_before_1970_too(name: str) -> None:
    values = TERMS[name].of(_DAY * np.arange(-18_000, 18_000) + 3_600 * 5)

    assert values.min() >= TERMS[name].least
    assert values.max() <= TERMS[name].least + TERMS[name].count - 1


@pytest.mark.parametrize("case", [case for case, _ in CASES], ids=NAMES)
def test_no_step_feature_sees_more_of_the_future_than_what_is_declared_known(case: StepFeatureRecipe) -> None:
    # Red when `contexts_of` cuts its windows a row late.
    feature, whole, cutoff = step_feature_of(case, recipe()), history(), 200
    later = np.arange(300) > cutoff
    wild = {
        name: values if name in whole.future else np.where(later, 1e9, values) for name, values in whole.columns.items()
    }
    cutoffs = np.array([120, cutoff])

    np.testing.assert_array_equal(
        feature.compute(contexts_of(whole, cutoffs, ROWS)),
        feature.compute(contexts_of(whole._replace(columns=wild, working=wild["sales"]), cutoffs, ROWS)),
    )


def test_what_is_declared_known_is_seen() -> None:
    # The check above must be able to fail: here the future does change.
    whole, cutoffs = history(), np.array([200])
    feature = step_feature_of(part("known", columns=("promo",)), recipe())
    other = whole._replace(future={"promo": 1 - whole.future["promo"]})

    before, after = (feature.compute(contexts_of(one, cutoffs, ROWS)) for one in (whole, other))
    assert (before != after).all()


@pytest.mark.parametrize(
    ("case", "field", "expected"),
    [
        # Red when `_one_column` allows any column of the recipe.
        (part("known", columns=("customers",)), "step_features.known.columns", "known in the future: promo, discount"),
        (part("known", columns=("sales",)), "step_features.known.columns", "known in the future"),
        (part("known", columns=("promo", "discount")), "step_features.known.columns", "one column"),
        (part("static", columns=("promo",)), "step_features.static.columns", "declared static: size"),
        # Red when `_matched_mean` takes any column: the value at the step is not known.
        (part("matched-mean", columns=("customers",)), "step_features.matched-mean.columns", "known in the future"),
        (part("matched-mean"), "step_features.matched-mean.columns", "at least one"),
        (part("tomorrow"), "step_features", "seasonal-lag"),
        (part("holiday", option="ATLANTIS"), "step_features.holiday.option", "DE/BW"),
        (part("holiday", option="DE/ATLANTIS"), "step_features.holiday.option", "DE/BW"),
        (part("holiday"), "step_features.holiday.option", "US"),
        # Red without `_COUNTRY`: the package would call this.
        (part("holiday", option="HolidayBase"), "step_features.holiday.option", "US"),
        (part("fourier-sin", option="week", period=7), "step_features.fourier-sin.period", "left out"),
        (part("fourier-sin", option="moon"), "step_features.fourier-sin.option", "quarter"),
        (part("fourier-cos"), "step_features.fourier-cos.period", "above 0"),
        (part("seasonal-lag", period=2.5), "step_features.seasonal-lag.period", "whole"),
        (part("seasonal-lag", order=9), "window_size", "at least 63"),
        (part("window-mean", order=61), "window_size", "at least 61"),
        (part("seasonal-mean"), "step_features.seasonal-mean.order", "at least 1"),
        (part("month", period=12), "step_features.month.period", "left out"),
        (part("step", columns=("promo",)), "step_features.step.columns", "left out"),
    ],
)
def test_misuse_is_refused_with_the_field_and_the_rule(case: StepFeatureRecipe, field: str, expected: str) -> None:
    with pytest.raises(InvalidTraining) as caught:
        step_feature_of(case, recipe())

    assert caught.value.code in ("unknown-feature", "invalid-feature")
    assert caught.value.field == field
    assert expected in caught.value.expected


def without_times(context: StepContext) -> StepContext:
    return context._replace(time=None, future_time=None)


def fails_without_times(feature: StepFeature) -> bool:
    try:
        feature.compute(without_times(context_at(history(), 100)))
    except ValueError:
        return True
    return False


@pytest.mark.parametrize("case", [case for case, _ in CASES], ids=NAMES)
def test_exactly_those_that_say_so_need_times(case: StepFeatureRecipe) -> None:
    feature = step_feature_of(case, recipe())

    assert fails_without_times(feature) == feature.needs_time


def test_a_constant_window_has_its_very_value_as_every_mean() -> None:
    # Red when `mean_of` sums values in place of differences.
    flat = history()._replace(working=np.full(300, 0.1))
    for case in (part("window-mean"), part("seasonal-mean", order=3), part("matched-mean", columns=("promo",))):
        values = step_feature_of(case, recipe()).compute(context_at(flat, 100))
        np.testing.assert_array_equal(values, np.full(HORIZON, 0.1))


def test_a_column_that_is_called_like_a_calendar_term_is_the_column() -> None:
    named = recipe(columns=("sales", "month"), future_columns=("month",), static_columns=())
    whole = history()
    column = {"month": whole.columns["promo"]}
    context = context_at(whole._replace(columns={**whole.columns, **column}, future=column), 100)

    by_column = step_feature_of(part("matched-mean", columns=("month",)), named)
    by_promo = step_feature_of(part("matched-mean", columns=("promo",)), recipe())
    np.testing.assert_array_equal(by_column.compute(context), by_promo.compute(context_at(whole, 100)))


def test_a_whole_period_keeps_its_digest_through_json() -> None:
    # Red when `StepFeatureRecipe` keeps the 7 that comes back as 7.0.
    whole = recipe(step_features=(part("seasonal-lag", period=7),))

    travelled = recipe_from_json(msgspec.json.decode(msgspec.json.encode(recipe_to_json(whole))))
    assert Artefact(travelled).digest == Artefact(whole).digest
