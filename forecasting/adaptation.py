"""Bands that follow drift: adaptive conformal inference, replayed from the rows that a forecast is made from.

Calibration folds say how far outcomes fell from the median until the training; after it markets change their ways.
Adaptive conformal inference (Gibbs and Candes, "Adaptive conformal inference under distribution shift", NeurIPS 2021)
moves the miscoverage that is aimed at: after every fold, alpha_t+1 = alpha_t + gamma (alpha - missed_t). Where bands
miss too often it falls, and the next bands are wider, until they miss as often as they say.

A forecast stays a pure function of recipe and rows: nothing is remembered between forecasts. The newest cutoffs whose
outcomes are all known within the rows are forecast again by the same model, and the rule is run over them, oldest
first. Only cutoffs that come after everything that the fit and its calibration have seen count, since a model says
more of what it was fitted on than of what comes. Each fold is judged by the band that would have stood at its cutoff:
by the folds whose outcomes were known then, since h steps ahead are known h rows late.

Every step of the horizon has its own alpha at each of the levels of `GRID`. Levels between them are interpolated, so
the band of a level does not depend on which others are asked for, and wider levels never end inside narrower ones. The
gain gamma is `rate` times the standard deviation of a miss, so that wide levels, which rarely miss, are not thrown
about. The replayed scores join those of the calibration: where outcomes fall beyond every stored score, bands can grow.

How rate, folds and stride were chosen: docs/decisions/0010-adaptive-intervals.md.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from forecasting.artefact import AdaptationRecipe
from forecasting.intervals import Intervals, Pool
from forecasting.panel import FloatArray, IntArray

#: Levels whose miscoverage is followed, in percent.
GRID = (10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 99.0)
#: For new trainings.
DEFAULT = AdaptationRecipe(folds=50, stride=3, rate=0.015)
_ALPHA = 1 - np.array(GRID) / 100
_KNOTS = np.array([0.0, *GRID, 100.0])


def replayed_rows(time: IntArray | None, window_size: int, horizon: int, recipe: AdaptationRecipe) -> IntArray:
    """Return the rows of the cutoffs that are forecast again, ascending; none where nobody knows their times.

    Args:
        time: UTC seconds of the rows of a window, oldest first, shape (rows,).
        window_size: Rows that each forecast reads, its cutoff the last of them.
        horizon: Steps whose outcomes must be among the rows.
        recipe: How many, how far apart and after which time.
    """
    if time is None:
        return np.empty(0, dtype=np.int64)
    newest = len(time) - 1 - horizon
    oldest = max(int(np.searchsorted(time, recipe.known_until)), window_size - 1)
    rows = np.arange(newest, oldest - 1, -recipe.stride, dtype=np.int64)
    return rows[: recipe.folds][::-1]


class AdaptedIntervals:
    """The bands of one forecast after its replayed folds.

    Args:
        intervals: Of the calibration folds.
        recipe: How they adapt.
        rows: Rows of the replayed cutoffs, ascending, shape (n,).
        scores: Their scores, shape (n, horizon).
    """

    def __init__(self, intervals: Intervals, recipe: AdaptationRecipe, rows: IntArray, scores: FloatArray) -> None:
        self._intervals = intervals
        self._recipe = recipe
        self._rows = rows
        self._scores = scores

    @cached_property
    def _pool(self) -> Pool:
        """Stored and replayed scores, or their sizes."""
        return self._intervals.joined(self._scores.T)

    @cached_property
    def alphas(self) -> FloatArray:
        """The miscoverage that is aimed at, by level of `GRID` and step, shape (levels, horizon), falling by level."""
        horizon = self._scores.shape[1]
        # Fold i was made when the first known[i] folds had all their outcomes.
        known = np.searchsorted(self._rows, self._rows - horizon, side="right")
        limits = self._intervals.exclusions(self._scores, known)
        gain = self._recipe.rate * self._recipe.stride * np.sqrt(_ALPHA * (1 - _ALPHA))[:, None]
        states = [np.repeat(_ALPHA[:, None], horizon, axis=1)]
        for limit, count in zip(limits, known, strict=True):
            missed = states[count] >= limit
            states.append(np.minimum(np.maximum(states[-1] + gain * (_ALPHA[:, None] - missed), 0.0), 1.0))
        return np.minimum.accumulate(states[-1], axis=0)

    @cached_property
    def _aims(self) -> FloatArray:
        """The alphas at `_KNOTS`: nothing is left out at level 100, everything at 0."""
        horizon = self.alphas.shape[1]
        return np.concatenate([np.ones((1, horizon)), self.alphas, np.zeros((1, horizon))])

    def bounds(self, level: float) -> tuple[FloatArray, FloatArray]:
        """Return the lower (at most 0) and upper (at least 0) score of a central level, shape (horizon,) each.

        Raises:
            LevelNotCalibrated: ``level-not-calibrated``.
        """
        self._intervals.require([level])
        above = int(np.searchsorted(_KNOTS, level))
        share = (level - _KNOTS[above - 1]) / (_KNOTS[above] - _KNOTS[above - 1])
        alpha = (1 - share) * self._aims[above - 1] + share * self._aims[above]
        return self._intervals.bounds_within(self._pool, 1 - alpha)

    def probability_above(self, thresholds: FloatArray) -> FloatArray:
        """Return the probability that the score exceeds each step's threshold, by the calibration folds alone."""
        return self._intervals.probability_above(thresholds)
