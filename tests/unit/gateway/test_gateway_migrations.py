"""A database of an earlier version: what it lacks is read from the log again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine, insert, select

import gateway.migrations.upgrade as migrations
from gateway.migrations.upgrade import upgrade
from gateway.store import Store, open_engine
from gateway.tables import METADATA, POSITIONS
from runtime.broker import TopicPartition
from schemas import topics
from tests import factories
from tests.unit.gateway.conftest import BOTH
from tests.unit.gateway.world import contents, every_record, running


def migrate(engine: Engine, revision: str, *, is_up: bool = True) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        (command.upgrade if is_up else command.downgrade)(config, revision)


def test_the_migrations_make_the_tables_of_today_and_can_be_undone(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'gateway.db'}")
    for revision, is_up in (("head", True), ("base", False), ("head", True)):
        migrate(engine, revision, is_up=is_up)

    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    engine.dispose()


def test_observations_of_an_earlier_version_are_read_from_the_log_again(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'gateway.db'}")
    migrate(engine, "0002")
    places = [(name, 0) for name in ("observations", "acme-observations", "models")]
    with engine.begin() as connection:
        rows = [
            {"topic": topic, "partition": number, "next_offset": 9, "last_record_ms": 1} for topic, number in places
        ]
        connection.execute(insert(POSITIONS), rows)
    upgrade(engine)

    # Goes red without the DELETE in the migration: what stood before the position would never be read again.
    assert set(Store(engine).positions()) == {TopicPartition("models", 0)}
    engine.dispose()


def test_a_gateway_on_an_earlier_database_ends_with_every_version(tmp_path: Path) -> None:
    restated = factories.observation_batch(rows=2, columns={"close": (7.0, 8.0)}, kind="restatement", reason="late")
    with running(tmp_path) as world:
        for batch in (factories.observation_batch(), restated):
            world.publish(topics.OBSERVATIONS, batch)
        world.settle()
        whole = contents(world.store)
    migrate(world.store.engine, "0002", is_up=False)
    with world.store.engine.connect() as connection:
        assert connection.execute(select(POSITIONS.c.topic).where(POSITIONS.c.topic == "observations")).all() == []
    upgrade(world.store.engine)

    with running(tmp_path, broker=world.broker) as again:
        again.settle()
        found = contents(again.store)
    observed = [name for name in whole if name.startswith("observation") or name == "series"]
    assert len(observed) == 4
    assert {name: found[name] for name in observed} == {name: whole[name] for name in observed}
    world.store.engine.dispose()


@pytest.mark.parametrize("database", BOTH, scope="module")
def test_a_gateway_on_a_database_without_history_ends_with_the_whole_one(
    tmp_path: Path, new_database: Callable[[], str]
) -> None:
    url = new_database()
    with running(tmp_path, database_url=url) as world:
        for topic, record in every_record():
            world.publish(topic, record)
        world.settle()
        whole = contents(world.store)
    migrate(world.store.engine, "0004", is_up=False)
    upgrade(world.store.engine)
    # Trainings and ingests are filled from their rows: the log may have let go of them.
    again = contents(world.store)
    assert (again["trainings"], again["ingests"]) == (whole["trainings"], whole["ingests"])
    assert again["forecast_requests"] == again["usage"] == []

    # Goes red without the DELETE in the migration, as requests that were read would not be read again.
    with running(tmp_path, broker=world.broker, database_url=url) as started:
        started.settle()
        assert contents(started.store) == whole
    world.store.engine.dispose()
