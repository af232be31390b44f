"""`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header) for requests whose records are not on the log.

What is written to the log carries the key as its id, and is known by it for ever. For every other route that changes
something the answer is kept for a day. An answer that shows a secret is kept without it: what is only compared is
stored as a hash everywhere, and must not lie about in clear here.
"""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from flask import Flask, Response, g, request

from gateway.guard import principal
from gateway.headers import idempotency_key
from gateway.stored_answers import Answer, Claim, StoredAnswers
from runtime.errors import TransientError

#: What these write to the log has the key as its id.
LOGGED = frozenset(
    {
        "batches.post",
        "compatible.predict",
        "forecasts.post",
        "ingests.post",
        "models.deploy",
        "observations.post",
        "projects.predict",
        "projects.train",
        "sources.run",
        "trainings.post",
    }
)
#: These may be sent again without a key; those about signing in bring or give credentials, and nothing of them is kept.
REPEATABLE = frozenset(
    {
        "auth.accept",
        "auth.change_password",
        "auth.login",
        "auth.logout",
        "auth.refresh",
        "auth.sign_up",
        "compatible.reload",
        "quarantine.reject",
        "quarantine.release",
        "sources.pause",
        "sources.put",
        "sources.resume",
        "trainings.delete",
        "uploads.load",
    }
)
#: Members of answers that are shown once.
SECRETS = frozenset({"key", "link", "password", "secret", "token", "access_token", "refresh_token"})
REPLAYED = "Idempotent-Replayed"
_UNSAFE = frozenset({"DELETE", "PATCH", "POST", "PUT"})
_KEPT_HEADERS = ("Content-Type", "Location", "Link", "Retry-After")
_FORGOTTEN = ""
#: What stands elsewhere is for browsers and for old programs.
_API = "/api/"
_LOG = structlog.get_logger("gateway")


def install(app: Flask, answers: StoredAnswers) -> None:
    """Answer repeats of what changes something else than the log; call it after `gateway.guard.install`."""
    not_stored = LOGGED | REPEATABLE

    @app.before_request
    def before() -> Response | None:
        # Of a path or method that is not known nothing is kept: it is told as such, with any key.
        if request.method not in _UNSAFE or request.endpoint is None:
            return None
        key = idempotency_key(request.headers.get("Idempotency-Key"))
        if key is None or request.endpoint in not_stored or not request.path.startswith(_API):
            return None
        caller = principal()
        found = answers.begin(caller.requester or "local", key, wish())
        if isinstance(found, Answer):
            return Response(found.body, found.status, {**found.headers, REPLAYED: "true"})
        g.claim = found
        return None

    @app.after_request
    def after(response: Response) -> Response:
        claim: Claim | None = g.pop("claim", None)
        if claim is None:
            return response
        try:
            if response.status_code < HTTPStatus.BAD_REQUEST:
                answers.end(claim, _kept(response))
            else:
                answers.drop(claim)
        except TransientError as error:
            # What was asked for is done, or refused; only its repeat will be told that nobody knows.
            _LOG.warning("answer-not-stored", reason=str(error))
        return response


def wish() -> bytes:
    """Return the digest of what the current request asks for; of a file its length stands for the content."""
    digest = hashlib.sha256()
    is_json = request.mimetype == "application/json" or request.mimetype.endswith("+json")
    parts = [request.method, request.path, request.query_string.decode("latin-1")]
    if is_json or not request.mimetype:
        body = request.get_data()
    else:
        # It is not read twice; who sends a digest of it has it judged too.
        parts += [request.headers.get(name, "") for name in ("Content-Length", "Content-Digest", "Repr-Digest")]
        body = b""
    for part in parts:
        digest.update(part.encode("utf-8", "surrogateescape") + b"\0")
    digest.update(body)
    return digest.digest()


def _kept(response: Response) -> Answer:
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    return Answer(response.status_code, headers, without_secrets(response.get_data()))


def without_secrets(body: bytes) -> bytes:
    """Return a JSON document with an empty text in place of each secret."""
    return msgspec.json.encode(_without(msgspec.json.decode(body))) if body else body


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _FORGOTTEN if name in SECRETS and isinstance(held, str) else _without(held)
            for name, held in value.items()
        }
    return [_without(one) for one in value] if isinstance(value, list) else value
