from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.topics import DEPLOYMENTS, MODELS, OBSERVATIONS
from tests import factories
from tests.unit.gateway.world import Responder, World, running


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A gateway that has read one series, one release and its deployment."""
    with running(tmp_path) as started:
        fill(started)
        yield started


@pytest.fixture(scope="module")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for all tests of a module that leave nothing behind."""
    with running(tmp_path_factory.mktemp("gateway")) as started:
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
