"""What is answered over HTTP: the base of its types, JSON, and what the forecasts topic refused."""

from __future__ import annotations

from typing import Annotated

import msgspec
from flask import Response
from msgspec import Meta

from gateway.problems import FieldFault, Problem
from schemas.forecasts import ForecastRefused

Count = Annotated[int, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
_STATUS_BY_CODE = {
    "unknown-series": 404,
    "unknown-model": 404,
    "unknown-version": 404,
    "no-champion": 409,
    "request-too-large": 413,
}
_REFUSED = msgspec.json.Decoder(ForecastRefused)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON object that the gateway sends; new fields may come, so readers ignore what they do not know."""


def json_bytes(content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return JSON that is encoded already."""
    return Response(content, status, headers, content_type="application/json")


def json_of(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return ``value`` as JSON."""
    return json_bytes(msgspec.json.encode(value), status, headers)


def refusal(answer: bytes) -> Problem:
    """Return the problem that a `ForecastRefused` stands for."""
    refused = _REFUSED.decode(answer)
    faults = []
    if refused.field or refused.expected:
        faults.append(FieldFault(field=refused.field, expected=refused.expected, found=refused.found))
    return Problem(
        _STATUS_BY_CODE.get(refused.code, 422),
        refused.code,
        refused.reason,
        errors=faults,
        extensions={"request_id": refused.request_id},
    )
