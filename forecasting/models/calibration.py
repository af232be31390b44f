"""From the score of a classifier to a probability that can be believed, learnt on examples that the fit did not see.

A score is a log-odds. `sigmoid` is Platt's ("Probabilistic outputs for support vector machines", 1999): a slope and an
offset, the outcomes drawn a little towards 1/2. `isotonic` (Zadrozny and Elkan, KDD 2002) only asks that more score is
never less probable: the pooled blocks, joined by straight lines between their mean scores. A score that does not rise
with the outcome says nothing, and the probability is then the share of rises in all that the training knows: that of
the short validation part alone would be chance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from sklearn.isotonic import IsotonicRegression

from forecasting.models.tree_graph import GraphParts
from forecasting.panel import FloatArray

#: Steps of Newton's method; it takes fewer than ten.
_NEWTON_STEPS = 50
_NEWTON_LEAST = 1e-10
_ISOTONIC_DIGITS = 2
#: Scores beyond this say 0 or 1 to seven digits.
MAX_SCORE = 16.0


class Calibration(NamedTuple):
    """A map from scores to probabilities.

    Attributes:
        apply: To probabilities, same shape.
        write: Adds the same to a graph: name of the scores to name of the probabilities.
    """

    apply: Callable[[FloatArray], FloatArray]
    write: Callable[[GraphParts, str], str]


#: Scores, rises and the usual share of rises to a calibration.
Fit = Callable[[FloatArray, FloatArray, float], Calibration]


def logit(probability: FloatArray | float) -> FloatArray:
    """Return log-odds."""
    return np.asarray(np.log(probability) - np.log1p(-np.asarray(probability)))


def sigmoid(score: FloatArray) -> FloatArray:
    """Return the probability of log-odds."""
    return np.asarray(1 / (1 + np.exp(-score)))


def fit_sigmoid(scores: FloatArray, rises: FloatArray, usual: float) -> Calibration:
    """Return Platt's map; its slope is never negative.

    Args:
        scores: Shape (n,), n >= 1.
        rises: 1 where the target rose, else 0, shape (n,).
        usual: The share of rises in all that the training knows: what is said where the score says nothing.
    """
    slope, offset = _platt(scores, rises)
    if not slope > 0:
        slope, offset = 0.0, float(logit(usual))

    def write(parts: GraphParts, score: str) -> str:
        scaled = parts.add("Mul", [score, parts.constant("slope", slope, np.float32)], "scaled_score")
        moved = parts.add("Add", [scaled, parts.constant("offset", offset, np.float32)], "calibrated_score")
        return parts.add("Sigmoid", [moved], "probability")

    return Calibration(lambda score: sigmoid(slope * score + offset), write)


def share_of(rises: FloatArray) -> float:
    """Return the share of rises, never 0 or 1 (Laplace's rule of succession)."""
    return float((rises.sum() + 1) / (len(rises) + 2))


def _platt(scores: FloatArray, rises: FloatArray) -> tuple[float, float]:
    """Return slope and offset with the least log loss, by Newton's method with halved steps."""
    up, down = rises.sum(), len(rises) - rises.sum()
    wanted = np.where(rises > 0, (up + 1) / (up + 2), 1 / (down + 2))
    design = np.column_stack([scores, np.ones(len(scores))])
    found = np.array([0.0, float(logit(share_of(rises)))])
    loss = _log_loss(design @ found, wanted)
    for _ in range(_NEWTON_STEPS):
        chance = sigmoid(design @ found)
        slope = design.T @ (chance - wanted)
        curve = (design * (chance * (1 - chance))[:, None]).T @ design + _NEWTON_LEAST * np.eye(2)
        step = np.linalg.solve(curve, slope)
        while _log_loss(design @ (found - step), wanted) > loss and np.abs(step).max() > _NEWTON_LEAST:
            step = step / 2
        found = found - step
        loss = _log_loss(design @ found, wanted)
        if np.abs(step).max() <= _NEWTON_LEAST:
            break
    return float(found[0]), float(found[1])


def _log_loss(score: FloatArray, wanted: FloatArray) -> float:
    return float(np.sum(np.logaddexp(0.0, score) - wanted * score))


def fit_isotonic(scores: FloatArray, rises: FloatArray, usual: float) -> Calibration:
    """Return the isotonic map, held within 1/(n + 2) of 0 and 1.

    Args:
        scores: Shape (n,), n >= 1.
        rises: 1 where the target rose, else 0, shape (n,).
        usual: The share of rises in all that the training knows: what is said where the score says nothing.
    """
    if len(scores) == 0:
        return fit_sigmoid(scores, rises, usual)
    # Blocks that lie closer would make lines too steep for float32.
    rounded = np.round(scores, _ISOTONIC_DIGITS)
    order = np.argsort(rounded, kind="stable")
    risen = IsotonicRegression().fit_transform(rounded[order], rises[order])
    values, starts = np.unique(risen, return_index=True)
    centres = np.array([part.mean() for part in np.split(rounded[order], starts[1:])])
    least = 1 / (len(scores) + 2)
    values = np.clip(values, least, 1 - least)

    def write(parts: GraphParts, score: str) -> str:
        # A line that bends at each centre: the sum of ramps, each with its change of slope.
        bends = np.diff(np.diff(values) / np.diff(centres), prepend=0.0, append=0.0) if len(values) > 1 else np.zeros(1)
        wide = parts.add("Sub", [score, parts.constant("centres", centres, np.float32)], "above_centres")
        ramps = parts.add("Relu", [wide], "ramps")
        bent = parts.add("Mul", [ramps, parts.constant("bends", bends, np.float32)], "bent")
        total = parts.add("ReduceSum", [bent, parts.constant("bend_axis", [2])], "bent_sum", keepdims=1)
        risen = parts.add("Add", [total, parts.constant("lowest", values[0], np.float32)], "risen")
        ends = [parts.constant(name, end, np.float32) for name, end in (("least", least), ("most", 1 - least))]
        return parts.add("Clip", [risen, *ends], "probability")

    return Calibration(lambda score: np.interp(score, centres, values), write)


CALIBRATIONS: Mapping[str, Fit] = {
    "sigmoid": fit_sigmoid,
    "isotonic": fit_isotonic,
}
