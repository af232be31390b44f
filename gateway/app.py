"""The Flask application: one blueprint a resource, every error a problem document."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from flask import Flask, Response, g, request

from gateway import docs, guard, login_pages, pages, problems
from gateway.accounts.authenticator import authenticator_of
from gateway.accounts.database import AccountsDatabase
from gateway.accounts.keyring import cookie_secret
from gateway.content_security import policy
from gateway.headers import correlation_id
from gateway.routes import (
    auth,
    batches,
    compatible,
    events,
    forecasts,
    history,
    ingests,
    keys,
    models,
    observations,
    organisations,
    projects,
    quarantine,
    series,
    sources,
    system,
    trainings,
    uploads,
    users,
    webhooks,
)
from gateway.service import GatewayService
from gateway.settings import GatewaySettings
from gateway.store import Store
from runtime.broker import Broker
from runtime.clock import Clock, SystemClock
from runtime.tracing import child_of

EXTENSION = "foretopic"
_LOG = structlog.get_logger("gateway")
_SECURITY_HEADERS = (
    ("Content-Security-Policy", policy()),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "DENY"),
)


def create_app(
    settings: GatewaySettings,
    *,
    broker: Broker,
    store: Store,
    accounts: AccountsDatabase,
    clock: Clock | None = None,
    on_failure: Callable[[], None] = lambda: None,
) -> Flask:
    """Return the application; ``service_of(app).start()`` makes it follow the log.

    Args:
        settings: What it may do.
        broker: The log.
        store: Its own database, migrated.
        accounts: The database of accounts, migrated; other gateways may share it.
        clock: ``None`` is the clock of the machine.
        on_failure: Called once when the projection ends on a bug; the process should then end too.
    """
    app = Flask("gateway", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.url_map.strict_slashes = False
    _set_cookies(app, settings, cookie_secret(accounts))
    service = GatewayService(
        settings,
        broker=broker,
        store=store,
        accounts=accounts,
        clock=clock or SystemClock(),
        on_failure=on_failure,
    )
    app.extensions[EXTENSION] = service
    problems.install(app)
    _install_correlation(app, service)
    for resource in (
        forecasts,
        history,
        batches,
        events,
        series,
        trainings,
        models,
        ingests,
        observations,
        sources,
        uploads,
        quarantine,
        projects,
        compatible,
        auth,
        organisations,
        keys,
        users,
        webhooks,
        system,
    ):
        app.register_blueprint(resource.blueprint(service))
    app.register_blueprint(pages.blueprint)
    app.register_blueprint(docs.blueprint)
    app.register_blueprint(login_pages.blueprint(service))
    guard.install(app, authenticator_of(service))
    return app


def _set_cookies(app: Flask, settings: GatewaySettings, secret: str) -> None:
    is_https = settings.public_url.startswith("https://")
    app.config.update(
        SECRET_KEY=secret,
        # Browsers take the prefix only from this very host, over TLS.
        SESSION_COOKIE_NAME="__Host-foretopic" if is_https else "foretopic",
        SESSION_COOKIE_SECURE=is_https,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        # The token is as good as the session that it stands in.
        WTF_CSRF_TIME_LIMIT=None,
    )


def service_of(app: Flask) -> GatewayService:
    """Return what stands behind an application."""
    service = app.extensions[EXTENSION]
    if not isinstance(service, GatewayService):
        raise TypeError(f"a GatewayService was expected behind the application, found {service!r}")
    return service


def _install_correlation(app: Flask, service: GatewayService) -> None:
    requests = service.meters.requests

    @app.before_request
    def before() -> None:
        g.started = time.perf_counter()
        g.x_request_id = correlation_id(request.headers.get("X-Request-ID"))
        g.traceparent = child_of(request.headers.get("traceparent"))

    @app.after_request
    def after(response: Response) -> Response:
        headers = response.headers
        headers["X-Request-ID"] = g.x_request_id
        headers["traceparent"] = g.traceparent
        for name, value in _SECURITY_HEADERS:
            headers.setdefault(name, value)
        headers.setdefault("Cache-Control", "no-store")
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
