"""Train a model version: fit, calibrate, test beside the baselines, and say honestly how it did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from forecasting.artefact import Artefact, Recipe, Setting
from forecasting.calendars import season_length
from forecasting.evaluation import Evaluation, conformal_scores, evaluate, median_weight
from forecasting.intervals import calibrate
from forecasting.models.fitting import Epoch, FitTask, Fitted
from forecasting.models.registry import algorithm, hyperparameters_of
from forecasting.panel import IntArray, Observations
from forecasting.preparation import (
    Panel,
    Parts,
    TrainingSpec,
    draft_recipe,
    examples_of,
    panel_of,
    require_seasonal_window,
    split,
)
from forecasting.serving import LoadedModel

__all__ = ["Diagnostics", "Progress", "TrainedModel", "TrainingSpec", "train"]

#: Share of the work that is done when a stage begins.
_STARTS = {"reading": 0.0, "fitting": 0.05, "backtest": 0.85, "calibration": 0.95, "export": 0.99}


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a training is.

    Attributes:
        stage: `reading`, `fitting`, `backtest`, `calibration` or `export`.
        fraction: Part done, in [0, 1], never falling.
        epoch: Passes over the fit part so far, while fitting.
        losses: `train` and `validation`, while fitting.
    """

    stage: str
    fraction: float
    epoch: int | None = None
    losses: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Diagnostics:
    """What plots are made from.

    Attributes:
        epochs: Loss curves.
        evaluation: Metrics, skill and coverage overall and by step, fold forecasts, calibration curve.
        fold_times: Cutoffs of the folds of the first series in seconds since 1970, shape (folds,).
        cutoff_counts: Part -> cutoffs in it.
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
        metrics: `model` and each baseline -> metric -> value on the test part, from intervals that were calibrated
            before it. Overall names are those of `backtest.score`; ``-step-1`` is the first step alone.
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
    progress(Progress(stage="reading", fraction=_STARTS["reading"]))
    hyperparameters = hyperparameters_of(spec.algorithm, spec.hyperparameters)
    panel = panel_of(spec, observations)
    season = season_length(panel.series[0].freq, panel.series[0].calendar)
    require_seasonal_window(spec, season)
    parts = split(spec, panel, season)
    recipe, fitted = _fit(spec, panel, parts, hyperparameters, progress)
    graph = None if fitted is None else fitted.graph
    progress(Progress(stage="backtest", fraction=_STARTS["backtest"]))
    evaluation = evaluate(recipe, graph, panel, calibration=parts.calibration, test=parts.test, levels=spec.levels)
    progress(Progress(stage="calibration", fraction=_STARTS["calibration"]))
    # The fit saw neither part, so the release is calibrated on both; what the test part said was measured before.
    scores = conformal_scores(LoadedModel.load(recipe, graph), panel, [*parts.calibration, *parts.test])
    recipe = msgspec.structs.replace(recipe, intervals=calibrate(scores, spec.levels))
    progress(Progress(stage="export", fraction=_STARTS["export"]))
    LoadedModel.load(recipe, graph)
    progress(Progress(stage="export", fraction=1.0))
    first = parts.test[0]
    return TrainedModel(
        recipe=recipe,
        graph=graph,
        metrics=_with_first_step(evaluation),
        skill=evaluation.skill,
        folds=evaluation.fold_count,
        diagnostics=Diagnostics(
            epochs=() if fitted is None else fitted.epochs,
            evaluation=evaluation,
            fold_times=panel.series[first.series].time[first.cutoffs],
            cutoff_counts={name: sum(len(p.cutoffs) for p in part) for name, part in parts._asdict().items()},
            rows_skipped=panel.rows_skipped,
            parameter_count=0 if fitted is None else fitted.parameter_count,
            chosen={} if fitted is None else dict(fitted.chosen),
        ),
    )


def _fit(
    spec: TrainingSpec,
    panel: Panel,
    parts: Parts,
    hyperparameters: dict[str, Setting],
    progress: Callable[[Progress], None],
) -> tuple[Recipe, Fitted | None]:
    """Return the draft recipe and the fitted graph; ``None`` for a baseline, which has nothing more to fit."""
    chosen = algorithm(spec.algorithm)
    if chosen is None:
        return draft_recipe(spec, panel, parts, hyperparameters, ()), None
    quantiles = chosen.quantiles(spec.levels, hyperparameters)
    recipe = draft_recipe(spec, panel, parts, hyperparameters, quantiles)

    def on_epoch(epoch: Epoch) -> None:
        start, end = _STARTS["fitting"], _STARTS["backtest"]
        progress(
            Progress(
                stage="fitting",
                fraction=start + (end - start) * epoch.number / epoch.epochs,
                epoch=epoch.number,
                losses={"train": epoch.train_loss, "validation": epoch.validation_loss},
            )
        )

    progress(Progress(stage="fitting", fraction=_STARTS["fitting"]))
    fitted = chosen.fit(
        FitTask(
            fit=examples_of(recipe, panel, parts.fit),
            validation=examples_of(recipe, panel, parts.validation),
            quantiles=quantiles,
            hyperparameters=hyperparameters,
            seed=spec.seed,
            on_epoch=on_epoch,
        )
    )
    weight = median_weight(LoadedModel.load(recipe, fitted.graph), panel, parts.validation)
    return msgspec.structs.replace(recipe, median_weight=weight), fitted


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
