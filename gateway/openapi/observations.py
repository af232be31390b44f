"""The operation that takes live rows."""

from __future__ import annotations

from gateway.answers import Answer
from gateway.openapi.ingests import IngestAccepted
from gateway.openapi.operation import JsonObject, Operation, json_answer
from gateway.openapi.problem_kinds import STARTING
from gateway.routes.observations import AppendBody


class Appended(IngestAccepted, frozen=True, kw_only=True):
    """An append that has been written to one partition; `series_id` is its first series."""

    series: int
    rows: int


class AppendAccepted(Answer, frozen=True, kw_only=True):
    """What has been asked for, one ingest for the series of each partition."""

    ingests: tuple[Appended, ...]


_BODY: JsonObject = {
    "series": [
        {
            "series_id": "shop/berlin@1h",
            "unit": "EUR",
            "time": ["2025-01-02T21:00:00Z"],
            "columns": {"sales": [1250.5], "visitors": [88]},
        },
        {"series_id": "shop/paris@1h", "time": ["2025-01-02T21:00:00Z"], "columns": {"sales": [990.0]}},
    ]
}
_ACCEPTED: JsonObject = {
    "ingests": [{"ingest_id": "0d0a2f3c6a0f", "series_id": "shop/berlin@1h", "state": "queued", "series": 2, "rows": 2}]
}

OBSERVATIONS = (
    Operation(
        method="post",
        path="/api/v1/observations",
        id="appendObservations",
        tag="ingests",
        counts_as="row",
        summary="Append live rows of many series",
        description=(
            "Each series is cleaned and judged by the quality gate like any fetch, by itself; its calendar is `24/7`. "
            "The log has the rows when this answers; `GET /api/v1/ingests/{ingest_id}` tells what became of them. "
            "With the same `Idempotency-Key` the same rows are the same ingests; other rows are others."
        ),
        parameters=("IdempotencyKey",),
        body=AppendBody,
        examples={"two-shops": _BODY},
        answers={202: json_answer("Written down.", AppendAccepted, _ACCEPTED)},
        problems={
            404: ("unknown-project",),
            409: ("limit-reached",),
            422: ("invalid-parameter",),
            **STARTING,
        },
    ),
)
