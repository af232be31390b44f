"""A training releases one version: the first that stands in the log, also where a budget let two members differ."""

from __future__ import annotations

import msgspec

from schemas.models import Deployment, ModelReleased
from tests.unit.trainer.world import World, release, request
from trainer.core import Start, Stop
from trainer.jobs import Trained


def other(training_id: str) -> ModelReleased:
    """A version that another member made of the same request under a budget."""
    found = release(request(training_id))
    return msgspec.structs.replace(found, version="f" * 16, artefact_digest="f" * 64)


def test_a_version_that_another_member_released_first_is_kept() -> None:
    # Red without the question for a known release in `Trainer._release`.
    world = World()
    world.append(0, request("training-1"))
    world.core.receive(0, 0, request("training-1"))
    (start,) = world.core.orders()
    assert isinstance(start, Start)
    world.core.learn(other("training-1"), 7)

    world.core.on_job(Trained(training_id="training-1", release=release(request("training-1"))))

    stop, again = world.core.orders()
    assert stop == Stop("training-1")
    assert isinstance(again, Start)
    assert again.job.release_offset == 7
    published = []
    while (outgoing := world.core.outgoing()) is not None:
        published.append(outgoing.record)
        world.core.sent()
    assert not [record for record in published if isinstance(record, ModelReleased)]
    (deployment,) = [record for record in published if isinstance(record, Deployment)]
    assert deployment.version == "f" * 16


def test_the_first_version_in_the_log_is_that_of_the_training() -> None:
    # Red where `Ledger.learn` takes the last one.
    world = World()
    first = release(request("training-1"))
    world.core.learn(first, 3)
    world.core.learn(other("training-1"), 4)

    known = world.core.ledger.release_of("training-1")

    assert known is not None
    assert (known.version, known.offset) == (first.version, 3)
