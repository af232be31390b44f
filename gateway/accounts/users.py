"""Users: made, changed, found by their email address."""

from __future__ import annotations

from typing import Any

import email_validator
from sqlalchemy import Connection, RowMapping, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from gateway.access import Role
from gateway.accounts.audit import audit
from gateway.accounts.database import new_row_id
from gateway.accounts.logins import end_logins
from gateway.accounts.tables import MEMBERSHIPS, ORGANISATIONS, USERS
from gateway.problems import FieldFault, Problem

# Names of networks of one's own, such as `.local`, are addresses of people too; no mail is sent.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()


def plain_email(text: str) -> str:
    """Return an email address as it is compared.

    Raises:
        Problem: 422.
    """
    try:
        return email_validator.validate_email(text, check_deliverability=False).normalized.lower()
    except email_validator.EmailNotValidError as error:
        fault = FieldFault(field="email", expected="an email address", found=text[:120])
        raise Problem(422, "invalid-body", f"email must be an email address: {error}", errors=[fault]) from error


def user_by_email(connection: Connection, email: str) -> RowMapping | None:
    """Return the row of a user, or ``None``."""
    return connection.execute(select(USERS).where(USERS.c.email == email)).mappings().first()


def add_user(
    connection: Connection,
    *,
    email: str,
    name: str,
    now_us: int,
    password_hash: str | None = None,
    must_change_password: bool = False,
    is_operator: bool = False,
    actor: str | None = None,
) -> str:
    """Make a user; return the id.

    Raises:
        Problem: 409; somebody has this address. The transaction can only be rolled back then.
    """
    user_id = new_row_id("user")
    row = {
        "user_id": user_id,
        "email": email,
        "name": name or email.partition("@")[0],
        "password_hash": password_hash,
        "must_change_password": must_change_password,
        "is_operator": is_operator,
        "is_disabled": False,
        "created_us": now_us,
    }
    try:
        connection.execute(insert(USERS), row)
    except IntegrityError as error:
        raise Problem(
            409,
            "email-taken",
            "somebody has signed up with this email address; sign in",
            errors=[FieldFault(field="email", expected="an address that nobody has here", found=email[:120])],
        ) from error
    audit(
        connection,
        "user.created",
        user_id,
        organisation_id="",
        actor=f"user/{user_id}" if actor is None else actor,
        email=email,
        is_operator=is_operator,
    )
    return user_id


def change_user(connection: Connection, user_id: str, now_us: int, **columns: Any) -> None:
    """Change a user; who is disabled, or gets a new password from somebody else, is signed out everywhere.

    Raises:
        Problem: 409; nobody would be left who runs the gateway.
    """
    had_operators = _operators(connection)
    connection.execute(update(USERS).where(USERS.c.user_id == user_id).values(**columns))
    if had_operators and not _operators(connection):
        raise Problem(
            409,
            "last-operator",
            "the gateway needs an operator; make another user one first",
            errors=[FieldFault(field="is_operator", expected="another operator", found="the last one")],
        )
    if columns.get("is_disabled") or "password_hash" in columns:
        end_logins(connection, user_id, now_us)
    told = {name: value for name, value in columns.items() if name != "password_hash"}
    audit(connection, "user.changed", user_id, organisation_id="", changed=sorted(columns), to=told)


def _operators(connection: Connection) -> int:
    """Return how many operators there are who may sign in; it stays so until the transaction ends."""
    # Two operators who at the same moment make the other one none: the second one waits here, and counts anew.
    running = update(USERS).where(USERS.c.is_operator.is_(True))
    connection.execute(running.values(is_operator=USERS.c.is_operator))
    counted = select(func.count()).where(USERS.c.is_operator.is_(True), USERS.c.is_disabled.is_(False))
    return connection.scalar(counted) or 0


def add_organisation(
    connection: Connection, name: str, now_us: int, *, admin: str | None, actor: str | None = None
) -> str:
    """Make an organisation with its first admin; return the id."""
    organisation_id = new_row_id("org")
    row = {"organisation_id": organisation_id, "name": name, "created_us": now_us}
    connection.execute(insert(ORGANISATIONS), row)
    audit(connection, "organisation.created", organisation_id, organisation_id=organisation_id, actor=actor, name=name)
    if admin is not None:
        add_member(connection, organisation_id, admin, Role.ADMIN, now_us, actor=actor)
    return organisation_id


def add_member(
    connection: Connection, organisation_id: str, user_id: str, role: Role, now_us: int, *, actor: str | None = None
) -> None:
    """Make a user a member."""
    row = {"organisation_id": organisation_id, "user_id": user_id, "role": role, "created_us": now_us}
    connection.execute(insert(MEMBERSHIPS), row)
    audit(connection, "member.added", user_id, organisation_id=organisation_id, actor=actor, role=role)
