"""The Flask application: one blueprint a resource, every error a problem document."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask, Request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from werkzeug.middleware.proxy_fix import ProxyFix

from gateway import cross_origin, docs, every_answer, guard, login_pages, pages, problems, repeats, store_away
from gateway.accounts.authenticator import authenticator_of
from gateway.accounts.database import AccountsDatabase
from gateway.accounts.keyring import cookie_secret
from gateway.admin import blueprint as admin_pages
from gateway.limits.hooks import install_after_guard, install_before_guard
from gateway.limits.rates import CountingAuthenticator
from gateway.routes import (
    auth,
    batches,
    compatible,
    dead_letters,
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
    quotas,
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
from gateway.stored_answers import StoredAnswers
from runtime.broker import Broker
from runtime.clock import Clock, SystemClock

EXTENSION = "foretopic"


class _SessionsOfBrowsers(SecureCookieSessionInterface):
    """Sessions as Flask has them; a program that brings no cookie does not pay for the keys of the signature."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Return the session of a cookie."""
        return super().open_session(app, request) if request.cookies else self.session_class()


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
    app.session_interface = _SessionsOfBrowsers()
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
    if settings.trusted_proxies:
        # Addresses are what rates and attempts to sign in are counted by; anybody can send the header.
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=settings.trusted_proxies, x_proto=0, x_host=0
        )
    problems.install(app)
    store_away.install(app)
    every_answer.install(app, service.meters.requests, is_https=settings.public_url.startswith("https://"))
    cross_origin.install(app, settings.cross_origins)
    install_before_guard(app, settings, service.in_flight)
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
        dead_letters,
        projects,
        quotas,
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
    app.register_blueprint(admin_pages.blueprint(service))
    guard.install(app, CountingAuthenticator(authenticator_of(service), service.rates))
    install_after_guard(app, service.in_flight)
    repeats.install(app, StoredAnswers(accounts))
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
