"""Forecast folds that a fit did not see, calibrate on them, and score later ones beside the baselines."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

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
from forecasting.comparison import MODEL, Judged, compare
from forecasting.folds import Part
from forecasting.forecasters import Middle
from forecasting.intervals import calibrate, quantile_pair
from forecasting.models.baselines import BASELINES
from forecasting.panel import FloatArray, IntArray
from forecasting.serving import LoadedModel
from forecasting.significance import FoldValues, mean_of
from forecasting.training_panel import Panel

_WEIGHTS = np.linspace(0.0, 1.0, 21)
#: A gain that is not this many of its standard errors is not believed.
DOUBT = 2.0

#: Cutoffs of the fit or validation part that are forecast again to say how well it was learnt, over all series.
_SEEN_FOLDS = 500
#: What is told of such a part, of the first step, and of every step.
_OF_PART = ("mae", "rmse", "mape", "r2")
_OF_FIRST_STEP = ("mape", "rmse", "r2")
_BY_STEP = ("mae", "coverage-", "direction-accuracy", "dm-p-value-")


@dataclass(frozen=True, kw_only=True)
class Residuals:
    """What a model forecast for folds and what happened, in the working unit, shape (folds, horizon) each.

    Attributes:
        change: The median's change from the anchor, with the whole weight of the graph.
        outcome: The change from the anchor that happened.
        spread: What a score of 1 stands for.
        series: Index of the series of each fold, shape (folds,).
        starts: UTC seconds of the cutoff, shape (folds,).
        ends: UTC seconds of the last outcome, shape (folds,).
        members: The same of each member of an ensemble.
    """

    change: FloatArray
    outcome: FloatArray
    spread: FloatArray
    series: IntArray
    starts: IntArray
    ends: IntArray
    members: tuple[Residuals, ...] = ()

    def scores(self, weight: float) -> FloatArray:
        """Return the conformal scores when the graph's median has this weight."""
        return (self.outcome - weight * self.change) / self.spread

    def best_weight(self) -> float:
        """Return how much of the graph's median to believe; the rest is the anchor.

        The weight with the least absolute error, shrunk by the part of its gain that chance could be: 1 - (2 standard
        errors / gain)^2, and 0 where that is negative (the positive-part estimator of James and Stein, "Estimation
        with quadratic loss", 1961). Folds too few to tell the error of the gain leave the weight as it is.
        """
        by_weight = [np.abs(self.outcome - weight * self.change).mean(axis=1) for weight in _WEIGHTS]
        best = int(np.argmin([np.mean(one) for one in by_weight]))
        weight, gains = float(_WEIGHTS[best]), by_weight[0] - by_weight[best]
        gain = mean_of(
            [FoldValues(gains[own], self.starts[own], self.ends[own]) for own in map(self._of, np.unique(self.series))]
        )
        if gain is None or weight == 0:
            return round(weight, 2)
        share = 1 - (DOUBT * gain.error / gain.value) ** 2 if gain.value > 0 else 0.0
        return round(weight * max(share, 0.0), 2)

    def _of(self, series: int) -> IntArray:
        return np.flatnonzero(self.series == series)


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
        parts: `train` and `validation` -> what the tested model says of cutoffs that its own fit has learnt from and
            stopped by, in the first series; empty for a model that was not asked.
    """

    metrics: dict[str, dict[str, float]]
    metrics_by_step: dict[str, list[dict[str, float]]]
    skill: dict[str, float]
    skill_by_step: dict[str, list[float]]
    calibration_curve: dict[float, float]
    folds: dict[str, FoldForecasts]
    fold_count: int
    parts: dict[str, FoldForecasts]

    @property
    def released(self) -> dict[str, dict[str, float]]:
        """The metrics over all steps, and beside them what is told of each step alone, as ``mae-step-1``."""
        return {
            method: metrics
            | {
                f"{name}-step-{step}": value
                for step, found in enumerate(self.metrics_by_step[method], start=1)
                for name, value in found.items()
                if name.startswith(_BY_STEP) or (step == 1 and name in _OF_FIRST_STEP)
            }
            for method, metrics in self.metrics.items()
        }


def residuals_of(model: LoadedModel, panel: Panel, parts: Sequence[Part]) -> Residuals:
    """Return what a model whose median has the weight 1 forecasts for folds."""
    windows = [panel.window(model.recipe, series, int(cutoff)) for series, cutoffs in parts for cutoff in cutoffs]
    found = _residuals(model, panel, parts, model.middles(windows))
    if not model.recipe.members:
        return found
    by_member = zip(*(model.member_middles(window) for window in windows), strict=True)
    members = tuple(_residuals(model, panel, parts, middles) for middles in by_member)
    return dataclasses.replace(found, members=members)


def _residuals(model: LoadedModel, panel: Panel, parts: Sequence[Part], middles: Sequence[Middle]) -> Residuals:
    recipe = model.recipe
    target = recipe.columns.index(recipe.target)
    times = [panel.series[series].time for series, _ in parts]
    y = [outcomes(panel.values[series][:, target], cutoffs, recipe.horizon) for series, cutoffs in parts]
    return Residuals(
        change=np.array([middle.change for middle in middles]),
        outcome=model.working(np.concatenate(y)) - model.working(np.array([middle.anchor for middle in middles])),
        spread=np.array([middle.spread for middle in middles]),
        series=np.concatenate([np.full(len(cutoffs), series) for series, cutoffs in parts]),
        starts=np.concatenate([time[cutoffs] for time, (_, cutoffs) in zip(times, parts, strict=True)]),
        ends=np.concatenate([time[cutoffs + recipe.horizon] for time, (_, cutoffs) in zip(times, parts, strict=True)]),
    )


def joined(residuals: Sequence[Residuals]) -> Residuals:
    """Return the folds of several blocks together."""
    return Residuals(
        change=np.concatenate([part.change for part in residuals]),
        outcome=np.concatenate([part.outcome for part in residuals]),
        spread=np.concatenate([part.spread for part in residuals]),
        series=np.concatenate([part.series for part in residuals]),
        starts=np.concatenate([part.starts for part in residuals]),
        ends=np.concatenate([part.ends for part in residuals]),
        members=tuple(joined(parts) for parts in zip(*(part.members for part in residuals), strict=True)),
    )


def calibrated(recipe: Recipe, residuals: Residuals, levels: Sequence[float]) -> Recipe:
    """Return a recipe with the median's weight and the bands that folds of the backtest support."""
    if recipe.members:
        from forecasting.combining import calibrated_ensemble  # noqa: PLC0415  # only an ensemble pays for onnx

        return _adapting(calibrated_ensemble(recipe, residuals.members, levels), recipe, residuals)
    weight = residuals.best_weight() if recipe.quantiles else 1.0
    intervals = calibrate(residuals.scores(weight), (*levels, *SCORED_LEVELS))
    return _adapting(msgspec.structs.replace(recipe, median_weight=weight, intervals=intervals), recipe, residuals)


