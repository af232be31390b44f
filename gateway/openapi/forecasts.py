"""The operations on single forecasts."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from gateway.answers import Answer, Count
from gateway.bodies import ForecastBody
from gateway.openapi.examples import MODEL_NAME, SERIES_ID, VERSION, forecast
from gateway.openapi.operation import JsonObject, Operation, json_answer
from gateway.openapi.problem_kinds import REFUSALS, STARTING
from gateway.openapi.series import Columns, RowVersions
from schemas.forecasts import ForecastIssued
from schemas.models import Version
from schemas.record import Id, ModelName, SeriesId


class PendingForecast(Answer, frozen=True, kw_only=True):
    """A forecast that is on its way."""

    request_id: Id
    state: Literal["pending"]


class ForecastInputs(Answer, frozen=True, kw_only=True):
    """The rows of a series as they were known to a forecast."""

    forecast_id: Id
    request_id: Id
    series_id: SeriesId
    model: ModelName
    version: Version
    #: UTC; time of the last row.
    cutoff: datetime
    #: Where the newest batch that it used stands in `observations`.
    observation_partition: Count
    observation_offset: Count
    #: The raw columns of the model, oldest row first, up to the cutoff.
    observations: Columns
    #: What the log knew of the steps, in the columns known in the future; null where the model reads none.
    future: Columns | None
    #: Of `observations`; only where asked for.
    versions: RowVersions | None = None


FORECAST_BODY: JsonObject = {"series_id": SERIES_ID, "horizon": 10, "levels": [80, 95]}
FORECAST_WINDOW_BODY: JsonObject = {
    "window": [[round(240 + 0.5 * row, 1)] for row in range(20)],
    "cutoff": "2025-01-02T00:00:00Z",
    "horizon": 5,
    "model": f"{MODEL_NAME}:{VERSION}",
}
FORECAST_KNOWN_AT_BODY: JsonObject = {"series_id": SERIES_ID, "horizon": 10, "known_at": "2025-01-02T21:00:00Z"}
PENDING: JsonObject = {"request_id": "request-1", "state": "pending"}
INPUTS: JsonObject = {
    "forecast_id": "235d824e85e73458dcedfa167048ef21",
    "request_id": "request-1",
    "series_id": SERIES_ID,
    "model": MODEL_NAME,
    "version": VERSION,
    "cutoff": "2025-01-02T00:00:00Z",
    "observation_partition": 7,
    "observation_offset": 11,
    "observations": {
        "time": ["2024-12-31T00:00:00Z", "2025-01-02T00:00:00Z"],
        "columns": {"close": [250.42, 243.85]},
    },
    "future": None,
    "versions": {
        "log_offset": [10, 11],
        "received_at": ["2024-12-31T21:05:02.125000Z", "2025-01-02T21:05:01.500000Z"],
        "kind": ["append", "append"],
        "reason": ["", ""],
        "source": ["yahoo", "yahoo"],
    },
}

FORECASTS = (
    Operation(
        method="post",
        path="/api/v1/forecasts",
        id="askForecast",
        counts_as="forecast",
        tag="forecasts",
        summary="Ask for a forecast of a series, or of a window of raw values",
        description=(
            "The request goes into the log and is answered exactly once. It is pinned to what the gateway has read, so "
            "it sees every upload that was acknowledged before. Without an answer in time, 202 says where it will be."
        ),
        parameters=("IdempotencyKey", "Prefer"),
        body=ForecastBody,
        examples={
            "series": FORECAST_BODY,
            "window": FORECAST_WINDOW_BODY,
            "known-at": FORECAST_KNOWN_AT_BODY,
        },
        answers={
            200: json_answer("The forecast.", ForecastIssued, forecast()),
            202: json_answer("Asked, not answered yet.", PendingForecast, PENDING, "Location", "RetryAfter"),
        },
        problems={
            404: ("unknown-series", "unknown-model", "unknown-version"),
            409: ("no-champion",),
            413: ("request-too-large",),
            422: ("idempotency-key-reused", *REFUSALS),
            **STARTING,
        },
    ),
    Operation(
        method="get",
        path="/api/v1/forecasts/{forecast_or_request_id}",
        id="getForecast",
        is_cached=True,
        tag="forecasts",
        summary="Read a forecast again",
        description="By request id (also of a request that is not answered yet) or by forecast id.",
        parameters=("forecast_or_request_id",),
        answers={
            200: json_answer("The forecast.", ForecastIssued, forecast()),
            202: json_answer("Not answered yet.", PendingForecast, PENDING, "Location", "RetryAfter"),
        },
        problems={
            404: ("unknown-forecast", "unknown-series", "unknown-model", "unknown-version"),
            409: ("no-champion",),
            413: ("request-too-large",),
            422: REFUSALS,
            **STARTING,
        },
    ),
    Operation(
        method="get",
        path="/api/v1/forecasts/{forecast_or_request_id}/inputs",
        id="getForecastInputs",
        tag="forecasts",
        summary="What a forecast saw",
        description=(
            "The newest rows up to its cutoff, as they were known at the offset in its lineage: what has been restated "
            "since stands here as it was."
        ),
        parameters=("forecast_or_request_id", "input_limit", "versions"),
        answers={
            200: json_answer("The rows.", ForecastInputs, INPUTS),
            202: json_answer("Not answered yet.", PendingForecast, PENDING, "Location", "RetryAfter"),
        },
        problems={
            404: ("unknown-forecast", "no-inputs", "unknown-series", "unknown-model", "unknown-version"),
            409: ("no-champion",),
            413: ("request-too-large",),
            422: ("invalid-parameter", *REFUSALS),
            **STARTING,
        },
    ),
)
