"""What a person looks at first in a training run, as PNG."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from forecasting.evaluation import MODEL, Evaluation
from forecasting.intervals import quantile_pair
from forecasting.training import Diagnostics, TrainedModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIZE_INCHES = (8.0, 4.5)
_BAND_LEVEL = 80.0
_COLOUR, _OTHER_COLOUR = "#1f5fa8", "#c2571a"


def plots_of(trained: TrainedModel) -> dict[str, bytes]:
    """Return file name -> PNG: the loss curve, the test part with its bands, a fan, calibration and skill by step."""
    diagnostics = trained.diagnostics
    draw: dict[str, Callable[[Figure, Diagnostics], None]] = {
        "plots/fit.png": _fit,
        "plots/fan.png": _fan,
        "plots/calibration.png": _calibration,
        "plots/skill-by-step.png": _skill_by_step,
    }
    if diagnostics.epochs:
        draw["plots/loss-curve.png"] = _loss_curve
    return {name: _png(function, diagnostics) for name, function in draw.items()}


def losses_of(trained: TrainedModel) -> dict[str, list[float]]:
    """Return the loss after each epoch, `train` and `validation`; empty for a model that is not fitted by epochs."""
    epochs = trained.diagnostics.epochs
    if not epochs:
        return {}
    return {"train": [epoch.train_loss for epoch in epochs], "validation": [epoch.validation_loss for epoch in epochs]}


def _png(draw: Callable[[Figure, Diagnostics], None], diagnostics: Diagnostics) -> bytes:
    # A figure of its own, without pyplot: that keeps every figure it made.
    from matplotlib.figure import Figure  # noqa: PLC0415  # costs a second, and only children draw

    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    draw(figure, diagnostics)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _loss_curve(figure: Figure, diagnostics: Diagnostics) -> None:
    axes = figure.add_subplot(title="Loss", xlabel="epoch", ylabel="loss")
    numbers = [epoch.number for epoch in diagnostics.epochs]
    axes.plot(numbers, [epoch.train_loss for epoch in diagnostics.epochs], label="train", color=_COLOUR)
    validation = [epoch.validation_loss for epoch in diagnostics.epochs]
    axes.plot(numbers, validation, label="validation", color=_OTHER_COLOUR)
    axes.legend()


def _fit(figure: Figure, diagnostics: Diagnostics) -> None:
    folds = diagnostics.evaluation.folds[MODEL]
    time = diagnostics.fold_times.astype("datetime64[s]")
    axes = figure.add_subplot(title="One step ahead over the test part", xlabel="cutoff (UTC)")
    axes.plot(time, folds.y[:, 0], label="actual", color="black", linewidth=0.8)
    axes.plot(time, folds.median[:, 0], label="median", color=_COLOUR, linewidth=0.8)
    lower, upper = (folds.quantiles[probability][:, 0] for probability in quantile_pair(_BAND_LEVEL))
    axes.fill_between(time, lower, upper, color=_COLOUR, alpha=0.25, label=f"{_BAND_LEVEL:g} %")
    axes.legend()


def _fan(figure: Figure, diagnostics: Diagnostics) -> None:
    folds = diagnostics.evaluation.folds[MODEL]
    steps = np.arange(1, folds.y.shape[1] + 1)
    cutoff = np.datetime64(int(diagnostics.fold_times[-1]), "s")
    axes = figure.add_subplot(title=f"The last fold, from {cutoff}", xlabel="step")
    for level in sorted(diagnostics.evaluation.calibration_curve, reverse=True):
        lower, upper = (folds.quantiles[probability][-1] for probability in quantile_pair(level))
        axes.fill_between(steps, lower, upper, color=_COLOUR, alpha=0.1, linewidth=0)
    axes.plot(steps, folds.median[-1], label="median", color=_COLOUR)
    axes.plot(steps, folds.y[-1], label="actual", color="black", marker="o")
    axes.legend()


def _calibration(figure: Figure, diagnostics: Diagnostics) -> None:
    curve = diagnostics.evaluation.calibration_curve
    axes = figure.add_subplot(title="Calibration", xlabel="level in percent", ylabel="outcomes within, in percent")
    axes.plot([0, 100], [0, 100], color="black", linewidth=0.8, label="exact")
    axes.plot(list(curve), list(curve.values()), marker="o", color=_COLOUR, label="test part")
    axes.legend()


def _skill_by_step(figure: Figure, diagnostics: Diagnostics) -> None:
    evaluation: Evaluation = diagnostics.evaluation
    axes = figure.add_subplot(title="Skill beside the baselines; above 0 the model is better", xlabel="step")
    axes.axhline(0.0, color="black", linewidth=0.8)
    for baseline, skill in evaluation.skill_by_step.items():
        axes.plot(np.arange(1, len(skill) + 1), skill, marker="o", label=baseline)
    axes.legend()
