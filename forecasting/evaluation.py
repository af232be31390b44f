"""Forecast folds that a fit did not see, calibrate on them, and score later ones beside the baselines."""

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
    gather,
    outcomes,
    score,
    score_by_step,
)
from forecasting.folds import Part
from forecasting.intervals import calibrate, quantile_pair
from forecasting.models.baselines import BASELINES
from forecasting.panel import FloatArray
from forecasting.preparation import Panel
from forecasting.serving import LoadedModel

MODEL = "model"
_WEIGHTS = np.linspace(0.0, 1.0, 21)


@dataclass(frozen=True, kw_only=True)
class Residuals:
    """What a model forecast for folds and what happened, in the working unit, shape (folds, horizon) each.

    Attributes:
        change: The median's change from the anchor, with the whole weight of the graph.
        outcome: The change from the anchor that happened.
        spread: What a score of 1 stands for.
    """

    change: FloatArray
    outcome: FloatArray
    spread: FloatArray

    def scores(self, weight: float) -> FloatArray:
        """Return the conformal scores when the graph's median has this weight."""
        return (self.outcome - weight * self.change) / self.spread

    def best_weight(self) -> float:
        """Return the weight of the graph's median with the least absolute error; the rest is the last value."""
        errors = [float(np.mean(np.abs(self.outcome - weight * self.change))) for weight in _WEIGHTS]
        return round(float(_WEIGHTS[int(np.argmin(errors))]), 2)


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


def residuals_of(model: LoadedModel, panel: Panel, parts: Sequence[Part]) -> Residuals:
    """Return what a model whose median has the weight 1 forecasts for folds."""
    recipe = model.recipe
    target = recipe.columns.index(recipe.target)
    changes, actual, spreads = [], [], []
    for series, cutoffs in parts:
        values = panel.values[series]
        middles = model.middles([panel.window(recipe, series, int(cutoff)) for cutoff in cutoffs])
        y = model.working(outcomes(values[:, target], cutoffs, recipe.horizon))
        actual.append(y - model.working(np.array([middle.anchor for middle in middles])))
        changes += [middle.change for middle in middles]
        spreads += [middle.spread for middle in middles]
    return Residuals(change=np.array(changes), outcome=np.concatenate(actual), spread=np.array(spreads))


def joined(residuals: Sequence[Residuals]) -> Residuals:
    """Return the folds of several blocks together."""
    return Residuals(
        change=np.concatenate([part.change for part in residuals]),
        outcome=np.concatenate([part.outcome for part in residuals]),
        spread=np.concatenate([part.spread for part in residuals]),
    )


def calibrated(recipe: Recipe, residuals: Residuals, levels: Sequence[float]) -> Recipe:
    """Return a recipe with the median's weight and the bands that folds of the backtest support."""
    weight = residuals.best_weight() if recipe.quantiles else 1.0
    intervals = calibrate(residuals.scores(weight), (*levels, *SCORED_LEVELS))
    return msgspec.structs.replace(recipe, median_weight=weight, intervals=intervals)


def baseline_recipe(recipe: Recipe, name: str) -> Recipe:
    """Return the recipe of a baseline on the same series, with a window that holds a season."""
    return msgspec.structs.replace(
        recipe,
        algorithm=name,
        window_size=recipe.baseline_rows,
        features=(),
        has_volatility_input=False,
        quantiles=(),
        median_weight=1.0,
        statistical=None,
        hyperparameters={},
    )


def evaluate(
    model: LoadedModel, panel: Panel, *, calibration: Sequence[Part], test: Sequence[Part], levels: Sequence[float]
) -> Evaluation:
    """Return how a calibrated model did on the test part, beside baselines that are calibrated on the same folds.

    The baselines' drift and volatility are those of the model's recipe: estimated from all that came before the test.
    """
    asked = sorted({*levels, *SCORED_LEVELS})
    methods = {MODEL: model}
    for name in BASELINES:
        recipe = baseline_recipe(model.recipe, name)
        residuals = residuals_of(LoadedModel.load(recipe, None), panel, calibration)
        methods[name] = LoadedModel.load(calibrated(recipe, residuals, levels), None)
    folds = {method: [_fold_forecasts(one, panel, part, asked) for part in test] for method, one in methods.items()}
    scales = [_scale(model.recipe, panel, part) for part in test]
    metrics, by_step = {}, {}
    for method, parts in folds.items():
        pairs = list(zip(parts, scales, strict=True))
        metrics[method] = _mean([score(one, levels, scale) for one, scale in pairs])
        steps = zip(*(score_by_step(one, levels, scale) for one, scale in pairs), strict=True)
        by_step[method] = [_mean(step) for step in steps]
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
    """Return the forecasts of folds by a model that was fitted before the first of them."""
    recipe = model.recipe
    windows = [panel.window(recipe, part.series, int(cutoff)) for cutoff in part.cutoffs]
    target = panel.values[part.series][:, recipe.columns.index(recipe.target)]
    forecasts = model.forecast(windows, recipe.horizon, levels)
    return gather(part.cutoffs, outcomes(target, part.cutoffs, recipe.horizon), forecasts)


def _scale(recipe: Recipe, panel: Panel, part: Part) -> float:
    """Return the scale of MASE, from what was known before the test part."""
    history = panel.values[part.series][: int(part.cutoffs[0]), recipe.columns.index(recipe.target)]
    return losses.seasonal_scale(history, recipe.season_length)


def _mean(scores: Sequence[dict[str, float]]) -> dict[str, float]:
    names = [name for name in scores[0] if all(name in one for one in scores)]
    return {name: float(np.mean([one[name] for one in scores])) for name in names}


def _skill(metrics: dict[str, float], baseline: dict[str, float]) -> float:
    """Return the skill by MASE, which compares between series, or by the absolute error where MASE has no scale."""
    name = "mase" if "mase" in metrics and "mase" in baseline else "mae"
    return losses.skill(metrics[name], baseline[name])


def _coverage(folds: Sequence[FoldForecasts], level: float) -> float:
    lower, upper = quantile_pair(level)
    return float(np.mean([losses.coverage(one.y, one.quantiles[lower], one.quantiles[upper]) for one in folds]))
