"""Features: both halves of each pair, a slow and obvious pandas version, and nothing from the future."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from forecasting.artefact import FeatureRecipe
from forecasting.errors import InvalidTraining
from forecasting.features import FEATURES, Feature, feature_of
from tests.unit.forecasting.series import bars

RECIPES = {
    "log-return": FeatureRecipe(name="log-return", columns=("close",), scaling="volatility"),
    "difference": FeatureRecipe(name="difference", columns=("close",), scaling="volatility"),
    "log-change": FeatureRecipe(name="log-change", columns=("volume",), scaling="standard"),
    "rolling-volatility": FeatureRecipe(
        name="rolling-volatility", columns=("close",), window_size=5, scaling="standard"
    ),
    "momentum": FeatureRecipe(name="momentum", columns=("close",), window_size=10, scaling="standard"),
    "log-ratio": FeatureRecipe(name="log-ratio", columns=("high", "low"), scaling="volatility"),
    "spread": FeatureRecipe(name="spread", columns=("open", "close"), scaling="volatility"),
    "ratio-change": FeatureRecipe(name="ratio-change", columns=("adj_close", "close"), scaling="volatility"),
    "level": FeatureRecipe(name="level", columns=("volume",), scaling="standard"),
}
SLOW = {
    "log-return": lambda frame: np.log(frame.close / frame.close.shift(1)),
    "difference": lambda frame: frame.close.diff(),
    "log-change": lambda frame: np.log(1 + frame.volume) - np.log(1 + frame.volume.shift(1)),
    "rolling-volatility": lambda frame: np.log(frame.close / frame.close.shift(1)).rolling(5).std(),
    "momentum": lambda frame: np.log(frame.close / frame.close.shift(10)),
    "log-ratio": lambda frame: np.log(frame.high / frame.low),
    "spread": lambda frame: frame.open - frame.close,
    "ratio-change": lambda frame: np.log(frame.adj_close / frame.close).diff(),
    "level": lambda frame: frame.volume,
}


def assert_blind_to_the_future(feature: Feature, cutoff: int) -> None:
    """Fail if any value up to the cutoff changes when everything after it does."""
    known = bars(120)
    wild = {name: np.where(np.arange(120) > cutoff, 1e9, values) for name, values in known.items()}
    np.testing.assert_array_equal(feature.transform(known)[: cutoff + 1], feature.transform(wild)[: cutoff + 1])


def test_every_feature_is_tested() -> None:
    assert set(RECIPES) == set(SLOW) == set(FEATURES)


@pytest.mark.parametrize("name", FEATURES)
def test_update_is_the_last_value_of_transform_to_the_bit(name: str) -> None:
    feature, columns = feature_of(RECIPES[name]), bars(120)
    whole = feature.transform(columns)

    for rows in range(feature.lookback, 121):
        assert feature.update({column: values[:rows] for column, values in columns.items()}) == whole[rows - 1]
    assert np.isnan(whole[: feature.lookback - 1]).all()


@pytest.mark.parametrize("name", FEATURES)
def test_transform_equals_the_obvious_pandas_version(name: str) -> None:
    columns = bars(120)

    np.testing.assert_allclose(
        feature_of(RECIPES[name]).transform(columns), SLOW[name](pd.DataFrame(columns)), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("name", FEATURES)
def test_no_feature_sees_past_the_cutoff(name: str) -> None:
    assert_blind_to_the_future(feature_of(RECIPES[name]), cutoff=70)


def test_a_centred_average_is_caught() -> None:
    # A planted leak: the check above must be able to fail.
    def centred(columns):
        return np.convolve(columns["close"], np.ones(5) / 5, mode="same")

    with pytest.raises(AssertionError):
        assert_blind_to_the_future(Feature(lookback=1, compute=centred), cutoff=70)


def test_update_with_too_few_rows_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="at least 11 rows, had 3"):
        feature_of(RECIPES["momentum"]).update({"close": np.ones(3)})


def test_short_history_has_no_value() -> None:
    assert np.isnan(feature_of(RECIPES["momentum"]).transform({"close": np.ones(3)})).all()


@pytest.mark.parametrize(
    ("recipe", "field", "expected"),
    [
        (FeatureRecipe(name="rsi", columns=("close",), scaling="standard"), "features", "log-return"),
        (FeatureRecipe(name="momentum", columns=("close",), scaling="standard"), "features.momentum.window_size", "2"),
        (
            FeatureRecipe(name="level", columns=("close",), window_size=3, scaling="standard"),
            "features.level.window_size",
            "1, it takes none",
        ),
        (FeatureRecipe(name="spread", columns=("close",), scaling="standard"), "features.spread.columns", "2 names"),
    ],
)
def test_unknown_or_misused_feature_is_refused_by_name(recipe: FeatureRecipe, field: str, expected: str) -> None:
    with pytest.raises(InvalidTraining) as caught:
        feature_of(recipe)
    assert caught.value.field == field
    assert expected in caught.value.expected
