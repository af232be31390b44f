"""Pieces that several operations have in common."""

from __future__ import annotations

from gateway.openapi_parts import Sent

KEYED = ("invalid-idempotency-key",)
BODY_400 = ("empty-body", "malformed-json", *KEYED)
BODY_PROBLEMS = {400: BODY_400, 413: ("body-too-large",), 415: ("unsupported-media-type",)}
WRITE_503 = ("broker-unavailable", "busy", "starting")
QUERY = {422: ("invalid-parameter",)}


def json_answer(description: str, type_: type, example: object, *headers: str) -> Sent:
    """Return a JSON answer with its example."""
    return Sent(description=description, type=type_, example=example, headers=headers)
