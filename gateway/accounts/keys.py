"""API keys: for programs; shown once, kept as a hash, limited in scope, project and time."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, insert, or_, update

from gateway.access import Permission, Role
from gateway.accounts.audit import audit
from gateway.accounts.database import AccountsDatabase, new_row_id
from gateway.accounts.tables import API_KEYS

PREFIX = "ftp_"
_RANDOM_BYTES = 32
_SHOWN = 12
_LONGEST = 100
_USED_EVERY_US = 60_000_000


def hash_of(secret: str) -> bytes:
    """Return what is kept of a random secret: one of 256 bits needs nothing slower."""
    return hashlib.sha256(secret.encode()).digest()


def looks_like_key(text: str) -> bool:
    """Return whether these are credentials of this kind."""
    return text.startswith(PREFIX) and len(text) <= _LONGEST


@dataclass(frozen=True, kw_only=True)
class NewKey:
    """What a key is to be."""

    name: str
    organisation_id: str
    created_by: str
    role: Role = Role.EDITOR
    project_id: str | None = None
    scopes: Collection[Permission] | None = None
    expires_us: int | None = None
    requests_a_minute: int | None = None


def add_key(connection: Connection, new: NewKey, now_us: int, *, actor: str | None = None) -> tuple[str, str]:
    """Make a key; return its id and the key itself, which nobody can read again."""
    secret = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    key_id = new_row_id("key")
    scopes = None if new.scopes is None else sorted(new.scopes)
    row = {
        "key_id": key_id,
        "key_hash": hash_of(secret),
        "shown": secret[:_SHOWN],
        "name": new.name,
        "organisation_id": new.organisation_id,
        "project_id": new.project_id,
        "role": new.role,
        "scopes": None if scopes is None else msgspec.json.encode(scopes).decode(),
        "created_by": new.created_by,
        "created_us": now_us,
        "expires_us": new.expires_us,
        "requests_a_minute": new.requests_a_minute,
    }
    connection.execute(insert(API_KEYS), row)
    audit(
        connection,
        "key.created",
        key_id,
        organisation_id=new.organisation_id,
        actor=actor,
        name=new.name,
        role=new.role,
        project_id=new.project_id,
        scopes=scopes,
        requests_a_minute=new.requests_a_minute,
        shown=row["shown"],
    )
    return key_id, secret


def revoke_keys(connection: Connection, now_us: int, *, organisation_id: str, created_by: str) -> None:
    """End every key that somebody made in an organisation."""
    theirs = (
        (API_KEYS.c.organisation_id == organisation_id)
        & (API_KEYS.c.created_by == created_by)
        & API_KEYS.c.revoked_us.is_(None)
    )
    connection.execute(update(API_KEYS).where(theirs).values(revoked_us=now_us))


class LastUses:
    """Notes when keys are used, at most once a minute each: a request should not have to wait for a write."""

    def __init__(self, database: AccountsDatabase) -> None:
        self._database = database
        self._noted_us: dict[str, int] = {}

    def note(self, key_id: str) -> None:
        """Note that a key is used now."""
        now = self._database.now_us()
        noted = self._noted_us.get(key_id)
        if noted is not None and now - noted < _USED_EVERY_US:
            return
        self._noted_us[key_id] = now
        is_old = or_(API_KEYS.c.last_used_us.is_(None), API_KEYS.c.last_used_us <= now - _USED_EVERY_US)
        with self._database.write() as connection:
            connection.execute(update(API_KEYS).where(API_KEYS.c.key_id == key_id, is_old).values(last_used_us=now))
