"""An ensemble in training: its members' drafts put together, and what it learns on folds that no member's fit saw.

The weights of stacking and the spreads of the members come from the calibration folds, never from the test part. The
scores from which the ensemble's own bands are made come from weights that other folds gave: a fold that had a say in
the weights would call the bands too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from forecasting.artefact import Recipe
from forecasting.ensemble import combine
from forecasting.errors import InvalidTraining
from forecasting.folds import Cut
from forecasting.intervals import Intervals, calibrate
from forecasting.models.ensemble_graph import merged
from forecasting.models.fitting import Fitted
from forecasting.models.registry import hyperparameters_of
from forecasting.panel import FloatArray
from forecasting.preparation import draft_recipe
from forecasting.stacking import stacked_weights
from forecasting.training_panel import Panel
from forecasting.training_spec import TrainingSpec

if TYPE_CHECKING:
    from forecasting.fits import Draft
    from forecasting.residuals import Residuals

#: Half of this band is what members' spreads are compared by.
_SPREAD_LEVEL = 80.0
_LEAST_SPREAD = 1e-9
_PIECES = 3


def combined_draft(spec: TrainingSpec, panel: Panel, cut: Cut, drafts: Sequence[Draft]) -> tuple[Recipe, Fitted | None]:
    """Return the recipe of an ensemble, its members weighted alike, and all their graphs in one.

    Raises:
        InvalidTraining: ``invalid-training``: a member forecasts directions, which are no values to combine.
    """
    members = tuple(draft.recipe for draft in drafts)
    for member in members:
        if member.output != "quantiles":
            raise InvalidTraining(
                "invalid-training",
                field="candidates",
                expected="members that forecast values",
                found=f"{member.algorithm}, which forecasts directions",
            )
    hyperparameters = hyperparameters_of(spec.algorithm, spec.hyperparameters)
    recipe = msgspec.structs.replace(
        draft_recipe(spec, panel, cut.fit, hyperparameters, None),
        window_size=max(member.window_size for member in members),
        members=members,
        weights=() if hyperparameters["combination"] == "median" else (1.0 / len(members),) * len(members),
        member_spreads=((1.0,) * spec.horizon,) * len(members),
    )
    graph = merged([draft.graph for draft in drafts])
    if graph is None:
        return recipe, None
    count = sum(draft.fitted.parameter_count for draft in drafts if draft.fitted is not None)
    return recipe, Fitted(graph, parameter_count=count)


def calibrated_ensemble(recipe: Recipe, members: Sequence[Residuals], levels: Sequence[float]) -> Recipe:
    """Return the recipe with weights, spreads and bands that folds of the backtest support.

    Args:
        recipe: From `combined_draft`.
        members: What each member forecast for the folds, in the order of time within a series.
        levels: That must be supported.
    """
    shares = [one.best_weight() if draft.quantiles else 1.0 for draft, one in zip(recipe.members, members, strict=True)]
    errors = np.stack([one.outcome - share * one.change for one, share in zip(members, shares, strict=True)])
    widths = [_half_band(one.scores(share)) for one, share in zip(members, shares, strict=True)]
    spread = combine(np.stack([one.spread for one in members]) * np.stack(widths)[:, None], recipe.weights)
    weights, combined = recipe.weights, combine(errors, recipe.weights)
    if recipe.hyperparameters["combination"] == "stacking":
        weights = _weights(errors)
        combined = _by_others(errors)
        spread = combine(np.stack([one.spread for one in members]) * np.stack(widths)[:, None], weights)
    return msgspec.structs.replace(
        recipe,
        members=tuple(
            msgspec.structs.replace(draft, median_weight=share)
            for draft, share in zip(recipe.members, shares, strict=True)
        ),
        weights=weights,
        member_spreads=tuple(tuple(float(width) for width in one) for one in widths),
        intervals=calibrate(combined / spread, levels),
    )


def _weights(errors: FloatArray) -> tuple[float, ...]:
    """Return stacking weights: the error of a combination whose weights sum to 1 is the combination of the errors."""
    flat = errors.reshape(len(errors), -1)
    return tuple(float(weight) for weight in stacked_weights(flat, np.zeros(flat.shape[1])))


def _by_others(errors: FloatArray) -> FloatArray:
    """Return the errors of the combination, each fold with the weights that the other pieces of the folds give."""
    folds = errors.shape[1]
    if folds < 2 * _PIECES:
        return combine(errors, (1.0 / len(errors),) * len(errors))
    found = np.empty(errors.shape[1:])
    for piece in np.array_split(np.arange(folds), _PIECES):
        others = np.setdiff1d(np.arange(folds), piece)
        found[piece] = combine(errors[:, piece], _weights(errors[:, others]))
    return found


def _half_band(scores: FloatArray) -> FloatArray:
    """Return half of a member's calibrated band in units of its spread, shape (horizon,), positive."""
    intervals = Intervals(calibrate(scores))
    lower, upper = intervals.bounds(min(_SPREAD_LEVEL, _highest(len(scores))))
    return np.asarray([float(f"{max(width, _LEAST_SPREAD):.7g}") for width in (upper - lower) / 2], dtype=np.float64)


def _highest(folds: int) -> float:
    """Return the highest level that so few folds support, with scores of one size."""
    return 100.0 * (1 - 1 / (folds + 1))
