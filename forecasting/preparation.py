"""The recipe of one fit, and its examples: windows with what followed them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from forecasting import adaptation
from forecasting.artefact import (
    TIME_COLUMN,
    FeatureRecipe,
    IntervalRecipe,
    Recipe,
    Setting,
    StepFeatureRecipe,
    VolatilityRecipe,
)
from forecasting.calendars import season_length
from forecasting.errors import InvalidTraining
from forecasting.features import feature_of
from forecasting.features_history import HistoryBuilder
from forecasting.features_request import features_of, step_features_of
from forecasting.folds import Part
from forecasting.inputs import InputBuilder
from forecasting.models.baselines import SEASONAL_NAIVE
from forecasting.models.fitting import Algorithm, Examples, SeriesView
from forecasting.models.statistical_settings import is_statistical
from forecasting.panel import FloatArray
from forecasting.training_panel import Panel
from forecasting.training_spec import TrainingSpec

_VOLATILITY_DECAY, _VOLATILITY_SHRINKAGE = 0.94, 0.1
#: Changes that the long-run volatility counts for beside those of the window: of two rows alone little is believed.
_PRIOR_CHANGES = 2
#: What the examples of one part of a fit may take in memory, about.
_EXAMPLE_BYTES = 512 * 1024 * 1024
#: Windows whose step features give mean and deviation, about.
_SCALER_WINDOWS = 1_000
#: Relative to a number, more than float32 may change it by.
_ROUNDING = 1e-6


def draft_recipe(
    spec: TrainingSpec,
    panel: Panel,
    fit: Sequence[Part],
    hyperparameters: dict[str, Setting],
    chosen: Algorithm | None,
) -> Recipe:
    """Return the recipe with everything that is estimated from the fit part alone, its intervals still empty.

    Args:
        spec: What to train.
        panel: The series.
        fit: The cutoffs whose windows and outcomes may be looked at.
        hyperparameters: Every declared one.
        chosen: Gives the inputs that the spec does not name; ``None`` for an algorithm without a graph.
    """
    columns = spec.all_columns
    target = columns.index(spec.target)
    is_positive = all((values[:, target] > 0).all() for values in panel.values)
    if not is_positive and len(panel.series) > 1:
        raise InvalidTraining(
            "invalid-training",
            field="series_ids",
            expected="one series, or several whose target is always positive: only ratios compare between series",
            found=f"{len(panel.series)} series with values that are not",
        )
    seen = [_seen(panel, part, spec.horizon) for part in fit]
    changes = np.concatenate(
        [np.diff(np.log(values[:, target]) if is_positive else values[:, target]) for values in seen]
    )
    first = panel.series[0]
    recipe = Recipe(
        algorithm=spec.algorithm,
        target=spec.target,
        columns=columns,
        freq=first.freq,
        calendar=first.calendar,
        season_length=spec.season_length or season_length(first.freq, first.calendar),
        window_size=spec.window_size,
        horizon=spec.horizon,
        transform="log-return" if is_positive else "difference",
        volatility=VolatilityRecipe(
            decay=_VOLATILITY_DECAY,
            shrinkage=max(_VOLATILITY_SHRINKAGE, _PRIOR_CHANGES / (_PRIOR_CHANGES + spec.window_size - 1)),
            long_run=float(np.sqrt(np.mean(changes**2))) if len(changes) else 0.0,
        ),
        drift=float(np.mean(changes)) if len(changes) else 0.0,
        quantiles=() if chosen is None else chosen.quantiles(spec.levels, hyperparameters),
        intervals=IntervalRecipe(
            is_symmetric=True,
            scores=((0.0,),) * spec.horizon,
            adaptation=adaptation.DEFAULT if spec.intervals == "adaptive" else None,
        ),
        hyperparameters=hyperparameters,
        seed=spec.seed,
        future_columns=spec.columns_of("known-future"),
        static_columns=spec.columns_of("static"),
        gaps=spec.gaps,
    )
    if is_statistical(spec.algorithm):
        return _with_statistical(recipe, panel, fit)
    return recipe if chosen is None else _with_inputs(recipe, spec, panel, fit, chosen)


def _with_statistical(recipe: Recipe, panel: Panel, fit: Sequence[Part]) -> Recipe:
    """Return the recipe with a statistical model of all rows that the fit part sees."""
    from forecasting.models.statistical import fit as fit_model  # noqa: PLC0415  # training alone

    rows = _seen(panel, fit[0], recipe.horizon)
    model = fit_model(
        recipe.algorithm,
        rows[:, recipe.columns.index(recipe.target)],
        panel.series[fit[0].series].time[: len(rows)],
        recipe.season_length,
        recipe.hyperparameters,
        window_size=recipe.window_size,
    )
    return msgspec.structs.replace(recipe, statistical=model)


def _with_inputs(recipe: Recipe, spec: TrainingSpec, panel: Panel, fit: Sequence[Part], chosen: Algorithm) -> Recipe:
    """Return the recipe with the inputs of a graph, their scaler values taken from the fit part."""
    plan = chosen.plan(
        SeriesView(
            columns=recipe.columns,
            target=recipe.target,
            is_log=recipe.transform == "log-return",
            season_length=recipe.season_length,
            freq=recipe.freq,
            calendar=recipe.calendar,
            window_size=recipe.window_size,
            horizon=recipe.horizon,
            future_columns=recipe.future_columns,
            static_columns=recipe.static_columns,
            hyperparameters=recipe.hyperparameters,
        )
    )
    features = features_of(spec.features, recipe) or plan.features
    seen = [_seen_columns(recipe, panel, part) for part in fit]
    recipe = msgspec.structs.replace(
        recipe,
        anchor=plan.anchor,
        output=plan.output,
        features=tuple(_with_scaler(feature, seen) for feature in features),
        step_features=step_features_of(spec.step_features, recipe) or plan.step_features,
        has_volatility_input=plan.has_volatility,
    )
    return msgspec.structs.replace(recipe, step_features=_scaled_steps(recipe, panel, fit))


def _seen_columns(recipe: Recipe, panel: Panel, part: Part) -> dict[str, FloatArray]:
    """Return the columns that the fit part of a series sees, its times among them."""
    rows = _seen(panel, part, recipe.horizon)
    columns = {name: rows[:, index] for index, name in enumerate(recipe.columns)}
    return columns | {TIME_COLUMN: panel.series[part.series].time[: len(rows)].astype(np.float64)}


def _scaled_steps(recipe: Recipe, panel: Panel, fit: Sequence[Part]) -> tuple[StepFeatureRecipe, ...]:
    """Return the step features, the `standard` ones with mean and deviation over cutoffs spread over the fit part."""
    if not any(part.scaling == "standard" for part in recipe.step_features):
        return recipe.step_features
    plain = tuple(
        msgspec.structs.replace(part, scaling="none") if part.scaling == "standard" else part
        for part in recipe.step_features
    )
    steps_alone = msgspec.structs.replace(recipe, features=(), step_features=plain)
    many = HistoryBuilder(steps_alone)
    stride = max(sum(len(part.cutoffs) for part in fit) // _SCALER_WINDOWS, 1)
    found = []
    for series, cutoffs in fit:
        chosen = cutoffs[::-1][::stride][::-1]
        history = panel.history(recipe, series)
        found.append(many.build(history, chosen, many.scale(history, chosen)).future)
    values = np.concatenate(found).reshape(-1, len(plain)).astype(np.float64)
    means, deviations = np.mean(values, axis=0), np.std(values, axis=0)
    # A constant that float32 cannot hold deviates by its rounding.
    sizes = np.where(deviations > _ROUNDING * np.abs(means), deviations, 1.0)
    return tuple(
        msgspec.structs.replace(part, mean=float(means[index]), scale=float(sizes[index]))
        if part.scaling == "standard"
        else part
        for index, part in enumerate(recipe.step_features)
    )


def _seen(panel: Panel, part: Part, horizon: int) -> FloatArray:
    """Return the rows that the fit part of a series sees, targets included."""
    return panel.values[part.series][: int(part.cutoffs[-1]) + horizon + 1]


def _with_scaler(feature: FeatureRecipe, seen: Sequence[dict[str, FloatArray]]) -> FeatureRecipe:
    if feature.scaling != "standard":
        return feature
    compute = feature_of(feature).transform
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.concatenate([compute(columns) for columns in seen])
    known = values[np.isfinite(values)]
    scale = float(np.std(known)) if len(known) else 0.0
    return msgspec.structs.replace(
        feature, mean=float(np.mean(known)) if len(known) else 0.0, scale=scale if scale > 0 else 1.0
    )


def thinned(recipe: Recipe, part: Sequence[Part], most_bytes: int = _EXAMPLE_BYTES) -> list[Part]:
    """Return every cutoff, or evenly spread ones as many as have examples of ``most_bytes``, the newest always.

    Hundreds of long series have more windows than memory: neighbours say nearly the same.
    """
    builder = InputBuilder(recipe)
    numbers = math.prod(builder.shape) + math.prod(builder.future_shape) + 3 * recipe.horizon
    most = max(most_bytes // (4 * numbers), 1)
    stride = -(-sum(len(one.cutoffs) for one in part) // most)
    return [Part(series, cutoffs[::-1][::stride][::-1]) for series, cutoffs in part] if stride > 1 else list(part)


def examples_of(recipe: Recipe, panel: Panel, part: Sequence[Part]) -> Examples:
    """Return the examples of one part, windows as the served model will see them.

    Raises:
        InvalidWindow: A row that a feature is not defined for, e.g. a negative volume.
    """
    builder, many = InputBuilder(recipe), HistoryBuilder(recipe)
    target = recipe.columns.index(recipe.target)
    count = sum(len(cutoffs) for _, cutoffs in part)
    inputs = np.empty((count, *builder.shape), dtype=np.float32)
    future = np.empty((count, *builder.future_shape), dtype=np.float32)
    targets = np.empty((count, recipe.horizon), dtype=np.float32)
    units = np.empty((count, recipe.horizon))
    end = 0
    # An outcome beyond float32 becomes infinite, and the fit says that it diverged.
    with np.errstate(over="ignore"):
        for series, cutoffs in (one for one in part if len(one.cutoffs)):
            history = panel.history(recipe, series)
            scale = many.scale(history, cutoffs)
            rows = slice(end, end := end + len(cutoffs))
            inputs[rows], future[rows] = many.build(history, cutoffs, scale)
            units[rows] = scale.unit
            outcomes = sliding_window_view(builder.working(history.values[:, target]), recipe.horizon)[cutoffs + 1]
            targets[rows] = (outcomes - scale.anchor) / units[rows]
    return Examples(inputs, future, targets, units)


def require_seasonal_window(spec: TrainingSpec, season: int) -> None:
    """Refuse a seasonal-naive or statistical model whose window is shorter than one season.

    Raises:
        InvalidTraining: ``invalid-training``.
    """
    is_seasonal = spec.algorithm == SEASONAL_NAIVE or is_statistical(spec.algorithm)
    if is_seasonal and spec.window_size < season:
        raise InvalidTraining(
            "invalid-training",
            field="window_size",
            expected=f"at least {season}, one season, for {spec.algorithm}",
            found=str(spec.window_size),
        )
