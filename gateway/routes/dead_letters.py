"""Messages that no service could handle: looked at, sent again, let go; for operators."""

from __future__ import annotations

from urllib.parse import urlencode

import msgspec
from flask import Blueprint, Response, request, url_for

from gateway import parameters
from gateway.access import Permission
from gateway.answers import json_of
from gateway.bodies import DecisionBody, read_body
from gateway.dead_letter_queries import STATES
from gateway.dead_letters import Decision, decide, document, line, stored
from gateway.guard import needs
from gateway.service import GatewayService

_BODY = msgspec.json.Decoder(DecisionBody)


def blueprint(service: GatewayService) -> Blueprint:
    """Return the routes below ``/api/v1/dead-letters``."""
    routes = Blueprint("dead_letters", __name__, url_prefix="/api/v1/dead-letters")

    @routes.get("")
    @needs(Permission.OPERATE)
    def every() -> Response:
        return _page(service)

    @routes.get("/<dead_letter_id>")
    @needs(Permission.OPERATE)
    def get(dead_letter_id: str) -> Response:
        parameters.require_known(())
        return json_of(document(service, stored(service, dead_letter_id)))

    @routes.post("/<dead_letter_id>/replay")
    @needs(Permission.OPERATE)
    def replay(dead_letter_id: str) -> Response:
        return _decide(service, dead_letter_id, "replay")

    @routes.post("/<dead_letter_id>/drop")
    @needs(Permission.OPERATE)
    def drop(dead_letter_id: str) -> Response:
        return _decide(service, dead_letter_id, "drop")

    return routes


def _page(service: GatewayService) -> Response:
    parameters.require_known(("topic", "service", "state", "after", "limit"))
    limit = parameters.integer("limit", default=50, minimum=1, maximum=1000)
    state = parameters.choice("state", ("any", *STATES))
    after = parameters.text("after")
    if after is not None:
        stored(service, after)
    rows = service.dead_letters.page(
        topic=parameters.text("topic"),
        service=parameters.text("service"),
        state=None if state == "any" else state,
        after=after,
        limit=limit + 1,
    )
    following = None
    if len(rows) > limit:
        query = {**request.args.to_dict(), "after": rows[limit - 1]["dead_letter_id"]}
        following = f"{request.path}?{urlencode(query)}"
    return json_of({"dead_letters": [line(row) for row in rows[:limit]], "next": following})


def _decide(service: GatewayService, dead_letter_id: str, what: Decision) -> Response:
    parameters.require_known(())
    body = read_body(_BODY)
    decide(service, dead_letter_id, what, decided_by=body.decided_by, reason=body.reason)
    where = {"Location": url_for("dead_letters.get", dead_letter_id=dead_letter_id)}
    return json_of(line(stored(service, dead_letter_id)), 202, where)
