"""From a pinned request to the input of its model, and from the model's numbers to the answer."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from forecasting.calendars import next_times
from forecasting.errors import InvalidObservations
from forecasting.panel import Future, IntArray, Observations, SeriesHistory, Window
from forecasting.serving import ForecastNumbers, LoadedModel
from predictor.refusals import Refused
from predictor.releases import ChosenVersion
from schemas.forecasts import (
    AsOf,
    ForecastIssued,
    ForecastRequested,
    ForecastStep,
    Lineage,
    ModelUsed,
    forecast_id_of,
)

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ModelInput:
    """One request, ready for the model that answers it."""

    request: ForecastRequested
    chosen: ChosenVersion
    model: LoadedModel
    #: Raw rows in the column order of the model, shape (rows, columns): the window, and before it what adaptive bands
    #: and the seasonal baseline read.
    rows: Array
    cutoff: datetime | None
    #: Times of the rows, where they are known.
    time: IntArray | None
    #: What is known of the steps, where the model reads such columns.
    future: Future | None
    calendar: str
    unit: str
    observation_partition: int | None
    observation_offset: int | None

    @property
    def window(self) -> Window:
        """What the model reads: the newest rows, shape (rows, columns), and what is known of the steps."""
        return Window(self.rows, self.cutoff, self.time, self.future).last(self.model.recipe.history_rows)

    @property
    def group(self) -> tuple[str, int, tuple[float, ...]]:
        """What must agree for two inputs to share one run of the model."""
        return (self.chosen.release.artefact_digest, self.request.horizon, self.request.levels)


def input_from_window(request: ForecastRequested, chosen: ChosenVersion, model: LoadedModel) -> ModelInput:
    """Return the input of a request that brings its own rows.

    Raises:
        Refused: ``window-shape``, ``future-missing`` or ``unknown-column``.
    """
    rows = request.window or ()
    expected = (model.window_size, len(model.columns))
    found = (len(rows), len(rows[0]))
    if found != expected:
        raise Refused(
            "window-shape",
            field="window",
            expected=f"{expected[0]} rows of {expected[1]} numbers ({', '.join(model.columns)})",
            found=f"{found[0]} rows of {found[1]}",
        )
    return ModelInput(
        request=request,
        chosen=chosen,
        model=model,
        rows=np.array(rows, dtype=np.float64),
        cutoff=request.cutoff,
        time=None,
        future=_future(request, model),
        calendar=chosen.release.calendar,
        unit=chosen.release.unit,
        observation_partition=None,
        observation_offset=None,
    )


def input_from_series(
    request: ForecastRequested,
    *,
    chosen: ChosenVersion,
    model: LoadedModel,
    history: SeriesHistory | None,
    as_of: AsOf,
    partition: int,
) -> ModelInput:
    """Return the input of a request for a series: its newest complete rows as known before ``as_of``.

    Raises:
        Refused: ``unknown-series``, ``freq-mismatch``, ``future-missing`` or ``unknown-column``.
        ForecastingError: ``too-little-history`` or ``unknown-column``.
    """
    view = _view(history, as_of)
    if view is None:
        raise Refused(
            "unknown-series",
            field="series_id",
            expected="a series with observations",
            found=request.series_id or "",
            advice="ingest it first",
        )
    release = chosen.release
    if view.freq != release.freq:
        raise Refused(
            "freq-mismatch",
            field="model",
            expected=f"one trained for {view.freq}",
            found=f"{release.model}, trained for {release.freq}",
        )
    window = _window(view, model)
    return ModelInput(
        request=request,
        chosen=chosen,
        model=model,
        rows=window.values,
        cutoff=window.cutoff,
        time=window.time,
        future=_future(request, model) or window.future,
        calendar=view.calendar,
        unit=view.unit,
        observation_partition=partition,
        observation_offset=view.newest_offset,
    )


def _window(view: Observations, model: LoadedModel) -> Window:
    """Return the rows of the window and, as far as there are so many, those before it that a forecast reads.

    One season of rows for the seasonal baseline, and the newest folds for bands that adapt to them.
    """
    return model.window_of(view, max(model.recipe.baseline_rows, model.recipe.history_rows), least=model.window_size)


def _future(request: ForecastRequested, model: LoadedModel) -> Future | None:
    """Return what the request knows of the steps, in the order of the model's columns.

    Raises:
        Refused: ``future-missing`` or ``unknown-column``.
    """
    known = request.future
    if known is None:
        return None
    names = model.recipe.future_columns
    for name in known.columns:
        if name not in names:
            raise Refused(
                "unknown-column",
                field=f"future.columns.{name}",
                expected=f"a column that the model knows in the future: {', '.join(names) or 'it has none'}",
                found=name,
            )
    for name in names:
        if name not in known.columns:
            raise Refused(
                "future-missing",
                field=f"future.columns.{name}",
                expected=f"a value of {name} for each step: the model was trained with it",
                found="nothing",
            )
    time = np.array([int(each.timestamp()) for each in known.time], dtype=np.int64) if known.time else None
    return Future(time, np.column_stack([known.columns[name] for name in names]))


def _view(history: SeriesHistory | None, as_of: AsOf) -> Observations | None:
    if history is None:
        return None
    try:
        return history.view(before_offset=as_of.observations)
    except InvalidObservations:  # nothing was known before that offset
        return None


def issue(source: ModelInput, numbers: ForecastNumbers) -> ForecastIssued:
    """Return the forecast that ends a request.

    Raises:
        Refused: ``not-finite``.
    """
    request, release = source.request, source.chosen.release
    input_digest = digest_of(source)
    baselines = source.model.baselines(source.rows, request.horizon)
    arrays = [numbers.median, *numbers.quantiles.values(), *baselines.values()]
    if not all(np.isfinite(values).all() for values in arrays):
        raise Refused(
            "not-finite",
            expected="one that gives finite numbers",
            found=f"a window for which {release.model}:{release.version} gives others",
        )
    return ForecastIssued(
        forecast_id=forecast_id_of(
            series_id=request.series_id,
            cutoff=source.cutoff,
            horizon=request.horizon,
            levels=request.levels,
            model_digest=release.artefact_digest,
            input_digest=input_digest,
        ),
        request_id=request.request_id,
        series_id=request.series_id,
        cutoff=source.cutoff,
        target=release.target,
        unit=source.unit,
        steps=_steps(source, numbers),
        model=ModelUsed(
            name=release.model, version=release.version, role=source.chosen.role, algorithm=release.algorithm
        ),
        lineage=Lineage(
            observation_partition=source.observation_partition,
            observation_offset=source.observation_offset,
            model_offset=source.chosen.model_offset,
            deployment_offset=source.chosen.deployment_offset,
            input_digest=input_digest,
            model_digest=release.artefact_digest,
        ),
        baselines={name: tuple(values.tolist()) for name, values in baselines.items()},
        cause=request.cause,
    )


def _steps(source: ModelInput, numbers: ForecastNumbers) -> tuple[ForecastStep, ...]:
    horizon = source.request.horizon
    times = _times(source)
    names = [quantile_name(probability) for probability in numbers.quantiles]
    rows = np.column_stack(list(numbers.quantiles.values())).tolist()
    medians = numbers.median.tolist()
    directions = [None] * horizon if numbers.direction_probability is None else numbers.direction_probability.tolist()
    return tuple(
        ForecastStep(
            time=times[step],
            median=medians[step],
            quantiles=dict(zip(names, rows[step], strict=True)),
            direction_probability=directions[step],
        )
        for step in range(horizon)
    )


def _times(source: ModelInput) -> Sequence[datetime | None]:
    """Return the times of the steps: those that came with the known future, else those of the calendar."""
    horizon = source.request.horizon
    if source.future is not None and source.future.time is not None:
        return [datetime.fromtimestamp(int(time), UTC) for time in source.future.time[:horizon]]
    if source.cutoff is None:
        return [None] * horizon
    return next_times(source.calendar, source.chosen.release.freq, source.cutoff, horizon)


@lru_cache(maxsize=4096)
def quantile_name(probability: float) -> str:
    """Return a probability as it stands in a record.

    >>> quantile_name((1 - 80 / 100) / 2)
    '0.1'
    """
    return f"{probability:.10g}"


def digest_of(source: ModelInput) -> str:
    """Return the SHA-256 of what a forecast is made from.

    The raw rows: shape, then float64 little-endian by row; where the model reads them, the times of the rows, and the
    times and values that are known of the steps, likewise.
    """
    digest = hashlib.sha256()

    def add(values: NDArray[np.float64] | IntArray, kind: str) -> None:
        digest.update(f"{'x'.join(map(str, values.shape))}:".encode())
        digest.update(np.ascontiguousarray(values, dtype=kind).tobytes())

    add(source.rows, "<f8")
    if source.time is not None and source.model.reads_time:
        add(source.time, "<i8")
    if source.future is not None:
        add(source.future.values, "<f8")
        if source.future.time is not None:
            add(source.future.time, "<i8")
    return digest.hexdigest()
