"""Candidates tried out on folds that precede the test part.

The observations end where the first test fold of any candidate begins, before anything is made from them: what comes
after cannot have a say. Every candidate forecasts the same folds, from fits that know only what lies before each block
of them, as in `forecasting.folds`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from forecasting.artefact import Recipe
from forecasting.errors import ForecastingError, InvalidTraining, TooLittleHistory
from forecasting.fits import Fits, Progress, plan_of, season_of, size_of
from forecasting.folds import Cut, Part, PlanSize, plan_folds
from forecasting.halving import BudgetSpent, Rung
from forecasting.judging import Folds, Judgement, folds_of, forecasts_of, joined, judged, served
from forecasting.models.registry import algorithm
from forecasting.panel import FloatArray, IntArray, Observations
from forecasting.serving import LoadedModel
from forecasting.training_panel import Panel, panel_of, require_one_series
from forecasting.training_spec import TrainingSpec

#: The folds before the test part: so many blocks, the newest ones first on the lower rungs, at least so many folds.
_REFITS, _LEAST_FOLDS = 2, 10
#: A lower rung fits on a share of the newest examples, but never on fewer than these.
_LEAST_EXAMPLES = 400
#: Folds of one block over all series; evenly thinned.
_MOST_FOLDS = 800


class Tried(NamedTuple):
    """What a candidate forecast and how good it was."""

    medians: FloatArray
    judgement: Judgement


class Tryout:
    """Judge specs on the folds before the test part.

    Args:
        specs: The candidates that can be trained on all rows; they share target, columns and horizon.
        observations: All of them.
        panel: Of the observations.
        remaining: Seconds that are left; never below 0 where there is no limit.

    Raises:
        TooLittleHistory: The rows before the test part are too few to compare on.
        ForecastingError: See `preparation.panel_of`.
    """

    def __init__(
        self,
        specs: Sequence[TrainingSpec],
        observations: Sequence[Observations],
        panel: Panel,
        remaining: Callable[[], float],
    ) -> None:
        self._remaining = remaining
        known = _before_test(specs, observations, panel)
        self._panel = panel_of(_plain(specs[0]), known)
        sizes = [size_of(spec, self._panel) for spec in specs]
        plan = plan_folds(
            [one.time for one in self._panel.series],
            PlanSize(
                first_row=max(size.first_row for size in sizes),
                horizon=specs[0].horizon,
                min_calibration=_LEAST_FOLDS,
                refits=_REFITS,
                embargo=max(size.embargo for size in sizes),
                needs_fit=any(size.needs_fit for size in sizes),
                least_known=max(size.least_known for size in sizes),
            ),
            self._panel.cutoffs,
        )
        self._season = season_of(specs[0], self._panel.series[0])
        self._blocks = [_thinned(block) for block in plan.blocks]
        self._folds: dict[int, Folds] = {}

    @property
    def is_small(self) -> bool:
        """Whether the examples are so few that lower rungs would spare little and judge on a handful of folds."""
        return sum(len(part.cutoffs) for part in self._blocks[-1].fit) <= _LEAST_EXAMPLES

    def folds(self, spec: TrainingSpec, rung: Rung) -> Folds:
        """Return the folds of a rung."""
        count = self._count(rung)
        if count not in self._folds:
            parts = [part for block in self._blocks[-count:] for part in block.folds]
            target = spec.all_columns.index(spec.target)
            self._folds[count] = folds_of(self._panel, target, parts, horizon=spec.horizon, season=self._season)
        return self._folds[count]

    def try_out(
        self,
        spec: TrainingSpec,
        rung: Rung,
        progress: Callable[[float], None] = lambda _: None,
        *,
        is_limited: bool = True,
    ) -> Tried:
        """Return what a candidate forecasts with the share of the work of a rung.

        Args:
            spec: Of the candidate.
            rung: Its share is that of all fits and examples.
            progress: Told what part of it is done, in [0, 1], never falling.
            is_limited: Whether the time that is left counts.

        Raises:
            BudgetSpent: No time is left.
            ForecastingError: The candidate cannot be fitted.
        """
        blocks = self._blocks[-self._count(rung) :]
        rows = rung.share * len(self._blocks) / len(blocks)

        def require_time() -> None:
            if is_limited and self._remaining() <= 0:
                raise BudgetSpent

        def watch(told: Progress) -> None:
            require_time()
            progress(told.fraction)

        require_time()
        fits = Fits(spec, self._panel, watch, fits=len(blocks))
        found = []
        for block in blocks:
            draft = fits.fit(_share(block, rows, needs_examples=algorithm(spec.algorithm) is not None), "search")
            _require_values(draft.recipe)
            require_time()
            found.append(forecasts_of(LoadedModel.load(draft.recipe, draft.graph), self._panel, block.folds))
        folds = self.folds(spec, rung)
        medians = served(joined(found), folds)
        return Tried(medians, judged(medians, folds))

    def _count(self, rung: Rung) -> int:
        return max(1, math.floor(rung.share * len(self._blocks) + 1e-9))


def _require_values(recipe: Recipe) -> None:
    if recipe.output != "quantiles":
        raise InvalidTraining(
            "invalid-training",
            field="candidates",
            expected="models that forecast values",
            found=f"{recipe.algorithm}, which forecasts directions",
        )


def _plain(spec: TrainingSpec) -> TrainingSpec:
    """Return a spec for the rows alone, whichever algorithm will learn from them."""
    return dataclasses.replace(spec, algorithm="last-value", hyperparameters={}, candidates=())


def _before_test(
    specs: Sequence[TrainingSpec], observations: Sequence[Observations], panel: Panel
) -> list[Observations]:
    """Return the observations up to the first test cutoff of any candidate; series that begin later are left out."""
    ends = []
    for spec in specs:
        for series, cutoffs in plan_of(spec, panel).test:
            ends.append(int(panel.series[series].time[cutoffs[0]]))
    end = min(ends)
    known = [one.slice(0, int(np.searchsorted(one.time, end, side="right"))) for one in observations]
    return [one for one in known if len(one)]


def _thinned(block: Cut) -> Cut:
    total = sum(len(part.cutoffs) for part in block.folds)
    stride = -(-total // _MOST_FOLDS)
    folds = [Part(series, cutoffs[::-1][::stride][::-1]) for series, cutoffs in block.folds]
    return block._replace(folds=folds)


def _share(block: Cut, rows: float, *, needs_examples: bool) -> Cut:
    """Return a fit on the newest share of the examples; one that learns from rows knows the validation part too."""
    if not needs_examples:
        later = {part.series: part.cutoffs for part in block.validation}
        none = np.empty(0, dtype=np.int64)
        return Cut([Part(s, np.append(c, later.get(s, none))) for s, c in block.fit], [], block.folds)
    total = sum(len(part.cutoffs) for part in block.fit)
    kept = min(1.0, max(rows, _LEAST_EXAMPLES / total))
    fit = [Part(series, _newest(cutoffs, kept)) for series, cutoffs in block.fit]
    return block._replace(fit=fit)


def _newest(cutoffs: IntArray, share: float) -> IntArray:
    return cutoffs[-max(1, math.ceil(share * len(cutoffs))) :]


def tryout_of(
    specs: Sequence[TrainingSpec],
    observations: Sequence[Observations],
    remaining: Callable[[], float],
    refuse: Callable[[TrainingSpec, str], None],
) -> tuple[list[TrainingSpec], Tryout]:
    """Return the candidates that the rows allow, for the training and for the comparison before it, and where to judge.

    Args:
        specs: Candidates, the baselines among them.
        observations: All of them.
        remaining: See `Tryout`.
        refuse: Told of the candidates that are left out, and why.

    Raises:
        ForecastingError: That of the last candidate, where none is possible.
    """
    panel = panel_of(_plain(specs[0]), observations)
    found, last = [], None
    for spec in specs:
        try:
            require_one_series(spec, len(observations))
            plan_of(spec, panel)
        except ForecastingError as error:
            last = error
            refuse(spec, f"{error.code}: {error}")
        else:
            found.append(spec)
    if last is not None and not found:
        raise last
    try:
        return found, Tryout(found, observations, panel, remaining)
    except TooLittleHistory as error:
        # Models that need no examples can be compared on less.
        simple = [spec for spec in found if algorithm(spec.algorithm) is None]
        if len(simple) in (0, len(found)):
            raise
        for spec in found:
            if spec not in simple:
                refuse(spec, f"{error.code}: to compare it before the test part, {error}")
        return simple, Tryout(simple, observations, panel, remaining)
