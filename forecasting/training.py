"""Train a model version: fit, calibrate, test beside the baselines, and say honestly how it did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from forecasting.artefact import Artefact, Recipe, Setting
from forecasting.evaluation import Evaluation, calibrated, evaluate, joined, residuals_of
from forecasting.fallback import settled
from forecasting.fits import FITTED, Fits, Progress, fit_cut, plan_of
from forecasting.folds import Plan
from forecasting.models.fitting import Epoch, Fitted
from forecasting.panel import IntArray, Observations
from forecasting.preparation import Panel, TrainingSpec
from forecasting.serving import LoadedModel

__all__ = ["Diagnostics", "Progress", "TrainedModel", "TrainingSpec", "fit_cut", "plan_of", "train"]


@dataclass(frozen=True, kw_only=True)
class Diagnostics:
    """What plots are made from.

    Attributes:
        epochs: Loss curves of the released model.
        evaluation: Metrics, skill and coverage overall and by step, fold forecasts, calibration curve.
        fold_times: Cutoffs of the folds of the first series in seconds since 1970, shape (folds,).
        cutoff_counts: Cutoffs in `fit` and `validation` of the released model, and in `calibration` and `test`.
        rows_skipped: Rows that were left out as a needed value was missing.
        parameter_count: Fitted numbers of the graph.
        chosen: Hyperparameters that the validation part chose.
    """

    epochs: tuple[Epoch, ...]
    evaluation: Evaluation
    fold_times: IntArray
    cutoff_counts: dict[str, int]
    rows_skipped: int
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
        fallback_from: The algorithm that was asked for, where another one stands in; empty otherwise.
        fallback_reason: Why.
        diagnostics: For plots.
    """

    recipe: Recipe
    graph: bytes | None
    metrics: dict[str, dict[str, float]]
    skill: dict[str, float]
    folds: int
    calibration_folds: int
    fallback_from: str = ""
    fallback_reason: str = ""
    diagnostics: Diagnostics

    @property
    def artefact(self) -> Artefact:
        """What is released."""
        return Artefact(self.recipe, self.graph)


def train(
    spec: TrainingSpec, observations: Sequence[Observations], progress: Callable[[Progress], None] = lambda _: None
) -> TrainedModel:
    """Return a model version. The same spec and observations give the same artefact on the same machine.

    Args:
        spec: What to train.
        observations: The series to learn from, the first one the most important: it sets where the parts begin.
        progress: Told how far it is; what it raises (a cancellation) ends the training.

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
    asked = spec.algorithm
    spec, panel, reason = settled(spec, observations)
    plan = plan_of(spec, panel)
    cuts = [*plan.blocks, *([plan.overlap] if plan.overlap else [])]
    fits = Fits(spec, panel, progress, fits=len(cuts) + 1)
    release = fits.fit(plan.release, "fitting")
    blocks = [fits.fit(cut, "backtest") for cut in cuts]
    residuals = [
        residuals_of(LoadedModel.load(draft.recipe, draft.graph), panel, cut.folds)
        for draft, cut in zip(blocks, cuts, strict=True)
    ]
    calibration, test = residuals[: len(plan.blocks) - 1], len(plan.blocks) - 1
    progress(Progress(stage="calibration", fraction=FITTED))
    draft = blocks[test]
    tested = LoadedModel.load(calibrated(draft.recipe, joined(calibration), spec.levels), draft.graph)
    seen = {"train": plan.blocks[-1].fit, "validation": plan.blocks[-1].validation}
    evaluation = evaluate(tested, panel, calibration=plan.calibration, test=plan.test, levels=spec.levels, seen=seen)
    progress(Progress(stage="export", fraction=0.98))
    unseen = joined(residuals)
    released = LoadedModel.load(calibrated(release.recipe, unseen, spec.levels), release.graph)
    progress(Progress(stage="export", fraction=1.0))
    return TrainedModel(
        recipe=released.recipe,
        graph=release.graph,
        metrics=evaluation.released,
        skill=evaluation.skill,
        folds=evaluation.fold_count,
        calibration_folds=len(unseen.outcome),
        fallback_from=asked if reason else "",
        fallback_reason=reason,
        diagnostics=_diagnostics(panel, plan, release.fitted, evaluation),
    )


def _diagnostics(panel: Panel, plan: Plan, fitted: Fitted | None, evaluation: Evaluation) -> Diagnostics:
    first = plan.test[0]
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
        cutoff_counts={name: sum(len(part.cutoffs) for part in found) for name, found in parts.items()},
        rows_skipped=panel.rows_skipped,
        parameter_count=0 if fitted is None else fitted.parameter_count,
        chosen={} if fitted is None else dict(fitted.chosen),
    )
