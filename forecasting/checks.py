"""What is refused before a training: settings that cannot be, and series that no model should learn from.

Every refusal names its code, the field, what was expected and what was found. Whether there are enough rows is said by
`forecasting.folds`, hyperparameters are held against their bounds by `forecasting.models.hyperparameters`, and times
against the calendar by `forecasting.regularity`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from forecasting.errors import InvalidObservations, InvalidTraining
from forecasting.panel import FloatArray, Observations
from forecasting.regularity import require_regular, told

if TYPE_CHECKING:  # the preparation calls these checks
    from forecasting.training_spec import TrainingSpec

MAX_HORIZON, MAX_WINDOW_SIZE, MAX_SEASON_LENGTH, MAX_LEVELS = 1_000, 10_000, 10_000, 20
MIN_WINDOW_SIZE = 2
#: Columns whose logarithm or ratio is taken beside a positive target.
_PRICES = frozenset({"open", "high", "low", "close", "adj_close"})
_AMOUNTS = frozenset({"volume"})


def check_spec(spec: TrainingSpec) -> None:
    """Refuse settings that no series can be trained with.

    Raises:
        InvalidTraining: ``invalid-training`` with the field.
    """
    columns = spec.all_columns
    if spec.target not in columns:
        raise _invalid("columns", f"to contain the target {spec.target}", ", ".join(spec.columns))
    if len(set(columns)) != len(columns):
        raise _invalid("columns", "without repeats", ", ".join(columns))
    _check_range("horizon", spec.horizon, 1, MAX_HORIZON)
    _check_range("window_size", spec.window_size, MIN_WINDOW_SIZE, MAX_WINDOW_SIZE)
    _check_range("season_length", spec.season_length, 0, MAX_SEASON_LENGTH)
    if not 1 <= len(spec.levels) <= MAX_LEVELS or not all(0 < level < 100 for level in spec.levels):  # noqa: PLR2004  # percent
        raise _invalid("levels", f"1 to {MAX_LEVELS} levels in percent, above 0 and below 100", spec.levels)
    if spec.target in spec.covariates:
        raise _invalid(f"covariates.{spec.target}", "absent: the target is no covariate of itself", spec.target)


def _check_range(field: str, found: int, least: int, most: int) -> None:
    if not least <= found <= most:
        raise _invalid(field, f"at least {least} and at most {most}", found)


def _invalid(field: str, expected: str, found: object) -> InvalidTraining:
    return InvalidTraining("invalid-training", field=field, expected=expected, found=str(found))


def check_observations(spec: TrainingSpec, observations: Sequence[Observations]) -> None:
    """Refuse series that cannot be learnt from, before any gap in them is filled.

    Raises:
        InvalidObservations: ``no-observations``, ``mixed-freq``, ``mixed-calendar``, ``unknown-column``,
            ``infinite-value``, ``empty-column``, ``constant-series``, ``negative-volume``, ``not-positive``,
            ``static-varies``, or what `regularity.require_regular` says of the times.
        CalendarError: ``unknown-calendar``, ``unknown-freq``.
    """
    if not observations:
        raise InvalidObservations("no-observations", field="observations", expected="at least one series", found="none")
    for one in observations:
        if one.freq != observations[0].freq:
            raise _mixed("freq", one, one.freq, observations[0].series_id, observations[0].freq)
        if one.calendar != observations[0].calendar:
            raise _mixed("calendar", one, one.calendar, observations[0].series_id, observations[0].calendar)
    for one in observations:
        _check_columns(spec, one)
        values = dict(zip(spec.all_columns, one.matrix(spec.all_columns).T, strict=True))
        for name, column in values.items():
            _check_numbers(one, name, column)
        has_target = np.isfinite(values[spec.target])
        require_regular(_rows(one, has_target), absent_is_zero=spec.gaps == "zero")
        _check_target(one, spec.target, values[spec.target])
        _check_meaning(spec, one, values)


def _mixed(what: str, one: Observations, found: str, first: str, expected: str) -> InvalidObservations:
    return InvalidObservations(
        f"mixed-{what}",
        field=f"observations.{one.series_id}.{what}",
        expected=f"{expected} as in {first}",
        found=found,
    )


def _check_columns(spec: TrainingSpec, one: Observations) -> None:
    known = ", ".join(sorted(one.columns)) or "it has none"
    for name in spec.all_columns:
        if name not in one.columns:
            field = "target" if name == spec.target else f"covariates.{name}" if name in spec.covariates else "columns"
            expected = f"one of the columns of {one.series_id}: {known}"
            raise InvalidObservations("unknown-column", field=field, expected=expected, found=repr(name))


def _check_numbers(one: Observations, name: str, column: FloatArray) -> None:
    infinite = np.flatnonzero(np.isinf(column))
    if len(infinite):
        raise _bad("infinite-value", one, name, "finite, or missing", infinite)
    if not np.isfinite(column).any():
        raise InvalidObservations(
            "empty-column",
            field=f"observations.{one.series_id}.{name}",
            expected="a column with a value in some row",
            found=f"none in {len(column)} rows",
            advice="leave the column out or load its values",
        )


def _rows(one: Observations, chosen: npt.NDArray[np.bool_]) -> Observations:
    """Return some of the rows, their times alone: all that is asked for here."""
    if chosen.all():
        return one
    return Observations(
        series_id=one.series_id,
        freq=one.freq,
        calendar=one.calendar,
        unit=one.unit,
        source=one.source,
        time=one.time[chosen],
        columns={},
        newest_offset=one.newest_offset,
    )


def _check_target(one: Observations, target: str, column: FloatArray) -> None:
    known = column[np.isfinite(column)]
    if len(known) > 1 and (known == known[0]).all():
        raise InvalidObservations(
            "constant-series",
            field=f"observations.{one.series_id}.{target}",
            expected="a target that changes: there is nothing to learn from one that never did",
            found=f"{known[0]:g} in all {len(known)} rows",
            advice="check the column and the source; its forecast is its value",
        )


def _check_meaning(spec: TrainingSpec, one: Observations, values: Mapping[str, FloatArray]) -> None:
    """Refuse values that contradict what a column is."""
    target = values[spec.target]
    is_positive = bool((target[np.isfinite(target)] > 0).all())
    for name, column in values.items():
        if name in _AMOUNTS and (column < 0).any():
            raise _bad("negative-volume", one, name, "0 or more", np.flatnonzero(column < 0))
        if name in _PRICES and name != spec.target and is_positive and (column <= 0).any():
            expected = f"positive, as {spec.target} is: ratios between them are what the model sees"
            raise _bad("not-positive", one, name, expected, np.flatnonzero(column <= 0))
    for name in spec.columns_of("static"):
        known = np.flatnonzero(np.isfinite(values[name]))
        changed = known[values[name][known] != values[name][known[0]]]
        if len(changed):
            expected = f"{values[name][known[0]]:g} in every row, as a static column has one value"
            raise _bad("static-varies", one, name, expected, changed)


def _bad(code: str, one: Observations, name: str, expected: str, rows: npt.NDArray[np.intp]) -> InvalidObservations:
    more = f", and {len(rows) - 1} rows more" if len(rows) > 1 else ""
    return InvalidObservations(
        code,
        field=f"observations.{one.series_id}.{name}",
        expected=expected,
        found=f"{one.columns[name][rows[0]]:g} at {told(int(one.time[rows[0]]))}{more}",
        advice="restate the rows or leave the column out",
    )
