"""The operations on batches of forecasts."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta

from gateway.answers import Answer, Count
from gateway.batches import MAX_ENTRIES
from gateway.bodies import Body, FutureBody, Horizon, Levels
from gateway.openapi.answers import ProblemDocument
from gateway.openapi.examples import SERIES_ID, forecast, problem
from gateway.openapi.operation import JsonObject, Operation, json_answer
from gateway.openapi.problem_kinds import STARTING
from schemas.forecasts import ForecastIssued
from schemas.record import Id, ModelReference, SeriesId, UtcTime


class ForecastEntry(Body, frozen=True, kw_only=True):
    """One forecast of a batch: the body of a single request; what it lacks is taken from the common fields."""

    series_id: SeriesId | None = None
    window: tuple[tuple[float, ...], ...] | None = None
    cutoff: datetime | None = None
    future: FutureBody | None = None
    horizon: Horizon | None = None
    levels: Levels | None = None
    model: ModelReference | None = None
    known_at: UtcTime | None = None


class ForecastBatch(Body, frozen=True, kw_only=True):
    """Forecasts to ask for together; the fields beside `forecasts` stand in for what an entry lacks."""

    forecasts: Annotated[tuple[ForecastEntry, ...], Meta(min_length=1, max_length=MAX_ENTRIES)]
    horizon: Horizon | None = None
    levels: Levels | None = None
    model: ModelReference | None = None
    known_at: UtcTime | None = None


class BatchCounts(Answer, frozen=True, kw_only=True):
    """How many forecasts were asked for, and how they stand."""

    requested: Count
    pending: Count
    issued: Count
    refused: Count


class BatchLine(Answer, frozen=True, kw_only=True):
    """How one entry of a batch stands; issued it has `forecast`, refused it has `problem`."""

    #: Its place in the body, counted from 0.
    index: Count | None
    #: Null for an entry that was refused before it came into the log.
    request_id: Id | None
    series_id: SeriesId | None
    state: Literal["pending", "issued", "refused"]
    forecast: ForecastIssued | None = None
    problem: ProblemDocument | None = None


class Batch(Answer, frozen=True, kw_only=True):
    """Forecasts that were asked for together."""

    batch_id: Id
    state: Literal["pending", "done"]
    counts: BatchCounts
    answers: tuple[BatchLine, ...]
    #: Path of the next page; null on the last one.
    next: str | None


BODY: JsonObject = {
    "horizon": 10,
    "levels": [80],
    "forecasts": [
        {"series_id": SERIES_ID},
        {"series_id": "market/MSFT@1d", "horizon": 5},
        {"series_id": "market/NOWHERE@1d"},
    ],
}
_STEM = "8d1f0c7e5b2a4936a0c1d2e3f4a5b6c7"
_REFUSED = {
    "index": 2,
    "request_id": None,
    "series_id": "market/NOWHERE@1d",
    "state": "refused",
    "problem": {**problem(404, "unknown-series", "a known series was expected"), "request_id": ""},
}
_ISSUED = {
    "index": 0,
    "request_id": f"{_STEM}-0000",
    "series_id": SERIES_ID,
    "state": "issued",
    "forecast": forecast(),
}
_PENDING = {"index": 1, "request_id": f"{_STEM}-0001", "series_id": "market/MSFT@1d", "state": "pending"}
DONE: JsonObject = {
    "batch_id": "batch-1",
    "state": "done",
    "counts": {"requested": 3, "pending": 0, "issued": 2, "refused": 1},
    "answers": [_ISSUED, {**_ISSUED, "index": 1, "request_id": f"{_STEM}-0001"}, _REFUSED],
    "next": None,
}
ASKED: JsonObject = {
    "batch_id": "batch-1",
    "state": "pending",
    "counts": {"requested": 3, "pending": 1, "issued": 1, "refused": 1},
    "answers": [_REFUSED],
    "next": None,
}
PAGE: JsonObject = {
    "batch_id": "batch-1",
    "state": "pending",
    "counts": {"requested": 2, "pending": 1, "issued": 1, "refused": 0},
    "answers": [_ISSUED, _PENDING],
    "next": f"/api/v1/batches/batch-1?limit=2&cursor={_STEM}-0001",
}

BATCHES = (
    Operation(
        method="post",
        path="/api/v1/forecasts:batch",
        id="askForecasts",
        counts_as="forecast",
        tag="forecasts",
        summary=f"Ask for up to {MAX_ENTRIES} forecasts at once",
        description=(
            "Each entry is a request of its own and is answered for itself: a bad one has its problem and stops no "
            "other. With all of them answered in time the answer has everything, in order. Otherwise 202 has the "
            "entries that did not come into the log, and the `Location` tells of the others. With an "
            "`Idempotency-Key` a repeat is the same batch."
        ),
        parameters=("IdempotencyKey", "Prefer"),
        body=ForecastBatch,
        examples={"three-series": BODY},
        answers={
            200: json_answer("Every entry, answered.", Batch, DONE),
            202: json_answer("Asked, not all answered yet.", Batch, ASKED, "Location", "RetryAfter"),
        },
        problems={422: ("idempotency-key-reused",), **STARTING},
    ),
    Operation(
        method="get",
        path="/api/v1/batches/{batch_id}",
        id="getBatch",
        tag="forecasts",
        summary="How a batch stands, with the answers that are there",
        description="What was asked of it and came into the log, in order; entries refused before that are not here.",
        parameters=("batch_id", "batch_limit", "batch_cursor"),
        answers={200: json_answer("The batch.", Batch, PAGE)},
        problems={404: ("unknown-batch",), 422: ("invalid-parameter",), **STARTING},
    ),
)
