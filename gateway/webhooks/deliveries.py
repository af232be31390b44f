"""Deliveries in the accounts database: one row an event and webhook, shared by the senders of all gateways."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Table, case, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from gateway.accounts.database import AccountsDatabase
from gateway.accounts.tables import DELIVERIES, WEBHOOKS
from gateway.webhooks.rows import Webhook
from schemas.identity import content_id

WAITING, DELIVERED, FAILED = "waiting", "delivered", "failed"
STATES = (WAITING, DELIVERED, FAILED)
_SECOND_US = 1_000_000
#: What an attempt may take beyond its time limit (look-up of a name, noting the outcome) before it counts as killed.
_GRACE_SECONDS = 10.0
_DAY_US = 24 * 3600 * _SECOND_US
#: What was delivered is kept so long, and what failed: to be looked at and replayed.
_KEPT_US = {DELIVERED: 7 * _DAY_US, FAILED: 30 * _DAY_US}
_MAX_WEBHOOKS_A_TURN = 100
_MAX_ERROR = 400


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery; ``due_us`` is when it is tried next, or the end of the lease of the sender that has it."""

    delivery_id: str
    webhook_id: str
    event: str
    state: str
    attempts: int
    created_us: int
    due_us: int | None
    last_status: int | None
    last_error: str
    delivered_us: int | None


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery that this sender alone may try now."""

    delivery_id: str
    webhook_id: str
    url: str
    body: bytes
    attempts: int
    lease_us: int
    failing_since_us: int | None


_SHOWN = tuple(DELIVERIES.c[name] for name in Delivery.__struct_fields__)


def delivery_id_of(webhook_id: str, event_id: str) -> str:
    """Return the id of what a webhook is told of a record: the same for whatever reads or sends it again."""
    return f"msg_{content_id('delivery', webhook_id, event_id)}"


class Deliveries:
    """Reads and changes deliveries.

    Args:
        database: Has the table.
        attempt_seconds: Time limit of one attempt; soon after it, who took a delivery must have been killed,
            and another may take it.
    """

    def __init__(self, database: AccountsDatabase, attempt_seconds: float) -> None:
        self._database = database
        self._lease_us = int((attempt_seconds + _GRACE_SECONDS) * _SECOND_US)
        inserts = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
        self._insert: Any = inserts[database.engine.dialect.name]

    def enqueue(self, items: Iterable[tuple[Webhook, str, str, bytes]]) -> None:
        """Add what is to be delivered, as webhook, event id, event type and body; what is there already stays."""
        now = self._database.now_us()
        rows = [
            {
                "delivery_id": delivery_id_of(webhook.webhook_id, event_id),
                "webhook_id": webhook.webhook_id,
                "event": event,
                "body": body,
                "state": WAITING,
                "attempts": 0,
                "created_us": now,
                "due_us": now,
                "last_error": "",
            }
            for webhook, event_id, event, body in items
        ]
        if rows:
            with self._database.write() as connection:
                connection.execute(self._insert(DELIVERIES).on_conflict_do_nothing(), rows)

    def due(self, busy: Collection[str]) -> list[str]:
        """Return webhooks that have a delivery due, but those that are ``busy``."""
        table = DELIVERIES
        query = select(table.c.webhook_id).distinct().where(table.c.state == WAITING)
        query = query.where(table.c.due_us <= self._database.now_us(), table.c.webhook_id.not_in(list(busy)))
        with self._database.read() as connection:
            return list(connection.scalars(query.limit(_MAX_WEBHOOKS_A_TURN)))

    def claim(self, webhook_id: str, places: int) -> list[Claimed]:
        """Take up to ``places`` due deliveries of a webhook, so that no other sender takes them meanwhile."""
        table, now = DELIVERIES, self._database.now_us()
        lease = now + self._lease_us
        chosen = select(table.c.delivery_id).where(
            table.c.webhook_id == webhook_id, table.c.state == WAITING, table.c.due_us <= now
        )
        # SQLite has one writer and ignores the lock; with PostgreSQL, others look past the rows that we take.
        chosen = chosen.order_by(table.c.due_us).limit(places).with_for_update(skip_locked=True)
        taken = update(table).where(table.c.delivery_id.in_(chosen.scalar_subquery()))
        taken = taken.values(due_us=lease, attempts=table.c.attempts + 1)
        with self._database.write() as connection:
            rows = connection.execute(taken.returning(table.c.delivery_id, table.c.body, table.c.attempts)).all()
            webhook = connection.execute(
                select(WEBHOOKS.c.url, WEBHOOKS.c.failing_since_us).where(WEBHOOKS.c.webhook_id == webhook_id)
            ).first()
        if webhook is None:
            return []
        return [
            Claimed(
                delivery_id=row.delivery_id,
                webhook_id=webhook_id,
                url=webhook.url,
                body=bytes(row.body),
                attempts=row.attempts,
                lease_us=lease,
                failing_since_us=webhook.failing_since_us,
            )
            for row in rows
        ]

    def delivered(self, claimed: Claimed, status: int) -> None:
        """Note that the receiver has taken it."""
        values = {"state": DELIVERED, "due_us": None, "delivered_us": self._database.now_us(), "last_error": ""}
        with self._database.write() as connection:
            connection.execute(self._ours(claimed).values({**values, "last_status": status}))
            recovered = WEBHOOKS.c.failing_since_us.is_not(None)
            of_webhook = WEBHOOKS.c.webhook_id == claimed.webhook_id
            connection.execute(update(WEBHOOKS).where(of_webhook, recovered).values(failing_since_us=None))

    def failed(self, claimed: Claimed, *, status: int | None, error: str, next_us: int | None) -> None:
        """Note that it was not taken; it is tried again at ``next_us``, ``None``: never by itself."""
        values = {
            "state": FAILED if next_us is None else WAITING,
            "due_us": next_us,
            "last_status": status,
            "last_error": error[:_MAX_ERROR],
        }
        since = case(
            (WEBHOOKS.c.failing_since_us.is_(None), self._database.now_us()), else_=WEBHOOKS.c.failing_since_us
        )
        with self._database.write() as connection:
            connection.execute(self._ours(claimed).values(values))
            of_webhook = WEBHOOKS.c.webhook_id == claimed.webhook_id
            connection.execute(update(WEBHOOKS).where(of_webhook).values(failing_since_us=since))

    def _ours(self, claimed: Claimed) -> Any:
        """Return the update of a row, as long as nobody else has taken it over."""
        table = DELIVERIES
        return update(table).where(
            table.c.delivery_id == claimed.delivery_id, table.c.state == WAITING, table.c.due_us == claimed.lease_us
        )

    def disable(self, webhook_id: str, reason: str) -> None:
        """Send nothing more to a webhook; what waits has failed, and can be replayed."""
        table = DELIVERIES
        with self._database.write() as connection:
            values = {"is_enabled": False, "disabled_reason": reason}
            connection.execute(update(WEBHOOKS).where(WEBHOOKS.c.webhook_id == webhook_id).values(values))
            waiting = update(table).where(table.c.webhook_id == webhook_id, table.c.state == WAITING)
            connection.execute(waiting.values(state=FAILED, due_us=None, last_error="the webhook was disabled"))

    def get(self, webhook_id: str, delivery_id: str) -> Delivery | None:
        """Return one delivery of a webhook."""
        table = DELIVERIES
        query = select(*_SHOWN).where(table.c.webhook_id == webhook_id, table.c.delivery_id == delivery_id)
        with self._database.read() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else Delivery(**row)

    def page(
        self, webhook_id: str, *, state: str | None, before: tuple[int, str] | None, limit: int
    ) -> Sequence[Delivery]:
        """Return deliveries of a webhook, the newest first, behind the time (us) and id ``before``."""
        table = DELIVERIES
        query = select(*_SHOWN).where(table.c.webhook_id == webhook_id)
        if state is not None:
            query = query.where(table.c.state == state)
        if before is not None:
            is_same = (table.c.created_us == before[0]) & (table.c.delivery_id < before[1])
            query = query.where((table.c.created_us < before[0]) | is_same)
        query = query.order_by(table.c.created_us.desc(), table.c.delivery_id.desc()).limit(limit)
        with self._database.read() as connection:
            return [Delivery(**row) for row in connection.execute(query).mappings()]

    def replay(self, webhook_id: str, *, delivery_id: str | None = None, since_us: int | None = None) -> int:
        """Let deliveries begin anew, one or those that failed since a time; return how many. The ids stay."""
        table = DELIVERIES
        chosen = update(table).where(table.c.webhook_id == webhook_id, table.c.state != WAITING)
        if delivery_id is not None:
            chosen = chosen.where(table.c.delivery_id == delivery_id)
        if since_us is not None:
            chosen = chosen.where(table.c.state == FAILED, table.c.created_us >= since_us)
        values = {"state": WAITING, "attempts": 0, "due_us": self._database.now_us(), "delivered_us": None}
        with self._database.write() as connection:
            return int(connection.execute(chosen.values(values)).rowcount)

    def prune(self, kept_us: Mapping[str, int] = _KEPT_US) -> None:
        """Remove what ended long ago."""
        table: Table = DELIVERIES
        now = self._database.now_us()
        with self._database.write() as connection:
            for state, kept in kept_us.items():
                connection.execute(delete(table).where(table.c.state == state, table.c.created_us < now - kept))
