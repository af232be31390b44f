"""LightGBM for M4 hourly: its specs, for `benchmarks.accuracy.m4` to fit, to serve and to combine with nets.

The change from one season before each step is learnt, from values of earlier days and weeks measured from that same
anchor. Trees cannot subtract one input from another: the same values measured from the newest one, as nets get them,
lost a tenth of the accuracy on the 48 hours before the test part, on which all settings were chosen.
"""

from __future__ import annotations

from forecasting.artefact import FeatureRecipe, StepFeatureRecipe
from forecasting.training_spec import TrainingSpec

TARGET, HORIZON = "y", 48
DAY, WEEK = 24, 168
WINDOW_SIZE = 2 * WEEK
_DAYS_BACK, _MEAN_DAYS = 8, (7, 14)
_DEVIATION_ROWS = (24, 168, 336)
_MEAN_ROWS = (1, 2, 3, 6, 12, 24, 48, 168, 336)


def specs(season: int = DAY, seeds: tuple[int, ...] = (0,)) -> tuple[TrainingSpec, ...]:
    """Return what is trained, once for each seed.

    Args:
        season: Hours of the season that the change is measured from: a day or a week.
        seeds: Of the samples that the trees see.
    """
    return tuple(_spec(season, seed) for seed in seeds)


def _spec(season: int, seed: int) -> TrainingSpec:
    lags = [(DAY, order) for order in range(1, _DAYS_BACK + 1)] + [(WEEK, 1), (WEEK, 2)]
    return TrainingSpec(
        algorithm="lightgbm",
        target=TARGET,
        horizon=HORIZON,
        window_size=WINDOW_SIZE,
        season_length=season,
        levels=(80.0,),
        hyperparameters={
            "anchor": "seasonal",
            "loss": "absolute",
            "lags": 4,
            "rounds": 400,
            "patience": 400,
            "learning_rate": 0.08,
            "leaves": 63,
            "min_leaf": 100,
            "l2": 5.0,
            "row_share": 0.6,
            "column_share": 0.5,
        },
        features=(FeatureRecipe(name="log-level", columns=(TARGET,), scaling="window"),),
        step_features=(
            StepFeatureRecipe(name="step"),
            *(_of_target("seasonal-lag", period=period, order=order) for period, order in lags),
            *(_of_target("seasonal-mean", period=DAY, order=days) for days in _MEAN_DAYS),
            *(_of_target("window-mean", order=rows) for rows in _MEAN_ROWS),
            *(StepFeatureRecipe(name="window-deviation", order=rows, scaling="standard") for rows in _DEVIATION_ROWS),
        ),
        seed=seed,
    )


def _of_target(name: str, *, period: int = 0, order: int) -> StepFeatureRecipe:
    return StepFeatureRecipe(name=name, period=period, order=order, scaling="anchor")
