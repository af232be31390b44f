"""How candidates are judged on folds that precede the test part: each by what was known before the fold.

What is learnt on folds beside the fit itself (how much of a graph's median to believe, the weights of a combination)
is learnt here as time passes: the folds are cut into pieces by time, and a piece is forecast with what the folds
whose outcomes were known before it teach. So a candidate is judged as it would have served, not as the best that could
be said of it afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from forecasting import losses
from forecasting.backtest import outcomes
from forecasting.folds import Part
from forecasting.panel import FloatArray, IntArray
from forecasting.residuals import DOUBT, Residuals, histories_of
from forecasting.serving import LoadedModel
from forecasting.significance import FoldValues, mean_of
from forecasting.stacking import stacked_weights
from forecasting.training_panel import Panel

_PIECES = 4
#: So few known folds teach nothing about a weight.
_LEAST_KNOWN = 20


@dataclass(frozen=True, kw_only=True)
class Folds:
    """The folds that candidates are judged on, over all series.

    Attributes:
        series: Index of the series, shape (folds,).
        cutoff: UTC seconds of the cutoff, shape (folds,).
        known_at: UTC seconds of the last target, shape (folds,).
        y: What happened, in the unit of the target, shape (folds, horizon).
        scale: `losses.seasonal_scale` of the rows before the first fold, by series.
        is_log: Whether the working unit is the logarithm.
    """

    series: IntArray
    cutoff: IntArray
    known_at: IntArray
    y: FloatArray
    scale: Mapping[int, float]
    is_log: bool

    def working(self, values: FloatArray) -> FloatArray:
        """Return values of the target in the working unit."""
        return np.log(values) if self.is_log else values

    def pieces(self) -> list[tuple[IntArray, IntArray]]:
        """Return for each piece, by time, its folds and those that were known before its first cutoff."""
        edges = np.quantile(self.cutoff, np.linspace(0, 1, _PIECES + 1)[1:-1], method="lower")
        piece = np.searchsorted(edges, self.cutoff, side="left")
        found = []
        for number in range(_PIECES):
            folds = np.flatnonzero(piece == number)
            if len(folds):
                found.append((folds, np.flatnonzero(self.known_at <= self.cutoff[folds].min())))
        return found


@dataclass(frozen=True, kw_only=True)
class Forecasts:
    """What a candidate forecast for folds, in the working unit, shape (folds, horizon) each.

    Attributes:
        anchor: What the change comes on top of.
        change: With the whole weight of the graph.
        has_weight: Whether a weight of the change is learnt, as for a graph.
    """

    anchor: FloatArray
    change: FloatArray
    has_weight: bool


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """How a candidate did on the folds that were judged.

    Attributes:
        loss: Mean absolute scaled error, the mean over the series; by the absolute error where no series has a scale.
        mae: Mean absolute error in the unit of the target, the mean over the series.
        mase: As the loss; ``None`` where no series has a scale.
        folds: How many were judged.
    """

    loss: float
    mae: float
    mase: float | None
    folds: int


def folds_of(panel: Panel, target: int, parts: Sequence[Part], *, horizon: int, season: int) -> Folds:
    """Return the folds of parts in their order; a series may have several."""
    first: dict[int, int] = {}
    for series, cutoffs in parts:
        first[series] = min(first.get(series, int(cutoffs[0])), int(cutoffs[0]))
    times = [panel.series[series].time for series, _ in parts]
    return Folds(
        series=np.concatenate([np.full(len(cutoffs), series) for series, cutoffs in parts]),
        cutoff=np.concatenate([time[cutoffs] for time, (_, cutoffs) in zip(times, parts, strict=True)]),
        known_at=np.concatenate([time[cutoffs + horizon] for time, (_, cutoffs) in zip(times, parts, strict=True)]),
        y=np.concatenate([outcomes(panel.values[series][:, target], cutoffs, horizon) for series, cutoffs in parts]),
        scale={s: losses.seasonal_scale(panel.values[s][:row, target], season) for s, row in first.items()},
        is_log=all((values[:, target] > 0).all() for values in panel.values),
    )


def forecasts_of(model: LoadedModel, panel: Panel, parts: Sequence[Part]) -> Forecasts:
    """Return what a model whose median has the weight 1 forecasts for the folds of parts, in their order."""
    middle = model.middles_at(histories_of(model, panel, parts))
    return Forecasts(anchor=model.working(middle.anchor), change=middle.change, has_weight=bool(model.recipe.quantiles))


def joined(forecasts: Sequence[Forecasts]) -> Forecasts:
    """Return the forecasts of several blocks of folds together."""
    return Forecasts(
        anchor=np.concatenate([part.anchor for part in forecasts]),
        change=np.concatenate([part.change for part in forecasts]),
        has_weight=forecasts[0].has_weight,
    )


def served(forecasts: Forecasts, folds: Folds) -> FloatArray:
    """Return the medians in the working unit as they would have been served, shape (folds, horizon)."""
    medians = forecasts.anchor + forecasts.change
    if not forecasts.has_weight:
        return medians
    outcome = folds.working(folds.y) - forecasts.anchor
    for piece, known in folds.pieces():
        if len(known) >= _LEAST_KNOWN:
            learnt = Residuals(
                change=forecasts.change[known],
                outcome=outcome[known],
                spread=np.ones_like(outcome[known]),
                series=folds.series[known],
                starts=folds.cutoff[known],
                ends=folds.known_at[known],
            )
            medians[piece] = forecasts.anchor[piece] + learnt.best_weight() * forecasts.change[piece]
    return medians


def combined(medians: Sequence[FloatArray], folds: Folds, combination: str) -> FloatArray:
    """Return the combination of members' medians as it would have been served, shape (folds, horizon).

    Args:
        medians: From `served`, of each member.
        folds: That they are of.
        combination: ``mean``, ``median`` or ``stacking``, whose weights are learnt as time passes.
    """
    members = np.stack(medians)
    if combination == "median":
        return np.asarray(np.median(members, axis=0), dtype=np.float64)
    result = np.mean(members, axis=0)
    if combination == "stacking":
        y = folds.working(folds.y)
        for piece, known in folds.pieces():
            if len(known) >= _LEAST_KNOWN:
                weights = stacked_weights(members[:, known].reshape(len(members), -1), y[known].reshape(-1))
                result[piece] = np.tensordot(weights, members[:, piece], axes=1)
    return np.asarray(result, dtype=np.float64)


def judged(medians: FloatArray, folds: Folds) -> Judgement:
    """Return how medians in the working unit did on the folds that are judged."""
    chosen = _judged_folds(folds)
    errors, series = _errors(medians, folds, chosen), folds.series[chosen]
    by_series = {int(one): float(np.mean(errors[series == one])) for one in np.unique(series)}
    scaled = [error / folds.scale[one] for one, error in by_series.items() if folds.scale[one] > 0]
    mae = float(np.mean(list(by_series.values())))
    mase = float(np.mean(scaled)) if scaled else None
    return Judgement(loss=mae if mase is None else mase, mae=mae, mase=mase, folds=len(chosen))


def is_chance(better: FloatArray, simpler: FloatArray, folds: Folds) -> bool:
    """Return whether one forecast may be better than a simpler one by chance alone.

    It may where the mean gain over the judged folds is less than two of its standard errors, which allow for folds
    that overlap and series that move together. Folds that are too few to tell the error never say so.

    Args:
        better: Medians in the working unit with the lesser loss, shape (folds, horizon).
        simpler: Those of the simpler forecast.
        folds: That both are of.
    """
    chosen = _judged_folds(folds)
    scale = np.array([folds.scale[int(one)] for one in folds.series[chosen]])
    gains = np.mean(_errors(simpler, folds, chosen) - _errors(better, folds, chosen), axis=1)
    gains /= np.where(scale > 0, scale, 1.0)
    gain = mean_of(FoldValues(gains, folds.cutoff[chosen], folds.known_at[chosen], folds.series[chosen]))
    return gain is not None and gain.value <= DOUBT * gain.error


def _judged_folds(folds: Folds) -> IntArray:
    """Return the folds that are judged.

    The first piece is not where the later ones had folds to learn from: no candidate could have learnt there what it
    is then served with.
    """
    pieces = folds.pieces()
    if len(pieces) > 1 and len(pieces[1][1]) >= _LEAST_KNOWN:
        return np.concatenate([piece for piece, _ in pieces[1:]])
    return np.arange(len(folds.y))


def _errors(medians: FloatArray, folds: Folds, chosen: IntArray) -> FloatArray:
    with np.errstate(over="ignore"):
        return np.abs(folds.y[chosen] - (np.exp(medians[chosen]) if folds.is_log else medians[chosen]))
