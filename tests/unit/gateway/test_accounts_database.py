"""The accounts database: its tables, several gateways that start at once, and a file for its owner only."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine, func, insert, select

from gateway.accounts.database import MIGRATIONS, AccountsDatabase, open_accounts
from gateway.accounts.fresh import Fresh
from gateway.accounts.keyring import cookie_secret
from gateway.accounts.tables import METADATA, ORGANISATIONS, PROJECTS, STORED_ANSWERS, USED
from gateway.accounts.used_rows import Scope, of_day
from gateway.migrations.upgrade import upgrade
from gateway.settings import GatewaySettings
from gateway.store import StoreUnavailable, open_engine, translated, write_ahead
from gateway.stored_answers import StoredAnswers
from tests.fakes import ManualClock
from tests.unit.gateway.conftest import BOTH

STARTS = 6


def differences(engine: Engine) -> list[object]:
    """Return how the migrated tables differ from those of the code."""
    with engine.connect() as connection:
        # On one database with the projection the other tables are not ours.
        options = {
            "version_table": "accounts_version",
            "include_name": lambda name, kind, _parents: kind != "table" or name in METADATA.tables,
            "compare_type": True,
        }
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), METADATA))


def test_the_migrations_make_the_tables_of_today(tmp_path: Path) -> None:
    database = open_accounts(f"sqlite:///{tmp_path / 'accounts.db'}", ManualClock())

    assert differences(database.engine) == []
    database.engine.dispose()


def test_what_was_used_before_counts_for_the_organisation(empty_url: str) -> None:
    """Red without either UPDATE of the migration: the day of an update would begin again for every organisation."""
    database = open_accounts(empty_url, ManualClock())
    migrate(database.engine, "0002", is_up=False)
    used = [("shop-1", "org_1/user/a", 5), ("shop-1", "org_2/user/b", 1), ("gone-1", "org_1/user/a", 2)]
    public = [("market", "org_2/key/c", 7), ("market", "", 3)]
    project = {
        "project_id": "shop-1",
        "organisation_id": "org_1",
        "name": "shop",
        "description": "",
        "created_by": "me",
    }
    with database.engine.begin() as connection:
        for name in ("org_1", "org_2"):
            connection.execute(insert(ORGANISATIONS), {"organisation_id": name, "name": name, "created_us": 0})
        connection.execute(insert(PROJECTS), {**project, "created_us": 0})
        for project_id, requester, count in (*used, *public):
            row = {"project_id": project_id, "requester": requester, "kind": "forecast", "day": 20_000, "count": count}
            connection.execute(insert(USED), row)
    migrate(database.engine, "head")

    with database.read() as connection:
        found = of_day(connection, 20_000)
    assert found == {
        Scope("shop-1", "", "forecast", 20_000): 6,
        Scope("", "org_1", "forecast", 20_000): 6,
        Scope("gone-1", "", "forecast", 20_000): 2,
        Scope("market", "org_2", "forecast", 20_000): 7,
        Scope("", "org_2", "forecast", 20_000): 7,
        Scope("market", "", "forecast", 20_000): 3,
    }
    assert differences(database.engine) == []
    database.engine.dispose()


def migrate(engine: Engine, revision: str, *, is_up: bool = True) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        (command.upgrade if is_up else command.downgrade)(config, revision)


def test_a_new_file_that_two_open_at_the_same_moment_is_opened_by_both() -> None:
    """Red without the second try in `store.write_ahead`: the other was refused once in a dozen times."""
    asked = []

    class Refused:
        def execute(self, statement: str) -> None:
            asked.append(statement)
            if len(asked) < 3:
                raise sqlite3.OperationalError("database is locked")

    write_ahead(Refused())
    assert asked == ["PRAGMA journal_mode=WAL"] * 3


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "sqlite:////home/accounts.db"),
        # Whoever is told to use a database that `foretopic rebuild` made keeps the accounts.
        ({"database_url": "sqlite:////home/gateway-rebuilt.db"}, "sqlite:////home/accounts.db"),
        ({"database_url": "postgresql://h/one"}, "postgresql://h/one"),
        ({"database_url": "postgresql://h/two", "accounts_database_url": "postgresql://h/one"}, "postgresql://h/one"),
    ],
)
def test_where_accounts_are(given: dict[str, str], expected: str) -> None:
    assert GatewaySettings(home=Path("/home"), **given).accounts_url == expected


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    database = open_accounts(f"sqlite:///{tmp_path / 'home' / 'accounts.db'}", ManualClock())
    with database.read():
        modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "home").iterdir()}
    database.engine.dispose()

    # Goes red without `_protect`: the signing keys stand in it.
    assert modes["accounts.db"] == 0o600
    assert set(modes.values()) == {0o600}


@pytest.fixture(params=BOTH)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'both.db'}"
    return str(request.getfixturevalue("databases").empty())


def at_once(what: Any) -> list[Any]:
    """Return what ``what`` gave to threads that called it at the same moment."""
    barrier, found, faults = threading.Barrier(STARTS), [], []

    def call() -> None:
        barrier.wait(60)
        try:
            found.append(what())
        except Exception as error:  # noqa: BLE001  # shown by the test, and not lost with the thread
            faults.append(error)

    threads = [threading.Thread(target=call) for _ in range(STARTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert faults == []
    return found


def test_gateways_that_start_at_once_make_the_tables_once(empty_url: str) -> None:
    """Red on either database without the first statement of `upgrade`."""
    opened: list[AccountsDatabase] = at_once(lambda: open_accounts(empty_url, ManualClock()))

    assert len(opened) == STARTS
    assert differences(opened[0].engine) == []
    for database in opened:
        database.engine.dispose()


def test_gateways_that_start_at_once_sign_cookies_with_one_secret(empty_url: str) -> None:
    """Red where each that finds none keeps what it made itself."""
    database = open_accounts(empty_url, ManualClock())

    assert len(set(at_once(lambda: cookie_secret(database)))) == 1
    database.engine.dispose()


def test_what_another_gateway_changed_is_seen_within_five_seconds(tmp_path: Path) -> None:
    """Red with a longer `FRESH_SECONDS`: a key that was revoked there would be good here for longer than is told."""
    clock = ManualClock()
    here, there = (open_accounts(f"sqlite:///{tmp_path / 'accounts.db'}", clock) for _ in range(2))
    answers = select(func.count()).select_from(STORED_ANSWERS)
    seen = Fresh(here, lambda connection, key: f"{key}: {connection.scalar(answers)}")
    assert seen.get("answers") == "answers: 0"
    StoredAnswers(there).begin("somebody", "once", b"wish")

    at_once, _ = seen.get("answers"), clock.advance(5)

    assert (at_once, seen.get("answers")) == ("answers: 0", "answers: 1")
    for database in (here, there):
        database.engine.dispose()


def test_a_migration_that_fails_leaves_nothing(tmp_path: Path) -> None:
    scripts = tmp_path / "scripts"
    (scripts / "versions").mkdir(parents=True)
    (scripts / "env.py").write_text((Path(upgrade.__code__.co_filename).parent / "env.py").read_text())
    (scripts / "versions" / "0001_half.py").write_text(
        "from alembic import op\nrevision = '0001'\ndown_revision = None\n"
        "def upgrade():\n    op.execute('CREATE TABLE half (x INTEGER)')\n    op.execute('no such thing')\n"
    )
    engine = open_engine(f"sqlite:///{tmp_path / 'half.db'}")

    with pytest.raises(StoreUnavailable), translated():
        upgrade(engine, scripts)
    with engine.connect() as connection:
        # Goes red without BEGIN: the table would stand there, and the next start fail because of it.
        assert connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE name = 'half'").all() == []
    engine.dispose()
