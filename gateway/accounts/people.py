"""Who a user, a login or an API key is now: read from the database, never from what the caller brings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from sqlalchemy import Connection, select

from gateway.access import Permission, Principal, Role
from gateway.accounts.database import AccountsDatabase
from gateway.accounts.fresh import Fresh
from gateway.accounts.tables import API_KEYS, LOGINS, MEMBERSHIPS, USERS

_RANK = {role: rank for rank, role in enumerate(Role)}


@dataclass(frozen=True)
class Person:
    """A user with the roles that they have; the organisation that they joined first comes first."""

    user_id: str
    email: str
    name: str
    is_operator: bool
    is_disabled: bool
    must_change_password: bool
    roles: Mapping[str, Role]

    @property
    def principal(self) -> Principal:
        """Return what they may do."""
        return Principal(
            name=f"user/{self.user_id}",
            organisation_id=next(iter(self.roles), ""),
            roles=self.roles,
            is_operator=self.is_operator,
            user_id=self.user_id,
        )


@dataclass(frozen=True)
class Login:
    """A sign-in that has not been ended."""

    login_id: str
    user_id: str
    kind: str
    expires_us: int


@dataclass(frozen=True)
class KnownKey:
    """An API key that has not been revoked."""

    key_id: str
    organisation_id: str
    project_id: str | None
    role: Role
    scopes: frozenset[Permission] | None
    created_by: str
    expires_us: int | None
    requests_a_minute: int | None

    def principal(self, creator: Person) -> Principal | None:
        """Return what the key may do, at most what its creator may do now; ``None``: nothing any more."""
        held = Role.ADMIN if creator.is_operator else creator.roles.get(self.organisation_id)
        if held is None or creator.is_disabled:
            return None
        # Only a key that says so runs the installation.
        is_operator = creator.is_operator and self.scopes is not None and Permission.OPERATE in self.scopes
        return Principal(
            name=f"key/{self.key_id}",
            organisation_id=self.organisation_id,
            roles={self.organisation_id: min(self.role, held, key=_RANK.__getitem__)},
            is_operator=is_operator,
            scopes=self.scopes,
            project_ids=None if self.project_id is None else frozenset({self.project_id}),
            user_id=self.created_by,
            requests_a_minute=self.requests_a_minute,
        )


class People:
    """Answers from memory; what another gateway changed is seen within `gateway.accounts.fresh.FRESH_SECONDS`."""

    def __init__(self, database: AccountsDatabase) -> None:
        self._people = Fresh(database, person_of)
        self._logins = Fresh(database, _login)
        self._keys = Fresh(database, _key)

    def person(self, user_id: str) -> Person | None:
        """Return a user, or ``None``."""
        return self._people.get(user_id)

    def login(self, login_id: str) -> Login | None:
        """Return a login that has not been ended, or ``None``."""
        return self._logins.get(login_id)

    def key(self, key_hash: bytes) -> KnownKey | None:
        """Return a key that has not been revoked, or ``None``."""
        return self._keys.get(key_hash)


def person_of(connection: Connection, user_id: str) -> Person | None:
    """Return a user as the database has them, or ``None``."""
    row = connection.execute(select(USERS).where(USERS.c.user_id == user_id)).mappings().first()
    if row is None:
        return None
    memberships = (
        select(MEMBERSHIPS.c.organisation_id, MEMBERSHIPS.c.role)
        .where(MEMBERSHIPS.c.user_id == user_id)
        .order_by(MEMBERSHIPS.c.created_us, MEMBERSHIPS.c.organisation_id)
    )
    return Person(
        user_id=user_id,
        email=row["email"],
        name=row["name"],
        is_operator=row["is_operator"],
        is_disabled=row["is_disabled"],
        must_change_password=row["must_change_password"],
        roles={organisation: Role(role) for organisation, role in connection.execute(memberships)},
    )


def _login(connection: Connection, login_id: str) -> Login | None:
    query = select(LOGINS).where(LOGINS.c.login_id == login_id, LOGINS.c.revoked_us.is_(None))
    row = connection.execute(query).mappings().first()
    return None if row is None else Login(login_id, row["user_id"], row["kind"], row["expires_us"])


def _key(connection: Connection, key_hash: bytes) -> KnownKey | None:
    query = select(API_KEYS).where(API_KEYS.c.key_hash == key_hash, API_KEYS.c.revoked_us.is_(None))
    row = connection.execute(query).mappings().first()
    if row is None:
        return None
    scopes = row["scopes"]
    return KnownKey(
        key_id=row["key_id"],
        organisation_id=row["organisation_id"],
        project_id=row["project_id"],
        role=Role(row["role"]),
        scopes=None if scopes is None else frozenset(map(Permission, msgspec.json.decode(scopes))),
        created_by=row["created_by"],
        expires_us=row["expires_us"],
        requests_a_minute=row["requests_a_minute"],
    )
