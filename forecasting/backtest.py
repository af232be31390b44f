"""The folds of a walk-forward backtest: what was forecast from each cutoff, what happened, and the scores of it.

The rolling origin of Tashman, "Out-of-sample tests of forecasting accuracy", Int. J. Forecasting 2000; where the
cutoffs lie is said by `forecasting.folds`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forecasting import losses
from forecasting.intervals import quantile_pair
from forecasting.panel import FloatArray, IntArray
from forecasting.serving import ForecastNumbers

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

    def step(self, index: int) -> FoldForecasts:
        """Return one step alone, the first one for 0."""
        return FoldForecasts(
            cutoffs=self.cutoffs,
            y=self.y[:, [index]],
            median=self.median[:, [index]],
            quantiles={p: values[:, [index]] for p, values in self.quantiles.items()},
            last=self.last,
            rises=None if self.rises is None else self.rises[:, [index]],
        )

    def direction_hits(self) -> tuple[FloatArray, FloatArray] | None:
        """Return where the direction was right, and whether there was one, 1 or 0 each; ``None`` without directions.

        The direction is up where a rise is likelier than not; even odds are right by half. A target that ends at its
        value at the cutoff has no direction.
        """
        if self.last is None or self.rises is None:
            return None
        last = self.last[:, None]
        right = np.where(self.y > last, self.rises > _EVEN, self.rises < _EVEN) + 0.5 * (self.rises == _EVEN)
        moved = (self.y != last).astype(np.float64)
        return right * moved, moved


def outcomes(target: FloatArray, cutoffs: IntArray, horizon: int) -> FloatArray:
    """Return what followed each cutoff, shape (folds, horizon)."""
    return np.asarray(target[cutoffs[:, None] + np.arange(1, horizon + 1)], dtype=np.float64)


def gather(
    cutoffs: IntArray, y: FloatArray, forecasts: Sequence[ForecastNumbers], *, last: FloatArray | None = None
) -> FoldForecasts:
    """Return single forecasts as arrays over folds, ``last`` being the values at the cutoffs."""
    rises = [one.direction_probability for one in forecasts if one.direction_probability is not None]
    return FoldForecasts(
        cutoffs=cutoffs,
        y=y,
        median=np.array([forecast.median for forecast in forecasts]),
        quantiles={
            probability: np.array([forecast.quantiles[probability] for forecast in forecasts])
            for probability in forecasts[0].quantiles
        },
        last=last,
        rises=np.array(rises) if len(rises) == len(forecasts) else None,
    )


def score(folds: FoldForecasts, levels: Sequence[float], scale: float) -> dict[str, float]:
    """Return every loss over all folds and steps; a loss that is not defined here is left out.

    Args:
        folds: With quantiles of ``levels`` and `SCORED_LEVELS`.
        levels: Central levels whose coverage, width and score are told, in percent.
        scale: `losses.seasonal_scale` of what the fit saw.
    """
    found = {
        "mae": losses.mean_absolute_error(folds.y, folds.median),
        "rmse": losses.root_mean_squared_error(folds.y, folds.median),
        "mape": losses.mean_absolute_percentage_error(folds.y, folds.median),
        "smape": losses.symmetric_mean_absolute_percentage_error(folds.y, folds.median),
        "mase": losses.mean_absolute_scaled_error(folds.y, folds.median, scale),
        "r2": losses.r_squared(folds.y, folds.median),
    }
    scored = {p: folds.quantiles[p] for level in SCORED_LEVELS for p in quantile_pair(level) if p in folds.quantiles}
    if scored:
        scored[0.5] = folds.median
        found["crps"] = losses.continuous_ranked_probability_score(folds.y, scored)
    asked = {p: folds.quantiles[p] for level in levels for p in quantile_pair(level)} | {0.5: folds.median}
    found["pinball"] = float(np.mean([losses.pinball(folds.y, values, p) for p, values in asked.items()]))
    for level in levels:
        lower, upper = (folds.quantiles[p] for p in quantile_pair(level))
        found[f"coverage-{level:g}"] = losses.coverage(folds.y, lower, upper)
        found[f"width-{level:g}"] = losses.mean_width(lower, upper)
        found[f"interval-score-{level:g}"] = losses.interval_score(folds.y, lower, upper, level)
    found |= _direction_scores(folds)
    return {name: value for name, value in found.items() if np.isfinite(value)}


def score_by_step(folds: FoldForecasts, levels: Sequence[float], scale: float) -> list[dict[str, float]]:
    """Return `score` for each step alone, the first step first."""
    return [score(folds.step(index), levels, scale) for index in range(folds.y.shape[1])]


def _direction_scores(folds: FoldForecasts) -> dict[str, float]:
    """Return how often the direction was right, beside how often the target rose, and two scores of its probability."""
    hits = folds.direction_hits()
    if hits is None or folds.rises is None or folds.last is None or not hits[1].any():
        return {}
    right, moved = hits
    rose = (folds.y > folds.last[:, None])[moved > 0].astype(np.float64)
    return {
        "direction-accuracy": float(100 * right.sum() / moved.sum()),
        "rise-share": float(100 * np.mean(rose)),
        "brier": losses.brier_score(rose, folds.rises[moved > 0]),
        "log-loss": losses.log_loss(rose, folds.rises[moved > 0]),
    }
