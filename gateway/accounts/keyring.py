"""The keys that sign access tokens (Ed25519), and the secret of cookies, in the database for all gateways."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.jwk import OKPKey
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from gateway.accounts.audit import audit
from gateway.accounts.database import AccountsDatabase, new_row_id
from gateway.accounts.tables import SIGNING_KEYS

_MICRO = 1_000_000
#: The set of keys is read anew so often, and for an unknown key no oftener than the second figure says.
_FRESH_SECONDS = 60.0
_AGAIN_SECONDS = 1.0
#: Id of the one secret of cookies, the same for all gateways.
_COOKIE = "cookie"


@dataclass(frozen=True)
class SigningKey:
    """One key: it signs until it is retired, and what it signed is good until that expires."""

    key_id: str
    key: OKPKey
    retired_us: int | None


class Keyring:
    """Gives the key that signs and those that verify.

    Args:
        database: Where they stand.
        token_seconds: How long what a retired key signed is good.
    """

    def __init__(self, database: AccountsDatabase, *, token_seconds: int) -> None:
        self._database = database
        self._token_us = token_seconds * _MICRO
        self._keys: Mapping[str, SigningKey] = {}
        self._read_at: float | None = None
        self._generation = -1

    def signing(self) -> SigningKey:
        """Return the newest key that is not retired; the first one is made now."""
        self._refresh(_FRESH_SECONDS)
        usable = [key for key in self._keys.values() if key.retired_us is None]
        if not usable:
            with self._database.change() as connection:
                add_signing_key(connection, self._database.now_us())
            return self.signing()
        return usable[-1]

    def verifying(self, key_id: str) -> OKPKey | None:
        """Return the key of this very name, or ``None``; a retired one only as long as what it signed may be good."""
        self._refresh(_FRESH_SECONDS)
        if key_id not in self._keys:
            # Another gateway may just have made it; nobody makes us read the database at every request.
            self._refresh(_AGAIN_SECONDS)
        known = self._keys.get(key_id)
        if known is None or (
            known.retired_us is not None and known.retired_us + self._token_us < self._database.now_us()
        ):
            return None
        return known.key

    def public(self) -> dict[str, Any]:
        """Return the public halves as a JWK Set (RFC 7517), the signing one last."""
        self.signing()
        return {
            "keys": [
                {**key.key.as_dict(private=False), "kid": key.key_id, "use": "sig", "alg": "Ed25519"}
                for key in self._keys.values()
                if self.verifying(key.key_id) is not None
            ]
        }

    def _refresh(self, fresh_seconds: float) -> None:
        now, generation = self._database.clock.monotonic(), self._database.generation
        is_fresh = self._read_at is not None and now - self._read_at < fresh_seconds
        if is_fresh and generation == self._generation:
            return
        query = (
            select(SIGNING_KEYS)
            .where(SIGNING_KEYS.c.kind == "token")
            .order_by(SIGNING_KEYS.c.created_us, SIGNING_KEYS.c.key_id)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
        self._keys = {
            row["key_id"]: SigningKey(row["key_id"], OKPKey.import_key(json.loads(row["secret"])), row["retired_us"])
            for row in rows
        }
        self._read_at, self._generation = now, generation


def add_signing_key(connection: Connection, now_us: int) -> str:
    """Make a key that signs access tokens; return its id."""
    key_id = new_row_id("sig")
    secret = json.dumps(OKPKey.generate_key("Ed25519").as_dict(private=True))
    connection.execute(
        insert(SIGNING_KEYS), {"key_id": key_id, "kind": "token", "secret": secret, "created_us": now_us}
    )
    return key_id


def rotate(database: AccountsDatabase) -> str:
    """Retire every key that signs tokens and make a new one; return its id."""
    now = database.now_us()
    with database.change() as connection:
        signs = (SIGNING_KEYS.c.kind == "token") & SIGNING_KEYS.c.retired_us.is_(None)
        connection.execute(update(SIGNING_KEYS).where(signs).values(retired_us=now))
        key_id = add_signing_key(connection, now)
        audit(connection, "signing-key.rotated", key_id, organisation_id="")
    return key_id


def cookie_secret(database: AccountsDatabase) -> str:
    """Return the secret that signs cookies; the first gateway that starts makes it."""
    query = select(SIGNING_KEYS.c.secret).where(SIGNING_KEYS.c.key_id == _COOKIE)
    with database.read() as connection:
        found = connection.scalar(query)
    if found is None:
        secret = secrets.token_urlsafe(32)
        row = {"key_id": _COOKIE, "kind": "cookie", "secret": secret, "created_us": database.now_us()}
        try:
            with database.change() as connection:
                connection.execute(insert(SIGNING_KEYS), row)
        except IntegrityError:
            # Another gateway that starts at this moment was first: a cookie is good at both.
            return cookie_secret(database)
        return secret
    return str(found)
