"""Features: both halves of each pair, a slow and obvious pandas version, and nothing from the future."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import holidays
import numpy as np
import pandas as pd
import pytest

from forecasting import features_kind
from forecasting.artefact import FeatureRecipe, recipe_to_json
from forecasting.errors import InvalidTraining
from forecasting.features import FEATURES, Feature, feature_of
from tests.unit.forecasting.series import bars
from tests.unit.forecasting.test_artefact import recipe_of

ROWS = 120
#: Every fifth day is closed.
TIMES = np.array([1_699_000_000 // 86_400 * 86_400 + 86_400 * day for day in range(ROWS * 5 // 4) if day % 5 != 3])


def rows_of(count: int = ROWS) -> dict[str, np.ndarray]:
    return bars(count) | {"time": TIMES[:count].astype(np.float64)}


def recipe(name: str, *columns: str, window_size: int = 1, **parameters: float | str | bool) -> FeatureRecipe:
    return FeatureRecipe(name=name, columns=columns, window_size=window_size, parameters=parameters, scaling="standard")


def of_time(name: str, **parameters: float | str) -> FeatureRecipe:
    return recipe(name, "time", **parameters)


Slow = Callable[[pd.DataFrame], object]


def rank(values: np.ndarray) -> float:
    others, newest = values[:-1], values[-1]
    return float(np.mean(np.where(others < newest, 1.0, np.where(others == newest, 0.5, 0.0))))


def days_to(frame: pd.DataFrame, step: int) -> list[int]:
    known = holidays.country_holidays("US", years=range(2022, 2026))
    return [
        next(days for days in range(15) if days == 14 or time.date() + timedelta(days=step * days) in known)
        for time in frame.index
    ]


CASES: list[tuple[FeatureRecipe, Slow]] = [
    (recipe("log-return", "close"), lambda frame: np.log(frame.close / frame.close.shift(1))),
    (recipe("difference", "close"), lambda frame: frame.close.diff()),
    (recipe("log-change", "volume"), lambda frame: np.log(1 + frame.volume) - np.log(1 + frame.volume.shift(1))),
    (
        recipe("rolling-volatility", "close", window_size=5),
        lambda frame: np.log(frame.close / frame.close.shift(1)).rolling(5).std(),
    ),
    (recipe("momentum", "close", window_size=10), lambda frame: np.log(frame.close / frame.close.shift(10))),
    (recipe("log-ratio", "high", "low"), lambda frame: np.log(frame.high / frame.low)),
    (recipe("spread", "open", "close"), lambda frame: frame.open - frame.close),
    (recipe("ratio-change", "adj_close", "close"), lambda frame: np.log(frame.adj_close / frame.close).diff()),
    (recipe("level", "volume"), lambda frame: frame.volume),
    (recipe("log-level", "close"), lambda frame: np.log(frame.close)),
    (recipe("lag", "close", window_size=1), lambda frame: frame.close.shift(1)),
    (recipe("lag", "close", window_size=7, log=True), lambda frame: np.log(frame.close).shift(7)),
    (recipe("lag-difference", "close", window_size=3), lambda frame: frame.close.diff(3)),
    (recipe("rolling-mean", "volume", window_size=6), lambda frame: frame.volume.rolling(6).mean()),
    (recipe("rolling-mean", "close", window_size=6, log=True), lambda frame: np.log(frame.close).rolling(6).mean()),
    (recipe("rolling-deviation", "close", window_size=6), lambda frame: frame.close.rolling(6).std()),
    (recipe("rolling-min", "low", window_size=6), lambda frame: frame.low.rolling(6).min()),
    (recipe("rolling-max", "high", window_size=6, log=True), lambda frame: np.log(frame.high).rolling(6).max()),
    (recipe("rolling-quantile", "close", window_size=6), lambda frame: frame.close.rolling(6).median()),
    (
        recipe("rolling-quantile", "close", window_size=8, quantile=0.9),
        lambda frame: frame.close.rolling(8).quantile(0.9),
    ),
    (recipe("rolling-quantile", "close", window_size=8, quantile=1), lambda frame: frame.close.rolling(8).max()),
    (
        recipe("rolling-z-score", "volume", window_size=6),
        lambda frame: (frame.volume - frame.volume.rolling(6).mean()) / frame.volume.rolling(6).std(),
    ),
    (recipe("rolling-rank", "close", window_size=6), lambda frame: frame.close.rolling(6).apply(rank, raw=True)),
    (of_time("minute-of-hour"), lambda frame: frame.index.minute),
    (of_time("hour-of-day"), lambda frame: frame.index.hour),
    (of_time("day-of-week"), lambda frame: frame.index.dayofweek),
    (of_time("is-weekend"), lambda frame: frame.index.dayofweek > 4),
    (of_time("hour-of-week"), lambda frame: frame.index.dayofweek * 24 + frame.index.hour),
    (of_time("day-of-month"), lambda frame: frame.index.day),
    (of_time("days-to-month-end"), lambda frame: frame.index.days_in_month - frame.index.day),
    (of_time("is-month-start"), lambda frame: frame.index.is_month_start),
    (of_time("is-month-end"), lambda frame: frame.index.is_month_end),
    (of_time("week-of-year"), lambda frame: frame.index.isocalendar().week),
    (of_time("month"), lambda frame: frame.index.month),
    (of_time("quarter"), lambda frame: frame.index.quarter),
    (of_time("day-of-year"), lambda frame: frame.index.dayofyear),
    (
        of_time("fourier-sin", option="week", order=2),
        lambda frame: np.sin(4 * np.pi * frame.index.dayofweek / 7),
    ),
    (
        of_time("fourier-cos", period=30.5),
        lambda frame: np.cos(2 * np.pi * (frame.index - pd.Timestamp("1970-01-01")).days / 30.5),
    ),
    (of_time("holiday", option="US"), lambda frame: np.array(days_to(frame, 1)) == 0),
    (of_time("days-to-holiday", option="US"), lambda frame: days_to(frame, 1)),
    (of_time("days-since-holiday", option="US"), lambda frame: days_to(frame, -1)),
    (of_time("gap"), lambda frame: frame.index.to_series().diff() / pd.Timedelta(days=1)),
]
EVERY = [pytest.param(case, id=f"{number}-{case.name}") for number, (case, _) in enumerate(CASES)]


def assert_blind_to_the_future(feature: Feature, cutoff: int) -> None:
    """Fail if any value up to the cutoff changes when everything after it does."""
    known = rows_of()
    wild = {name: np.where(np.arange(ROWS) > cutoff, 1e9, values) for name, values in known.items()}
    np.testing.assert_array_equal(feature.transform(known)[: cutoff + 1], feature.transform(wild)[: cutoff + 1])


def test_every_feature_is_tested() -> None:
    assert {case.name for case, _ in CASES} == set(FEATURES)


@pytest.mark.parametrize("case", EVERY)
def test_update_is_the_last_value_of_transform_to_the_bit(case: FeatureRecipe) -> None:
    feature, columns = feature_of(case), rows_of()
    whole = feature.transform(columns)

    for rows in range(feature.lookback, ROWS + 1):
        assert feature.update({column: values[:rows] for column, values in columns.items()}) == whole[rows - 1]
    assert np.isnan(whole[: feature.lookback - 1]).all()


@pytest.mark.parametrize("case", EVERY)
def test_a_long_history_worked_on_in_blocks_has_the_bits_of_one_piece(
    case: FeatureRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    feature, columns = feature_of(case), rows_of()
    whole = feature.transform(columns)
    monkeypatch.setattr(features_kind, "_BLOCK_ROWS", 7)

    np.testing.assert_array_equal(feature.transform(columns), whole)


@pytest.mark.parametrize(("case", "slow"), [pytest.param(*case, id=str(at)) for at, case in enumerate(CASES)])
def test_transform_equals_the_obvious_pandas_version(case: FeatureRecipe, slow: Slow) -> None:
    columns = rows_of()
    frame = pd.DataFrame(columns, index=pd.to_datetime(TIMES, unit="s"))

    expected = np.asarray(slow(frame), dtype=np.float64)
    np.testing.assert_allclose(feature_of(case).transform(columns), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("case", EVERY)
def test_no_feature_sees_past_the_cutoff(case: FeatureRecipe) -> None:
    assert_blind_to_the_future(feature_of(case), cutoff=70)


def test_equal_values_count_half_in_a_rank_and_nothing_moves_a_score() -> None:
    flat = {"close": np.full(20, 0.1)}

    assert feature_of(recipe("rolling-rank", "close", window_size=6)).update(flat) == 0.5
    assert feature_of(recipe("rolling-z-score", "close", window_size=6)).update(flat) == 0
    # Red when the mean is made of values in place of differences.
    assert feature_of(recipe("rolling-mean", "close", window_size=6)).update(flat) == 0.1


def test_a_centred_average_is_caught() -> None:
    # A planted leak: the check above must be able to fail.
    def centred(columns):
        return np.convolve(columns["close"], np.ones(5) / 5, mode="same")

    with pytest.raises(AssertionError):
        assert_blind_to_the_future(Feature(lookback=1, compute=centred), cutoff=70)


def test_update_with_too_few_rows_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="at least 11 rows, had 3"):
        feature_of(recipe("momentum", "close", window_size=10)).update({"close": np.ones(3)})


def test_short_history_has_no_value() -> None:
    assert np.isnan(feature_of(recipe("momentum", "close", window_size=10)).transform({"close": np.ones(3)})).all()


@pytest.mark.parametrize(
    ("recipe", "field", "expected"),
    [
        (recipe("strength", "close"), "features", "log-return"),
        (recipe("momentum", "close"), "features.momentum.window_size", "at least 2"),
        (recipe("level", "close", window_size=3), "features.level.window_size", "1, it takes none"),
        (recipe("spread", "close"), "features.spread.columns", "2 raw names"),
        (recipe("month", "close"), "features.month.columns", "time alone"),
        (recipe("level", "close", quantile=0.5), "features.level.parameters.quantile", "absent"),
        (
            recipe("rolling-quantile", "close", window_size=5, quantile=1.5),
            "features.rolling-quantile.parameters.quantile",
            "a number from 0 to 1",
        ),
        (
            recipe("rolling-quantile", "close", window_size=5, rank=2),
            "features.rolling-quantile.parameters.rank",
            "one of quantile, log",
        ),
        (recipe("lag", "close", window_size=2, log=1), "features.lag.parameters.log", "true or false"),
        (of_time("fourier-sin", option="week", order=1.5), "features.fourier-sin.parameters.order", "a whole number"),
        (of_time("fourier-sin", option="moon"), "features.fourier-sin.parameters.option", "quarter"),
        (of_time("fourier-sin", option="week", period=7), "features.fourier-sin.parameters.period", "left out"),
        (of_time("fourier-sin"), "features.fourier-sin.parameters.period", "above 0"),
        (of_time("holiday"), "features.holiday.parameters.option", "DE/BW"),
        (of_time("holiday", option=1), "features.holiday.parameters.option", "a word"),
        (
            recipe("macd-line", "close", window_size=12, fast=12),
            "features.macd-line.parameters.fast",
            "below window_size",
        ),
    ],
)
def test_unknown_or_misused_feature_is_refused_by_name(recipe: FeatureRecipe, field: str, expected: str) -> None:
    with pytest.raises(InvalidTraining) as caught:
        feature_of(recipe)
    assert caught.value.field == field
    assert expected in caught.value.expected


def test_a_caller_may_say_how_the_feature_is_called() -> None:
    with pytest.raises(InvalidTraining, match=r"features\[2\]\.window_size must be at least 2, was 1"):
        feature_of(recipe("momentum", "close"), "features[2]")


def test_parameters_stand_in_the_form_of_a_recipe_only_where_they_are_given() -> None:
    # Red when `parameters` is not among `FeatureRecipe.LATER`, or its empty default is not known there.
    named = recipe("rolling-quantile", "close", window_size=5, quantile=0.9)
    form = recipe_to_json(recipe_of(features=(recipe("level", "close"), named)))["features"]

    assert [part.get("parameters") for part in form] == [None, {"quantile": 0.9}]
