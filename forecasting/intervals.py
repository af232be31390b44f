"""Calibrated intervals by split-conformal prediction, one calibration a step.

A fold that the fit did not see gives the score (outcome - median) / spread: how far the outcome fell from the median,
in units of the spread that the model itself predicted there (normalised conformity scores: Papadopoulos, Gammerman and
Vovk, "Normalized nonconformity measures for regression conformal prediction", AIA 2008; Lei et al., "Distribution-free
predictive inference for regression", JASA 2018, section 5.2). With n scores the ceil((n + 1) p)-th smallest covers with
probability at least p when the outcome is exchangeable with the folds. Returns scaled by recent volatility come close
to that and levels do not; where the market changes its ways coverage drifts (Barber et al., "Conformal prediction
beyond exchangeability", Annals of Statistics 2023), so every release states the coverage on folds that it was not
calibrated on.

The two ends are calibrated apart (signed scores), or together by the size of the score where folds are few: that
supports a level from half as many. A history too short even for that gives no ranks to go by: its bands are those of
Student's t with as many degrees of freedom as there are folds, scaled by the root mean square of their scores over all
steps (the predictive distribution of a normal error with known mean and unknown scale: Gelman et al., Bayesian Data
Analysis, 3rd edition, section 3.2). They assume more and are wide, and the recipe says from how few folds they come.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

import numpy as np

from forecasting.artefact import IntervalRecipe
from forecasting.errors import LevelNotCalibrated
from forecasting.panel import FloatArray, IntArray

#: From so many folds on, each end of a band has its own calibration.
MIN_SIGNED_FOLDS = 100
#: Digits kept of a score: more than a fold can tell, few enough for a small recipe.
_SCORE_DIGITS = 7
_RANK_NOISE = 1e-9


def quantile_pair(level: float) -> tuple[float, float]:
    """Return the two probabilities of a central level, without the noise of binary fractions.

    >>> quantile_pair(80), quantile_pair(95), quantile_pair(99.9)
    ((0.1, 0.9), (0.025, 0.975), (0.0005, 0.9995))
    """
    tail = (100 - Decimal(repr(float(level)))) / 200
    return float(tail), float(1 - tail)


def probabilities_of(levels: Sequence[float]) -> tuple[float, ...]:
    """Return the probabilities of central levels, ascending.

    >>> probabilities_of([80, 95])
    (0.025, 0.1, 0.9, 0.975)
    """
    return tuple(sorted({probability for level in levels for probability in quantile_pair(level)}))


def calibrate(scores: FloatArray, levels: Sequence[float] = ()) -> IntervalRecipe:
    """Return the state of calibrated intervals.

    Args:
        scores: Scores of folds that the fit did not see, shape (folds, horizon), finite.
        levels: Levels that must be supported; where the ends apart cannot, they share one calibration, and where that
            cannot either, Student's t stands in.
    """
    folds, horizon = scores.shape
    needed = max((folds_needed(level) for level in levels), default=0)
    if folds < needed:
        return _from_few(scores, needed)
    ordered = np.sort(scores, axis=0)
    rounded = [[float(f"{score:.{_SCORE_DIGITS}g}") for score in ordered[:, step]] for step in range(horizon)]
    are_apart = folds >= MIN_SIGNED_FOLDS and all(supports(folds, level, is_symmetric=False) for level in levels)
    return IntervalRecipe(
        is_symmetric=not are_apart,
        scores=tuple(tuple(step) for step in rounded),
    )


def _from_few(scores: FloatArray, ranks: int) -> IntervalRecipe:
    """Return so many scores of Student's t, of alternating sign, whose sizes are the quantiles of its size."""
    from scipy.special import stdtrit  # noqa: PLC0415  # training alone

    folds, horizon = scores.shape
    ranked = np.arange(1, ranks + 1) / (ranks + 1)
    sizes = stdtrit(folds, (1 + ranked) / 2) * np.sqrt(np.mean(scores**2))
    signed = np.sort(np.where(np.arange(ranks) % 2, sizes, -sizes))
    step = tuple(float(f"{score:.{_SCORE_DIGITS}g}") for score in signed)
    return IntervalRecipe(is_symmetric=True, scores=(step,) * horizon, few_folds=folds)


