"""The first operator: made at the first start of a gateway with accounts, with a password that is shown once."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import func, select

from gateway.access import Permission, Role
from gateway.accounts.database import AccountsDatabase
from gateway.accounts.keys import NewKey, add_key
from gateway.accounts.passwords import Passwords, one_time_password
from gateway.accounts.tables import USERS
from gateway.accounts.users import add_organisation, add_user
from gateway.problems import Problem

_ORGANISATION = "Operators"
_ACTOR = "first-start"
_KEY_US = 24 * 3600 * 1_000_000


def make_first_operator(
    database: AccountsDatabase, passwords: Passwords, email: str, key_file: Path | None = None
) -> str | None:
    """Make an operator where there are no users; return the one-time password, ``None`` where there are some.

    Args:
        database: Of the accounts.
        passwords: Hashes.
        email: Of the operator.
        key_file: Gets an API key of the operator that is good for a day, readable by us alone, for the program that
            loads the first series. ``None``: there is no key.
    """
    with database.read() as connection:
        if connection.scalar(select(func.count()).select_from(USERS)):
            return None
    password = one_time_password()
    hashed = passwords.hash(password)
    now = database.now_us()
    try:
        with database.change() as connection:
            user_id = add_user(
                connection,
                email=email,
                name="First operator",
                now_us=now,
                password_hash=hashed,
                must_change_password=True,
                is_operator=True,
                actor=_ACTOR,
            )
            # What operators ask for belongs somewhere too.
            organisation_id = add_organisation(connection, _ORGANISATION, now, admin=user_id, actor=_ACTOR)
            if key_file is not None:
                new = NewKey(
                    name="First start",
                    organisation_id=organisation_id,
                    created_by=user_id,
                    role=Role.ADMIN,
                    scopes=frozenset(Permission),
                    expires_us=now + _KEY_US,
                )
                _write(key_file, add_key(connection, new, now, actor=_ACTOR)[1])
    except Problem:
        # Another gateway that starts at this moment was first: the address is taken, and it has shown its password.
        return None
    return password


def _write(file: Path, secret: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(secret)


def announcement(email: str, password: str, url: str) -> str:
    """Return what the terminal of the gateway shows."""
    line = "=" * 72
    return (
        f"\n{line}\n"
        "  This gateway has no users yet. The first operator was made:\n\n"
        f"    email     {email}\n"
        f"    password  {password}\n\n"
        f"  It is shown this once, and must be changed at the first sign-in: {url}/login\n"
        f"{line}\n"
    )
