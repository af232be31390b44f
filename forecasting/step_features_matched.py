"""The mean of the target over the rows of the window that agree with a step: same weekday, same promotion."""

from __future__ import annotations

import numpy as np

from forecasting.artefact import Recipe, StepFeatureRecipe
from forecasting.features_calendar import TERMS, Term
from forecasting.panel import FloatArray, IntArray
from forecasting.step_features_context import StepContext, StepFeature, StepKind, Unfit, seconds_of
from forecasting.step_features_target import mean_of

#: Numbers held at once for many cutoffs.
_CHUNK = 4_000_000
#: With more different codes than this, those that occur are numbered anew.
_FEW_CODES = 512


def _matched_mean(part: StepFeatureRecipe, recipe: Recipe) -> StepFeature:
    if not part.columns:
        raise Unfit("columns", "calendar terms or columns known in the future, at least one", "none")
    for name in part.columns:
        if name not in recipe.future_columns and name not in TERMS:
            known = ", ".join(recipe.future_columns) or "there is none"
            raise Unfit("columns", f"of {', '.join(TERMS)}, or columns known in the future: {known}", repr(name))
    keys = tuple((name, None if name in recipe.future_columns else TERMS[name]) for name in part.columns)

    def compute(context: StepContext) -> FloatArray:
        row_codes, step_codes, size = _codes(context, keys)
        return _mean_by_code(context.working, row_codes, step_codes, size, part.order)

    needs_time = any(term is not None for _, term in keys)
    return StepFeature(compute=compute, needs_time=needs_time)


def _codes(context: StepContext, keys: tuple[tuple[str, Term | None], ...]) -> tuple[IntArray, IntArray, int]:
    """Return a whole number from 0 for each row and each step, equal where all keys agree, and how many there are."""
    rows, steps, size = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64), 1
    for name, term in keys:
        if term is None:
            row_part, step_part, count = _column_codes(context.columns[name], context.future[name])
        else:
            row_part = term.of(seconds_of(context.time)) - term.least
            step_part = term.of(seconds_of(context.future_time)) - term.least
            count = term.count
        rows, steps, size = rows * count + row_part, steps * count + step_part, size * count
    return rows, steps, size


def _column_codes(rows: FloatArray, steps: FloatArray) -> tuple[IntArray, IntArray, int]:
    both = np.concatenate([rows, steps], axis=-1)
    from_least = both - both.min()
    codes = from_least.astype(np.int64)
    count = int(codes.max()) + 1
    if count > _FEW_CODES or not (codes == from_least).all():
        # No small whole numbers: those that occur are numbered.
        values, found = np.unique(both, return_inverse=True)
        codes, count = found.reshape(both.shape), len(values)
    return codes[..., : rows.shape[-1]], codes[..., rows.shape[-1] :], count


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
    mean = mean_of(working)[:, np.newaxis]
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


MATCHED_KINDS = {
    "matched-mean": StepKind(
        takes=frozenset({"columns", "order"}),
        scaling="window",
        says="the mean of the target over the rows of the window that agree with the step in all of `columns`: "
        "calendar terms such as day-of-week, columns known in the future; over the newest `order` such rows, 0 is all. "
        "Where none agrees, the mean of the window",
        build=_matched_mean,
    ),
}
