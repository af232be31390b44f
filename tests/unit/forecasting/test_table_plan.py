"""Which inputs models over table rows take by themselves, and what they learn from known-future columns."""

from __future__ import annotations

import numpy as np
import pytest

from forecasting.artefact import Setting, StepFeatureRecipe
from forecasting.errors import InvalidWindow
from forecasting.models.fitting import SeriesView
from forecasting.models.table_plan import plan_table
from forecasting.panel import Future, Observations, Window
from forecasting.serving import LoadedModel
from forecasting.training import TrainedModel, TrainingSpec, train
from tests.unit.forecasting.series import observations_of


def view(**changes: object) -> SeriesView:
    hyperparameters: dict[str, Setting] = {"anchor": "auto", "lags": 4}
    start = SeriesView(
        columns=("sales",),
        target="sales",
        is_log=True,
        season_length=7,
        freq="1d",
        calendar="24/7",
        window_size=28,
        horizon=7,
        future_columns=(),
        static_columns=(),
        hyperparameters=hyperparameters,
    )
    return start._replace(**changes)


@pytest.mark.parametrize(
    ("changes", "anchor"),
    [
        ({}, "seasonal"),
        ({"columns": ("sales", "promo"), "future_columns": ("promo",)}, "mean"),
        ({"season_length": 1}, "last"),
        ({"window_size": 12}, "last"),  # less than two seasons
        ({"calendar": "XNYS"}, "last"),
        ({"columns": ("close",), "target": "close"}, "last"),
        ({"columns": ("sales", "high", "low", "close")}, "last"),
        ({"hyperparameters": {"anchor": "mean", "lags": 4}}, "mean"),
    ],
)
def test_anchor_suits_the_series(changes: dict[str, object], anchor: str) -> None:
    assert plan_table(view(**changes)).anchor == anchor


def test_an_hourly_series_knows_its_day_and_its_week() -> None:
    steps = plan_table(view(freq="1h", season_length=24, window_size=336)).step_features

    lags = {(part.period, part.order) for part in steps if part.name == "seasonal-lag"}
    assert lags == {(24, 1), (24, 2), (24, 3), (24, 4), (168, 1), (168, 2)}
    assert StepFeatureRecipe(name="matched-mean", columns=("hour-of-week",), order=0, scaling="anchor") in steps


def test_a_past_only_column_is_no_input_of_the_steps() -> None:
    plan = plan_table(view(columns=("sales", "customers", "promo"), future_columns=("promo",)))

    assert "customers" in {name for part in plan.features for name in part.columns}
    assert "customers" not in {name for part in plan.step_features for name in part.columns}


def shop(rows: int = 400) -> Observations:
    """Sales that promotions double, and customers that come with the sales of the same day."""
    rng = np.random.default_rng(0)
    promo = (rng.random(rows) < 0.4).astype(np.float64)
    weekday = 1 + 0.3 * (np.arange(rows) % 7 == 5)
    sales = 100 * weekday * (1 + promo) * np.exp(rng.normal(scale=0.03, size=rows))
    return observations_of({"sales": sales, "promo": promo, "customers": np.round(sales / 10)})


def trained(algorithm: str) -> TrainedModel:
    spec = TrainingSpec(
        algorithm=algorithm,
        target="sales",
        columns=("sales", "customers"),
        covariates={"promo": "known-future"},
        horizon=3,
        window_size=28,
        levels=(80.0,),
        hyperparameters={"lags": 3, "refits": 1, "rounds": 60, "learning_rate": 0.2},
    )
    return train(spec, [shop()])


@pytest.mark.parametrize("algorithm", ["lightgbm", "gradient-boosting"])
def test_a_promotion_that_is_known_is_forecast(algorithm: str) -> None:
    released = trained(algorithm)
    model = LoadedModel.load(released.recipe, released.graph)
    series = shop()
    rows = np.column_stack([series.columns[name][-28:] for name in model.columns])
    time, steps = series.time[-28:], series.time[-1] + 86_400 * np.arange(1, 4)
    window = model.window_of(series)

    def forecast(promotions: tuple[float, ...]) -> np.ndarray:
        future = Future(steps, np.array(promotions)[:, None])
        return model.forecast([Window(rows, window.cutoff, time, future)], 3, ())[0].median

    np.testing.assert_allclose(forecast((1, 0, 1)) / forecast((0, 1, 0)), [2, 0.5, 2], rtol=0.15)
    with pytest.raises(InvalidWindow, match="promo"):
        model.forecast([Window(rows, window.cutoff, time, None)], 3, ())


def test_known_promotions_beat_what_the_season_says() -> None:
    assert trained("lightgbm").skill["seasonal-naive"] > 0.6
