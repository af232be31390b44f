"""What a page of ours may load and do in a browser."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response

#: Nothing but what this server sends; no script and no handler inside the HTML.
STRICT: dict[str, str] = {
    "default-src": "'none'",
    "script-src": "'self'",
    # Plotly and the API pages set styles from their scripts.
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "font-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}


def policy(**directives: str) -> str:
    """Return the header's value: the strict policy with ``directives`` (`worker_src="blob:"`) added or exchanged."""
    named = {name.replace("_", "-"): value for name, value in directives.items()}
    return "; ".join(f"{name} {value}" for name, value in (STRICT | named).items())


def add_headers(content_security_policy: str) -> Callable[[Response], Response]:
    """Return a function for ``after_request`` that puts the security headers on every answer of a blueprint."""

    def add(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = content_security_policy
        response.headers["X-Content-Type-Options"] = "nosniff"
        # With `no-referrer` the forms of a page would come with `Origin: null`, as those of a foreign one may.
        response.headers["Referrer-Policy"] = "same-origin"
        response.headers["X-Frame-Options"] = "DENY"
        return response

    return add
