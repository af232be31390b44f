"""Weights of a combination, learnt on folds that no member's fit has seen.

Stacking (Wolpert, Neural Networks 1992; Breiman, "Stacked regressions", Machine Learning 1996: weights that are not
negative generalise) with weights that sum to 1, so that the combination lies among its members, and the least
absolute error as its aim: that of the median, and of the skill by which a release is judged.
"""

from __future__ import annotations

import numpy as np

from forecasting.panel import FloatArray

#: A linear programme has a row for each outcome; evenly spread ones say enough about a few weights.
_MOST_OUTCOMES = 4_000
_WEIGHT_DIGITS = 4


def stacked_weights(forecasts: FloatArray, outcomes: FloatArray) -> FloatArray:
    """Return the weights with the least absolute error of the combination, shape (members,).

    The same arguments give the same weights: a linear programme solved by one thread of HiGHS (Huangfu and Hall,
    Mathematical Programming Computation 2018).

    Args:
        forecasts: Of each member, in the working unit, finite, shape (members, n).
        outcomes: What happened, in the same unit, finite, shape (n,).
    """
    from scipy.optimize import linprog  # noqa: PLC0415  # training alone needs it

    members, count = forecasts.shape
    if members == 1:
        return np.ones(1)
    chosen = np.unique(np.linspace(0, count - 1, min(count, _MOST_OUTCOMES)).astype(np.int64))
    known, y = forecasts[:, chosen].T, outcomes[chosen]
    # Changes of prices are thousandths: in their own size the solver's tolerances mean nothing.
    scale = float(np.mean(np.abs(y - known.mean(axis=1))))
    if not scale > 0:
        return np.full(members, 1.0 / members)
    known, y = known / scale, y / scale
    from scipy.sparse import eye_array, hstack, vstack  # noqa: PLC0415

    rows = len(chosen)
    # Variables: the weights, then for each outcome the absolute error, which is bounded from below on both sides.
    errors = -eye_array(rows)
    found = linprog(
        np.concatenate([np.zeros(members), np.full(rows, 1.0 / rows)]),
        A_ub=vstack([hstack([known, errors]), hstack([-known, errors])]).tocsr(),
        b_ub=np.concatenate([y, -y]),
        A_eq=np.concatenate([np.ones(members), np.zeros(rows)])[None],
        b_eq=np.ones(1),
        bounds=(0, None),
        method="highs-ds",
    )
    if not found.success:  # bounded and feasible by construction: only the solver's numerics can fail
        return np.full(members, 1.0 / members)
    weights = np.round(np.clip(found.x[:members], 0.0, 1.0), _WEIGHT_DIGITS)
    return np.asarray(weights / weights.sum(), dtype=np.float64)
