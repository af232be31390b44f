"""What a release says about its folds beside the baselines: parts, directions and how sure a difference is."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from forecasting.backtest import FoldForecasts
from forecasting.comparison import Judged, compare
from forecasting.evaluation import evaluate
from forecasting.folds import Part
from forecasting.serving import LoadedModel
from forecasting.significance import FoldValues, diebold_mariano
from forecasting.training import TrainedModel, TrainingSpec, train
from forecasting.training_panel import panel_of
from tests.unit.forecasting.series import DAY, observations_of, prices

FOLDS, HORIZON = 90, 3


def forecasts(median: np.ndarray, y: np.ndarray, *, last: np.ndarray | None = None, rises: float = 0.6):
    start = np.zeros(len(y)) if last is None else last
    return FoldForecasts(
        cutoffs=np.arange(len(y)) + 5, y=y, median=median, quantiles={}, last=start, rises=np.full(y.shape, rises)
    )


def judged(*, error: float, baseline_error: float, seed: int = 0, scale: float = 2.0, count: int = FOLDS) -> Judged:
    y = np.random.default_rng(seed).normal(size=(count, HORIZON))
    noise = np.random.default_rng(seed + 1).choice([-1.0, 1.0], size=y.shape)
    loud = np.random.default_rng(seed + 2).uniform(0.5, 1.5, size=y.shape)
    cutoffs = np.arange(count) + 5
    return Judged(
        folds={
            "model": forecasts(y + error * noise * loud, y),
            "last-value": forecasts(y + baseline_error * noise, y, rises=0.5),
        },
        series=np.zeros(count, dtype=np.int64),
        starts=DAY * cutoffs,
        ends=DAY * (cutoffs[:, None] + np.arange(1, HORIZON + 1)),
        scale=np.full(count, scale),
    )


def together(series: list[Judged]) -> Judged:
    """The folds of several series as those of all."""
    whole = {
        name: FoldForecasts(
            cutoffs=np.concatenate([one.folds[name].cutoffs for one in series]),
            quantiles={},
            **{
                part: np.concatenate([getattr(one.folds[name], part) for one in series])
                for part in ("y", "median", "last", "rises")
            },
        )
        for name in series[0].folds
    }
    return Judged(
        folds=whole,
        series=np.repeat(np.arange(len(series)), [len(one.starts) for one in series]),
        **{part: np.concatenate([getattr(one, part) for one in series]) for part in ("starts", "ends", "scale")},
    )


def test_statistic_is_above_zero_where_the_model_is_better() -> None:
    better, worse = compare(judged(error=1.0, baseline_error=2.0)), compare(judged(error=2.0, baseline_error=1.0))

    assert better["model"]["dm-statistic-last-value"] > 3
    assert better["model"]["dm-p-value-last-value"] < 0.05
    assert worse["model"]["dm-statistic-last-value"] < -3
    assert "dm-statistic-drift" not in better["model"]
    assert not any(name.startswith("dm-") for name in better["last-value"])


def test_a_step_is_tested_on_its_own_errors_and_times() -> None:
    one = judged(error=1.0, baseline_error=1.1)
    model, other = (np.abs(one.folds[name].y - one.folds[name].median)[:, 1] for name in ("model", "last-value"))
    cutoffs = one.folds["model"].cutoffs
    expected = diebold_mariano(FoldValues((other - model) / 2.0, DAY * cutoffs, DAY * (cutoffs + 2), one.series))

    assert compare(one, 2)["model"]["dm-p-value-last-value"] == expected.p_value


def test_series_are_compared_in_units_of_their_scale() -> None:
    # Red without the scale: the errors of the second series would drown those of the first.
    small, large = judged(error=1.0, baseline_error=2.0, scale=1.0), judged(error=1.0, baseline_error=0.99, seed=9)
    blown = dataclasses.replace(
        large,
        folds={
            name: forecasts(1e6 * (one.median - one.y) + 1e6 * one.y, 1e6 * one.y) for name, one in large.folds.items()
        },
        scale=np.full(FOLDS, 1e6),
    )

    assert compare(together([small, blown]))["model"]["dm-p-value-last-value"] < 0.05


def test_even_odds_are_right_by_half_and_no_move_has_no_direction() -> None:
    y = np.array([[1.0, -1.0, 0.0]])

    up, even = forecasts(y, y, rises=0.6).direction_hits(), forecasts(y, y, rises=0.5).direction_hits()

    np.testing.assert_array_equal(up, ([[1, 0, 0]], [[1, 1, 0]]))
    np.testing.assert_array_equal(even, ([[0.5, 0.5, 0]], [[1, 1, 0]]))
    assert FoldForecasts(cutoffs=np.arange(1), y=y, median=y, quantiles={}).direction_hits() is None


@pytest.fixture(scope="module")
def trained() -> TrainedModel:
    asked = TrainingSpec(algorithm="linear", horizon=3, window_size=10, levels=(80.0,), hyperparameters={"refits": 1})
    return train(asked, [observations_of({"close": prices(300)})])


def test_a_release_tells_every_part_apart(trained: TrainedModel) -> None:
    metrics = trained.metrics["model"]

    for name in ("mae", "rmse", "mape", "r2"):
        assert {name, f"train-{name}", f"validation-{name}"} <= set(metrics)
    assert len({metrics["mae"], metrics["train-mae"], metrics["validation-mae"]}) == 3
    parts, first = trained.diagnostics.evaluation.parts, trained.diagnostics.evaluation.folds["model"].cutoffs[0]
    assert parts["train"].cutoffs[-1] + 3 <= parts["validation"].cutoffs[0]
    assert parts["validation"].cutoffs[-1] + 3 <= first
    fitted = parts["train"]
    assert metrics["train-mae"] == pytest.approx(np.mean(np.abs(fitted.y - fitted.median)))


def test_scores_of_several_series_are_the_means_of_each_alone(trained: TrainedModel) -> None:
    model = LoadedModel.load(trained.recipe, trained.graph)
    asked = TrainingSpec(algorithm="linear", horizon=3, window_size=10)
    panel = panel_of(asked, [observations_of({"close": prices(300, seed=n)}, name=f"S{n}") for n in range(3)])
    parts = [Part(0, np.arange(100, 290, 3)), Part(1, np.arange(60, 120)), Part(2, np.array([150, 151]))]

    whole, *alone = (
        evaluate(model, panel, calibration=parts, test=test, levels=(80.0,)) for test in (parts, *([x] for x in parts))
    )

    assert whole.fold_count == sum(one.fold_count for one in alone)
    means = [(whole.metrics, [one.metrics for one in alone])]
    for step in range(3):
        by_step = [{name: steps[step] for name, steps in one.metrics_by_step.items()} for one in (whole, *alone)]
        means.append((by_step[0], by_step[1:]))
    for found, each in means:
        for method in found:
            names = {name for name in each[0][method] if not name.startswith(("dm-", "direction-accuracy-"))}
            assert {"mae", "r2", "crps", "width-80", "brier"} <= names
            for name in names:
                assert found[method][name] == pytest.approx(np.mean([one[method][name] for one in each]), rel=1e-12)
    for level, share in whole.calibration_curve.items():
        assert share == pytest.approx(np.mean([one.calibration_curve[level] for one in alone]), rel=1e-12)


def test_a_release_tells_how_sure_its_skill_and_its_directions_are(trained: TrainedModel) -> None:
    metrics = trained.metrics["model"]
    folds = trained.diagnostics.evaluation.folds["model"]

    for name in ("last-value", "drift", "seasonal-naive"):
        assert 0 <= metrics[f"dm-p-value-{name}"] <= 1
        assert np.sign(metrics[f"dm-statistic-{name}"]) == np.sign(trained.skill[name])
        assert all(0 <= metrics[f"dm-p-value-{name}-step-{step}"] <= 1 for step in (1, 2, 3))
    rose = folds.y > folds.last[:, None]
    assert metrics["direction-accuracy"] == pytest.approx(100 * np.mean((folds.rises > 0.5) == rose))
    assert metrics["rise-share"] == pytest.approx(100 * np.mean(rose))
    assert metrics["brier"] == pytest.approx(np.mean((folds.rises - rose) ** 2))
    assert metrics["log-loss"] == pytest.approx(-np.mean(np.log(np.where(rose, folds.rises, 1 - folds.rises))))
    lower, upper = metrics["direction-accuracy-lower"], metrics["direction-accuracy-upper"]
    assert 0 <= lower < metrics["direction-accuracy"] < upper <= 100
    assert {"direction-accuracy-step-3", "direction-accuracy-lower-step-3", "mae-step-3"} <= set(metrics)
    assert {"direction-accuracy", "brier"} <= set(trained.metrics["drift"])


@pytest.mark.parametrize(("refits", "fits"), [(0, 1), (1, 2), (2, 3)])
def test_a_backtest_is_fitted_as_often_as_asked(refits: int, fits: int) -> None:
    told = []
    asked = TrainingSpec(algorithm="linear", horizon=3, window_size=10, levels=(80.0,))
    asked = dataclasses.replace(asked, hyperparameters={"refits": refits, "embargo": 5, "penalty": 0.1})

    train(asked, [observations_of({"close": prices(300)})], told.append)

    assert sum(one.stage == "backtest" and one.epoch is None for one in told) == fits
