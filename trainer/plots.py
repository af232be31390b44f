"""What a person looks at first in a training run, as PNG."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from forecasting.comparison import MODEL
from forecasting.intervals import quantile_pair
from forecasting.significance import SIGNIFICANCE
from forecasting.training import Diagnostics, TrainedModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from forecasting.panel import FloatArray, IntArray

_SIZE_INCHES = (9.0, 5.0)
_BAND_LEVEL = 80.0
_COLOUR, _OTHER_COLOUR, _LIGHT = "#1f5fa8", "#c2571a", "#8a8a8a"
_BASELINE_COLOURS = ("#c2571a", "#3b7d3a", "#7b4fa3")
#: Residuals further back than this are no news for the next forecast.
_MOST_LAGS = 40
#: Observed values that a fan begins with.
_FAN_HISTORY = 40


def plots_of(trained: TrainedModel) -> dict[str, bytes]:
    """Return file name -> PNG: loss curves, fit, residuals, calibration, a fan and skill by step."""
    diagnostics = trained.diagnostics
    draw: dict[str, Callable[[Figure, Diagnostics], None]] = {
        "plots/fit.png": _fit,
        "plots/residuals.png": _residuals,
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
    axes = figure.add_subplot(title="Loss of the released model", xlabel="epoch", ylabel="loss, in units of volatility")
    numbers = [epoch.number for epoch in diagnostics.epochs]
    validation = np.array([epoch.validation_loss for epoch in diagnostics.epochs])
    best = int(np.argmin(validation))
    axes.plot(numbers, [epoch.train_loss for epoch in diagnostics.epochs], label="train", color=_COLOUR)
    axes.plot(numbers, validation, label="validation", color=_OTHER_COLOUR)
    axes.plot(numbers[best], validation[best], "o", color=_OTHER_COLOUR, label=f"least, epoch {numbers[best]}")
    rate = axes.twinx()
    rate.set_ylabel("learning rate")
    rate.plot(numbers, [epoch.learning_rate for epoch in diagnostics.epochs], ":", drawstyle="steps-post", color=_LIGHT)
    rate.get_lines()[0].set_label("learning rate")
    axes.legend(handles=[*axes.get_lines(), *rate.get_lines()])


def _fit(figure: Figure, diagnostics: Diagnostics) -> None:
    whole, test = figure.subplots(2, 1)
    whole.set_title("One step ahead: what the fit has learnt from, what stopped it, and the test part")
    evaluation = diagnostics.evaluation
    parts = {name: (diagnostics.part_times[name], folds) for name, folds in evaluation.parts.items()}
    parts["test"] = (diagnostics.fold_times, evaluation.folds[MODEL])
    for name, colour in (("train", _LIGHT), ("validation", _OTHER_COLOUR), ("test", _COLOUR)):
        if name in parts:
            seconds, folds = parts[name]
            whole.plot(_days(seconds), folds.y[:, 0], color="black", linewidth=0.8)
            whole.plot(_days(seconds), folds.median[:, 0], color=colour, linewidth=0.8, label=f"median, {name}")
    whole.legend()
    folds, time = evaluation.folds[MODEL], _days(diagnostics.fold_times)
    test.set_title("Test part")
    test.set_xlabel("cutoff (UTC)")
    test.plot(time, folds.y[:, 0], label="actual", color="black", linewidth=0.8)
    test.plot(time, folds.median[:, 0], label="median", color=_COLOUR, linewidth=0.8)
    lower, upper = (folds.quantiles[probability][:, 0] for probability in quantile_pair(_BAND_LEVEL))
    test.fill_between(time, lower, upper, color=_COLOUR, alpha=0.25, linewidth=0, label=f"{_BAND_LEVEL:g} %")
    test.legend()


def _residuals(figure: Figure, diagnostics: Diagnostics) -> None:
    folds = diagnostics.evaluation.folds[MODEL]
    residuals = folds.y[:, 0] - folds.median[:, 0]
    over_time, histogram, autocorrelation = figure.subplot_mosaic("AA;BC").values()
    over_time.set_title("Residuals of the test part, one step ahead")
    over_time.axhline(0.0, color="black", linewidth=0.8)
    over_time.plot(_days(diagnostics.fold_times), residuals, ".", color=_COLOUR, markersize=4)
    histogram.set_title("Their distribution")
    histogram.hist(residuals, bins=max(int(2 * np.sqrt(len(residuals))), 5), color=_COLOUR, alpha=0.7)
    histogram.axvline(float(np.mean(residuals)), color=_OTHER_COLOUR, label="mean")
    histogram.legend()
    _draw_autocorrelation(autocorrelation, residuals)


def _draw_autocorrelation(axes: Axes, residuals: FloatArray) -> None:
    found = autocorrelations(residuals, min(_MOST_LAGS, len(residuals) // 3))
    axes.set_title("Autocorrelation")
    axes.set_xlabel("folds apart; outside the band 1 of 20 by chance")
    axes.axhline(0.0, color="black", linewidth=0.8)
    axes.axhspan(-1.96 / np.sqrt(len(residuals)), 1.96 / np.sqrt(len(residuals)), color=_COLOUR, alpha=0.15)
    axes.vlines(np.arange(1, len(found) + 1), 0.0, found, color=_COLOUR)


def autocorrelations(values: FloatArray, lags: int) -> FloatArray:
    """Return the sample autocorrelations at lags 1 to ``lags``; 0 for values that never change."""
    centred = values - np.mean(values)
    square = float(centred @ centred)
    found = [centred[lag:] @ centred[:-lag] for lag in range(1, lags + 1)]
    return np.array(found, dtype=np.float64) / square if square > 0 else np.zeros(lags)


def _fan(figure: Figure, diagnostics: Diagnostics) -> None:
    folds = diagnostics.evaluation.folds[MODEL]
    steps = np.arange(1, folds.y.shape[1] + 1)
    cutoff = np.datetime64(int(diagnostics.fold_times[-1]), "s")
    axes = figure.add_subplot(title=f"The last fold of the test part, cutoff {cutoff}", xlabel="rows after the cutoff")
    before = folds.cutoffs - folds.cutoffs[-1]
    if folds.last is not None:
        shown = before > -_FAN_HISTORY
        axes.plot(before[shown], folds.last[shown], color="black", linewidth=0.8)
    for level in sorted(diagnostics.evaluation.calibration_curve, reverse=True):
        lower, upper = (folds.quantiles[probability][-1] for probability in quantile_pair(level))
        axes.fill_between(steps, lower, upper, color=_COLOUR, alpha=0.1, linewidth=0)
    axes.plot(
        steps, folds.median[-1], label="median, with bands of the levels 10 to 90 and those asked for", color=_COLOUR
    )
    axes.plot(steps, folds.y[-1], label="actual", color="black", marker="o", markersize=4)
    axes.legend()


def _calibration(figure: Figure, diagnostics: Diagnostics) -> None:
    evaluation = diagnostics.evaluation
    whole, steps = figure.subplots(1, 2)
    curve = evaluation.calibration_curve
    whole.set_title("Calibration over all steps")
    whole.set_xlabel("level in percent")
    whole.set_ylabel("outcomes within, in percent")
    whole.plot([0, 100], [0, 100], color="black", linewidth=0.8, label="exact")
    whole.plot(list(curve), list(curve.values()), marker="o", color=_COLOUR, label="test part")
    whole.legend()
    steps.set_title("By step")
    steps.set_xlabel("step")
    by_step = evaluation.metrics_by_step[MODEL]
    names = [name for name in by_step[0] if name.startswith("coverage-")]
    for name, colour in zip(names, (_COLOUR, *_BASELINE_COLOURS), strict=False):
        level = float(name.removeprefix("coverage-"))
        steps.axhline(level, color=colour, linewidth=0.8, linestyle=":")
        found = [metrics[name] for metrics in by_step]
        steps.plot(np.arange(1, len(found) + 1), found, marker="o", color=colour, label=f"{level:g} % band")
    steps.set_ylim(max(steps.get_ylim()[0] - 5, 0), 100)
    steps.legend()


def _skill_by_step(figure: Figure, diagnostics: Diagnostics) -> None:
    evaluation = diagnostics.evaluation
    axes = figure.add_subplot(
        title=f"Skill beside the baselines, above 0 the model is better; filled: p < {SIGNIFICANCE:g}",
        xlabel="step",
        ylabel="1 - loss / loss of the baseline",
    )
    axes.axhline(0.0, color="black", linewidth=0.8)
    for (baseline, skill), colour in zip(evaluation.skill_by_step.items(), _BASELINE_COLOURS, strict=False):
        steps = np.arange(1, len(skill) + 1)
        axes.plot(steps, skill, color=colour, linewidth=1, label=baseline)
        metrics = evaluation.metrics_by_step[MODEL]
        is_sure = [one.get(f"dm-p-value-{baseline}", 1.0) < SIGNIFICANCE for one in metrics]
        faces = [colour if sure else "white" for sure in is_sure]
        axes.scatter(steps, skill, color=colour, facecolors=faces, zorder=3)
    axes.legend()


def _days(seconds: IntArray) -> np.ndarray:
    return seconds.astype("datetime64[s]")
