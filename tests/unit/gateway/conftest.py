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
        started.publish(OBSERVATIONS, factories.observation_batch())
        started.publish(MODELS, factories.model_release())
        started.publish(DEPLOYMENTS, factories.deployment())
        started.settle()
        yield started


@pytest.fixture
def predictor(world: World) -> Iterator[Responder]:
    with Responder(world.broker) as responder:
        yield responder
