"""The series of a training: checked, gaps treated, complete rows; and the windows that are cut of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from forecasting.artefact import Recipe
from forecasting.checks import check_observations, check_spec
from forecasting.errors import InvalidTraining
from forecasting.features_history import History
from forecasting.gaps import BoolArray, Gaps, cutoffs_of, filled
from forecasting.grid import step_times
from forecasting.models.registry import ENSEMBLE
from forecasting.models.statistical_settings import is_statistical
from forecasting.panel import FloatArray, IntArray, Observations, Window, complete_rows
from forecasting.training_spec import TrainingSpec


@dataclass(frozen=True, kw_only=True)
class Panel:
    """The series of a training: complete rows of the raw columns.

    Attributes:
        series: As given, gaps treated by the rule, without rows that are incomplete still.
        values: Raw values of each, shape (rows, columns).
        cutoffs: Of each, the rows that a forecast may begin from, shape (rows,); see `gaps.cutoffs_of`.
        rows_skipped: Incomplete rows that were left out, over all series.
        rows_filled: Rows that the rule for gaps made, whole or in part, over all series.
    """

    series: list[Observations]
    values: list[FloatArray]
    cutoffs: list[BoolArray]
    rows_skipped: int
    rows_filled: int

    @cached_property
    def _step_times(self) -> dict[tuple[int, int], IntArray]:
        return {}

    def window(self, recipe: Recipe, series: int, cutoff: int, rows: int | None = None) -> Window:
        """Return a window of a series; see `History.window`."""
        return self.history(recipe, series).window(recipe, cutoff, rows)

    def history(self, recipe: Recipe, series: int) -> History:
        """Return a series, whole, as a recipe reads it."""
        is_by_calendar = bool(recipe.step_features) and not recipe.future_columns
        step_time = self._calendar_steps(recipe, series) if is_by_calendar else None
        return History(self.values[series], self.series[series].time, step_time)

    def _calendar_steps(self, recipe: Recipe, series: int) -> IntArray:
        """Return the times of the steps after every row by the calendar, shape (rows, horizon)."""
        key = (series, recipe.horizon)
        if key not in self._step_times:
            one = self.series[series]
            self._step_times[key] = step_times(one.calendar, one.freq, one.time, recipe.horizon)
        return self._step_times[key]


def panel_of(spec: TrainingSpec, observations: Sequence[Observations]) -> Panel:
    """Return the series that a training learns from, checked.

    Raises:
        InvalidObservations: See `checks.check_observations`; ``missing-observations`` or ``too-many-gaps``.
        InvalidTraining: ``invalid-training``, ``one-series-only``.
    """
    check_spec(spec)
    check_observations(spec, observations)
    require_one_series(spec, len(observations))
    columns, gaps = spec.all_columns, Gaps(spec.gaps, spec.target, spec.columns_of("static"))
    whole = [filled(one, columns, gaps) for one in observations]
    series = [complete_rows(one, columns) for one in whole]
    return Panel(
        series=series,
        values=[one.matrix(columns) for one in series],
        cutoffs=[cutoffs_of(one, columns, gaps, kept.time) for one, kept in zip(observations, series, strict=True)],
        rows_skipped=sum(len(given) - len(kept) for given, kept in zip(whole, series, strict=True)),
        rows_filled=sum(_made(given, kept, columns) for given, kept in zip(observations, series, strict=True)),
    )


def require_one_series(spec: TrainingSpec, series: int) -> None:
    """Refuse a statistical model, or an ensemble with such a member, of several series.

    Raises:
        InvalidTraining: ``one-series-only``.
    """
    members = spec.candidates if spec.algorithm == ENSEMBLE else (spec.algorithm,)
    local = next((name for name in members if is_statistical(name)), None)
    if local and series > 1:
        raise InvalidTraining(
            "one-series-only",
            field="series_ids",
            expected=f"one series: {local} is a model of a single one",
            found=f"{series} series",
            advice="train one model a series, or an algorithm that learns from several, such as lstm",
        )


def _made(given: Observations, kept: Observations, columns: Sequence[str]) -> int:
    """Return how many rows stand for what was missing."""
    whole = np.isfinite(given.matrix(columns)).all(axis=1)
    return len(kept) - int(np.isin(kept.time, given.time[whole]).sum())
