"""Features of real prices and sales, from data that is not committed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import talib

from forecasting.artefact import IntervalRecipe, Recipe, StepFeatureRecipe
from forecasting.features import feature_of
from forecasting.features_calendar import is_holiday
from forecasting.step_features import StepContext, contexts_of, step_feature_of
from tests.unit.forecasting.series import real_observations
from tests.unit.forecasting.test_artefact import recipe_of
from tests.unit.forecasting.test_indicators import recipe_of as indicator_recipe

WINDOW, HORIZON = 120, 42


@pytest.fixture(scope="module")
def apple(shared_data: Path) -> dict[str, np.ndarray]:
    names = ("High", "Low", "Close", "Volume")
    return real_observations(shared_data, "stocks/AAPL.csv.gz", calendar="XNYS", columns=names).columns


@pytest.fixture(scope="module")
def shops(shared_data: Path) -> pd.DataFrame:
    path = shared_data / "sales" / "rossmann_400_stores.parquet"
    if not path.is_file():
        pytest.skip(f"real data not found: {path}")
    return pd.read_parquet(path).sort_values(["Store", "Date"], ignore_index=True)


@pytest.mark.parametrize(
    ("name", "window_size", "most"),
    [
        ("relative-strength-index", 14, 1.0),
        ("commodity-channel-index", 20, 1e-6),
        ("williams-percent-range", 14, 1e-9),
        ("average-directional-index", 14, 1.0),
        ("rate-of-change", 10, 1e-9),
    ],
)
def test_indicators_of_apple_are_those_of_talib(
    apple: dict[str, np.ndarray], name: str, window_size: int, most: float
) -> None:
    bar = [apple["high"], apple["low"], apple["close"]]
    theirs = {
        "relative-strength-index": lambda: talib.RSI(apple["close"], window_size),
        "commodity-channel-index": lambda: talib.CCI(*bar, window_size),
        "williams-percent-range": lambda: talib.WILLR(*bar, window_size),
        "average-directional-index": lambda: talib.ADX(*bar, window_size),
        "rate-of-change": lambda: talib.ROC(apple["close"], window_size),
    }[name]()
    feature = feature_of(indicator_recipe(name, window_size))

    ours = feature.transform(apple)[feature.lookback - 1 :]
    np.testing.assert_allclose(ours, theirs[feature.lookback - 1 :], atol=most, rtol=0)


def test_holidays_of_the_shops_are_those_of_the_library(shops: pd.DataFrame) -> None:
    # `a` is a public holiday; the few shops that open then are in states that keep it, so it is one in some state.
    days = shops.loc[shops["StateHoliday"] == "a", "Date"].unique()
    time = pd.to_datetime(days).to_numpy(dtype="datetime64[s]").astype(np.int64)
    states = ("BE", "BW", "BY", "HE", "HH", "NI", "NW", "RP", "SH", "SL", "SN", "ST", "TH")

    assert len(days) > 10
    assert (np.max([is_holiday(time, f"DE/{state}") for state in states], axis=0) == 1).all()


def recipe() -> Recipe:
    return recipe_of(
        target="sales",
        columns=("sales", "promo"),
        future_columns=("promo",),
        window_size=WINDOW,
        horizon=HORIZON,
        season_length=6,
        intervals=IntervalRecipe(is_symmetric=True, scores=((0.0,),) * HORIZON),
    )


def test_the_mean_of_like_days_forecasts_a_shop_better_than_its_last_season(shops: pd.DataFrame) -> None:
    errors: dict[str, list[float]] = {"matched-mean": [], "seasonal-lag": []}
    for _, shop in list(shops.groupby("Store"))[:20]:
        time = shop["Date"].to_numpy(dtype="datetime64[s]").astype(np.int64)
        sales = np.log(shop["Sales"].to_numpy(np.float64))
        promo = shop["Promo"].to_numpy(np.float64)
        whole = StepContext({"promo": promo}, time, sales, None, {"promo": promo}, HORIZON, 6)
        cutoffs = np.array([len(sales) - 1 - HORIZON])
        known = contexts_of(whole, cutoffs, WINDOW)
        like = StepFeatureRecipe(name="matched-mean", columns=("day-of-week", "promo"))
        for part in (like, StepFeatureRecipe(name="seasonal-lag")):
            forecast = step_feature_of(part, recipe()).compute(known)[0]
            errors[part.name].append(float(np.mean(np.abs(np.exp(forecast - sales[-HORIZON:]) - 1))))

    assert np.mean(errors["matched-mean"]) < 0.2
    assert np.mean(errors["matched-mean"]) < 0.8 * np.mean(errors["seasonal-lag"])
