"""Sends what is due, many at once, and no more of one webhook than its receiver may hold up."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import structlog

from gateway.accounts.database import AccountsDatabase
from gateway.webhooks.deliveries import Claimed, Deliveries
from gateway.webhooks.rows import WebhookRows
from gateway.webhooks.sending import Outcome, Sender, signed
from runtime.errors import TransientError

#: Seconds from one attempt to the next, as Standard Webhooks proposes: a day and a third in all.
SCHEDULE = (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600)
#: Of each wait, up to so much more: receivers that came back are not asked by everybody at once.
JITTER = 0.2
#: Attempts at once: of one webhook, of one that has failed lately, and of all.
OF_A_WEBHOOK, OF_A_FAILING_ONE, OF_ALL = 4, 1, 64
_SECOND_US = 1_000_000
_DAY_US = 24 * 3600 * _SECOND_US
_LOOK_SECONDS = 0.5
_BACK_OFF_SECONDS = 1.0
_PRUNE_US = 3600 * _SECOND_US
_LOG = structlog.get_logger("gateway")


class Deliverer:
    """The sender of one gateway; others work on the same table.

    Args:
        database: Tells the time.
        webhooks: Knows the secrets.
        deliveries: Says what is due.
        sender: Makes the attempts.
        disable_after_days: After so long without a success a webhook is disabled.
        jitter: Returns a number in [0, 1).
    """

    def __init__(
        self,
        database: AccountsDatabase,
        *,
        webhooks: WebhookRows,
        deliveries: Deliveries,
        sender: Sender,
        disable_after_days: float,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._webhooks = webhooks
        self._deliveries = deliveries
        self._sender = sender
        self._disable_after_us = disable_after_days * _DAY_US
        self._jitter = jitter
        self._lock = threading.Lock()
        self._busy: Counter[str] = Counter()
        self._failing: set[str] = set()
        self._pruned_us = 0
        self._pool = ThreadPoolExecutor(OF_ALL, thread_name_prefix="webhook")
        self.wakeup = threading.Event()

    def run(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set; attempts that are under way then are not waited for: another will repeat them."""
        while not stop.is_set():
            try:
                claimed = self.claim()
                self._prune()
            except TransientError as error:
                _LOG.warning("webhooks-interrupted", reason=str(error))
                stop.wait(_BACK_OFF_SECONDS)
                continue
            for one in claimed:
                self._pool.submit(self._guarded, one)
            if not claimed:
                self.wakeup.wait(_LOOK_SECONDS)
                self.wakeup.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def claim(self) -> list[Claimed]:
        """Take what is due, as far as there are places; each must then be given to `attempt`."""
        with self._lock:
            full = [name for name, count in self._busy.items() if count >= self._places(name)]
            free = OF_ALL - self._busy.total()
        found: list[Claimed] = []
        for webhook_id in self._deliveries.due(full) if free > 0 else ():
            with self._lock:
                places = min(self._places(webhook_id) - self._busy[webhook_id], free - len(found))
            if places > 0:
                claimed = self._deliveries.claim(webhook_id, places)
                found += claimed
                with self._lock:
                    self._busy[webhook_id] += len(claimed)
        return found

    def _places(self, webhook_id: str) -> int:
        return OF_A_FAILING_ONE if webhook_id in self._failing else OF_A_WEBHOOK

    def attempt(self, claimed: Claimed) -> None:
        """Send one delivery and note what became of it.

        Raises:
            TransientError: Nothing was noted; it is tried again when the lease has ended, with the same id.
        """
        try:
            secrets = self._webhooks.secrets(claimed.webhook_id)
            if not secrets:
                return  # deleted meanwhile
            if claimed.attempts > len(SCHEDULE) + 1:
                # Whoever took it before was killed each time, or could not note what became of it.
                error = "given up: no attempt ended in an orderly way"
                self._deliveries.failed(claimed, status=None, error=error, next_us=None)
                return
            headers = signed(secrets, claimed.delivery_id, self._database.clock.now(), claimed.body)
            outcome = self._sender.post(claimed.url, headers, claimed.body)
            self._note(claimed, outcome)
        finally:
            with self._lock:
                self._busy[claimed.webhook_id] -= 1
                self._busy += Counter()  # drops those without one
            self.wakeup.set()

    def _guarded(self, claimed: Claimed) -> None:
        try:
            self.attempt(claimed)
        except TransientError as error:
            _LOG.warning("delivery-not-noted", delivery_id=claimed.delivery_id, reason=str(error))
        except Exception as error:  # noqa: BLE001  # the shell of a thread: told; the lease ends and it is tried again
            _LOG.error("delivery-broken", delivery_id=claimed.delivery_id, exc_info=error)

    def _note(self, claimed: Claimed, outcome: Outcome) -> None:
        _LOG.info(
            "webhook-attempt",
            webhook_id=claimed.webhook_id,
            delivery_id=claimed.delivery_id,
            attempt=claimed.attempts,
            status=outcome.status,
            error=outcome.error,
        )
        if outcome.is_delivered and outcome.status is not None:
            self._failing.discard(claimed.webhook_id)
            self._deliveries.delivered(claimed, outcome.status)
            return
        self._failing.add(claimed.webhook_id)
        next_us = None if outcome.is_gone else self._next_us(claimed.attempts, outcome.retry_after_seconds)
        self._deliveries.failed(claimed, status=outcome.status, error=outcome.error, next_us=next_us)
        since = claimed.failing_since_us
        if outcome.is_gone:
            self._deliveries.disable(claimed.webhook_id, "the receiver answered 410: it wants nothing any more")
        elif since is not None and self._database.now_us() - since >= self._disable_after_us:
            days = self._disable_after_us / _DAY_US
            self._deliveries.disable(claimed.webhook_id, f"every attempt has failed for {days:g} days")

    def _next_us(self, attempts: int, retry_after_seconds: float | None) -> int | None:
        if attempts > len(SCHEDULE):
            return None
        seconds = max(SCHEDULE[attempts - 1], retry_after_seconds or 0.0) * (1 + JITTER * self._jitter())
        return self._database.now_us() + int(seconds * _SECOND_US)

    def _prune(self) -> None:
        now = self._database.now_us()
        if now - self._pruned_us > _PRUNE_US:
            self._pruned_us = now
            self._deliveries.prune()
