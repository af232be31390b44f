from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.accounts.database import AccountsDatabase
from schemas.topics import DEPLOYMENTS, MODELS, OBSERVATIONS
from tests import factories
from tests.unit.gateway.world import Responder, World, running

#: For the fixture `database` of a module.
BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@pytest.fixture(scope="session", autouse=True)
def _no_midnight() -> Iterator[None]:
    """What a day brings is counted by the days of the clock: where one ends within a test, more of it is let in."""
    day = 86_400_000_000
    to_noon = day // 2 - time.time_ns() // 1000 % day
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AccountsDatabase, "today", lambda self: (self.now_us() + to_noon) // day)
        yield


@pytest.fixture(scope="module")
def database() -> str:
    """Which database a module is tested on; a module about the store has a fixture of this name with both."""
    return "sqlite"


@pytest.fixture(scope="module")
def new_database(request: pytest.FixtureRequest, database: str) -> Callable[[], str]:
    """Makes the URL of a migrated database; empty stands for SQLite in the folder of the test."""
    if database == "sqlite":
        return str
    made: Callable[[], str] = request.getfixturevalue("databases").new
    return made


@pytest.fixture
def world(tmp_path: Path, new_database: Callable[[], str]) -> Iterator[World]:
    """A gateway that has read one series, one release and its deployment."""
    with running(tmp_path, database_url=new_database()) as started:
        fill(started)
        yield started


@pytest.fixture(scope="module")
def shared_world(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str]) -> Iterator[World]:
    """One for all tests of a module that leave nothing behind."""
    with running(tmp_path_factory.mktemp("gateway"), database_url=new_database()) as started:
        fill(started)
        yield started


def fill(world: World) -> None:
    world.publish(OBSERVATIONS, factories.observation_batch())
    world.publish(MODELS, factories.model_release())
    world.publish(DEPLOYMENTS, factories.deployment())
    world.settle()


@pytest.fixture
def predictor(world: World) -> Iterator[Responder]:
    with Responder(world.broker) as responder:
        yield responder
