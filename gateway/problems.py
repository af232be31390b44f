"""Errors as RFC 9457 problem details: what was expected, what was found, what to do."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from runtime.errors import TransientError

PROBLEM_TYPE = "application/problem+json"
#: Problem types are names below this path of the documentation; the path need not be fetched to be understood.
TYPE_PREFIX = "/problems/"
RETRY_AFTER_SECONDS = 2
#: Kind of thing -> the parameter of a path that names it, where that is not the id of its kind.
_NAMED_BY = {
    "forecast": "forecast_or_request_id",
    "member": "user_id",
    "model": "model",
    "schema": "name",
    "source": "series_id",
    "symbol": "symbol",
}

_LOG = structlog.get_logger("gateway")


class FieldFault(msgspec.Struct, frozen=True, kw_only=True):
    """One field that cannot be used: where, what it may be, what it was."""

    field: str
    expected: str
    found: str


class Problem(Exception):
    """Any refusal over HTTP.

    Attributes:
        status: HTTP status.
        code: Kind of problem, lower-case-with-hyphens; the last part of its ``type``.
        detail: One or two sentences for a person.
        errors: The fields at fault, if any.
        headers: Further response headers, e.g. ``Retry-After``.
        extensions: Further members of the document, e.g. ``request_id``.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[FieldFault] = (),
        headers: dict[str, str] | None = None,
        extensions: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = headers or {}
        self.extensions = extensions or {}


def unavailable(code: str, detail: str, *, retry_after_seconds: int = RETRY_AFTER_SECONDS, **more: Any) -> Problem:
    """Return a 503 that says when to come again."""
    return Problem(503, code, detail, headers={"Retry-After": str(retry_after_seconds)}, extensions=more)


def not_found(kind: str, found: str, advice: str, *, field: str = "") -> Problem:
    """Return a 404 for a thing that was named and does not exist, or not for the caller.

    Args:
        kind: What it is, in words-with-hyphens.
        found: How it was named.
        advice: Where those are that exist.
        field: The parameter or the field of the body that names it; empty: that of a path for such things.
    """
    field = field or _NAMED_BY.get(kind) or f"{kind.replace('-', '_')}_id"
    return Problem(
        404,
        f"unknown-{kind}",
        f"a known {kind} was expected, found {found!r}; {advice}",
        errors=[FieldFault(field=field, expected=f"a known {kind}", found=found)],
    )


def document_of(problem: Problem) -> dict[str, Any]:
    """Return the problem document, within the current request."""
    return {
        "type": TYPE_PREFIX + problem.code,
        "title": problem.code.replace("-", " ").capitalize(),
        "status": problem.status,
        "detail": problem.detail,
        "instance": request.path,
        "x_request_id": g.get("x_request_id", ""),
        **problem.extensions,
        "errors": problem.errors,
    }


def response_of(problem: Problem) -> Response:
    """Return the problem document as an answer to the current request."""
    response = Response(msgspec.json.encode(document_of(problem)), problem.status, content_type=PROBLEM_TYPE)
    response.headers.update(problem.headers)
    return response


def _from_werkzeug(error: HTTPException) -> Problem:
    status = error.code or 500
    code = HTTPStatus(status).phrase.lower().replace(" ", "-")
    detail = error.description or HTTPStatus(status).phrase
    headers = {}
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        allowed = ", ".join(sorted(error.valid_methods))
        headers["Allow"] = allowed
        detail = f"one of the methods {allowed} was expected, found {request.method}"
    if status == HTTPStatus.NOT_FOUND and request.routing_exception is error:
        code, detail = "no-such-path", f"no such path {request.path!r}; GET /openapi.json lists the paths"
    if status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
        # The rest of the body is not read, so the connection cannot carry another request.
        headers["Connection"] = "close"
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        code = "body-too-large"
        detail = f"a body of at most {request.max_content_length} bytes was expected, found a larger one"
    return Problem(status, code, detail, headers=headers)


def install(app: Flask) -> None:
    """Make every error of ``app`` a problem document."""

    @app.errorhandler(Problem)
    def on_problem(error: Problem) -> Response:
        return response_of(error)

    @app.errorhandler(HTTPException)
    def on_http(error: HTTPException) -> Response | HTTPException:
        if error.response is not None or (error.code or 500) < HTTPStatus.BAD_REQUEST:
            return error  # a redirect
        return response_of(_from_werkzeug(error))

    @app.errorhandler(TransientError)
    def on_transient(error: TransientError) -> Response:
        _LOG.warning("broker-unavailable", path=request.path, reason=str(error), x_request_id=g.get("x_request_id"))
        return response_of(
            unavailable("broker-unavailable", "the event log cannot be reached now; send the same request again later")
        )

    @app.errorhandler(Exception)
    def on_bug(error: Exception) -> Response:
        _LOG.error("unexpected-error", path=request.path, x_request_id=g.get("x_request_id"), exc_info=error)
        detail = "an error of ours; the log of the gateway has the details under this x_request_id"
        return response_of(Problem(500, "internal-server-error", detail))
