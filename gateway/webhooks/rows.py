"""Webhooks in the accounts database."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, RowMapping, Select, delete, func, insert, select, update

from gateway.access import PUBLIC_PROJECTS
from gateway.accounts.audit import audit
from gateway.accounts.database import AccountsDatabase, new_row_id
from gateway.accounts.tables import DELIVERIES, WEBHOOKS
from gateway.events import Event

#: A secret that was replaced signs for so long beside the new one.
_PREVIOUS_US = 24 * 3600 * 1_000_000
#: The clocks of those who write records may be so far from ours.
CLOCKS_US = 60 * 1_000_000
_SECRET_BYTES = 32
_COLUMNS = tuple(column for column in WEBHOOKS.c if column.name not in ("secret", "previous_secret"))


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """One webhook, without its secret."""

    webhook_id: str
    project_id: str
    url: str
    events: tuple[str, ...]
    series_id: str | None
    model: str | None
    is_enabled: bool
    disabled_reason: str
    failing_since_us: int | None
    created_us: int

    def wants(self, event: Event) -> bool:
        """Return whether it is to be told of an event; of what was before it was made, it is not."""
        return (
            event.type in self.events
            and event.project == self.project_id
            # A forecast shows what its model makes of a series; the model may be of a project that nobody here sees.
            and event.projects <= PUBLIC_PROJECTS | {self.project_id}
            and (self.series_id is None or self.series_id in event.series_ids)
            and (self.model is None or self.model == event.model)
            and event.time.timestamp() * 1_000_000 >= self.created_us - CLOCKS_US
        )


def new_secret() -> str:
    """Return a random secret in the form of Standard Webhooks."""
    return "whsec_" + base64.b64encode(os.urandom(_SECRET_BYTES)).decode()


def _webhook(row: RowMapping) -> Webhook:
    known = {name: row[name] for name in Webhook.__struct_fields__}
    return Webhook(**{**known, "events": tuple(msgspec.json.decode(row["events"]))})


class WebhookRows:
    """Reads and changes webhooks; who may is asked before."""

    def __init__(self, database: AccountsDatabase) -> None:
        self._database = database

    def _all(self, query: Select[Any]) -> list[Webhook]:
        with self._database.read() as connection:
            return [_webhook(row) for row in connection.execute(query).mappings()]

    def of_project(self, project_id: str) -> list[Webhook]:
        """Return the webhooks of a project, the oldest first."""
        query = select(*_COLUMNS).where(WEBHOOKS.c.project_id == project_id)
        return self._all(query.order_by(WEBHOOKS.c.created_us, WEBHOOKS.c.webhook_id))

    def get(self, project_id: str, webhook_id: str) -> Webhook | None:
        """Return one webhook of a project."""
        of_project = WEBHOOKS.c.project_id == project_id
        found = self._all(select(*_COLUMNS).where(of_project, WEBHOOKS.c.webhook_id == webhook_id))
        return found[0] if found else None

    def enabled(self) -> list[Webhook]:
        """Return every webhook that is to be told of events."""
        return self._all(select(*_COLUMNS).where(WEBHOOKS.c.is_enabled))

    def secrets(self, webhook_id: str) -> list[str]:
        """Return the secrets that sign now, the newest first."""
        table, now = WEBHOOKS, self._database.now_us()
        columns = (table.c.secret, table.c.previous_secret, table.c.previous_until_us)
        with self._database.read() as connection:
            row = connection.execute(select(*columns).where(table.c.webhook_id == webhook_id)).first()
        if row is None:
            return []
        is_previous_good = row.previous_secret is not None and row.previous_until_us > now
        return [row.secret, row.previous_secret] if is_previous_good else [row.secret]

    def create(
        self,
        project_id: str,
        *,
        url: str,
        events: Sequence[str],
        series_id: str | None,
        model: str | None,
        created_by: str,
        organisation_id: str,
        limit: int,
    ) -> tuple[Webhook, str] | None:
        """Make a webhook; return it with its secret, or ``None``: the project has ``limit`` of them already."""
        secret, webhook_id = new_secret(), new_row_id("wh")
        row = {
            "webhook_id": webhook_id,
            "project_id": project_id,
            "url": url,
            "secret": secret,
            "events": msgspec.json.encode(list(events)).decode(),
            "series_id": series_id,
            "model": model,
            "is_enabled": True,
            "disabled_reason": "",
            "created_by": created_by,
            "created_us": self._database.now_us(),
        }
        with self._database.write() as connection:
            count = select(func.count()).where(WEBHOOKS.c.project_id == project_id)
            if (connection.scalar(count) or 0) >= limit:
                return None
            connection.execute(insert(WEBHOOKS), row)
            self._note(connection, "created", webhook_id, organisation_id, url=url, events=list(events))
        return _webhook({**row, "failing_since_us": None}), secret  # type: ignore[arg-type]  # as a row has it

    def change(self, webhook_id: str, organisation_id: str, **columns: Any) -> None:
        """Change some columns; to enable it forgets why it was disabled."""
        values = dict(columns)
        if values.get("is_enabled"):
            values |= {"disabled_reason": "", "failing_since_us": None}
        told = dict(columns)
        if "events" in columns:
            values["events"] = msgspec.json.encode(list(columns["events"])).decode()
            told["events"] = list(columns["events"])
        with self._database.write() as connection:
            connection.execute(update(WEBHOOKS).where(WEBHOOKS.c.webhook_id == webhook_id).values(values))
            self._note(connection, "changed", webhook_id, organisation_id, **told)

    def rotate(self, webhook_id: str, organisation_id: str) -> str:
        """Return a new secret; the one before signs beside it for a day."""
        secret = new_secret()
        values = {
            "previous_secret": WEBHOOKS.c.secret,
            "previous_until_us": self._database.now_us() + _PREVIOUS_US,
            "secret": secret,
        }
        with self._database.write() as connection:
            connection.execute(update(WEBHOOKS).where(WEBHOOKS.c.webhook_id == webhook_id).values(values))
            self._note(connection, "secret-rotated", webhook_id, organisation_id)
        return secret

    def delete(self, webhook_id: str, organisation_id: str) -> None:
        """Remove a webhook with its deliveries."""
        with self._database.write() as connection:
            connection.execute(delete(DELIVERIES).where(DELIVERIES.c.webhook_id == webhook_id))
            connection.execute(delete(WEBHOOKS).where(WEBHOOKS.c.webhook_id == webhook_id))
            self._note(connection, "deleted", webhook_id, organisation_id)

    def _note(self, connection: Connection, what: str, webhook_id: str, organisation_id: str, **details: Any) -> None:
        audit(connection, f"webhook.{what}", webhook_id, organisation_id=organisation_id, **details)
