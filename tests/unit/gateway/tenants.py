"""Two organisations with their people, tokens, keys and projects, and an operator: what tests of tenancy stand on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from gateway.access import Permission, Role
from gateway.accounts.database import new_row_id
from gateway.accounts.keys import NewKey, add_key
from gateway.accounts.logins import start_login
from gateway.accounts.tables import MEMBERSHIPS, ORGANISATIONS, USERS
from tests.unit.gateway.world import World, running

#: What a gateway with accounts is told in tests: no rates.
SETTINGS: dict[str, Any] = {
    "accounts": "required",
    # A test may ask more often in a minute than people do.
    "requests_a_minute": 0,
    "anonymous_requests_a_minute": 0,
}


@dataclass
class Caller:
    """Somebody, and what they send."""

    user_id: str
    email: str
    token: str
    login_id: str
    #: An API key with the same role and no further limit; empty for operators.
    key: str = ""
    key_id: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """Return the header of their access token."""
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def key_headers(self) -> dict[str, str]:
        """Return the header of their API key."""
        return {"Authorization": f"Bearer {self.key}"}


@dataclass
class Tenant:
    """An organisation with one member of each role and one project."""

    organisation_id: str
    project_id: str
    members: dict[Role, Caller] = field(default_factory=dict)

    @property
    def viewer(self) -> Caller:
        return self.members[Role.VIEWER]

    @property
    def editor(self) -> Caller:
        return self.members[Role.EDITOR]

    @property
    def admin(self) -> Caller:
        return self.members[Role.ADMIN]


@dataclass
class Tenants:
    """Everybody on one gateway with `accounts="required"`."""

    world: World
    apples: Tenant
    pears: Tenant
    operator: Caller

    def key(self, tenant: Tenant, role: Role = Role.EDITOR, **limits: Any) -> dict[str, str]:
        """Return the header of a new key of a tenant's admin, with `scopes`, `project_id`, `expires_us`."""
        return {
            "Authorization": f"Bearer {add_api_key(self.world, tenant.organisation_id, tenant.admin, role, **limits)[1]}"
        }


@contextmanager
def tenants(folder: Path, **settings: Any) -> Iterator[Tenants]:
    """Yield a started world in which two organisations live."""
    with running(folder, **(SETTINGS | settings)) as world:
        yield settle_tenants(world)


def settle_tenants(world: World) -> Tenants:
    """Make two organisations and an operator on a world."""
    operator = add_user(world, "operator@example.org", is_operator=True)
    return Tenants(world, add_tenant(world, "apples"), add_tenant(world, "pears"), operator)


def add_tenant(world: World, name: str) -> Tenant:
    """Make an organisation with a viewer, an editor, an admin, and one project."""
    organisation_id = new_row_id("org")
    with world.accounts.change() as connection:
        connection.execute(
            insert(ORGANISATIONS),
            {"organisation_id": organisation_id, "name": name, "created_us": world.accounts.now_us()},
        )
    members = {role: add_user(world, f"{role}@{name}.example", {organisation_id: role}) for role in Role}
    for role, member in members.items():
        member.key_id, member.key = add_api_key(world, organisation_id, member, role)
    admin = members[Role.ADMIN]
    project_id = world.service.projects.create(
        organisation_id=organisation_id, name=name, description="", created_by=admin.user_id
    )
    return Tenant(organisation_id, project_id, members)


def add_user(
    world: World, email: str, roles: dict[str, Role] | None = None, *, is_operator: bool = False, **columns: Any
) -> Caller:
    """Make a user with these roles, signed in; without a password unless `password_hash` is given."""
    user_id, now = new_row_id("user"), world.accounts.now_us()
    row = {
        "user_id": user_id,
        "email": email,
        "name": email.partition("@")[0],
        "must_change_password": False,
        "is_operator": is_operator,
        "is_disabled": False,
        "created_us": now,
    }
    with world.accounts.change() as connection:
        connection.execute(insert(USERS), row | columns)
        for organisation_id, role in (roles or {}).items():
            membership = {"organisation_id": organisation_id, "user_id": user_id, "role": role, "created_us": now}
            connection.execute(insert(MEMBERSHIPS), membership)
        login_id = start_login(connection, user_id, "token", now_us=now, expires_us=now + 86_400_000_000)
    return Caller(user_id, email, world.service.tokens.issue(user_id, login_id), login_id)


def add_api_key(
    world: World,
    organisation_id: str,
    creator: Caller,
    role: Role,
    *,
    scopes: set[Permission] | None = None,
    project_id: str | None = None,
    expires_us: int | None = None,
) -> tuple[str, str]:
    """Make an API key; return its id and the key."""
    new = NewKey(
        name="test",
        organisation_id=organisation_id,
        created_by=creator.user_id,
        role=role,
        scopes=scopes,
        project_id=project_id,
        expires_us=expires_us,
    )
    with world.accounts.change() as connection:
        return add_key(connection, new, world.accounts.now_us())
