"""Projects: which there are, and to whom they belong."""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, insert, select

from gateway.accounts.audit import audit
from gateway.accounts.database import AccountsDatabase
from gateway.accounts.tables import ORGANISATIONS, PROJECTS

#: Owns what is made on a machine of one's own.
LOCAL_ORGANISATION = "local"
_FRESH_SECONDS = 5.0
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_SUFFIX = 6
_LONGEST_SLUG = 40


def new_project_id(name: str) -> str:
    """Return an id for a project: of its name, and random characters, so that nobody learns which names are taken.

    >>> new_project_id("Loja São João")[:13]
    'loja-sao-joao'
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_LONGEST_SLUG].strip("-") or "project"
    return f"{slug}-{''.join(secrets.choice(_ALPHABET) for _ in range(_SUFFIX))}"


class ProjectRegistry:
    """Answers who owns a project from memory; what another gateway changed is seen within five seconds."""

    def __init__(self, database: AccountsDatabase) -> None:
        self._database = database
        self._owners: dict[str, str] = {}
        self._by_owner: dict[str, frozenset[str]] = {}
        self._read_at: float | None = None
        self._generation = -1

    def organisation_of(self, project_id: str) -> str | None:
        self._refresh()
        return self._owners.get(project_id)

    def of_organisations(self, organisation_ids: frozenset[str]) -> frozenset[str]:
        self._refresh()
        return frozenset().union(*(self._by_owner.get(owner, frozenset()) for owner in organisation_ids))

    def create(
        self,
        *,
        organisation_id: str,
        name: str,
        description: str,
        created_by: str,
        project_id: str | None = None,
        mapping: bytes | None = None,
        admit: Callable[[Connection], None] | None = None,
    ) -> str:
        """Make a project and return its id; it can be used at once.

        Args:
            organisation_id: Whose it is; empty is the one of a machine of one's own, which is made where it is missing.
            name: For people.
            description: Likewise.
            created_by: Id of the user.
            project_id: From `new_project_id`; ``None`` makes one.
            mapping: How its file was read, as JSON.
            admit: Judges in the transaction whether there may be one more.
        """
        row: dict[str, Any] = {
            "project_id": project_id or new_project_id(name),
            "organisation_id": organisation_id or LOCAL_ORGANISATION,
            "name": name,
            "description": description,
            "created_by": created_by,
            "created_us": self._database.now_us(),
            "mapping": None if mapping is None else mapping.decode(),
        }
        with self._database.change() as connection:
            if admit is not None:
                admit(connection)
            if not organisation_id:
                _ensure_local(connection, row["created_us"])
            connection.execute(insert(PROJECTS), row)
            audit(connection, "project.created", row["project_id"], organisation_id=row["organisation_id"], name=name)
        return str(row["project_id"])

    def _refresh(self) -> None:
        now, generation = self._database.clock.monotonic(), self._database.generation
        is_fresh = self._read_at is not None and now - self._read_at < _FRESH_SECONDS
        if is_fresh and generation == self._generation:
            return
        with self._database.read() as connection:
            rows = connection.execute(select(PROJECTS.c.project_id, PROJECTS.c.organisation_id)).all()
        by_owner: defaultdict[str, set[str]] = defaultdict(set)
        for project_id, owner in rows:
            by_owner[owner].add(project_id)
        self._owners = {row.project_id: row.organisation_id for row in rows}
        self._by_owner = {owner: frozenset(ids) for owner, ids in by_owner.items()}
        # Only now: who asks meanwhile reads for themselves, and does not get what is not there yet.
        self._read_at, self._generation = now, generation


def _ensure_local(connection: Connection, now_us: int) -> None:
    known = connection.scalar(
        select(ORGANISATIONS.c.organisation_id).where(ORGANISATIONS.c.organisation_id == LOCAL_ORGANISATION)
    )
    if known is None:
        local = {"organisation_id": LOCAL_ORGANISATION, "name": "This machine", "created_us": now_us}
        connection.execute(insert(ORGANISATIONS), local)
