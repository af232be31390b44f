"""What can be kept by whoever has it: answers that never change, and documents that change with the version only."""

from __future__ import annotations

import hashlib

from flask import Response, request

_DAY_SECONDS = 86_400
_MINUTE_SECONDS = 300


def unchanging(response: Response) -> Response:
    """Mark an answer that will always be the same for whoever may have it; 304 for who has it.

    A shared cache must not keep it, and who signs in as somebody else must not get it from their own.
    """
    response.headers["Cache-Control"] = f"private, max-age={_DAY_SECONDS}, immutable"
    response.vary.update(("Authorization", "Cookie"))
    return _tagged(response)


def checked(response: Response) -> Response:
    """Mark an answer that hardly ever changes: it may be kept, and is asked for again each time; 304 if it is the same.

    It is for whoever asked, as in `unchanging`.
    """
    response.headers["Cache-Control"] = "private, no-cache"
    response.vary.update(("Authorization", "Cookie"))
    return _tagged(response)


def public(response: Response) -> Response:
    """Mark a document that is the same for everybody until another version is installed; 304 for who has it."""
    response.headers["Cache-Control"] = f"public, max-age={_MINUTE_SECONDS}"
    return _tagged(response)


def _tagged(response: Response) -> Response:
    response.set_etag(hashlib.sha256(response.get_data()).hexdigest()[:32])
    response.make_conditional(request)
    return response
