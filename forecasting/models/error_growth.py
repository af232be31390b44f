"""How the errors of a linear model pile up with the step."""

from __future__ import annotations

import numpy as np

from forecasting.panel import FloatArray


def growth_of(weights: FloatArray) -> FloatArray:
    """Return the standard deviation at each step over that of a one-step error, shape (horizon,).

    The variance at step h is 1 + w_1^2 + ... + w_(h-1)^2, where w_j is what an error adds j steps later (Hyndman et
    al., "Forecasting with Exponential Smoothing", 2008, equation 6.1; the psi weights of Box and Jenkins, 1976).

    Args:
        weights: w_1 to w_(horizon - 1), shape (horizon - 1,).

    >>> growth_of(np.array([0.0, 2.0])).round(3).tolist()
    [1.0, 1.0, 2.236]
    """
    return np.asarray(np.sqrt(1 + np.concatenate([[0.0], np.cumsum(weights**2)])), dtype=np.float64)
