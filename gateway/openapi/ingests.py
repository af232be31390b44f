"""The operations on ingests."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from gateway.answers import Answer, Count, Fraction
from gateway.bodies import IngestBody
from gateway.openapi.examples import SERIES_ID
from gateway.openapi.operation import JsonObject, Operation, json_answer
from gateway.openapi.problem_kinds import STARTING
from schemas.ingests import IngestState
from schemas.record import Id, SeriesId


class IngestAccepted(Answer, frozen=True, kw_only=True):
    """An ingest that has been asked for."""

    ingest_id: Id
    series_id: SeriesId
    state: Literal["queued"]


class Ingest(Answer, frozen=True, kw_only=True):
    """An ingest, as its newest event tells it."""

    ingest_id: Id
    series_id: SeriesId
    state: IngestState | Literal["queued"]
    #: The source that delivered.
    source: str | None = None
    rows_received: Count = 0
    rows_published: Count = 0
    #: Rows that the quality gate held back, `GET /api/v1/quarantine` lists them, and what it let in and tells.
    rows_quarantined: Count = 0
    flags: tuple[str, ...] = ()
    #: Part done.
    fraction: Fraction = 0.0
    first_time: datetime | None = None
    last_time: datetime | None = None
    #: Why it failed, or which source was passed over.
    reason: str = ""


INGEST_BODY: JsonObject = {"symbol": "AAPL", "sources": ["yahoo", "sample"], "freq": "1d", "calendar": "XNYS"}
INGEST_ACCEPTED: JsonObject = {"ingest_id": "ingest-1", "series_id": SERIES_ID, "state": "queued"}
INGEST: JsonObject = {
    "ingest_id": "ingest-1",
    "series_id": SERIES_ID,
    "state": "succeeded",
    "source": "yahoo",
    "rows_received": 2514,
    "rows_published": 2514,
    "first_time": "2015-01-05T00:00:00Z",
    "last_time": "2025-01-02T00:00:00Z",
}

INGESTS = (
    Operation(
        method="post",
        path="/api/v1/ingests",
        id="startIngest",
        counts_as="row",
        tag="ingests",
        summary="Ask for data",
        description="Sources are tried in the order given. What is known already is not published twice.",
        parameters=("IdempotencyKey",),
        body=IngestBody,
        examples={"yahoo-or-sample": INGEST_BODY},
        answers={202: json_answer("Asked.", IngestAccepted, INGEST_ACCEPTED, "Location")},
        problems={
            404: ("unknown-project", "unknown-upload"),
            409: ("limit-reached",),
            422: ("idempotency-key-reused",),
            **STARTING,
        },
    ),
    Operation(
        method="get",
        path="/api/v1/ingests/{ingest_id}",
        id="getIngest",
        tag="ingests",
        summary="What became of an ingest",
        description=(
            "Its newest event: how many rows came, how many were published and how many the quality gate holds back, "
            "and why it failed where it did."
        ),
        parameters=("ingest_id",),
        answers={200: json_answer("The ingest.", Ingest, INGEST)},
        problems={404: ("unknown-ingest",), **STARTING},
    ),
)
