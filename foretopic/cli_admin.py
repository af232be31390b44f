"""The command group admin: the accounts of a gateway, from a shell of its machine."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import click
from sqlalchemy import RowMapping, func, select

from foretopic.cli_shared import CLOCK, Commands, console, json_option, print_json
from foretopic.errors import ForetopicError
from foretopic.reporter import Reporter
from foretopic.tables import new_table
from gateway.access import Permission, Role
from gateway.accounts.database import AccountsDatabase, open_accounts
from gateway.accounts.keyring import rotate
from gateway.accounts.keys import NewKey, add_key
from gateway.accounts.passwords import Passwords, one_time_password, require_good
from gateway.accounts.tables import MEMBERSHIPS, ORGANISATIONS, USERS
from gateway.accounts.users import (
    add_member,
    add_organisation,
    add_user,
    change_user,
    plain_email,
    user_by_email,
)
from gateway.problems import Problem
from gateway.rows import microseconds
from gateway.settings import GatewaySettings
from runtime.settings import load_settings

_role_option = click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    default=Role.EDITOR.value,
    show_default=True,
    help="What they, or the key, are in the organisation.",
)
_stdin_option = click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")


@dataclass(frozen=True)
class _Opened:
    database: AccountsDatabase
    passwords: Passwords


@contextmanager
def _opened() -> Iterator[_Opened]:
    """Yield the accounts database that the settings of the gateway name."""
    found = load_settings(GatewaySettings)
    database = open_accounts(found.accounts_url, CLOCK)
    try:
        yield _Opened(
            database, Passwords(memory_kibibytes=found.password_memory_kibibytes, rounds=found.password_rounds)
        )
    except Problem as error:
        raise ForetopicError(error.detail) from error
    finally:
        database.engine.dispose()


@click.group(cls=Commands)
def admin() -> None:
    """Accounts of a gateway, in its database: run it where the gateway runs, with its settings."""


@admin.command("create-user")
@click.argument("email")
@click.option("--name", default="", help="What they are called.")
@click.option("--operator", is_flag=True, help="Runs the installation: may do everything.")
@click.option("--organisation", help="Id or name of the organisation that they become a member of.")
@_role_option
@_stdin_option
def create_user(
    email: str, *, name: str, operator: bool, organisation: str | None, role: str, password_stdin: bool
) -> None:
    """Make a user, with a one-time password unless one is given.

    Example: foretopic admin create-user ana@example.org --organisation "Lojas Ana" --role admin
    """
    with _opened() as opened:
        address = plain_email(email)
        given = _password(address) if password_stdin else None
        password = given or one_time_password()
        hashed = opened.passwords.hash(password)
        now = opened.database.now_us()
        with opened.database.change() as connection:
            user_id = add_user(
                connection,
                email=address,
                name=name,
                now_us=now,
                password_hash=hashed,
                must_change_password=given is None,
                is_operator=operator,
                actor="command-line",
            )
            if organisation is not None:
                add_member(connection, _organisation(connection, organisation), user_id, Role(role), now)
    click.echo(f"{address}: {user_id}")
    if given is None:
        click.echo(f"One-time password, to be changed at the first sign-in: {password}")


@admin.command("set-password")
@click.argument("email")
@_stdin_option
def set_password(email: str, password_stdin: bool) -> None:
    """Give a user a one-time password, or the one from standard input; they are signed out everywhere.

    Example: foretopic admin set-password ana@example.org
    """
    with _opened() as opened:
        given = _password(email) if password_stdin else None
        password = given or one_time_password()
        hashed = opened.passwords.hash(password)
        with opened.database.change() as connection:
            user = _user(connection, email)
            now = opened.database.now_us()
            change_user(connection, user["user_id"], now, password_hash=hashed, must_change_password=given is None)
    click.echo(f"{email}: changed." if given else f"One-time password, to be changed at the first sign-in: {password}")


@admin.command("list-users")
@json_option
def list_users(as_json: bool) -> None:
    """Show every user with their organisations.

    Example: foretopic admin list-users --json
    """
    with _opened() as opened, opened.database.read() as connection:
        users = connection.execute(select(USERS).order_by(USERS.c.email)).mappings().all()
        roles = (
            select(MEMBERSHIPS.c.user_id, ORGANISATIONS.c.name, MEMBERSHIPS.c.role)
            .join(ORGANISATIONS, ORGANISATIONS.c.organisation_id == MEMBERSHIPS.c.organisation_id)
            .order_by(MEMBERSHIPS.c.created_us)
        )
        of_user: dict[str, list[str]] = {}
        for user_id, name, role in connection.execute(roles):
            of_user.setdefault(user_id, []).append(f"{name} ({role})")
    lines = [_line(user, of_user.get(user["user_id"], [])) for user in users]
    if as_json:
        print_json({"users": lines})
        return
    table = new_table("Users", ["email", "user_id", "name", "state", "organisations"])
    for line in lines:
        state = "disabled" if line["is_disabled"] else "operator" if line["is_operator"] else "active"
        table.add_row(line["email"], line["user_id"], line["name"], state, ", ".join(line["organisations"]) or "-")
    Reporter(console()).show(table)


@admin.command("disable-user")
@click.argument("email")
@click.option("--undo", is_flag=True, help="Let them in again.")
def disable_user(email: str, undo: bool) -> None:
    """Close an account: its logins and keys are no longer good.

    Example: foretopic admin disable-user ana@example.org
    """
    _change(email, is_disabled=not undo)
    click.echo(f"{email}: {'let in again' if undo else 'disabled'}.")


@admin.command("make-operator")
@click.argument("email")
@click.option("--undo", is_flag=True, help="Make them an ordinary user.")
def make_operator(email: str, undo: bool) -> None:
    """Let a user run the installation: they may do everything.

    Example: foretopic admin make-operator ana@example.org
    """
    _change(email, is_operator=not undo)
    click.echo(f"{email}: {'no operator any more' if undo else 'an operator'}.")


@admin.command("rotate-keys")
def rotate_keys() -> None:
    """Sign access tokens with a new key from now on; those that were issued stay good until they run out.

    Example: foretopic admin rotate-keys
    """
    with _opened() as opened:
        key_id = rotate(opened.database)
    click.echo(f"{key_id} signs from now on, on every gateway within a minute.")


@admin.command("create-organisation")
@click.argument("name")
@click.option("--admin", "email", help="Email address of its first admin.")
def create_organisation(name: str, email: str | None) -> None:
    """Make an organisation.

    Example: foretopic admin create-organisation "Lojas Ana" --admin ana@example.org
    """
    with _opened() as opened, opened.database.change() as connection:
        first = None if email is None else str(_user(connection, email)["user_id"])
        organisation_id = add_organisation(connection, name, opened.database.now_us(), admin=first)
    click.echo(f"{name}: {organisation_id}")


@admin.command("create-key")
@click.argument("email")
@click.option("--organisation", required=True, help="Id or name of the organisation that the key is for.")
@click.option("--name", default="from the command line", show_default=True, help="What it is for.")
@_role_option
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([one.value for one in Permission]),
    help="Only this permission of the role; may be given several times.",
)
@click.option("--project", "project_id", help="Only this project.")
@click.option("--days", type=click.IntRange(1, 3650), help="How long it is good; else until it is revoked.")
def create_key(
    email: str,
    *,
    organisation: str,
    name: str,
    role: str,
    scopes: tuple[str, ...],
    project_id: str | None,
    days: int | None,
) -> None:
    """Make an API key in the name of a user, and print it; it may do at most what they may.

    Example: foretopic admin create-key ana@example.org --organisation "Lojas Ana" --scope read --scope forecast
    """
    with _opened() as opened, opened.database.change() as connection:
        until = None if days is None else microseconds(CLOCK.now() + timedelta(days=days))
        new = NewKey(
            name=name,
            organisation_id=_organisation(connection, organisation),
            created_by=_user(connection, email)["user_id"],
            role=Role(role),
            project_id=project_id,
            scopes=frozenset(map(Permission, scopes)) or None,
            expires_us=until,
        )
        _, secret = add_key(connection, new, opened.database.now_us())
    click.echo(secret)


def _change(email: str, **values: Any) -> None:
    with _opened() as opened, opened.database.change() as connection:
        user = _user(connection, email)
        change_user(connection, user["user_id"], opened.database.now_us(), **values)


def _line(user: RowMapping, organisations: list[str]) -> dict[str, Any]:
    names = ("user_id", "email", "name", "is_operator", "is_disabled")
    return {name: user[name] for name in names} | {"organisations": organisations}


def _user(connection: Any, email: str) -> RowMapping:
    user = user_by_email(connection, email.strip().lower())
    if user is None:
        raise ForetopicError(f"a user was expected, nobody has the address {email}; see `foretopic admin list-users`")
    return user


def _organisation(connection: Any, named: str) -> str:
    table = ORGANISATIONS
    query = select(table.c.organisation_id).where((table.c.organisation_id == named) | (table.c.name == named))
    found = list(connection.scalars(query))
    if len(found) != 1:
        every = connection.scalar(select(func.count()).select_from(table))
        raise ForetopicError(
            f"one organisation of this id or name was expected, found {len(found)} of {every} for {named!r}; "
            "make it with `foretopic admin create-organisation`, or give its id"
        )
    return str(found[0])


def _password(email: str) -> str:
    password = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")
    require_good(password, email)
    return password


if __name__ == "__main__":
    admin()
