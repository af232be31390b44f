"""The projection made anew from offset 0: the same rows, in a database of its own, beside a running gateway."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import inspect

from gateway.rebuilding import DatabaseInUse, RebuildFailed, rebuild
from gateway.store import Store
from runtime.broker import OutgoingMessage, TopicPartition
from runtime.clock import SystemClock
from runtime.errors import BrokerUnavailable
from runtime.memory_broker import MemoryBroker
from schemas.identity import digest_of
from tests.postgres import Databases
from tests.unit.gateway.conftest import BOTH
from tests.unit.gateway.world import World, contents, every_record, running


@pytest.fixture(scope="module", params=BOTH)
def database(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def empty_url(tmp_path: Path, database: str, request: pytest.FixtureRequest) -> str:
    if database == "sqlite":
        return f"sqlite:///{tmp_path / 'rebuilt.db'}"
    databases: Databases = request.getfixturevalue("databases")
    return databases.empty()


def made_anew(world: World, url: str) -> tuple[Store, list[tuple[int, int]]]:
    told: list[tuple[int, int]] = []
    store = rebuild(
        url,
        broker=world.broker,
        clock=SystemClock(),
        topic_prefix="",
        on_progress=lambda done, total: told.append((done, total)),
    )
    return store, told


def test_rebuilt_rows_are_those_of_the_running_gateway(
    tmp_path: Path, new_database: Callable[[], str], empty_url: str
) -> None:
    with running(tmp_path / "first", database_url=new_database()) as world:
        for topic, record in every_record():
            world.publish(topic, record)
        world.broker.producer().send(OutgoingMessage("models", b"k", b"junk", (), 0)).result(5.0)
        world.settle()
        letters = world.broker.end_offsets(places_of_letters())

        rebuilt, told = made_anew(world, empty_url)

        found, expected = contents(rebuilt), contents(world.store)
        # The digest of every table, position and count.
        assert digest_of(found) == digest_of(expected)
        assert len(expected["forecast_requests"]) == 4
        assert told[-1][0] == told[-1][1] > 30
        # The gateway buried the junk once; goes red when a rebuild does so again.
        assert world.broker.end_offsets(places_of_letters()) == letters
        tables = inspect(rebuilt.engine).get_table_names()
        assert "users" not in tables
        rebuilt.engine.dispose()


def places_of_letters() -> list[TopicPartition]:
    return [TopicPartition("dead-letters", number) for number in range(12)]


def test_a_database_with_a_projection_is_refused_and_left_alone(
    tmp_path: Path, new_database: Callable[[], str]
) -> None:
    with running(tmp_path, database_url=new_database()) as world:
        for topic, record in every_record():
            world.publish(topic, record)
        world.settle()
        before = contents(world.store)
        url = world.store.engine.url.render_as_string(hide_password=False)

        # Goes red without the look at the tables in `rebuild`.
        with pytest.raises(DatabaseInUse, match="name another, new one"):
            made_anew(world, url.replace("+psycopg", ""))

        assert contents(world.store) == before


def test_without_a_broker_or_topics_nothing_is_made(tmp_path: Path) -> None:
    path = tmp_path / "rebuilt.db"
    broker = MemoryBroker()

    def rebuild_it() -> None:
        def began(done: int, total: int) -> None:
            pytest.fail(f"a projection was begun: {done} of {total}")

        rebuild(f"sqlite:///{path}", broker=broker, clock=SystemClock(), topic_prefix="", on_progress=began)

    # Red without `_require_log` in `rebuild`, which waits for ever then.
    with pytest.raises(RebuildFailed, match="topic observations must exist"):
        rebuild_it()
    broker.stop_answering()
    with pytest.raises(BrokerUnavailable):
        rebuild_it()
    assert not path.exists()


def test_a_log_that_cannot_be_projected_ends_it(
    tmp_path: Path, empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    for topic, record in every_record():
        world.publish(topic, record)
    monkeypatch.setattr(Store, "apply", lambda *_: 1 / 0)

    with pytest.raises(RebuildFailed, match="division by zero"):
        made_anew(world, empty_url)
    world.close()
