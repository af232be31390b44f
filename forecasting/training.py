"""Train a model version: fit, calibrate, test beside the baselines, and say honestly how it did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from forecasting.artefact import Artefact, Recipe, Setting
from forecasting.calendars import season_length
from forecasting.evaluation import Evaluation, calibrated, evaluate, joined, residuals_of
from forecasting.folds import Cut, Plan, PlanSize, min_calibration_of, plan_folds
from forecasting.models.baselines import is_baseline
from forecasting.models.fitting import Epoch, FitTask, Fitted
from forecasting.models.registry import algorithm, hyperparameters_of
from forecasting.panel import IntArray, Observations
from forecasting.preparation import (
    Panel,
    TrainingSpec,
    draft_recipe,
    examples_of,
    panel_of,
    require_seasonal_window,
)
from forecasting.serving import LoadedModel

__all__ = ["Diagnostics", "Progress", "TrainedModel", "TrainingSpec", "fit_cut", "plan_of", "train"]

#: Share of the work that is done when the first fit begins, and when the last one has ended.
_READ, _FITTED = 0.02, 0.9


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a training is.

    Attributes:
        stage: `reading`, `fitting` (the released model), `backtest` (the fits before each block of folds),
            `calibration` or `export`.
        fraction: Part done, in [0, 1], never falling.
        epoch: Passes over the fit part so far, in a fit.
        losses: `train` and `validation`, in a fit.
    """

    stage: str
    fraction: float
    epoch: int | None = None
    losses: dict[str, float] = field(default_factory=dict)


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
            of it. Overall names are those of `backtest.score`; ``-step-1`` is the first step alone.
        skill: Baseline -> skill, below 0 where the model loses to it.
        folds: Folds of the test part.
        diagnostics: For plots.
    """

    recipe: Recipe
    graph: bytes | None
    metrics: dict[str, dict[str, float]]
    skill: dict[str, float]
    folds: int
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
        InvalidObservations: Unknown column, different freqs or calendars.
        TooLittleHistory: With the rows needed and found.
        InvalidWindow: A value that a feature is not defined for.
        DivergedTraining: The loss is not a number.
        ParityBroken: The graph does not compute what was fitted.
        CalendarError: Unknown calendar or freq.
    """
    progress(Progress(stage="reading", fraction=0.0))
    hyperparameters = hyperparameters_of(spec.algorithm, spec.hyperparameters)
    panel = panel_of(spec, observations)
    plan = plan_of(spec, panel)
    task = _Training(spec, panel, hyperparameters, progress, fits=len(plan.blocks) + 1)
    recipe, fitted = task.fit(plan.release, "fitting")
    blocks = [task.fit(block, "backtest") for block in plan.blocks]
    residuals = [
        residuals_of(LoadedModel.load(draft, _graph(part)), panel, block.folds)
        for (draft, part), block in zip(blocks, plan.blocks, strict=True)
    ]
    progress(Progress(stage="calibration", fraction=_FITTED))
    draft, part = blocks[-1]
    tested = LoadedModel.load(calibrated(draft, joined(residuals[:-1]), spec.levels), _graph(part))
    evaluation = evaluate(tested, panel, calibration=plan.calibration, test=plan.test, levels=spec.levels)
    progress(Progress(stage="export", fraction=0.98))
    released = LoadedModel.load(calibrated(recipe, joined(residuals), spec.levels), _graph(fitted))
    progress(Progress(stage="export", fraction=1.0))
    return TrainedModel(
        recipe=released.recipe,
        graph=_graph(fitted),
        metrics=_with_first_step(evaluation),
        skill=evaluation.skill,
        folds=evaluation.fold_count,
        diagnostics=_diagnostics(panel, plan, fitted, evaluation),
    )


def plan_of(spec: TrainingSpec, panel: Panel) -> Plan:
    """Return the fits and folds of a training: a matter of the times of its rows, never of their values.

    Raises:
        InvalidTraining: The window of a seasonal model is shorter than a season.
        TooLittleHistory: With the rows needed and found.
    """
    hyperparameters = hyperparameters_of(spec.algorithm, spec.hyperparameters)
    season = spec.season_length or season_length(panel.series[0].freq, panel.series[0].calendar)
    require_seasonal_window(spec, season)
    return plan_folds([one.time for one in panel.series], _size_of(spec, hyperparameters, season))


def fit_cut(spec: TrainingSpec, panel: Panel, cut: Cut) -> tuple[Recipe, bytes | None]:
    """Return the draft recipe and the graph of one fit of a training, as `train` makes them."""
    hyperparameters = hyperparameters_of(spec.algorithm, spec.hyperparameters)
    recipe, fitted = _Training(spec, panel, hyperparameters, lambda _: None, fits=1).fit(cut, "fitting")
    return recipe, _graph(fitted)


def _size_of(spec: TrainingSpec, hyperparameters: dict[str, Setting], season: int) -> PlanSize:
    return PlanSize(
        first_row=max(spec.window_size, season) - 1,
        horizon=spec.horizon,
        min_calibration=min_calibration_of(spec.levels),
        refits=int(hyperparameters.get("refits", 1)),
        needs_fit=not is_baseline(spec.algorithm),
    )


class _Training:
    """The fits of one training, which share everything but the rows that they see."""

    def __init__(
        self,
        spec: TrainingSpec,
        panel: Panel,
        hyperparameters: dict[str, Setting],
        progress: Callable[[Progress], None],
        *,
        fits: int,
    ) -> None:
        self._spec = spec
        self._panel = panel
        self._hyperparameters = hyperparameters
        self._progress = progress
        self._fits = fits
        self._done = 0

    def fit(self, cut: Cut, stage: str) -> tuple[Recipe, Fitted | None]:
        """Return the draft recipe and the fitted graph; ``None`` for a baseline, which has nothing more to fit."""
        spec, panel = self._spec, self._panel
        self._tell(stage, 0.0)
        chosen = algorithm(spec.algorithm)
        recipe = draft_recipe(spec, panel, cut.fit, self._hyperparameters, chosen)
        fitted = None
        if chosen is not None:
            fitted = chosen.fit(
                FitTask(
                    fit=examples_of(recipe, panel, cut.fit),
                    validation=examples_of(recipe, panel, cut.validation),
                    quantiles=recipe.quantiles,
                    hyperparameters=self._hyperparameters,
                    seed=spec.seed,
                    on_epoch=lambda epoch: self._tell(stage, epoch.number / epoch.epochs, epoch),
                )
            )
        self._done += 1
        return recipe, fitted

    def _tell(self, stage: str, share: float, epoch: Epoch | None = None) -> None:
        self._progress(
            Progress(
                stage=stage,
                fraction=_READ + (_FITTED - _READ) * (self._done + share) / self._fits,
                epoch=None if epoch is None else epoch.number,
                losses={} if epoch is None else {"train": epoch.train_loss, "validation": epoch.validation_loss},
            )
        )


def _graph(fitted: Fitted | None) -> bytes | None:
    return None if fitted is None else fitted.graph


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


def _with_first_step(evaluation: Evaluation) -> dict[str, dict[str, float]]:
    """Return the metrics of all steps, and beside them those of the first: the ones that other work reports."""
    return {
        method: metrics
        | {
            f"{name}-step-1": evaluation.metrics_by_step[method][0][name]
            for name in ("mae", "mape", "rmse", "r2")
            if name in evaluation.metrics_by_step[method][0]
        }
        for method, metrics in evaluation.metrics.items()
    }
