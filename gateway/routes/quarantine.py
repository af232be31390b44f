"""Rows that the quality gate holds back: seen, released, rejected."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urlencode

import msgspec
from flask import Blueprint, Response, g, request, url_for

from gateway import parameters, tenancy
from gateway.access import Permission
from gateway.answers import json_of
from gateway.bodies import DecisionBody, read_body
from gateway.changes import note_change
from gateway.guard import needs, principal
from gateway.keyed import send_once
from gateway.problems import Problem, not_found
from gateway.service import GatewayService
from schemas.identity import content_id
from schemas.quarantine import ObservationsQuarantined, QuarantineDecided, release_id
from schemas.topics import QUARANTINE

STATES = ("held", "released", "rejected")
Decision = Literal["release", "reject"]
_BODY = msgspec.json.Decoder(DecisionBody)
_DECISION = msgspec.json.Decoder(QuarantineDecided)
_HELD = msgspec.json.Decoder(ObservationsQuarantined)
_STATE_OF = {"release": "released", "reject": "rejected"}


def blueprint(service: GatewayService) -> Blueprint:
    """Return the routes below ``/api/v1/quarantine``."""
    routes = Blueprint("quarantine", __name__, url_prefix="/api/v1/quarantine")

    @routes.get("")
    @needs(Permission.READ)
    def every() -> Response:
        parameters.require_known(("series_id", "state", "after", "limit"))
        limit = parameters.integer("limit", default=50, minimum=1, maximum=1000)
        state = parameters.choice("state", ("any", *STATES))
        after = request.args.get("after")
        if after is not None:
            stored(service, after)
        rows = service.queries.quarantine(
            projects=tenancy.visible(service),
            series_id=request.args.get("series_id"),
            state=None if state == "any" else state,
            after=after,
            limit=limit + 1,
        )
        more = (
            f"{request.path}?{urlencode({**request.args.to_dict(), 'after': rows[limit - 1]['quarantine_id']})}"
            if (len(rows) > limit)
            else None
        )
        return json_of({"quarantine": [line(row) for row in rows[:limit]], "next": more})

    @routes.get("/<quarantine_id>")
    @needs(Permission.READ)
    def get(quarantine_id: str) -> Response:
        parameters.require_known(())
        row = stored(service, quarantine_id)
        return json_of(document(row))

    @routes.post("/<quarantine_id>/release")
    @needs(Permission.WRITE)
    def release(quarantine_id: str) -> Response:
        return _decide(service, quarantine_id, "release")

    @routes.post("/<quarantine_id>/reject")
    @needs(Permission.WRITE)
    def reject(quarantine_id: str) -> Response:
        return _decide(service, quarantine_id, "reject")

    return routes


def _decide(service: GatewayService, quarantine_id: str, decision: Decision) -> Response:
    body = read_body(_BODY)
    document = decide(service, quarantine_id, decision, decided_by=body.decided_by, reason=body.reason)
    return json_of(document, 202, {"Location": url_for("quarantine.get", quarantine_id=quarantine_id)})


def decide(
    service: GatewayService, quarantine_id: str, decision: Decision, *, decided_by: str, reason: str
) -> dict[str, Any]:
    """Let held rows in, or throw them away, for who sends the current request; return what is told of them.

    Raises:
        Problem: 404 no such rows, 403 a role that is too low, 409 the other decision came before.
    """
    service.require_caught_up()
    row = stored(service, quarantine_id)
    tenancy.require(service, Permission.WRITE, row["series_id"], _unknown(quarantine_id))
    wanted = QuarantineDecided(
        decision_id=content_id("decision", quarantine_id, decision),
        quarantine_id=quarantine_id,
        series_id=row["series_id"],
        decision=decision,
        # Who has signed in speaks for nobody else.
        decided_by=principal().name or decided_by,
        reason=reason,
    )

    def first() -> QuarantineDecided | None:
        decided = stored(service, quarantine_id)["decision"]
        return None if decided is None else _DECISION.decode(decided)

    # The first decision counts, so a repeat says nothing new, whoever sends it and whatever reason it gives.
    send_once(
        service,
        QUARANTINE,
        wanted,
        g.traceparent,
        first=first,
        ignoring=QuarantineDecided.__struct_fields__,
        charge=lambda: note_change(
            service, f"quarantine.{_STATE_OF[decision]}", quarantine_id, of=row["series_id"], reason=reason
        ),
    )
    found = first() or wanted
    if found.decision != decision:
        raise Problem(
            409,
            "already-decided",
            f"{quarantine_id} was {_STATE_OF[found.decision]} before; the first decision counts. "
            "An ingest with force lets the rows in that a source gives",
        )
    return {**line(row), **_decision_line(quarantine_id, found)}


def stored(service: GatewayService, quarantine_id: str) -> Mapping[str, Any]:
    """Return the row of held observations that the caller may see.

    Raises:
        Problem: 404.
    """
    row = service.queries.quarantined(quarantine_id)
    if row is None or not tenancy.may_read(service, row["series_id"]):
        service.require_caught_up()
        raise _unknown(quarantine_id)
    return row


def _unknown(quarantine_id: str) -> Problem:
    return not_found("quarantine", quarantine_id, "GET /api/v1/quarantine lists them")


def document(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return held observations with their rows."""
    batch = _HELD.decode(row["record"]).batch
    observations = {"time": batch.time, "columns": batch.columns}
    return {**line(row), "kind": batch.kind, "unit": batch.unit, "observations": observations}


def line(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return held observations as they stand in a list."""
    decision = None if row["decision"] is None else _DECISION.decode(row["decision"])
    return {
        "quarantine_id": row["quarantine_id"],
        "series_id": row["series_id"],
        "ingest_id": row["ingest_id"],
        "held_at": datetime.fromtimestamp(row["held_ms"] / 1000, UTC),
        "source": row["source"],
        "rows": row["rows"],
        "first_time": datetime.fromtimestamp(row["first_time"], UTC),
        "last_time": datetime.fromtimestamp(row["last_time"], UTC),
        "broken": msgspec.Raw(row["broken"]),
        **_decision_line(row["quarantine_id"], decision),
    }


def _decision_line(quarantine_id: str, decision: QuarantineDecided | None) -> dict[str, Any]:
    """Return the state; of released rows also the id under which the ingests tell what became of them."""
    if decision is None:
        return {"state": "held", "decided_by": "", "reason": "", "release_ingest_id": None}
    return {
        "state": _STATE_OF[decision.decision],
        "decided_by": decision.decided_by,
        "reason": decision.reason,
        "release_ingest_id": release_id(quarantine_id) if decision.decision == "release" else None,
    }
