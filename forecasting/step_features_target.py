"""Features of the steps from the target up to the cutoff, all in its working unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from forecasting.artefact import Recipe, StepFeatureRecipe
from forecasting.panel import FloatArray, IntArray
from forecasting.step_features_context import Build, StepContext, StepFeature, StepKind, Unfit, at_each_step


def _season(part: StepFeatureRecipe, recipe: Recipe) -> int:
    if part.period != int(part.period):
        raise Unfit("period", "a whole number of rows", part.period)
    return int(part.period) or recipe.season_length


def _rows_behind(season: int, back: int, horizon: int) -> IntArray:
    """Return how many rows before the end of the window the value at the phase of each step stands, 1 is the last.

    `back` 1 is the newest such value, 2 the one a season before that.
    """
    return np.asarray(back * season - np.arange(horizon) % season)


def _seasonal_lag(part: StepFeatureRecipe, recipe: Recipe) -> StepFeature:
    season, back = _season(part, recipe), max(part.order, 1)
    behind = _rows_behind(season, back, recipe.horizon)
    return StepFeature(
        compute=lambda context: np.take(context.working, context.working.shape[-1] - behind, axis=-1),
        rows=back * season,
    )


def _seasonal_mean(part: StepFeatureRecipe, recipe: Recipe) -> StepFeature:
    season = _season(part, recipe)
    if not part.order:
        raise Unfit("order", "at least 1 season", part.order)
    newest, *earlier = (_rows_behind(season, back, recipe.horizon) for back in range(1, part.order + 1))

    def compute(context: StepContext) -> FloatArray:
        working, rows = context.working, context.working.shape[-1]
        first = np.take(working, rows - newest, axis=-1)
        total = np.zeros(first.shape)
        for behind in earlier:
            total += np.take(working, rows - behind, axis=-1) - first
        return np.asarray(first + total / part.order)

    return StepFeature(compute=compute, rows=part.order * season)


def _newest(part: StepFeatureRecipe) -> slice:
    """Return the newest `order` rows, or all."""
    return slice(-part.order if part.order else None, None)


def _window_mean(part: StepFeatureRecipe, _: Recipe) -> StepFeature:
    chosen = _newest(part)
    return StepFeature(
        compute=lambda context: at_each_step(mean_of(context.working[..., chosen]), context), rows=part.order or 1
    )


def _window_deviation(part: StepFeatureRecipe, _: Recipe) -> StepFeature:
    chosen = _newest(part)

    def compute(context: StepContext) -> FloatArray:
        working = context.working[..., chosen]
        moves = np.ascontiguousarray(working - mean_of(working)[..., np.newaxis])
        return at_each_step(np.sqrt(np.mean(moves * moves, axis=-1)), context)

    return StepFeature(compute=compute, rows=max(part.order, 2))


def _window_extreme(
    extreme: Callable[..., FloatArray],
) -> Build:
    def build(part: StepFeatureRecipe, _: Recipe) -> StepFeature:
        chosen = _newest(part)
        return StepFeature(
            compute=lambda context: at_each_step(extreme(context.working[..., chosen], axis=-1), context),
            rows=part.order or 1,
        )

    return build


def mean_of(working: FloatArray) -> FloatArray:
    """Return the mean of each window. Differences are summed, so that of a constant window is its very value."""
    last = working[..., -1]
    return np.asarray(last + np.mean(np.ascontiguousarray(working - last[..., np.newaxis]), axis=-1))


_SEASON, _ROWS = frozenset({"period", "order"}), frozenset({"order"})
TARGET_KINDS: Mapping[str, StepKind] = {
    "seasonal-lag": StepKind(
        takes=_SEASON,
        scaling="window",
        says="the target at the phase of the step: the newest known value (`order` 1), the one a season before it (2), "
        "... `period` is the season in rows, 0 that of the series",
        build=_seasonal_lag,
    ),
    "seasonal-mean": StepKind(
        takes=_SEASON,
        scaling="window",
        says="the mean of seasonal-lag over the newest `order` seasons",
        build=_seasonal_mean,
    ),
    "window-mean": StepKind(
        takes=_ROWS,
        scaling="window",
        says="the mean of the target over the newest `order` rows of the window, 0 is all",
        build=_window_mean,
    ),
    "window-deviation": StepKind(
        takes=_ROWS, says="the standard deviation (n) over the same rows", build=_window_deviation
    ),
    "window-min": StepKind(
        takes=_ROWS, scaling="window", says="the least of the same rows", build=_window_extreme(np.min)
    ),
    "window-max": StepKind(
        takes=_ROWS, scaling="window", says="the greatest of the same rows", build=_window_extreme(np.max)
    ),
}
