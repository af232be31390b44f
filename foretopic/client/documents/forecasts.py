"""Forecasts, batches of them, and how many were asked for."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from foretopic.client.documents.document import Document
from foretopic.client.documents.series import Columns, RowVersions


class BatchCounts(Document, frozen=True, kw_only=True):
    """How many forecasts were asked for, and how they stand."""

    requested: int
    pending: int
    issued: int
    refused: int


class ForecastStep(Document, frozen=True, kw_only=True):
    """What one step ahead is expected to be."""

    time: datetime | None = None
    median: float
    quantiles: dict[str, float]
    direction_probability: float | None = None


class ModelUsed(Document, frozen=True, kw_only=True):
    """The model version that made a forecast, and in which role."""

    name: str
    version: str
    role: str
    algorithm: str


class Lineage(Document, frozen=True, kw_only=True):
    """What a forecast was made from. Offsets name the newest messages used, not how far the reader had read."""

    observation_partition: int | None = None
    observation_offset: int | None = None
    model_offset: int
    deployment_offset: int | None = None
    input_digest: str
    model_digest: str


class Forecast(Document, frozen=True, kw_only=True):
    """A request ended with a forecast. Nothing here depends on the wall clock or on who computed it."""

    forecast_id: str
    request_id: str
    series_id: str | None = None
    cutoff: datetime | None = None
    target: str
    unit: str = ""
    steps: tuple[ForecastStep, ...]
    model: ModelUsed
    lineage: Lineage
    baselines: dict[str, tuple[float, ...]]
    cause: str = "caller"


class BatchLine(Document, frozen=True, kw_only=True):
    """How one entry of a batch stands; issued it has `forecast`, refused it has `problem`."""

    index: int | None = None
    request_id: str | None = None
    series_id: str | None = None
    state: str
    forecast: Forecast | None = None
    problem: dict[str, Any] | None = None


class Batch(Document, frozen=True, kw_only=True):
    """Forecasts that were asked for together."""

    batch_id: str
    state: str
    counts: BatchCounts
    answers: tuple[BatchLine, ...]
    next: str | None = None


class ForecastLine(Document, frozen=True, kw_only=True):
    """A forecast that was asked for, and what became of it."""

    request_id: str
    forecast_id: str | None = None
    status: str
    code: str | None = None
    series_id: str | None = None
    model: str
    version: str | None = None
    horizon: int | None = None
    batch_id: str | None = None
    cutoff: datetime | None = None
    answered_at: datetime | None = None
    requested_at: datetime
    project: str
    cause: str
    requester: str


class ForecastHistory(Document, frozen=True, kw_only=True):
    """Forecasts, the newest first."""

    forecasts: tuple[ForecastLine, ...]
    next: str | None = None


class ForecastInputs(Document, frozen=True, kw_only=True):
    """The rows of a series as they were known to a forecast."""

    forecast_id: str
    request_id: str
    series_id: str
    model: str
    version: str
    cutoff: datetime
    observation_partition: int
    observation_offset: int
    observations: Columns
    future: Columns | None = None
    versions: RowVersions | None = None


class PendingForecast(Document, frozen=True, kw_only=True):
    """A forecast that is on its way."""

    request_id: str
    state: str


class UsageLine(Document, frozen=True, kw_only=True):
    """How many forecasts; what is not summed by is left out."""

    day: date | None = None
    project: str | None = None
    model: str | None = None
    requester: str | None = None
    forecasts: int
    issued: int
    refused: int


class Usage(Document, frozen=True, kw_only=True):
    """How many forecasts were asked for."""

    usage: tuple[UsageLine, ...]
