"""`foretopic admin` against an accounts database of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from foretopic.cli import main
from gateway.access import Permission
from gateway.accounts.database import open_accounts
from gateway.accounts.keyring import Keyring
from gateway.accounts.keys import hash_of
from gateway.accounts.passwords import Passwords
from gateway.accounts.people import People
from gateway.accounts.tables import AUDIT, USERS
from runtime.clock import SystemClock


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("FORETOPIC_HOME", str(tmp_path))
    monkeypatch.setenv("FORETOPIC_GATEWAY_PASSWORD_MEMORY_KIBIBYTES", "8")
    monkeypatch.setenv("FORETOPIC_GATEWAY_PASSWORD_ROUNDS", "1")
    return f"sqlite:///{tmp_path / 'accounts.db'}"


def admin(*arguments: str, **options: Any) -> Result:
    return CliRunner().invoke(main, ["admin", *arguments], **options)


def test_a_user_is_made_with_a_one_time_password_for_an_organisation(url: str) -> None:
    assert admin("create-organisation", "Lojas Ana").exit_code == 0
    made = admin("create-user", "Ana@Example.org", "--organisation", "Lojas Ana", "--role", "admin")

    assert made.exit_code == 0, made.output
    password = made.output.strip().rpartition(": ")[2]
    database = open_accounts(url, SystemClock())
    with database.read() as connection:
        row = connection.execute(select(USERS)).mappings().one()
        audited = connection.execute(select(AUDIT.c.action, AUDIT.c.actor)).all()
    assert row["email"] == "ana@example.org"
    assert row["must_change_password"]
    assert Passwords(memory_kibibytes=8, rounds=1).is_right(password, row["password_hash"])
    assert set(audited) == {
        ("organisation.created", "command-line"),
        ("user.created", "command-line"),
        ("member.added", "command-line"),
    }
    database.engine.dispose()


def test_users_are_changed_and_listed(url: str) -> None:
    admin("create-user", "ana@example.org", "--password-stdin", input="four random words\n")
    admin("make-operator", "ana@example.org")
    # Red without `had_operators` in `change_user`: nobody would be left who runs the gateway.
    assert "needs an operator" in admin("disable-user", "ana@example.org").output
    admin("create-user", "rui@example.org", "--operator")
    admin("disable-user", "ana@example.org")

    user, _ = json.loads(admin("list-users", "--json").output)["users"]
    assert (user["is_operator"], user["is_disabled"]) == (True, True)
    assert "disabled" in admin("list-users").output
    admin("disable-user", "ana@example.org", "--undo")
    user, _ = json.loads(admin("list-users", "--json").output)["users"]
    assert not user["is_disabled"]
    assert "four random words" not in admin("set-password", "ana@example.org").output


def test_a_key_that_is_made_is_good(url: str) -> None:
    admin("create-user", "ana@example.org")
    admin("create-organisation", "Lojas Ana", "--admin", "ana@example.org")
    made = admin("create-key", "ana@example.org", "--organisation", "Lojas Ana", "--scope", "read", "--days", "7")

    database = open_accounts(url, SystemClock())
    known = People(database).key(hash_of(made.output.strip()))
    database.engine.dispose()
    assert known is not None
    assert known.scopes == {Permission.READ}
    assert known.expires_us is not None


def test_keys_are_rotated(url: str) -> None:
    database = open_accounts(url, SystemClock())
    before = Keyring(database, token_seconds=900).signing().key_id
    assert admin("rotate-keys").exit_code == 0

    keyring = Keyring(database, token_seconds=900)
    assert keyring.signing().key_id != before
    assert keyring.verifying(before) is not None
    database.engine.dispose()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["create-user", "nobody"], "email address"),
        (["create-user", "ana@example.org", "--organisation", "None"], "organisation"),
        (["set-password", "nobody@example.org"], "list-users"),
        (["disable-user", "nobody@example.org"], "list-users"),
        (["create-user", "ana@example.org", "--password-stdin"], "12 to 500"),
    ],
)
def test_what_cannot_be_is_told_and_changes_nothing(url: str, arguments: list[str], told: str) -> None:
    answer = admin(*arguments, input="short\n")

    assert answer.exit_code == 1
    assert told in answer.output
    assert "short\n" not in answer.output.replace("too short", "")
    assert json.loads(admin("list-users", "--json").output)["users"] == []
