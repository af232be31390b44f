"""The threads of webhooks in a gateway."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from gateway.accounts.database import AccountsDatabase
from gateway.settings import GatewaySettings
from gateway.webhooks.deliverer import Deliverer
from gateway.webhooks.deliveries import Deliveries
from gateway.webhooks.enqueuer import Enqueuer, OffsetsAt
from gateway.webhooks.rows import WebhookRows
from gateway.webhooks.sending import Sender
from gateway.webhooks.targets import Rules
from runtime.broker import Broker

_LOG = structlog.get_logger("gateway")


class Webhooks:
    """Everything of webhooks behind the routes.

    Attributes:
        rows: The webhooks.
        deliveries: What they were and are to be told.
        rules: Where they may lead.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        broker: Broker,
        accounts: AccountsDatabase,
        offsets_at: OffsetsAt,
        on_failure: Callable[[], None],
    ) -> None:
        self.rows = WebhookRows(accounts)
        self.deliveries = Deliveries(accounts, settings.webhook_timeout_seconds)
        self.rules = Rules(settings.webhook_allowed_networks)
        self.deliverer = Deliverer(
            accounts,
            webhooks=self.rows,
            deliveries=self.deliveries,
            sender=Sender(self.rules, settings.webhook_timeout_seconds),
            disable_after_days=settings.webhook_disable_after_days,
        )
        self.enqueuer = Enqueuer(
            broker,
            topic_prefix=settings.topic_prefix,
            offsets_at=offsets_at,
            webhooks=self.rows,
            deliveries=self.deliveries,
            on_enqueued=self.deliverer.wakeup.set,
        )
        self._on_failure = on_failure
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._guard, args=(run,), name=name, daemon=True)
            for name, run in (("webhook-queue", self.enqueuer.run), ("webhook-send", self.deliverer.run))
        ]

    def start(self) -> None:
        """Begin to queue and to send."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """Begin nothing more."""
        self._stop.set()
        self.wake()
        for thread in self._threads:
            thread.join(timeout_seconds)

    def wake(self) -> None:
        """Look at once: a webhook or a delivery is new."""
        self.enqueuer.wakeup.set()
        self.deliverer.wakeup.set()

    def _guard(self, run: Callable[[threading.Event], None]) -> None:
        try:
            run(self._stop)
        except Exception as error:  # noqa: BLE001  # the shell of a thread: told and ended, never passed over
            _LOG.critical("webhooks-stopped", exc_info=error)
            self._on_failure()
