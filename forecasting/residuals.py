"""What a model forecast for folds that its fit did not see, beside what happened, and the calibration on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from forecasting.artefact import Recipe
from forecasting.backtest import SCORED_LEVELS, outcomes
from forecasting.features_history import History
from forecasting.folds import Part
from forecasting.forecasters import Middle
from forecasting.intervals import calibrate
from forecasting.panel import FloatArray, IntArray
from forecasting.serving import LoadedModel
from forecasting.significance import FoldValues, mean_of
from forecasting.training_panel import Panel

_WEIGHTS = np.linspace(0.0, 1.0, 21)
#: A gain that is not this many of its standard errors is not believed.
DOUBT = 2.0


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
        gain = mean_of(FoldValues(gains, self.starts, self.ends, self.series))
        if gain is None or weight == 0:
            return round(weight, 2)
        share = 1 - (DOUBT * gain.error / gain.value) ** 2 if gain.value > 0 else 0.0
        return round(weight * max(share, 0.0), 2)


def residuals_of(model: LoadedModel, panel: Panel, parts: Sequence[Part]) -> Residuals:
    """Return what a model whose median has the weight 1 forecasts for folds."""
    return _residuals(model, panel, parts, model.middles_at(histories_of(model, panel, parts)))


def histories_of(model: LoadedModel, panel: Panel, parts: Sequence[Part]) -> list[tuple[History, IntArray]]:
    """Return the series of parts as a model reads them, each with its cutoffs."""
    return [(panel.history(model.recipe, series), cutoffs) for series, cutoffs in parts]


def _residuals(model: LoadedModel, panel: Panel, parts: Sequence[Part], middle: Middle) -> Residuals:
    recipe = model.recipe
    target = recipe.columns.index(recipe.target)
    times = [panel.series[series].time for series, _ in parts]
    y = [outcomes(panel.values[series][:, target], cutoffs, recipe.horizon) for series, cutoffs in parts]
    return Residuals(
        change=middle.change,
        outcome=model.working(np.concatenate(y)) - model.working(middle.anchor),
        spread=middle.spread,
        series=series_of(parts),
        starts=np.concatenate([time[cutoffs] for time, (_, cutoffs) in zip(times, parts, strict=True)]),
        ends=np.concatenate([time[cutoffs + recipe.horizon] for time, (_, cutoffs) in zip(times, parts, strict=True)]),
        members=tuple(_residuals(model, panel, parts, member) for member in middle.members),
    )


def series_of(parts: Sequence[Part]) -> IntArray:
    """Return the index of the series of each fold of parts, shape (folds,)."""
    return np.repeat([part.series for part in parts], [len(part.cutoffs) for part in parts])


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
