"""Gaps in a training: the rule of the recipe, nothing from after a cutoff, and the same rows in serving."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forecasting.errors import InvalidObservations
from forecasting.panel import Observations
from forecasting.serving import LoadedModel
from forecasting.training import TrainedModel, TrainingSpec, train
from forecasting.training_panel import panel_of
from tests.unit.forecasting.series import observations_of, prices

ROWS = 260
RULES = ("skip", "forward-fill", "interpolate", "zero")


def with_gaps(seed: int = 0) -> Observations:
    """Two columns of which rows and values are missing."""
    rng = np.random.default_rng(seed)
    whole = observations_of({"close": prices(ROWS), "volume": np.floor(rng.lognormal(5, 1, ROWS))})
    kept = rng.random(ROWS) > 0.15
    kept[[0, -1]] = True
    columns = {
        name: np.where(rng.random(kept.sum()) > 0.1, column[kept], np.nan) for name, column in whole.columns.items()
    }
    return replace(whole, time=whole.time[kept], columns=columns)


def trained(rule: str, observations: Observations, algorithm: str = "linear") -> TrainedModel:
    return train(spec(rule, algorithm), [observations])


def spec(rule: str, algorithm: str = "linear") -> TrainingSpec:
    return TrainingSpec(
        algorithm=algorithm, columns=("close", "volume"), horizon=3, window_size=10, levels=(80.0,), gaps=rule
    )


@pytest.mark.parametrize("rule", RULES)
def test_rule_is_kept_in_the_recipe_and_its_window_is_that_of_the_backtest(rule: str) -> None:
    observations = with_gaps()
    model = trained(rule, observations)
    panel = panel_of(spec(rule), [observations])
    loaded = LoadedModel.load(model.recipe, model.graph)

    assert model.recipe.gaps == rule
    for cutoff in range(60, len(panel.series[0]), 7):
        time = int(panel.series[0].time[cutoff])
        known = observations.slice(0, int(np.searchsorted(observations.time, time, side="right")))
        served = loaded.window_of(known)
        if served.cutoff is None or int(served.cutoff.timestamp()) != time:
            continue  # the row of this cutoff was not observed, so no forecast ends a window with it
        window = panel.window(model.recipe, 0, cutoff)
        np.testing.assert_array_equal(served.values, window.values)
        np.testing.assert_array_equal(served.time, window.time)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("algorithm", ["linear", "drift"])
def test_folds_do_not_know_what_comes_after_their_cutoff(rule: str, algorithm: str) -> None:
    """Red where `cutoffs_of` lets a fold begin on an interpolated row."""
    observations = with_gaps()
    base = trained(rule, observations, algorithm)
    times = base.diagnostics.fold_times
    whole = observations.time[np.isfinite(observations.matrix(("close", "volume"))).all(axis=1)]
    # A fold on a row that was made is where the future would be seen; by interpolation there must be none.
    made = np.flatnonzero(~np.isin(times, whole))
    middle = int(made[len(made) // 2]) if len(made) else len(times) // 2
    rng = np.random.default_rng(9)
    later = observations.time > times[middle]
    wild = {
        name: np.where(later & np.isfinite(column), rng.uniform(1, 1e6, len(column)), column)
        for name, column in observations.columns.items()
    }

    other = trained(rule, replace(observations, columns=wild), algorithm)

    np.testing.assert_array_equal(other.diagnostics.fold_times, times)
    for method, folds in base.diagnostics.evaluation.folds.items():
        found = other.diagnostics.evaluation.folds[method]
        np.testing.assert_array_equal(folds.median[: middle + 1], found.median[: middle + 1])


def test_filled_rows_are_counted_and_fewer_are_passed_over() -> None:
    observations = with_gaps()
    skipping, filling = (panel_of(spec(rule), [observations]) for rule in ("skip", "forward-fill"))

    assert (skipping.rows_filled, filling.rows_skipped) == (0, filling.rows_skipped)
    assert filling.rows_skipped <= 3
    assert len(filling.series[0]) == ROWS - filling.rows_skipped
    assert filling.rows_filled == len(filling.series[0]) - len(skipping.series[0])
    assert trained("forward-fill", observations).diagnostics.rows_filled == filling.rows_filled


def test_zero_is_a_fact_of_sales_and_works_on_differences() -> None:
    assert trained("zero", with_gaps()).recipe.transform == "difference"


def test_a_gap_in_the_window_of_a_forecast_is_refused_where_the_recipe_says_so() -> None:
    whole = observations_of({"close": prices(ROWS), "volume": np.ones(ROWS) + np.arange(ROWS)})
    model = trained("refuse", whole)
    loaded = LoadedModel.load(model.recipe, model.graph)
    holed = replace(
        whole,
        time=np.delete(whole.time, -4),
        columns={name: np.delete(column, -4) for name, column in whole.columns.items()},
    )

    assert loaded.window_of(whole).values.shape == (10, 2)
    with pytest.raises(InvalidObservations) as caught:
        loaded.window_of(holed)
    assert caught.value.code == "missing-observations"
