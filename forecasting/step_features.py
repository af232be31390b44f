"""Features of each step ahead, made from the window up to the cutoff and from what is declared known of the future.

`StepContext` is all that a step feature can see. Of the steps it holds their times and the columns declared known in
the future, nothing else: a past-only column cannot be read beyond the cutoff, because it is not there.

The arrays of a context may have further axes in front, for many cutoffs at once (`contexts_of`). Every feature works
along the last axis alone and adds in one order, so a whole history and a single window have the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, NoReturn, TypeVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from forecasting.artefact import Recipe, StepFeatureRecipe
from forecasting.errors import InvalidTraining
from forecasting.features_calendar import CYCLES, HOLIDAYS, TERMS, Term, cycle_of_days, is_region, wave
from forecasting.panel import FloatArray, IntArray

_Array = TypeVar("_Array", FloatArray, IntArray)


class StepContext(NamedTuple):
    """What is known at a cutoff, or, with one more axis in front of each array, at many.

    Attributes:
        columns: Raw column -> values of the window, oldest row first, shape (rows,).
        time: UTC starts of those rows in seconds since 1970, shape (rows,).
        working: The target of those rows in its working unit, shape (rows,).
        future_time: UTC starts of the steps, shape (horizon,).
        future: Known-future column -> raw values of the steps, shape (horizon,).
        horizon: Steps.
        season_length: Rows a season.
    """

    columns: Mapping[str, FloatArray]
    time: IntArray | None
    working: FloatArray
    future_time: IntArray | None
    future: Mapping[str, FloatArray]
    horizon: int
    season_length: int = 1


def contexts_of(context: StepContext, cutoffs: IntArray, rows: int) -> StepContext:
    """Return the contexts at many cutoffs of a history.

    Args:
        context: A history as if it were one window; its `future` has the known-future columns in every row of it,
            and `future_time` is not read.
        cutoffs: Row numbers; `rows` - 1 rows lie before each and `horizon` after it, shape (n,).
        rows: Rows of a window.
    """

    def windows(values: _Array) -> _Array:
        return np.ascontiguousarray(sliding_window_view(values, rows)[cutoffs - rows + 1])

    def steps(values: _Array) -> _Array:
        return np.ascontiguousarray(sliding_window_view(values, context.horizon)[cutoffs + 1])

    return context._replace(
        columns={name: windows(values) for name, values in context.columns.items()},
        time=None if context.time is None else windows(context.time),
        working=windows(context.working),
        future_time=None if context.time is None else steps(context.time),
        future={name: steps(values) for name, values in context.future.items()},
    )


@dataclass(frozen=True, kw_only=True)
class StepFeature:
    """One number for each step.

    Attributes:
        compute: Context to values, shape (horizon,).
        rows: Rows of the window that it needs.
        needs_time: Whether it reads the times of the rows or the steps.
    """

    compute: Callable[[StepContext], FloatArray]
    rows: int = 1
    needs_time: bool = False


@dataclass(frozen=True, kw_only=True)
class StepKind:
    """What the name of a step feature stands for.

    Attributes:
        takes: Its parameters beside the name: `columns`, `period`, `order`, `option`.
        says: What it is: formula and parameters, for people.
        build: From its recipe and the recipe of the model to the feature.
    """

    takes: frozenset[str] = frozenset()
    says: str
    build: Callable[[StepFeatureRecipe, Recipe], StepFeature]


def _refuse(part: StepFeatureRecipe, parameter: str, expected: str, found: object) -> NoReturn:
    raise InvalidTraining(
        "invalid-feature", field=f"step_features.{part.name}.{parameter}", expected=expected, found=str(found)
    )


def _steps_of(values: FloatArray | float, context: StepContext) -> FloatArray:
    """Return one value a window as the same value at each of its steps."""
    shape = (*context.working.shape[:-1], context.horizon)
    return np.ascontiguousarray(np.broadcast_to(np.asarray(values)[..., np.newaxis], shape), dtype=np.float64)


def _seconds(time: IntArray | None) -> IntArray:
    if time is None:
        raise ValueError("the context must have times, this feature reads them")
    return time


# ---- the calendar -------------------------------------------------------------------------------------------------


def _term(term: Term) -> Callable[[StepFeatureRecipe, Recipe], StepFeature]:
    def compute(context: StepContext) -> FloatArray:
        return term.of(_seconds(context.future_time)).astype(np.float64)

    return lambda *_: StepFeature(compute=compute, needs_time=True)


def _holiday(
    value: Callable[[IntArray, str], FloatArray],
) -> Callable[[StepFeatureRecipe, Recipe], StepFeature]:
    def build(part: StepFeatureRecipe, _: Recipe) -> StepFeature:
        if not is_region(part.option):
            _refuse(part, "option", "a country of the holidays package, or a part of one: US, DE/BW", repr(part.option))
        return StepFeature(compute=lambda context: value(_seconds(context.future_time), part.option), needs_time=True)

    return build


def _fourier(*, is_sine: bool) -> Callable[[StepFeatureRecipe, Recipe], StepFeature]:
    def build(part: StepFeatureRecipe, _: Recipe) -> StepFeature:
        order = max(part.order, 1)
        if part.option in CYCLES:
            cycle = CYCLES[part.option]
            if part.period:
                _refuse(part, "period", f"0: a {part.option} has its own length", part.period)
            return StepFeature(
                compute=lambda context: wave(cycle(_seconds(context.future_time)), order, is_sine=is_sine),
                needs_time=True,
            )
        if part.option not in ("", "days"):
            _refuse(part, "option", f"days, {', '.join(CYCLES)}, or nothing for rows", repr(part.option))
        if not part.period:
            _refuse(part, "period", "above 0", part.period)
        if part.option == "days":
            return StepFeature(
                compute=lambda context: wave(
                    cycle_of_days(_seconds(context.future_time), part.period), order, is_sine=is_sine
                ),
                needs_time=True,
            )

        def by_row(context: StepContext) -> FloatArray:
            ahead = np.arange(1, context.horizon + 1) / part.period
            return np.broadcast_to(wave(ahead, order, is_sine=is_sine), (*context.working.shape[:-1], context.horizon))

        return StepFeature(compute=by_row)

    return build


def _gap(_: StepFeatureRecipe, __: Recipe) -> StepFeature:
    def compute(context: StepContext) -> FloatArray:
        time, future = _seconds(context.time), _seconds(context.future_time)
        shortest = np.diff(time).min(axis=-1, keepdims=True)
        return np.asarray(np.diff(future, prepend=time[..., -1:]) / shortest, dtype=np.float64)

    return StepFeature(compute=compute, rows=2, needs_time=True)


# ---- what is declared ---------------------------------------------------------------------------------------------


def _known(part: StepFeatureRecipe, recipe: Recipe) -> StepFeature:
    name = _one_column(part, recipe.future_columns, "known in the future")
    return StepFeature(compute=lambda context: context.future[name])


def _static(part: StepFeatureRecipe, recipe: Recipe) -> StepFeature:
    name = _one_column(part, recipe.static_columns, "static")
    return StepFeature(compute=lambda context: _steps_of(context.columns[name][..., -1], context))


def _one_column(part: StepFeatureRecipe, allowed: tuple[str, ...], what: str) -> str:
    if len(part.columns) != 1 or part.columns[0] not in allowed:
        expected = f"one column that is declared {what}: {', '.join(allowed) or 'there is none'}"
        _refuse(part, "columns", expected, ", ".join(part.columns) or "none")
    return part.columns[0]


# ---- the target up to the cutoff ----------------------------------------------------------------------------------


def _season(part: StepFeatureRecipe, recipe: Recipe) -> int:
    if part.period != int(part.period):
        _refuse(part, "period", "a whole number of rows", part.period)
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
        _refuse(part, "order", "at least 1 season", part.order)
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
        compute=lambda context: _steps_of(_mean(context.working[..., chosen]), context), rows=part.order or 1
    )


def _window_deviation(part: StepFeatureRecipe, _: Recipe) -> StepFeature:
    chosen = _newest(part)

    def compute(context: StepContext) -> FloatArray:
        working = context.working[..., chosen]
        moves = np.ascontiguousarray(working - _mean(working)[..., np.newaxis])
        return _steps_of(np.sqrt(np.mean(moves * moves, axis=-1)), context)

    return StepFeature(compute=compute, rows=max(part.order, 2))


def _window_extreme(
    extreme: Callable[..., FloatArray],
) -> Callable[[StepFeatureRecipe, Recipe], StepFeature]:
    def build(part: StepFeatureRecipe, _: Recipe) -> StepFeature:
        chosen = _newest(part)
        return StepFeature(
            compute=lambda context: _steps_of(extreme(context.working[..., chosen], axis=-1), context),
            rows=part.order or 1,
        )

    return build


def _mean(working: FloatArray) -> FloatArray:
    """Return the mean of each window. Differences are summed, so that of a constant window is its very value."""
    last = working[..., -1]
    return np.asarray(last + np.mean(np.ascontiguousarray(working - last[..., np.newaxis]), axis=-1))


# ---- the target where the calendar or a known column agrees ---------------------------------------------------------

#: Numbers held at once for many cutoffs.
_CHUNK = 4_000_000
#: With more different codes than this, those that occur are numbered anew.
_FEW_CODES = 512


def _matched_mean(part: StepFeatureRecipe, recipe: Recipe) -> StepFeature:
    if not part.columns:
        _refuse(part, "columns", "calendar terms or columns known in the future, at least one", "none")
    for name in part.columns:
        if name not in recipe.future_columns and name not in TERMS:
            known = ", ".join(recipe.future_columns) or "there is none"
            _refuse(part, "columns", f"of {', '.join(TERMS)}, or columns known in the future: {known}", repr(name))
    keys = tuple((name, None if name in recipe.future_columns else TERMS[name]) for name in part.columns)

    def compute(context: StepContext) -> FloatArray:
        row_codes, step_codes, size = _codes(context, keys)
        return _mean_by_code(context.working, row_codes, step_codes, size, part.order)

    return StepFeature(compute=compute, needs_time=any(term is not None for _, term in keys))


def _codes(context: StepContext, keys: tuple[tuple[str, Term | None], ...]) -> tuple[IntArray, IntArray, int]:
    """Return a whole number from 0 for each row and each step, equal where all keys agree, and how many there are."""
    rows, steps, size = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64), 1
    for name, term in keys:
        if term is None:
            row_part, step_part, count = _column_codes(context.columns[name], context.future[name])
        else:
            row_part = term.of(_seconds(context.time)) - term.least
            step_part = term.of(_seconds(context.future_time)) - term.least
            count = term.count
        rows, steps, size = rows * count + row_part, steps * count + step_part, size * count
    return rows, steps, size


def _column_codes(rows: FloatArray, steps: FloatArray) -> tuple[IntArray, IntArray, int]:
    values, codes = np.unique(np.concatenate([rows, steps], axis=-1), return_inverse=True)
    codes = codes.reshape((*rows.shape[:-1], -1))
    return codes[..., : rows.shape[-1]], codes[..., rows.shape[-1] :], len(values)


def _mean_by_code(working: FloatArray, row_codes: IntArray, step_codes: IntArray, size: int, order: int) -> FloatArray:
    """Return for each step the mean of the rows with its code, of the newest `order` of them unless that is 0.

    Where no row has it, the mean of all rows.
    """
    if working.ndim == 1:
        alone = _means(working[np.newaxis], row_codes[np.newaxis], step_codes[np.newaxis], size, order)
        return np.asarray(alone[0])
    count = max(_CHUNK // (min(size, _FEW_CODES) + working.shape[-1]), 1)
    parts = [
        _means(working[at : at + count], row_codes[at : at + count], step_codes[at : at + count], size, order)
        for at in range(0, len(working), count)
    ]
    return np.concatenate(parts)


def _means(working: FloatArray, row_codes: IntArray, step_codes: IntArray, size: int, order: int) -> FloatArray:
    mean = _mean(working)[:, np.newaxis]
    first = np.arange(len(working))[:, np.newaxis] * size
    rows, steps = (first + row_codes).ravel(), first + step_codes
    places = len(working) * size
    if size > _FEW_CODES:
        found, both = np.unique(np.concatenate([rows, steps.ravel()]), return_inverse=True)
        rows, steps, places = both[: len(rows)], both[len(rows) :].reshape(steps.shape), len(found)
    moves = (working - mean).ravel()
    if order:
        kept = _newest_of_each(rows, places) <= order
        rows, moves = rows[kept], moves[kept]
    # bincount adds row by row, whatever stands beside a window.
    count = np.bincount(rows, minlength=places)
    total = np.bincount(rows, weights=moves, minlength=places)
    return np.asarray(mean + total[steps] / np.maximum(count[steps], 1))


def _newest_of_each(places: IntArray, size: int) -> IntArray:
    """Return 1 for the last element of each place, 2 for the one before it, and so on."""
    order = np.argsort(places, kind="stable")
    ends = np.cumsum(np.bincount(places, minlength=size))
    back = np.empty(len(places), dtype=np.int64)
    back[order] = ends[places[order]] - np.arange(len(places))
    return back


def _terms() -> dict[str, StepKind]:
    return {
        name: StepKind(says=f"the calendar term of the step: {term.says}", build=_term(term))
        for name, term in TERMS.items()
    }


_FOURIER = frozenset({"period", "order", "option"})
STEP_FEATURES: Mapping[str, StepKind] = {
    "step": StepKind(
        says="1 for the first step, 2 for the next",
        build=lambda *_: StepFeature(
            compute=lambda context: np.broadcast_to(
                np.arange(1.0, context.horizon + 1), (*context.working.shape[:-1], context.horizon)
            )
        ),
    ),
    **_terms(),
    "fourier-sin": StepKind(
        takes=_FOURIER,
        says="sin(2 pi order t / period); option names the cycle: hour, day, week, month, quarter, year; days: t and "
        "period in days since 1970; without one t is the step and period in rows",
        build=_fourier(is_sine=True),
    ),
    "fourier-cos": StepKind(takes=_FOURIER, says="the cosine of fourier-sin", build=_fourier(is_sine=False)),
    "holiday": StepKind(
        takes=frozenset({"option"}),
        says="1 on a public holiday, else 0; option is the country or a part of it, as US or DE/BW",
        build=_holiday(HOLIDAYS["holiday"]),
    ),
    "days-to-holiday": StepKind(
        takes=frozenset({"option"}),
        says="days to the next holiday, at most 14; option as in holiday",
        build=_holiday(HOLIDAYS["days-to-holiday"]),
    ),
    "days-since-holiday": StepKind(
        takes=frozenset({"option"}),
        says="days since the last holiday, at most 14; option as in holiday",
        build=_holiday(HOLIDAYS["days-since-holiday"]),
    ),
    "gap": StepKind(
        says="time since the row or step before, over the shortest such time in the window: 1 unless days were closed",
        build=_gap,
    ),
    "known": StepKind(
        takes=frozenset({"columns"}), says="the value of a column that is known in the future", build=_known
    ),
    "static": StepKind(takes=frozenset({"columns"}), says="the value of a static column", build=_static),
    "seasonal-lag": StepKind(
        takes=frozenset({"period", "order"}),
        says="the target at the phase of the step: the newest known value (order 1), the one a season before it (2), "
        "...; period is the season in rows, 0 that of the series",
        build=_seasonal_lag,
    ),
    "seasonal-mean": StepKind(
        takes=frozenset({"period", "order"}),
        says="the mean of seasonal-lag of the orders 1 to order",
        build=_seasonal_mean,
    ),
    "matched-mean": StepKind(
        takes=frozenset({"columns", "order"}),
        says="the mean of the target over the rows of the window that agree with the step in all of columns (calendar "
        "terms, columns known in the future), over the newest order of them unless that is 0; over all rows where none "
        "agrees",
        build=_matched_mean,
    ),
    "window-mean": StepKind(
        takes=frozenset({"order"}),
        says="the mean of the target over the newest order rows of the window, 0 is all",
        build=_window_mean,
    ),
    "window-deviation": StepKind(
        takes=frozenset({"order"}), says="the standard deviation (n) over the same rows", build=_window_deviation
    ),
    "window-min": StepKind(
        takes=frozenset({"order"}), says="the least of the same rows", build=_window_extreme(np.min)
    ),
    "window-max": StepKind(
        takes=frozenset({"order"}), says="the greatest of the same rows", build=_window_extreme(np.max)
    ),
}


def step_feature_of(part: StepFeatureRecipe, recipe: Recipe) -> StepFeature:
    """Return the step feature that a part of a recipe names.

    Args:
        part: Name and parameters.
        recipe: Its columns, season, window_size and horizon.

    Raises:
        InvalidTraining: ``unknown-feature`` or ``invalid-feature``: also for a past-only column that is named as known
            in the future, and for more rows than the window has.
    """
    kind = STEP_FEATURES.get(part.name)
    if kind is None:
        raise InvalidTraining(
            "unknown-feature", field="step_features", expected=", ".join(STEP_FEATURES), found=repr(part.name)
        )
    for parameter in ("columns", "period", "order", "option"):
        given = getattr(part, parameter)
        if given and parameter not in kind.takes:
            _refuse(part, parameter, "left out, the feature takes none", given)
    feature = kind.build(part, recipe)
    if feature.rows > recipe.window_size:
        raise InvalidTraining(
            "invalid-feature",
            field="window_size",
            expected=f"at least {feature.rows}, the rows that {part.name} needs",
            found=str(recipe.window_size),
        )
    return feature
