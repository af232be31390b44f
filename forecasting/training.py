"""Train a model version: fit, calibrate, test beside the baselines, and say honestly how it did."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from forecasting.artefact import Artefact, Recipe, Setting
from forecasting.errors import DivergedTraining, TooLittleHistory
from forecasting.evaluation import Evaluation, evaluate
from forecasting.fallback import Settled, settled, simpler
from forecasting.fits import FITTED, Fits, Progress, fit_cut, plan_of
from forecasting.fold_metrics import ByFold
from forecasting.folds import Plan
from forecasting.models.fitting import Epoch, Fitted
from forecasting.panel import IntArray, Observations
from forecasting.residuals import Residuals, calibrated, joined, residuals_of
from forecasting.search import Trial
from forecasting.selection import Choice, choose, is_choice
from forecasting.serving import LoadedModel
from forecasting.training_panel import Panel
from forecasting.training_spec import TrainingSpec
from schemas.models import LeaderboardEntry

__all__ = ["Diagnostics", "Progress", "TrainedModel", "TrainingSpec", "fit_cut", "plan_of", "train"]

#: Share of the work that a comparison is, where there is one.
_COMPARED = 0.5
#: Share of the work that is done when the folds are forecast, and when the test part is scored.
_FORECAST, _SCORED = 0.93, 0.98


@dataclass(frozen=True, kw_only=True)
class Diagnostics:
    """What plots are made from.

    Attributes:
        epochs: Loss curves of the released model.
        evaluation: Metrics, skill and coverage overall and by step, fold forecasts, calibration curve.
        fold_times: Cutoffs of the folds of the first series in seconds since 1970, shape (folds,).
        part_times: `train` and `validation` -> cutoffs of `Evaluation.parts`, likewise.
        cutoff_counts: Cutoffs in `fit` and `validation` of the released model, and in `calibration` and `test`.
        rows_skipped: Rows that were left out as a needed value was missing.
        rows_filled: Rows that the rule for gaps made, whole or in part.
        parameter_count: Fitted numbers of the graph.
        chosen: Hyperparameters that the validation part chose.
    """

    epochs: tuple[Epoch, ...]
    evaluation: Evaluation
    fold_times: IntArray
    part_times: dict[str, IntArray]
    cutoff_counts: dict[str, int]
    rows_skipped: int
    rows_filled: int
    parameter_count: int
    chosen: dict[str, Setting]


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A model version and what is known about it.

    Attributes:
        recipe: With the calibration of all folds that the fit did not see.
        graph: ONNX; ``None`` for a baseline.
        metrics: `model` and each baseline -> metric -> value on the test part, from a fit and bands that knew nothing
            of it. Overall names are those of `backtest.score` and `comparison.compare`; ``-step-1`` is the first step
            alone, ``train-`` and ``validation-`` what the fit had seen.
        skill: Baseline -> skill, below 0 where the model loses to it.
        folds: Folds of the test part.
        calibration_folds: Folds that its bands are calibrated on.
        by_fold: `metrics` of each cutoff time of the test part alone, and how they vary.
        fallback_from: The algorithm that was asked for, where another one stands in; empty otherwise.
        fallback_reason: Why.
        leaderboard: What was compared where something was chosen, the winner first.
        trials: Of a hyperparameter search.
        diagnostics: For plots.
    """

    recipe: Recipe
    graph: bytes | None
    metrics: dict[str, dict[str, float]]
    skill: dict[str, float]
    folds: int
    calibration_folds: int
    by_fold: ByFold
    fallback_from: str = ""
    fallback_reason: str = ""
    leaderboard: tuple[LeaderboardEntry, ...] = ()
    trials: tuple[Trial, ...] = ()
    diagnostics: Diagnostics

    @property
    def artefact(self) -> Artefact:
        """What is released."""
        return Artefact(self.recipe, self.graph)


