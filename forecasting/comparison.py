"""How a model's folds compare with those of the baselines, and how sure that is: over all steps and for each alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from forecasting.backtest import FoldForecasts
from forecasting.models.baselines import BASELINES
from forecasting.panel import FloatArray, IntArray
from forecasting.significance import FoldValues, diebold_mariano, share_of

MODEL = "model"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The test folds of all series together.

    Attributes:
        folds: Method (`model` and each baseline) -> its forecasts of the same folds.
        series: Index of the series of each fold, shape (folds,).
        starts: UTC seconds of the cutoffs, shape (folds,).
        ends: UTC seconds of the outcomes, shape (folds, horizon).
        scale: Of MASE, of the series of each fold; NaN where there is none, shape (folds,).
    """

    folds: Mapping[str, FoldForecasts]
    series: IntArray
    starts: IntArray
    ends: IntArray
    scale: FloatArray

    def values(self, values: FloatArray, step: int | None, kept: FloatArray | None = None) -> FoldValues:
        """Return a number for each fold with its times, its last outcome that of a step, or of the last one."""
        chosen = slice(None) if kept is None else kept > 0
        ends = self.ends[:, -1 if step is None else step - 1]
        return FoldValues(values[chosen], self.starts[chosen], ends[chosen], self.series[chosen])


def compare(judged: Judged, step: int | None = None) -> dict[str, dict[str, float]]:
    """Return metrics by method: the tests against each baseline under `model`, and the ends of direction accuracy.

    Args:
        judged: The folds of every series.
        step: One step alone, counted from 1; ``None`` takes all together.
    """
    found = {method: _direction(judged, folds, step) for method, folds in judged.folds.items()}
    for name in BASELINES:
        if name not in judged.folds:
            continue
        tested = diebold_mariano(judged.values(_gains(judged, name, step), step))
        if tested is not None:
            found[MODEL] |= {f"dm-statistic-{name}": tested.statistic, f"dm-p-value-{name}": tested.p_value}
    return found


def _steps(step: int | None) -> slice:
    return slice(None) if step is None else slice(step - 1, step)


def _gains(judged: Judged, baseline: str, step: int | None) -> FloatArray:
    """Return by how much the absolute error of each fold is below that of a baseline, in units of the scale."""
    model, other = (
        np.abs(folds.y[:, _steps(step)] - folds.median[:, _steps(step)])
        for folds in (judged.folds[MODEL], judged.folds[baseline])
    )
    has_scale = bool((np.isfinite(judged.scale) & (judged.scale > 0)).all())
    gains = (other - model) / (judged.scale[:, None] if has_scale else 1.0)
    return np.asarray(gains.mean(axis=1))


def _direction(judged: Judged, folds: FoldForecasts, step: int | None) -> dict[str, float]:
    """Return the ends of the 95 % confidence interval of direction accuracy, in percent."""
    hits = folds.direction_hits(_steps(step))
    if hits is None:
        return {}
    right, moved = (part.sum(axis=1) for part in hits)
    share = share_of(judged.values(right / np.maximum(moved, 1), step, moved)) if moved.any() else None
    if share is None:
        return {}
    return {"direction-accuracy-lower": 100 * share.lower, "direction-accuracy-upper": 100 * share.upper}
