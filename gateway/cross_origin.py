"""Pages of other sites: which of them may read answers in a browser (CORS).

A browser sends such a page's requests without cookies, and no answer allows them: a page signs in with a token of its
own. What a page may send at all is judged in `gateway.same_site`.
"""

from __future__ import annotations

from collections.abc import Collection

from flask import Flask, Response, request

#: What scripts may read beside the few headers that they always may.
EXPOSED = (
    "Deprecation",
    "ETag",
    "Idempotent-Replayed",
    "Link",
    "Location",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Sunset",
    "X-Request-ID",
    "traceparent",
)
_SENT = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-None-Match",
    "Last-Event-ID",
    "Prefer",
    "X-Request-ID",
    "traceparent",
)
_METHODS = "DELETE, GET, HEAD, PATCH, POST, PUT"
_PREFLIGHT_SECONDS = 600
ANY = "*"


def install(app: Flask, origins: Collection[str]) -> None:
    """Let pages of ``origins`` read answers; `*` is every origin. Call it before `gateway.guard.install`."""
    if not origins:
        return
    allowed = frozenset(origins)

    def named() -> str | None:
        """Return what the answer allows; nothing for a page of a site that is not allowed."""
        if ANY in allowed:
            return ANY
        origin = request.headers.get("Origin", "")
        return origin if origin in allowed else None

    @app.before_request
    def before() -> Response | None:
        # A preflight carries no credentials, so it is answered before anybody asks for them.
        is_preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        if not is_preflight or named() is None:
            return None
        response = Response(status=204)
        response.headers["Access-Control-Allow-Methods"] = _METHODS
        response.headers["Access-Control-Allow-Headers"] = ", ".join(_SENT)
        response.headers["Access-Control-Max-Age"] = str(_PREFLIGHT_SECONDS)
        response.vary.update(("Access-Control-Request-Method", "Access-Control-Request-Headers"))
        return response

    @app.after_request
    def after(response: Response) -> Response:
        origin = named()
        if origin != ANY:
            # A cache must not give the answer for one page to another one.
            response.vary.add("Origin")
        if origin is not None:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = ", ".join(EXPOSED)
        return response
