"""The operations on forecasts and series."""

from __future__ import annotations

from gateway import openapi_answers as answers
from gateway import openapi_examples as examples
from gateway.bodies import ForecastBody
from gateway.openapi_parts import REFUSALS, Operation
from gateway.openapi_shared import BODY_PROBLEMS, QUERY, WRITE_503, json_answer
from schemas.forecasts import ForecastIssued

FORECASTS = (
    Operation(
        method="post",
        path="/api/v1/forecasts",
        id="askForecast",
        tag="forecasts",
        summary="Ask for a forecast of a series, or of a window of raw values",
        description=(
            "The request goes into the log and is answered exactly once. It is pinned to what the gateway has read, so "
            "it sees every upload that was acknowledged before. Without an answer in time, 202 says where it will be."
        ),
        parameters=("IdempotencyKey", "Prefer"),
        body=ForecastBody,
        examples={
            "series": examples.FORECAST_BODY,
            "window": examples.FORECAST_WINDOW_BODY,
            "known-at": examples.FORECAST_KNOWN_AT_BODY,
        },
        answers={
            200: json_answer("The forecast.", ForecastIssued, examples.forecast()),
            202: json_answer(
                "Asked, not answered yet.", answers.PendingForecast, examples.PENDING, "Location", "RetryAfter"
            ),
        },
        problems={
            **BODY_PROBLEMS,
            404: ("unknown-series", "unknown-model", "unknown-version"),
            409: ("no-champion",),
            413: ("body-too-large", "request-too-large"),
            422: ("invalid-body", "idempotency-key-reused", *REFUSALS),
            503: WRITE_503,
        },
    ),
    Operation(
        method="get",
        path="/api/v1/forecasts/{forecast_or_request_id}",
        id="getForecast",
        tag="forecasts",
        summary="Read a forecast again",
        description="By request id (also of a request that is not answered yet) or by forecast id.",
        parameters=("forecast_or_request_id",),
        answers={
            200: json_answer("The forecast.", ForecastIssued, examples.forecast()),
            202: json_answer("Not answered yet.", answers.PendingForecast, examples.PENDING, "Location", "RetryAfter"),
        },
        problems={
            404: ("unknown-forecast", "unknown-series", "unknown-model", "unknown-version"),
            409: ("no-champion",),
            413: ("request-too-large",),
            422: REFUSALS,
            503: ("broker-unavailable", "starting"),
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
        parameters=("forecast_or_request_id", "window_rows", "versions"),
        answers={
            200: json_answer("The rows.", answers.ForecastInputs, examples.INPUTS),
            202: json_answer("Not answered yet.", answers.PendingForecast, examples.PENDING, "Location", "RetryAfter"),
        },
        problems={
            404: ("unknown-forecast", "no-inputs", "unknown-series", "unknown-model", "unknown-version"),
            409: ("no-champion",),
            413: ("request-too-large",),
            422: ("invalid-parameter", *REFUSALS),
            503: ("broker-unavailable", "starting"),
        },
    ),
)
SERIES = (
    Operation(
        method="get",
        path="/api/v1/series",
        id="listSeries",
        tag="series",
        summary="Every series",
        answers={200: json_answer("The series.", answers.SeriesList, {"series": [examples.SERIES_LINE]})},
        problems={**QUERY, 503: ("broker-unavailable",)},
    ),
    Operation(
        method="get",
        path="/api/v1/series/{series_id}",
        id="getSeries",
        tag="series",
        summary="One series",
        parameters=("series_id",),
        answers={200: json_answer("The series.", answers.SeriesLine, examples.SERIES_LINE)},
        problems={404: ("unknown-series",), **QUERY, 503: ("broker-unavailable",)},
    ),
    Operation(
        method="get",
        path="/api/v1/series/{series_id}/observations",
        id="listObservations",
        tag="series",
        summary="Observations of a series, page by page",
        description=(
            "The latest record that names a time is the one that counts; with `known_at` or `known_at_offset` the "
            "latest one that was received, or stood in the log, then."
        ),
        parameters=("series_id", "rows", "after", "before", "order", "known_at", "known_at_offset", "versions"),
        answers={200: json_answer("A page.", answers.ObservationsPage, examples.OBSERVATIONS)},
        problems={
            404: ("unknown-series",),
            422: ("invalid-parameter", "as-of-beyond-log"),
            503: ("broker-unavailable", "starting"),
        },
    ),
    Operation(
        method="get",
        path="/api/v1/series/{series_id}/restatements",
        id="listRestatements",
        tag="series",
        summary="What was restated when, from what to what and why",
        description="Rows whose values were replaced by others, in the order of the log.",
        parameters=("series_id", "limit", "order", "cursor"),
        answers={200: json_answer("A page.", answers.RestatementsPage, examples.RESTATEMENTS)},
        problems={404: ("unknown-series",), **QUERY, 503: ("broker-unavailable",)},
    ),
    Operation(
        method="get",
        path="/api/v1/series/{series_id}/forecasts/latest",
        id="getLatestForecast",
        tag="series",
        summary="The newest forecast of a series",
        parameters=("series_id",),
        answers={200: json_answer("The forecast.", ForecastIssued, examples.forecast())},
        problems={404: ("unknown-series", "no-forecast-yet"), **QUERY, 503: ("broker-unavailable",)},
    ),
)
