"""How a model's folds compare with those of the baselines, and how sure that is: over all steps and for each alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forecasting.backtest import FoldForecasts
from forecasting.models.baselines import BASELINES
from forecasting.panel import FloatArray, IntArray
from forecasting.significance import FoldValues, diebold_mariano, share_of

MODEL = "model"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The test folds of one series.

    Attributes:
        folds: Method (`model` and each baseline) -> its forecasts of the same folds.
        time: UTC seconds of all rows of the series.
        scale: Of MASE; NaN where there is none.
    """

    folds: dict[str, FoldForecasts]
    time: IntArray
    scale: float

    def values(self, values: FloatArray, steps: int, kept: FloatArray | None = None) -> FoldValues:
        """Return a number for each fold with its times, its last outcome ``steps`` after the cutoff."""
        cutoffs = self.folds[MODEL].cutoffs
        is_kept = np.ones(len(values), dtype=bool) if kept is None else kept > 0
        return FoldValues(values[is_kept], self.time[cutoffs][is_kept], self.time[cutoffs + steps][is_kept])


def compare(judged: Sequence[Judged], step: int | None = None) -> dict[str, dict[str, float]]:
    """Return metrics by method: the tests against each baseline under `model`, and the ends of direction accuracy.

    Args:
        judged: The folds of every series.
        step: One step alone, counted from 1; ``None`` takes all together.
    """
    found: dict[str, dict[str, float]] = {method: _direction(judged, method, step) for method in judged[0].folds}
    has_scale = all(np.isfinite(one.scale) and one.scale > 0 for one in judged)
    for name in BASELINES:
        if name not in judged[0].folds:
            continue
        tested = diebold_mariano([_gains(one, name, step, one.scale if has_scale else 1.0) for one in judged])
        if tested is not None:
            found[MODEL] |= {f"dm-statistic-{name}": tested.statistic, f"dm-p-value-{name}": tested.p_value}
    return found


def _gains(one: Judged, baseline: str, step: int | None, scale: float) -> FoldValues:
    """Return by how much the absolute error of each fold is below that of a baseline."""
    model, other = one.folds[MODEL], one.folds[baseline]
    gains = (np.abs(other.y - other.median) - np.abs(model.y - model.median)) / scale
    horizon = gains.shape[1]
    if step is None:
        return one.values(np.asarray(gains.mean(axis=1)), horizon)
    return one.values(gains[:, step - 1], step)


def _direction(judged: Sequence[Judged], method: str, step: int | None) -> dict[str, float]:
    """Return the ends of the 95 % confidence interval of direction accuracy, in percent."""
    found = []
    for one in judged:
        folds = one.folds[method]
        hits = (folds if step is None else folds.step(step - 1)).direction_hits()
        if hits is None:
            return {}
        right, moved = (part.sum(axis=1) for part in hits)
        if moved.any():
            share = right / np.maximum(moved, 1)
            found.append(one.values(share, folds.y.shape[1] if step is None else step, moved))
    share_found = share_of(found) if found else None
    if share_found is None:
        return {}
    return {
        "direction-accuracy-lower": 100 * share_found.lower,
        "direction-accuracy-upper": 100 * share_found.upper,
    }