def _adapting(found: Recipe, draft: Recipe, residuals: Residuals) -> Recipe:
    """Return a calibrated recipe whose bands adapt, from its last fold on, where its draft says so."""
    adaptation = draft.intervals.adaptation
    if adaptation is None or found.intervals.few_folds:
        return found
    # The fits that were calibrated know no later row than the last outcome of these folds.
    following = msgspec.structs.replace(adaptation, known_until=int(residuals.ends.max()))
    return msgspec.structs.replace(found, intervals=msgspec.structs.replace(found.intervals, adaptation=following))


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
        members=(),
        weights=(),
        member_spreads=(),
        hyperparameters={},
    )


def evaluate(
    model: LoadedModel,
    panel: Panel,
    *,
    calibration: Sequence[Part],
    test: Sequence[Part],
    levels: Sequence[float],
    seen: Mapping[str, Sequence[Part]] = MappingProxyType({}),
) -> Evaluation:
    """Return how a calibrated model did on the test part, beside baselines that are calibrated on the same folds.

    The baselines' drift and volatility are those of the model's recipe: estimated from all that came before the test.

    Args:
        model: Fitted and calibrated on what lies before the test part.
        panel: The series.
        calibration: The folds that the model's bands were calibrated on.
        test: The folds that it is judged by.
        levels: Central levels whose bands are told, in percent.
        seen: Name (`train`, `validation`) -> cutoffs that the fit has seen, whose metrics stand apart from the test.
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
    judged = [
        Judged(
            folds={method: parts[index] for method, parts in folds.items()},
            time=panel.series[part.series].time,
            scale=scale,
        )
        for index, (part, scale) in enumerate(zip(test, scales, strict=True))
    ]
    for method, found in compare(judged).items():
        metrics[method] |= found
    for step in range(1, model.horizon + 1):
        for method, found in compare(judged, step).items():
            by_step[method][step - 1] |= found
    known = {name: _seen_folds(model, panel, parts) for name, parts in seen.items()}
    for name, of_part in known.items():
        metrics[MODEL] |= {f"{name}-{loss}": value for loss, value in _part_metrics(of_part).items()}
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
        parts={name: of_part[0] for name, of_part in known.items() if of_part},
    )


def _seen_folds(model: LoadedModel, panel: Panel, parts: Sequence[Part]) -> list[FoldForecasts]:
    """Return what the model says of cutoffs that its fit has seen, evenly thinned: there are many, and they cost."""
    whole = [Part(series, cutoffs[cutoffs >= model.window_size - 1]) for series, cutoffs in parts]
    count = sum(len(part.cutoffs) for part in whole)
    stride = max(math.ceil(count / _SEEN_FOLDS), 1)
    return [
        _fold_forecasts(model, panel, Part(series, cutoffs[::-1][::stride][::-1]), ())
        for series, cutoffs in whole
        if len(cutoffs)
    ]


def _part_metrics(folds: Sequence[FoldForecasts]) -> dict[str, float]:
    if not folds:
        return {}
    found = _mean([score(one, (), float("nan")) for one in folds])
    return {name: found[name] for name in _OF_PART if name in found}


def _fold_forecasts(model: LoadedModel, panel: Panel, part: Part, levels: Sequence[float]) -> FoldForecasts:
    """Return the forecasts of folds by a model that was fitted before the first of them."""
    recipe = model.recipe
    rows = recipe.history_rows
    windows = [panel.window(recipe, part.series, int(cutoff), rows) for cutoff in part.cutoffs]
    target = panel.values[part.series][:, recipe.columns.index(recipe.target)]
    forecasts = model.forecast(windows, recipe.horizon, levels)
    y = outcomes(target, part.cutoffs, recipe.horizon)
    return gather(part.cutoffs, y, forecasts, last=target[part.cutoffs])


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
