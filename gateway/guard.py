"""Every route says who may call it; what does not say so cannot be served.

A view is marked with `needs` or `open_to_all`. Before a view runs, its caller is known as ``g.principal`` and holds the
permission somewhere; the view then asks `gateway.access.Access` about the project that it touches.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

from flask import Flask, Request, g, request

from gateway.access import ANONYMOUS, Permission, Principal, forbidden
from gateway.problems import Problem

View = TypeVar("View", bound=Callable[..., Any])
_MARK = "_foretopic_permission"
_OPEN = "open"
#: A variable of a path, as Flask writes it.
_VARIABLE = re.compile(r"<(?:[a-z]+:)?([a-z_]+)>")
#: What is wanted of who has not signed in (RFC 9110, RFC 6750).
CHALLENGE = 'Bearer realm="foretopic"'


class Authenticator(Protocol):
    """Finds out who sends a request."""

    def authenticate(self, request: Request) -> Principal:
        """Return who sends it, `gateway.access.ANONYMOUS` without credentials.

        Raises:
            Problem: 401 for credentials that are not, or no longer, good; 403 for a cookie from another site.
        """
        ...


def needs(permission: Permission) -> Callable[[View], View]:
    """Mark a view: whoever calls it must hold ``permission``."""

    def mark(view: View) -> View:
        setattr(view, _MARK, permission)
        return view

    return mark


def open_to_all(view: View) -> View:
    """Mark a view that needs no sign-in."""
    setattr(view, _MARK, _OPEN)
    return view


def permission_of(app: Flask, endpoint: str) -> Permission | None:
    """Return what a route needs; ``None``: it is open to all.

    Raises:
        RuntimeError: The route does not say.
    """
    if endpoint.endswith(".static"):
        return None
    mark = getattr(app.view_functions[endpoint], _MARK, None)
    if mark is None:
        raise RuntimeError(f"the view {endpoint} must be marked with `needs` or `open_to_all`, it is not")
    return None if mark == _OPEN else cast("Permission", mark)


def permissions(app: Flask) -> dict[tuple[str, str], Permission | None]:
    """Return what each operation needs, by method and path as OpenAPI writes them."""
    return {
        (method.lower(), _VARIABLE.sub(r"{\1}", rule.rule)): permission_of(app, rule.endpoint)
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
    }


def install(app: Flask, authenticator: Authenticator) -> None:
    """Know the caller of every request, and turn away who may not call the route.

    Call it when all routes stand: a route that does not say who may call it ends the start.
    """
    needed = {endpoint: permission_of(app, endpoint) for endpoint in app.view_functions}

    @app.before_request
    def before() -> None:
        g.principal = ANONYMOUS
        g.principal = authenticator.authenticate(request)
        if request.endpoint is None:
            return  # no such path: 404 for everybody alike
        permission = needed[request.endpoint]
        if permission is None:
            return
        if g.principal.is_anonymous:
            raise unauthenticated("sign in: send `Authorization: Bearer TOKEN` with an access token or an API key")
        if permission not in g.principal.anywhere():
            raise forbidden(permission, "")
        if "\0" in request.path:
            # No id has one, and PostgreSQL refuses to look for it.
            raise Problem(404, "no-such-path", f"no such path {request.path!r}; GET /openapi.json lists the paths")


def unauthenticated(detail: str) -> Problem:
    """Return the answer for somebody who is not, or not rightly, signed in."""
    return Problem(401, "unauthenticated", detail, headers={"WWW-Authenticate": CHALLENGE})


def principal() -> Principal:
    """Return who sends the current request."""
    return cast("Principal", g.principal)
