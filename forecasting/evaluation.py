"""Calibrate a model on folds that its fit did not see, and score it beside the baselines on later ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from forecasting import losses
from forecasting.artefact import Recipe
from forecasting.backtest import (
    SCORED_LEVELS,
    FoldForecasts,
    RollingOrigin,
    outcomes,
    score,
    score_by_step,
    walk_forward,
)
from forecasting.intervals import calibrate, quantile_pair
from forecasting.models.baselines import BASELINES
from forecasting.panel import FloatArray
from forecasting.preparation import Panel, Part
from forecasting.serving import ForecastNumbers, LoadedModel

MODEL = "model"


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How a model did on the test part, beside the baselines on the same folds.

    Attributes:
        metrics: Method (`model` and each baseline) -> loss -> value, the mean over the series.
        metrics_by_step: The same for each step alone, the first step first.
        skill: Baseline -> 1 - loss / loss of the baseline.
        skill_by_step: The same for each step alone, shape (horizon,) each.
        calibration_curve: Central level -> share of outcomes within, in percent, over all steps.
        folds: Method -> forecasts of the folds of the first series.
        fold_count: Folds over all series.
    """

    metrics: dict[str, dict[str, float]]
    metrics_by_step: dict[str, list[dict[str, float]]]
    skill: dict[str, float]
    skill_by_step: dict[str, list[float]]
    calibration_curve: dict[float, float]
    folds: dict[str, FoldForecasts]
    fold_count: int


def conformal_scores(model: LoadedModel, panel: Panel, parts: Sequence[Part]) -> FloatArray:
    """Return the scores of a model on the cutoffs of one part, shape (folds, horizon)."""
    recipe = model.recipe
    target = recipe.columns.index(recipe.target)
    found = []
    for series, cutoffs in parts:
        values = panel.values[series]
        windows = [values[cutoff - recipe.window_size + 1 : cutoff + 1] for cutoff in cutoffs]
        y = outcomes(values[:, target], cutoffs, recipe.horizon)
        found += [model.score(middle, outcome) for middle, outcome in zip(model.middles(windows), y, strict=True)]
    return np.array(found)


def median_weight(model: LoadedModel, panel: Panel, parts: Sequence[Part]) -> float:
    """Return the share of the graph's median that made the absolute error on the validation part least."""
    recipe = model.recipe
    target = recipe.columns.index(recipe.target)
    changes, actual = [], []
    for series, cutoffs in parts:
        values = panel.values[series]
        working = model.working(values[:, target])
        windows = [values[cutoff - recipe.window_size + 1 : cutoff + 1] for cutoff in cutoffs]
        changes += [middle.change for middle in model.middles(windows)]
        actual.append(outcomes(working, cutoffs, recipe.horizon) - working[cutoffs][:, None])
    change, outcome = np.array(changes), np.concatenate(actual)
    weights = np.linspace(0.0, 1.0, 21)
    errors = [float(np.mean(np.abs(outcome - weight * change))) for weight in weights]
    return round(float(weights[int(np.argmin(errors))]), 2)


def baseline_recipe(recipe: Recipe, name: str) -> Recipe:
    """Return the recipe of a baseline on the same series, with a window that holds a season."""
    return msgspec.structs.replace(
        recipe,
        algorithm=name,
        window_size=recipe.baseline_rows,
        features=(),
        has_volatility_input=False,
        quantiles=(),
        hyperparameters={},
    )


def evaluate(
    recipe: Recipe,
    graph: bytes | None,
    panel: Panel,
    *,
    calibration: Sequence[Part],
    test: Sequence[Part],
    levels: Sequence[float],
) -> Evaluation:
    """Return how a model and the baselines, all calibrated on the calibration part, did on the test part."""
    asked = sorted({*levels, *SCORED_LEVELS})
    methods = {MODEL: (recipe, graph), **{name: (baseline_recipe(recipe, name), None) for name in BASELINES}}
    folds: dict[str, list[FoldForecasts]] = {}
    for method, (part, part_graph) in methods.items():
        draft = LoadedModel.load(part, part_graph)
        intervals = calibrate(conformal_scores(draft, panel, calibration), levels)
        calibrated = LoadedModel.load(msgspec.structs.replace(part, intervals=intervals), part_graph)
        folds[method] = [_fold_forecasts(calibrated, panel, one, asked) for one in test]
    scales = [_scale(recipe, panel, one, calibration) for one in test]
    metrics = {
        method: _mean([score(one, levels, scale) for one, scale in zip(parts, scales, strict=True)])
        for method, parts in folds.items()
    }
    by_step = {
        method: _mean_by_step([score_by_step(one, levels, scale) for one, scale in zip(parts, scales, strict=True)])
        for method, parts in folds.items()
    }
    return Evaluation(
        metrics=metrics,
        metrics_by_step=by_step,
        skill={name: _skill(metrics[MODEL], metrics[name]) for name in BASELINES},
        skill_by_step={
            name: [_skill(*pair) for pair in zip(by_step[MODEL], by_step[name], strict=True)] for name in BASELINES
        },
        calibration_curve={level: _coverage(folds[MODEL], level) for level in asked},
        folds={method: parts[0] for method, parts in folds.items()},
        fold_count=sum(len(one.cutoffs) for one in folds[MODEL]),
    )


def _fold_forecasts(model: LoadedModel, panel: Panel, part: Part, levels: Sequence[float]) -> FoldForecasts:
    recipe = model.recipe
    cutoffs = part.cutoffs
    plan = RollingOrigin(
        first_cutoff=int(cutoffs[0]),
        last_cutoff=int(cutoffs[-1]),
        stride=int(cutoffs[1] - cutoffs[0]) if len(cutoffs) > 1 else 1,
        horizon=recipe.horizon,
    )

    def forecast(history: FloatArray) -> ForecastNumbers:
        return model.forecast([history[-recipe.window_size :]], recipe.horizon, levels)[0]

    # The fit ended before the calibration part began: there is nothing to learn again.
    return walk_forward(panel.values[part.series], recipe.columns.index(recipe.target), plan, lambda _: forecast)


def _scale(recipe: Recipe, panel: Panel, part: Part, calibration: Sequence[Part]) -> float:
    """Return the scale of MASE: from what was known before the calibration part, or before the test part."""
    starts = [int(one.cutoffs[0]) for one in calibration if one.series == part.series] or [int(part.cutoffs[0])]
    history = panel.values[part.series][: starts[0], recipe.columns.index(recipe.target)]
    return losses.seasonal_scale(history, recipe.season_length)


def _mean(scores: Sequence[dict[str, float]]) -> dict[str, float]:
    names = [name for name in scores[0] if all(name in one for one in scores)]
    return {name: float(np.mean([one[name] for one in scores])) for name in names}


def _mean_by_step(scores: Sequence[list[dict[str, float]]]) -> list[dict[str, float]]:
    return [_mean(step) for step in zip(*scores, strict=True)]


def _skill(metrics: dict[str, float], baseline: dict[str, float]) -> float:
    """Return the skill by MASE, which compares between series, or by the absolute error where MASE has no scale."""
    name = "mase" if "mase" in metrics and "mase" in baseline else "mae"
    return losses.skill(metrics[name], baseline[name])


def _coverage(folds: Sequence[FoldForecasts], level: float) -> float:
    lower, upper = quantile_pair(level)
    return float(np.mean([losses.coverage(one.y, one.quantiles[lower], one.quantiles[upper]) for one in folds]))