def max_level(folds: int, *, is_symmetric: bool) -> float:
    """Return the highest central level, in percent, that so many folds can support."""
    tails = 1 if is_symmetric else 2
    return max(100.0 * (1 - tails / (folds + 1)), 0.0)


def supports(folds: int, level: float, *, is_symmetric: bool) -> bool:
    """Return whether a level is in (0, 100) and so many folds can support it."""
    if not 0 < level < 100:  # noqa: PLR2004  # percent
        return False
    tails = 1 if is_symmetric else 2
    return Decimal(repr(float(level))) * (folds + 1) <= 100 * (folds + 1 - tails)


def folds_needed(level: float) -> int:
    """Return the fewest folds that support a level (with symmetric scores)."""
    return math.ceil(1 / (1 - Decimal(repr(float(level))) / 100)) - 1


class Pool:
    """Scores of each step in ascending order: many that are shared, and a few that are put among them by their places.

    Over hundreds of series there are tens of thousands that are shared: sorted anew for every forecast of a backtest
    they would be gigabytes.

    Args:
        stored: Ascending, shape (horizon, many).
        others: In any order, shape (horizon, few).

    Attributes:
        count: Scores a step.
    """

    def __init__(self, stored: FloatArray, others: FloatArray) -> None:
        self.count = stored.shape[1] + others.shape[1]
        self._stored = stored
        self._others = np.sort(others, axis=1)
        #: The place of each of the others among all.
        self._places = np.arange(others.shape[1]) + np.stack(
            [np.searchsorted(row, added) for row, added in zip(stored, self._others, strict=True)]
        )

    def at(self, place: IntArray) -> FloatArray:
        """Return the score at a place of each step, counted from 0, shape (horizon,)."""
        steps = np.arange(len(self._stored))
        before = (self._places < place[:, None]).sum(axis=1)
        last = self._stored.shape[1] - 1
        found: FloatArray = self._stored[steps, np.minimum(place - before, last)]
        step, which = np.nonzero(self._places == place[:, None])
        found[step] = self._others[step, which]
        return found


