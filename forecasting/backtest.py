"""The folds of a walk-forward backtest: what was forecast from each cutoff, what happened, and the scores of it.

The rolling origin of Tashman, "Out-of-sample tests of forecasting accuracy", Int. J. Forecasting 2000; where the
cutoffs lie is said by `forecasting.folds`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from forecasting import losses
from forecasting.intervals import quantile_pair
from forecasting.panel import FloatArray, IntArray

#: Levels whose quantiles, 0.05 to 0.95 with the median, make the CRPS and the calibration curve.
SCORED_LEVELS = (10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0)
#: A rise is as likely as a fall.
_EVEN = 0.5


@dataclass(frozen=True, kw_only=True)
class FoldForecasts:
    """What was forecast and what happened, shape (folds, horizon) each, in the unit of the target.

    Attributes:
        cutoffs: Rows of the cutoffs.
        y: What happened.
        median: The median forecast.
        quantiles: Probability -> forecast.
        last: Values at the cutoffs, shape (folds,); ``None`` where nobody said.
        rises: Probability that the target ends above them; ``None`` where the model gives none.
    """

    cutoffs: IntArray
    y: FloatArray
    median: FloatArray
    quantiles: dict[float, FloatArray]
    last: FloatArray | None = None
    rises: FloatArray | None = None

    def direction_hits(self, steps: slice = slice(None)) -> tuple[FloatArray, FloatArray] | None:
        """Return where the direction was right, and whether there was one, 1 or 0 each; ``None`` without directions.

        The direction is up where a rise is likelier than not; even odds are right by half. A target that ends at its
        value at the cutoff has no direction.
        """
        if self.last is None or self.rises is None:
            return None
        y, rises, last = self.y[:, steps], self.rises[:, steps], self.last[:, None]
        right = np.where(y > last, rises > _EVEN, rises < _EVEN) + 0.5 * (rises == _EVEN)
        moved = (y != last).astype(np.float64)
        return right * moved, moved

    def part(self, folds: slice) -> FoldForecasts:
        """Return a copy of some of the folds."""
        return FoldForecasts(
            cutoffs=self.cutoffs[folds].copy(),
            y=self.y[folds].copy(),
            median=self.median[folds].copy(),
            quantiles={probability: values[folds].copy() for probability, values in self.quantiles.items()},
            last=None if self.last is None else self.last[folds].copy(),
            rises=None if self.rises is None else self.rises[folds].copy(),
        )


def outcomes(target: FloatArray, cutoffs: IntArray, horizon: int) -> FloatArray:
    """Return what followed each cutoff, shape (folds, horizon)."""
    return np.asarray(target[cutoffs[:, None] + np.arange(1, horizon + 1)], dtype=np.float64)


def score(folds: FoldForecasts, levels: Sequence[float], scale: float) -> dict[str, float]:
    """Return every loss over all folds and steps; a loss that is not defined here is left out.

    Args:
        folds: With quantiles of ``levels`` and `SCORED_LEVELS`.
        levels: Central levels whose coverage, width and score are told, in percent.
        scale: `losses.seasonal_scale` of what the fit saw.
    """
    found = _losses(folds, levels, scale, lambda values: values.reshape(-1))
    return {name: float(value) for name, value in found.items() if np.isfinite(value)}


def score_by_step(folds: FoldForecasts, levels: Sequence[float], scale: float) -> dict[str, FloatArray]:
    """Return every loss of `score` for each step alone, shape (horizon,); not finite where it is not defined."""
    return _losses(folds, levels, scale, lambda values: np.ascontiguousarray(values.T))


def score_by_fold(folds: FoldForecasts, levels: Sequence[float], scale: FloatArray) -> dict[str, FloatArray]:
    """Return every loss of `score` for each fold alone, shape (folds,); not finite where it is not defined.

    Args:
        folds: With quantiles of ``levels``, and of `SCORED_LEVELS` where there is to be a CRPS.
        levels: Central levels whose coverage, width and score are told, in percent.
        scale: `losses.seasonal_scale` of the series of each fold, shape (folds,).
    """
    return _losses(folds, levels, scale, lambda values: values)


def _losses(
    folds: FoldForecasts, levels: Sequence[float], scale: float | FloatArray, rows: Callable[[FloatArray], FloatArray]
) -> dict[str, FloatArray]:
    """Return every loss over the last axis of what ``rows`` makes of arrays of shape (folds, horizon)."""
    y, median = rows(folds.y), rows(folds.median)
    quantiles = {p: rows(values) for p, values in folds.quantiles.items()}
    found = {
        "mae": losses.mean_absolute_error(y, median),
        "rmse": losses.root_mean_squared_error(y, median),
        "mape": losses.mean_absolute_percentage_error(y, median),
        "smape": losses.symmetric_mean_absolute_percentage_error(y, median),
        "mase": losses.mean_absolute_scaled_error(y, median, scale),
        "r2": losses.r_squared(y, median),
    }
    scored = {p: quantiles[p] for level in SCORED_LEVELS for p in quantile_pair(level) if p in quantiles}
    if scored:
        found["crps"] = losses.continuous_ranked_probability_score(y, scored | {0.5: median})
    asked = {p: quantiles[p] for level in levels for p in quantile_pair(level)} | {0.5: median}
    found["pinball"] = np.mean([losses.pinball(y, values, p) for p, values in asked.items()], axis=0)
    for level in levels:
        lower, upper = (quantiles[p] for p in quantile_pair(level))
        found[f"coverage-{level:g}"] = losses.coverage(y, lower, upper)
        found[f"width-{level:g}"] = losses.mean_width(lower, upper)
        found[f"interval-score-{level:g}"] = losses.interval_score(y, lower, upper, level)
    return found | _direction_losses(folds, rows)


def _direction_losses(folds: FoldForecasts, rows: Callable[[FloatArray], FloatArray]) -> dict[str, FloatArray]:
    """Return how often the direction was right, beside how often the target rose, and two scores of its probability.

    Where no target moved there is no direction, and all of them are NaN.
    """
    hits = folds.direction_hits()
    if hits is None or folds.rises is None or folds.last is None:
        return {}
    right, moved = map(rows, hits)
    rose, rises = rows((folds.y > folds.last[:, None]).astype(np.float64)), rows(folds.rises)
    count = np.asarray(moved.sum(axis=-1))
    count = np.where(count > 0, count, np.nan)
    return {
        "direction-accuracy": 100 * right.sum(axis=-1) / count,
        "rise-share": 100 * rose.sum(axis=-1) / count,
        "brier": (moved * losses.brier_scores(rose, rises)).sum(axis=-1) / count,
        "log-loss": (moved * losses.log_losses(rose, rises)).sum(axis=-1) / count,
    }
