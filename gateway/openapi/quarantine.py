"""The operations on rows that the quality gate holds back."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from gateway.answers import Answer, Count
from gateway.bodies import DecisionBody
from gateway.openapi.examples import SERIES_ID
from gateway.openapi.operation import JsonObject, Operation, json_answer
from gateway.openapi.problem_kinds import QUERY, STARTING
from gateway.openapi.series import Columns
from schemas.observations import BatchKind
from schemas.quarantine import RuleBroken
from schemas.record import Id, SeriesId


class QuarantineLine(Answer, frozen=True, kw_only=True):
    """Rows that the quality gate holds back, without the rows themselves."""

    quarantine_id: Id
    series_id: SeriesId
    #: The ingest that brought them.
    ingest_id: Id
    held_at: datetime
    source: str
    rows: Count
    first_time: datetime
    last_time: datetime
    #: The rules that they break.
    broken: tuple[RuleBroken, ...]
    state: Literal["held", "released", "rejected"]
    #: Who decided, and why.
    decided_by: str = ""
    reason: str = ""
    #: Of released rows: the ingest that tells what became of them.
    release_ingest_id: Id | None = None


class QuarantinePage(Answer, frozen=True, kw_only=True):
    """Held rows, the newest first."""

    quarantine: tuple[QuarantineLine, ...]
    #: Path of the next page; null on the last one.
    next: str | None


class Quarantined(QuarantineLine, frozen=True, kw_only=True):
    """Rows that the quality gate holds back."""

    #: What they would be in the log.
    kind: BatchKind
    unit: str
    observations: Columns


QUARANTINE_ID = "5f2b1c9e0d7a46338b1f0a9c2e4d6b70"
DECISION_BODY: JsonObject = {"decided_by": "ana", "reason": "the exchange confirms the price"}
QUARANTINE_LINE: JsonObject = {
    "quarantine_id": QUARANTINE_ID,
    "series_id": SERIES_ID,
    "ingest_id": "ingest-1",
    "held_at": "2025-01-02T21:06:00Z",
    "source": "yahoo",
    "rows": 1,
    "first_time": "2025-01-02T00:00:00Z",
    "last_time": "2025-01-02T00:00:00Z",
    "broken": [
        {
            "rule": "unit-error",
            "times": ["2025-01-02T00:00:00Z"],
            "rows": 1,
            "reason": "prices must stay in one unit, those of 1 row (2025-01-02) are 100 or 1000 times the others",
        }
    ],
    "state": "held",
}
QUARANTINED: JsonObject = {
    **QUARANTINE_LINE,
    "kind": "append",
    "unit": "USD",
    "observations": {"time": ["2025-01-02T00:00:00Z"], "columns": {"close": [24385.0]}},
}
RELEASED: JsonObject = {
    **QUARANTINE_LINE,
    **DECISION_BODY,
    "state": "released",
    "release_ingest_id": "8d1f5a7c3b9e42608f6d4c2a1e0b7395",
}

QUARANTINE = (
    Operation(
        method="get",
        path="/api/v1/quarantine",
        id="listQuarantine",
        tag="quarantine",
        summary="Rows that the quality gate holds back, the newest first",
        description=(
            "Each line says which rules its rows break; the rows themselves have a path of their own. `release` lets "
            "them in, `reject` throws them away."
        ),
        parameters=("of_series", "quarantine_state", "after_quarantined", "limit"),
        answers={200: json_answer("A page.", QuarantinePage, {"quarantine": [QUARANTINE_LINE], "next": None})},
        problems={404: ("unknown-quarantine",), **QUERY, **STARTING},
    ),
    Operation(
        method="get",
        path="/api/v1/quarantine/{quarantine_id}",
        id="getQuarantined",
        tag="quarantine",
        summary="Held rows with the rules that they break",
        description="The rows as they would be in the log, so that somebody can decide about them.",
        parameters=("quarantine_id",),
        answers={200: json_answer("The rows.", Quarantined, QUARANTINED)},
        problems={404: ("unknown-quarantine",), **QUERY, **STARTING},
    ),
    *(
        Operation(
            method="post",
            path=f"/api/v1/quarantine/{{quarantine_id}}/{decision}",
            id=f"{decision}Quarantined",
            is_repeatable=True,
            tag="quarantine",
            summary=summary,
            description="The first decision counts; the same one again changes nothing.",
            parameters=("quarantine_id",),
            body=DecisionBody,
            examples={decision: DECISION_BODY},
            answers={202: json_answer("Decided.", QuarantineLine, example, "Location")},
            problems={
                404: ("unknown-quarantine",),
                409: ("already-decided",),
                **STARTING,
            },
        )
        for decision, summary, example in (
            ("release", "Let held rows in: they are published once", RELEASED),
            ("reject", "Throw held rows away", {**QUARANTINE_LINE, "state": "rejected"}),
        )
    ),
)
