"""The gateway from its settings: what is not given is the real one."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask

from gateway.accounts.database import AccountsDatabase, open_accounts
from gateway.app import create_app
from gateway.migrations.upgrade import upgrade
from gateway.settings import GatewaySettings
from gateway.store import Store, open_engine
from runtime.broker import Broker
from runtime.clock import Clock, SystemClock
from runtime.kafka_broker import KafkaBroker


def open_store(settings: GatewaySettings) -> Store:
    """Return the store of these settings, its tables brought up to date."""
    if not settings.database_url:
        settings.home.mkdir(parents=True, exist_ok=True)
    engine = open_engine(settings.url)
    upgrade(engine)
    return Store(engine)


def build(
    settings: GatewaySettings,
    *,
    broker: Broker | None = None,
    store: Store | None = None,
    accounts: AccountsDatabase | None = None,
    clock: Clock | None = None,
    on_failure: Callable[[], None] = lambda: None,
) -> Flask:
    """Return the application; call it in the process that will serve, after any fork."""
    return create_app(
        settings,
        broker=broker or KafkaBroker(settings.kafka_bootstrap_servers, client_id="gateway"),
        store=store or open_store(settings),
        accounts=accounts or open_accounts(settings.accounts_url, clock or SystemClock()),
        clock=clock,
        on_failure=on_failure,
    )
