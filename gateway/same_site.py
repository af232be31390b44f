"""Keeps web pages of other sites from using a browser of somebody who may do things here.

A browser says where a request comes from (`Sec-Fetch-Site`, `Origin`), and programs do not send these headers. A name
that an attacker points at this machine (DNS rebinding) makes their page "same site", so on a machine of one's own the
names in `Host` are known ones only.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from flask import Request, g
from flask_wtf.csrf import generate_csrf, validate_csrf  # type: ignore[import-untyped]
from wtforms import ValidationError  # type: ignore[import-untyped]

from gateway.problems import FieldFault, Problem

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
#: `none`: typed by the user, no page sent it.
_OWN = frozenset({"same-origin", "none"})


class SameSite:
    """Judges where a request comes from.

    Args:
        hosts: Names, without port, under which this gateway is meant beside those of the loopback address.
        origins: Further origins whose pages may send anything, such as that of the public URL.
    """

    def __init__(self, *, hosts: Iterable[str], origins: Iterable[str]) -> None:
        self._hosts = _LOOPBACK | {host.lower() for host in hosts if host}
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins if origin)

    def is_unsafe(self, request: Request) -> bool:
        """Return whether the method of a request can change something."""
        return request.method not in _SAFE_METHODS

    def require(self, request: Request) -> None:
        """Let through what no page of another site sends.

        Raises:
            Problem: 403.
        """
        site = request.headers.get("Sec-Fetch-Site")
        if site in _OWN:
            # The browser itself says so, and no page can. (A form of ours may come with `Origin: null`.)
            return
        origin = request.headers.get("Origin")
        if origin is None:
            if site is not None:
                raise _cross_site("Sec-Fetch-Site", site)
            return
        own = f"{request.scheme}://{request.host}".lower()
        # Behind a proxy that ends TLS the scheme here is another than the one of the page.
        same = {own, own.replace("http://", "https://", 1)} if site is None else set()
        if origin.lower() not in same | self._origins:
            raise _cross_site("Origin", origin)

    def require_host(self, request: Request) -> None:
        """Let through what names this machine.

        Raises:
            Problem: 403.
        """
        try:
            host = urlsplit(f"//{request.headers.get('Host', '')}").hostname
        except ValueError:
            host = None
        if host is None or host not in self._hosts:
            found = request.headers.get("Host", "")[:200]
            expected = f"one of {', '.join(sorted(self._hosts))}"
            raise Problem(
                403,
                "foreign-host",
                f"the header Host must be {expected}, was {found!r}; FORETOPIC_GATEWAY_ALLOWED_HOSTS adds names",
                errors=[FieldFault(field="Host", expected=expected, found=found)],
            )


def require_csrf_token(request: Request) -> None:
    """Let through what carries the token of the session: only a page of ours can read it.

    Raises:
        Problem: 403.
    """
    token = request.headers.get("X-CSRF-Token")
    if token is None:
        token = request.form.get("csrf_token")
    try:
        validate_csrf(token)
    except ValidationError as error:
        raise Problem(
            403,
            "csrf-token",
            "a request with a cookie needs the token of its page in X-CSRF-Token or csrf_token; load the page again",
            errors=[FieldFault(field="X-CSRF-Token", expected="the token of the page", found="none, or another")],
        ) from error


def csrf_token_of_page() -> str:
    """Return what a page of ours sends in `X-CSRF-Token`; empty where nobody has signed in by a cookie."""
    return str(generate_csrf()) if g.get("is_by_cookie", False) else ""


def _cross_site(field: str, found: str) -> Problem:
    return Problem(
        403,
        "cross-site-request",
        f"a page of another site may not do this: the header {field} was {found[:200]!r}",
        errors=[FieldFault(field=field, expected="this site", found=found[:200])],
    )
