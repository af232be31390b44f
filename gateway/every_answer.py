"""What every answer has: who asked for it by which id, and what a browser may do with it; and its line in the log."""

from __future__ import annotations

import time

import structlog
from flask import Flask, Response, g, request
from prometheus_client import Counter

from gateway.content_security import policy
from gateway.headers import correlation_id
from runtime.tracing import child_of

_LOG = structlog.get_logger("gateway")
#: What no page of ours uses of a browser.
_UNUSED = ("camera", "display-capture", "geolocation", "microphone", "midi", "payment", "usb")
SECURITY_HEADERS = (
    ("Content-Security-Policy", policy()),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "DENY"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", ", ".join(f"{name}=()" for name in _UNUSED)),
    ("Cache-Control", "no-store"),
)
#: A browser that came once by TLS comes by nothing else for a year.
_ONLY_TLS = ("Strict-Transport-Security", "max-age=31536000")


def install(app: Flask, requests: Counter, *, is_https: bool) -> None:
    """Put it on every answer; call it before everything else that looks at requests.

    Args:
        app: The application.
        requests: Counts answers by route and status.
        is_https: Whether the gateway is reached by TLS only.
    """
    security = (*SECURITY_HEADERS, _ONLY_TLS) if is_https else SECURITY_HEADERS

    @app.before_request
    def before() -> None:
        g.started = time.perf_counter()
        g.x_request_id = correlation_id(request.headers.get("X-Request-ID"))
        g.traceparent = child_of(request.headers.get("traceparent"))
        # Stands in every line that is logged on the way of this request.
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(x_request_id=g.x_request_id)

    @app.after_request
    def after(response: Response) -> Response:
        headers = response.headers
        headers["X-Request-ID"] = g.x_request_id
        headers["traceparent"] = g.traceparent
        present = {name.lower() for name, _ in headers}
        for name, value in security:
            if name.lower() not in present:
                headers.add(name, value)
        route = request.url_rule.rule if request.url_rule is not None else "none"
        requests.labels(route, response.status_code).inc()
        _LOG.info(
            "request",
            method=request.method,
            path=request.path,
            status=response.status_code,
            duration_ms=round((time.perf_counter() - g.started) * 1000, 2),
            x_request_id=g.x_request_id,
            traceparent=g.traceparent,
        )
        return response

    @app.teardown_request
    def teardown(_error: BaseException | None) -> None:
        structlog.contextvars.clear_contextvars()
