"""The test part cutoff by cutoff: how the forecasts of all series from one did, and how much that varies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from forecasting.comparison import MODEL, Judged
from forecasting.panel import FloatArray
from schemas.models import FoldMetrics, MetricSpread

#: Cutoffs that a release tells of: neighbours say nearly the same, and a release is read whole by everybody.
MOST_FOLDS = 50
#: What is told of the model; of a baseline only what it is compared by.
_OF_MODEL = ("mae", "rmse", "mape", "smape", "mase", "r2", "crps", "pinball", "coverage-", "direction-accuracy")
_OF_BASELINE = ("mae", "mase")


@dataclass(frozen=True, kw_only=True)
class ByFold:
    """The folds of the test part that have one cutoff time, taken together.

    Attributes:
        folds: At most `MOST_FOLDS`, evenly thinned, the oldest first.
        spread: Method -> metric -> mean and deviation over all of them, also those that are thinned away.
    """

    folds: tuple[FoldMetrics, ...]
    spread: dict[str, dict[str, MetricSpread]]


def by_fold(judged: Judged, losses: Mapping[str, Mapping[str, FloatArray]]) -> ByFold:
    """Return what is told of each cutoff time: the means over its series, as the metrics of all folds are.

    Args:
        judged: The folds of every series.
        losses: Method -> loss -> value of each fold, shape (folds,); not finite where it is not defined.
    """
    times, place, counts = np.unique(judged.starts, return_inverse=True, return_counts=True)
    first, last = np.full(len(times), judged.ends.max()), np.full(len(times), judged.ends.min())
    np.minimum.at(first, place, judged.ends[:, 0])
    np.maximum.at(last, place, judged.ends[:, -1])
    means = {
        method: {
            name: np.bincount(place, values, len(times)) / counts
            for name, values in found.items()
            if name.startswith(_OF_MODEL if method == MODEL else _OF_BASELINE)
        }
        for method, found in losses.items()
    }
    stride = math.ceil(len(times) / MOST_FOLDS)
    folds = tuple(
        FoldMetrics(
            cutoff=_utc(times[fold]),
            first_time=_utc(first[fold]),
            last_time=_utc(last[fold]),
            forecasts=int(counts[fold]),
            metrics={
                method: {name: float(values[fold]) for name, values in found.items() if np.isfinite(values[fold])}
                for method, found in means.items()
            },
        )
        # Counted from the end, so that the newest cutoff is told.
        for fold in range((len(times) - 1) % stride, len(times), stride)
    )
    return ByFold(folds=folds, spread={method: _spread(found) for method, found in means.items()})


def _spread(found: Mapping[str, FloatArray]) -> dict[str, MetricSpread]:
    spread = {}
    for name, values in found.items():
        defined = values[np.isfinite(values)]
        if len(defined) < 2:  # noqa: PLR2004  # one value does not vary
            continue
        mean, deviation = float(np.mean(defined)), float(np.std(defined, ddof=1))
        # Squares of wild values may be beyond any number.
        if math.isfinite(mean) and math.isfinite(deviation):
            spread[name] = MetricSpread(mean=mean, deviation=deviation, folds=len(defined))
    return spread


def _utc(seconds: np.int64) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
