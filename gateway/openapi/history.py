"""The operations on the history: lists of what was asked for, and how much of it there was."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from gateway.answers import Answer, Count
from gateway.exports import MEDIA_TYPES
from gateway.openapi.examples import MODEL_NAME, SERIES_ID
from gateway.openapi.ingests import INGEST, Ingest
from gateway.openapi.operation import JsonObject, Operation, Sent
from gateway.openapi.problem_kinds import QUERY
from gateway.openapi.trainings import TRAINING, Training
from schemas.record import Id


class ForecastLine(Answer, frozen=True, kw_only=True):
    """A forecast that was asked for, and what became of it."""

    request_id: Id
    #: Null unless issued; `GET /api/v1/forecasts/{id}` has the forecast under both ids.
    forecast_id: Id | None
    status: Literal["pending", "issued", "refused"]
    #: Kind of the refusal.
    code: str | None
    series_id: str | None
    model: str
    #: Of the model that answered; before, the one that was asked for.
    version: str | None
    horizon: int | None
    batch_id: Id | None
    #: Start of the last observation used.
    cutoff: datetime | None
    answered_at: datetime | None
    requested_at: datetime
    project: str
    cause: str
    #: `ORGANISATION_ID/user/ID` or `ORGANISATION_ID/key/ID`; empty: nobody by name.
    requester: str


class ForecastHistory(Answer, frozen=True, kw_only=True):
    """Forecasts, the newest first."""

    forecasts: tuple[ForecastLine, ...]
    #: Path of the next page; null on the last one. A page may have fewer lines than `limit`, even none, before it.
    next: str | None


class TrainingLine(Training, frozen=True, kw_only=True):
    """A training with who asked for it."""

    requested_at: datetime
    project: str
    cause: str
    requester: str


class TrainingHistory(Answer, frozen=True, kw_only=True):
    """Trainings, the newest first."""

    trainings: tuple[TrainingLine, ...]
    next: str | None


class IngestLine(Ingest, frozen=True, kw_only=True):
    """An ingest with who asked for it."""

    requested_at: datetime
    project: str
    cause: str
    requester: str


class IngestHistory(Answer, frozen=True, kw_only=True):
    """Ingests, the newest first."""

    ingests: tuple[IngestLine, ...]
    next: str | None


class UsageLine(Answer, frozen=True, kw_only=True):
    """How many forecasts; what is not summed by is left out."""

    #: UTC.
    day: date | None = None
    project: str | None = None
    model: str | None = None
    requester: str | None = None
    #: Asked for; those that are neither issued nor refused are pending.
    forecasts: Count
    issued: Count
    refused: Count


class Usage(Answer, frozen=True, kw_only=True):
    """How many forecasts were asked for."""

    usage: tuple[UsageLine, ...]


_REQUESTER = "2f6b1c9e/key/7d1e"
_ASKED: JsonObject = {
    "requested_at": "2025-01-02T09:30:00.125000Z",
    "project": "market",
    "cause": "user",
    "requester": _REQUESTER,
}
FORECAST: JsonObject = {
    **_ASKED,
    "request_id": "request-1",
    "forecast_id": "5f2b1c9e0d7a46338b1f0a9c2e4d6b70",
    "status": "issued",
    "code": None,
    "series_id": SERIES_ID,
    "model": MODEL_NAME,
    "version": "0123456789abcdef",
    "horizon": 10,
    "batch_id": None,
    "cutoff": "2024-12-31T00:00:00Z",
    "answered_at": "2025-01-02T09:30:00.140000Z",
    "cause": "caller",
}
_NEXT = "/api/v1/forecasts?series_id=market%2FAAPL%401d&cursor=WzE3MzU4MTAyMDAxMjUsInJlcXVlc3QtMSJd"
_USAGE: JsonObject = {
    "day": "2025-01-02",
    "project": "market",
    "model": MODEL_NAME,
    "requester": _REQUESTER,
    "forecasts": 120,
    "issued": 118,
    "refused": 1,
}
_TIMES = ("from_time", "to_time", "of_project", "of_requester", "of_cause")
_PAGED = ("limit", "history_cursor", "file_format")
_DESCRIPTION = (
    "The newest first. `next`, and the header `Link`, is the path of the next page: follow it until it is null. With "
    "`format` or `Accept` of CSV, Parquet or lines of JSON, all rows of the filter come as one stream."
)


def _list(description: str, type_: type, example: JsonObject) -> Sent:
    headers = ("NextPage", "ContentDisposition")
    return Sent(
        description=description, type=type_, example=example, headers=headers, files=tuple(MEDIA_TYPES.values())
    )


HISTORY = (
    Operation(
        method="get",
        path="/api/v1/forecasts",
        id="listForecasts",
        tag="forecasts",
        summary="Forecasts that were asked for, with filters, as pages or as a file",
        description=_DESCRIPTION,
        parameters=("of_series", "of_model", "of_version", "forecast_status", "of_batch", *_TIMES, *_PAGED),
        answers={200: _list("The forecasts.", ForecastHistory, {"forecasts": [FORECAST], "next": _NEXT})},
        problems=QUERY,
    ),
    Operation(
        method="get",
        path="/api/v1/trainings",
        id="listTrainings",
        tag="trainings",
        summary="Trainings, with filters, as pages or as a file",
        description=_DESCRIPTION,
        parameters=("of_series", "of_model", "of_version", "training_status", *_TIMES, *_PAGED),
        answers={200: _list("The trainings.", TrainingHistory, {"trainings": [{**_ASKED, **TRAINING}], "next": None})},
        problems=QUERY,
    ),
    Operation(
        method="get",
        path="/api/v1/ingests",
        id="listIngests",
        tag="ingests",
        summary="Ingests, with filters, as pages or as a file",
        description=_DESCRIPTION,
        parameters=("of_series", "ingest_status", *_TIMES, *_PAGED),
        answers={200: _list("The ingests.", IngestHistory, {"ingests": [{**_ASKED, **INGEST}], "next": None})},
        problems=QUERY,
    ),
    Operation(
        method="get",
        path="/api/v1/usage",
        id="getUsage",
        tag="forecasts",
        summary="How many forecasts were asked for, by day, project, model and who asked",
        description=(
            "Summed by what `by` names; what is not summed by is left out of the lines. Counted are forecasts of your "
            "own projects, and of public ones what your organisation asked for. A sum of more than 10 000 lines is "
            "refused: ask for a shorter time or fewer keys."
        ),
        parameters=("of_project", "of_model", "of_requester", "from_day", "to_day", "sum_by"),
        answers={200: Sent(description="The sums.", type=Usage, example={"usage": [_USAGE]})},
        problems=QUERY,
    ),
)