def train(
    spec: TrainingSpec,
    observations: Sequence[Observations],
    progress: Callable[[Progress], None] = lambda _: None,
    remaining: Callable[[], float] = lambda: math.inf,
) -> TrainedModel:
    """Return a model version. The same spec and observations give the same artefact on the same machine.

    Where the algorithm or its hyperparameters are chosen under a limit of time, what is chosen depends on how fast the
    machine is; what is then fitted does not.

    Args:
        spec: What to train.
        observations: The series to learn from, the first one the most important: it sets where the parts begin.
        progress: Told how far it is; what it raises (a cancellation) ends the training.
        remaining: Seconds that are left for what is compared before the training; infinite without a limit.

    Raises:
        InvalidTraining: Unknown algorithm or hyperparameter, or settings that cannot be.
        InvalidObservations: A series that should not be learnt from; see `checks.check_observations`.
        TooLittleHistory: With the rows needed and found: for the simplest model, or for the one asked for where no
            other may stand in.
        InvalidWindow: A value that a feature is not defined for.
        DivergedTraining: The loss is not a number.
        ParityBroken: The graph does not compute what was fitted.
        CalendarError: Unknown calendar or freq.
    """
    progress(Progress(stage="reading", fraction=0.0))
    choice, found = _prepared(spec, observations, progress, remaining)
    asked = spec.algorithm if choice is None else choice.spec.algorithm
    if choice is not None:
        progress = _later(progress)
    spec, panel, reason = found
    plan = plan_of(spec, panel)
    cuts = [*plan.blocks, *([plan.overlap] if plan.overlap else [])]
    fits = Fits(spec, panel, progress, fits=len(cuts) + 1)
    release = fits.fit(plan.release, "fitting")
    blocks = [fits.fit(cut, "backtest") for cut in cuts]
    residuals = []
    for done, (draft, cut) in enumerate(zip(blocks, cuts, strict=True)):
        progress(Progress(stage="calibration", fraction=FITTED + (_FORECAST - FITTED) * done / len(cuts)))
        residuals.append(residuals_of(LoadedModel.load(draft.recipe, draft.graph), panel, cut.folds))
    unseen = joined(residuals)
    _require_finite(unseen)
    calibration, test = residuals[: len(plan.blocks) - 1], len(plan.blocks) - 1
    progress(Progress(stage="calibration", fraction=_FORECAST))
    draft = blocks[test]
    tested = LoadedModel.load(calibrated(draft.recipe, joined(calibration), spec.levels), draft.graph)
    seen = {"train": plan.blocks[-1].fit, "validation": plan.blocks[-1].validation}
    evaluation = evaluate(
        tested,
        panel,
        calibration=plan.calibration,
        test=plan.test,
        levels=spec.levels,
        seen=seen,
        progress=lambda share: progress(
            Progress(stage="calibration", fraction=_FORECAST + (_SCORED - _FORECAST) * share)
        ),
    )
    progress(Progress(stage="export", fraction=_SCORED))
    released = LoadedModel.load(calibrated(release.recipe, unseen, spec.levels), release.graph)
    progress(Progress(stage="export", fraction=1.0))
    return TrainedModel(
        recipe=released.recipe,
        graph=release.graph,
        metrics=evaluation.released,
        skill=evaluation.skill,
        folds=evaluation.fold_count,
        calibration_folds=len(unseen.outcome),
        by_fold=evaluation.by_fold,
        fallback_from=asked if spec.algorithm != asked else "",
        fallback_reason=reason,
        leaderboard=() if choice is None else choice.leaderboard,
        trials=() if choice is None else choice.trials,
        diagnostics=_diagnostics(panel, plan, release.fitted, evaluation),
    )


def _require_finite(residuals: Residuals) -> None:
    """Refuse a model whose backtest left the numbers, whatever its fit said."""
    wild = ~(np.isfinite(residuals.change) & np.isfinite(residuals.spread)).all(axis=1)
    if wild.any():
        raise DivergedTraining(
            "diverged-training",
            field="forecasts",
            expected="finite on every fold of the backtest",
            found=f"others on {int(np.sum(wild))} of {len(residuals.change)} folds",
            advice="look for wild values in the data, or choose another algorithm",
        )


def _prepared(
    spec: TrainingSpec,
    observations: Sequence[Observations],
    progress: Callable[[Progress], None],
    remaining: Callable[[], float],
) -> tuple[Choice | None, Settled]:
    """Return what was chosen, if something is to be chosen, and what is trained."""
    if not is_choice(spec):
        return None, settled(spec, observations)
    try:
        choice = choose(spec, observations, _first(progress), remaining)
    except TooLittleHistory as error:
        # Too short to compare anything on.
        if not spec.fallback:
            raise
        return None, simpler(spec, observations, error)
    return choice, settled(choice.spec, observations)


def _first(progress: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """Return what is told of the comparison, as the first part of the work."""
    return lambda told: progress(dataclasses.replace(told, fraction=_COMPARED * told.fraction))


def _later(progress: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """Return what is told of the training that follows a comparison."""

    def tell(told: Progress) -> None:
        # Rounded: a sum of floats may fall by its last bit.
        progress(dataclasses.replace(told, fraction=round(_COMPARED + (1 - _COMPARED) * told.fraction, 9)))

    return tell


def _diagnostics(panel: Panel, plan: Plan, fitted: Fitted | None, evaluation: Evaluation) -> Diagnostics:
    first = plan.test[0]
    tested = {"train": plan.blocks[-1].fit, "validation": plan.blocks[-1].validation}
    parts = {
        "fit": plan.release.fit,
        "validation": plan.release.validation,
        "calibration": plan.calibration,
        "test": plan.test,
    }
    return Diagnostics(
        epochs=() if fitted is None else fitted.epochs,
        evaluation=evaluation,
        fold_times=panel.series[first.series].time[first.cutoffs],
        part_times={
            name: panel.series[tested[name][0].series].time[folds.cutoffs] for name, folds in evaluation.parts.items()
        },
        cutoff_counts={name: sum(len(part.cutoffs) for part in found) for name, found in parts.items()},
        rows_skipped=panel.rows_skipped,
        rows_filled=panel.rows_filled,
        parameter_count=0 if fitted is None else fitted.parameter_count,
        chosen={} if fitted is None else dict(fitted.chosen),
    )