class Intervals:
    """Calibrated bands around a median.

    Args:
        recipe: The state; its scores were found on folds that the fit did not see.
    """

    def __init__(self, recipe: IntervalRecipe) -> None:
        self._is_symmetric = recipe.is_symmetric
        self._scores = np.array(recipe.scores, dtype=np.float64)
        self._sizes = np.sort(np.abs(self._scores), axis=1)
        #: Scores a step; `few_folds` where they were made from fewer folds.
        self.folds = self._scores.shape[1]
        self._few_folds = recipe.few_folds
        self._ranks: dict[float, tuple[FloatArray, FloatArray]] = {}

    def require(self, levels: Sequence[float]) -> None:
        """Refuse levels that the folds cannot support.

        Raises:
            LevelNotCalibrated: ``level-not-calibrated``, with the highest level that is possible.
        """
        for level in levels:
            if not supports(self.folds, level, is_symmetric=self._is_symmetric):
                highest = max_level(self.folds, is_symmetric=self._is_symmetric)
                raise LevelNotCalibrated(
                    "level-not-calibrated",
                    field="levels",
                    expected=f"above 0 and at most {math.floor(highest * 100) / 100:g}, the highest level that "
                    f"{self._few_folds or self.folds} calibration folds support",
                    found=f"{level:g}",
                    advice="ask for a lower level or train on more history",
                )

    def bounds(self, level: float) -> tuple[FloatArray, FloatArray]:
        """Return the lower (at most 0) and upper (at least 0) score of a central level, shape (horizon,) each.

        Raises:
            LevelNotCalibrated: ``level-not-calibrated``.
        """
        found = self._ranks.get(level)
        if found is None:
            self.require([level])
            found = self._bounds(level)
            if len(self._ranks) < 64:  # noqa: PLR2004  # callers choose levels: what is kept of them is limited
                self._ranks[level] = found
        return found

    def _bounds(self, level: float) -> tuple[FloatArray, FloatArray]:
        inside = Decimal(repr(float(level))) / 100
        if self._is_symmetric:
            rank = math.ceil((self.folds + 1) * inside)
            size = self._sizes[:, max(rank, 1) - 1]
            return -size, size
        rank = math.ceil((self.folds + 1) * (1 + inside) / 2)
        lower, upper = self._scores[:, self.folds - rank], self._scores[:, rank - 1]
        # A median off the middle of its folds must still lie within its own bands.
        return np.minimum(lower, 0.0), np.maximum(upper, 0.0)

    def joined(self, scores: FloatArray) -> Pool:
        """Return the scores of the recipe and others together, or the sizes of both.

        Args:
            scores: Shape (horizon, others).
        """
        return Pool(self._sizes, np.abs(scores)) if self._is_symmetric else Pool(self._scores, scores)

    def bounds_within(self, pool: Pool, inside: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the bounds of a pool (see `joined`) that shall hold a share of the outcomes, shape (horizon,) each.

        Args:
            pool: Of n scores a step.
            inside: In [0, 1]; one that n scores do not support takes the widest that they do, shape (horizon,).
        """
        count = pool.count
        covered = inside if self._is_symmetric else (1 + inside) / 2
        # The noise of binary fractions must not cost a rank.
        rank = np.minimum(np.maximum(np.ceil((count + 1) * covered - _RANK_NOISE), 1), count).astype(np.int64)
        if self._is_symmetric:
            size = pool.at(rank - 1)
            return -size, size
        return np.minimum(pool.at(count - rank), 0.0), np.maximum(pool.at(rank - 1), 0.0)

    def exclusions(self, scores: FloatArray, known: IntArray) -> FloatArray:
        """Return from which miscoverage on a band leaves out each of further scores, shape (n, horizon).

        One beyond the whole pool is left out by every band: 0.

        Args:
            scores: In order of time, shape (n, horizon).
            known: How many of the first of them belong to the pool of each, shape (n,).
        """
        values = np.abs(scores) if self._is_symmetric else scores
        stored = self._sizes if self._is_symmetric else self._scores
        # Turned so that each stands at the upper end of its band: falling scores are counted from below.
        turned = np.where(values < 0, -1.0, 1.0)
        beyond = np.empty(values.shape)
        for step in range(values.shape[1]):
            ascending, falling = stored[step], -stored[step][::-1]
            below = np.searchsorted(ascending, values[:, step], side="left")
            above = np.searchsorted(falling, -values[:, step], side="left")
            beyond[:, step] = np.where(turned[:, step] > 0, below, above)
        in_pool = (np.arange(len(scores)) < known[:, None])[:, :, None]
        nearer = turned[:, None] * values[None] < (turned * values)[:, None]
        beyond += (nearer & in_pool).sum(axis=1)
        tails, count = 1 if self._is_symmetric else 2, self.folds + known[:, None]
        return np.where(beyond < count, tails * (1 - beyond / (count + 1)), 0.0)

    def probability_above(self, thresholds: FloatArray) -> FloatArray:
        """Return the probability that the score exceeds each step's threshold, in (0, 1).

        The conformal predictive distribution (Vovk et al., "Nonparametric predictive distributions based on conformal
        prediction", Machine Learning 2019) at one point; an outcome level with the threshold counts half.

        Args:
            thresholds: Shape (steps,), or (forecasts, steps).
        """
        scores = self._scores[: thresholds.shape[-1]]
        if thresholds.size == len(scores):
            above = (scores > thresholds[..., None]).sum(axis=-1)
            level = (scores == thresholds[..., None]).sum(axis=-1)
        else:
            # By bisection: the folds of many series are tens of thousands, and each of them asks.
            pairs = list(zip(scores, thresholds.T, strict=True))
            up_to = np.stack([np.searchsorted(ascending, asked, side="right") for ascending, asked in pairs], axis=1)
            below = np.stack([np.searchsorted(ascending, asked, side="left") for ascending, asked in pairs], axis=1)
            above, level = self.folds - up_to, up_to - below
        return np.asarray((above + 0.5 * level + 0.5) / (self.folds + 1), dtype=np.float64)
