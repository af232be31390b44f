"""The decisions of the trainer, each alone and under any interleaving of faults."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from runtime.errors import InvalidMessage
from schemas.models import Deployment, ModelReleased
from schemas.trainings import TrainingEvent
from tests.unit.trainer.world import STEPS, World, cancel, job_events, release, request
from trainer.core import Start, Stop
from trainer.jobs import Died, Progressed, Refused


def states(world: World, training_id: str) -> list[str]:
    return [event.state for event in world.events(training_id)]


def test_training_is_told_released_deployed_and_ended_in_this_order() -> None:
    world = World()
    world.append(0, request("a"))

    world.drain()

    told = [(topic, record.state if isinstance(record, TrainingEvent) else "") for topic, record in world.log]
    progress = [("training-events", "progress")] * 3
    assert told == [
        ("training-events", "queued"),
        ("training-events", "running"),
        *progress,
        ("models", ""),
        ("deployments", ""),
        ("training-events", "succeeded"),
    ]
    end = world.ends("a")[0]
    assert end.version == release(request("a")).version
    assert end.mlflow_run_id == "run-a"
    assert end.metrics == {"mae": 1.5, "skill.last-value": 0.25}
    assert world.committed[0] == 1


def test_deployment_counts_only_where_there_is_no_champion() -> None:
    world = World()
    world.append(0, request("a"))

    world.drain()

    (deployment,) = [record for _, record in world.log if isinstance(record, Deployment)]
    assert deployment.only_if_first
    assert deployment.role == "champion"


def test_offset_is_not_committed_before_the_final_event_is_acknowledged() -> None:
    # Red when `Trainer.committable` returns the next offset instead of the oldest unfinished one.
    world = World()
    world.append(0, request("a"))
    world.read(0)

    while not world.ends("a"):
        world.commit()
        assert world.committed[0] == 0
        if not world.publish(acknowledged=False):
            world.work()
            continue
        world.commit()
        assert world.committed[0] == 0
        world.core.sent()

    world.commit()
    assert world.committed[0] == 1


def test_finished_request_behind_an_unfinished_one_is_not_committed() -> None:
    world = World(parallel=2)
    world.append(0, request("long"))
    world.append(0, request("short"), gap=3)
    world.read(0)
    world.read(0)
    world.obey()
    del world.jobs["long"]
    world.drain()

    assert world.ends("short")
    assert not world.ends("long")
    assert world.committed[0] == 0


def test_no_more_trainings_run_than_allowed() -> None:
    world = World(parallel=2)
    for training_id in ("a", "b", "c"):
        world.append(0, request(training_id))
        world.read(0)

    orders = world.core.orders()

    assert [order.job.request.training_id for order in orders if isinstance(order, Start)] == ["a", "b"]


def test_refused_training_fails_with_its_reason_and_releases_nothing() -> None:
    world = World()
    world.append(0, request("bad"))

    world.drain()

    (end,) = world.ends("bad")
    assert (end.state, end.reason) == ("failed", "horizon must be <= 5, was 10")
    assert not [record for _, record in world.log if isinstance(record, ModelReleased | Deployment)]


def test_waiting_training_is_cancelled_without_a_start() -> None:
    world = World()
    for record in (request("a"), request("b"), cancel("b", reason="not needed")):
        world.append(0, record)
        world.read(0)

    world.drain()

    assert states(world, "b") == ["queued", "cancelled"]
    assert world.ends("b")[0].reason == "not needed"
    assert world.ends("a")[0].state == "succeeded"


def test_running_training_is_stopped_when_cancelled() -> None:
    world = World()
    world.append(0, request("a"))
    world.read(0)
    world.work()
    world.append(0, cancel("a"))
    world.read(0)

    assert world.core.orders() == [Stop("a")]
    world.core.on_job(Progressed(training_id="a", index=1, stage="fitting", fraction=0.5))
    world.drain()

    assert states(world, "a") == ["queued", "running", "progress", "cancelled"]
    assert world.committed[0] == 2


def test_cancel_after_the_release_changes_nothing() -> None:
    world = World()
    world.append(0, request("a"))
    world.read(0)
    while not any(isinstance(record, ModelReleased) for _, record in world.log):
        if not world.publish():
            world.work()
    world.append(0, cancel("a"))

    world.drain()

    assert world.ends("a")[0].state == "succeeded"


def test_cancel_after_a_restart_does_not_undo_the_release() -> None:
    world = World()
    world.append(0, request("a"))
    world.append(0, cancel("a"))
    world.read(0)
    while not any(isinstance(record, ModelReleased) for _, record in world.log):
        if not world.publish():
            world.work()
    world.restart()
    world.read(0)
    world.read(0)

    world.drain()

    assert world.ends("a")[0].state == "succeeded"


@pytest.mark.parametrize("training_id", ["never", "a"])
def test_cancel_of_what_is_unknown_or_ended_changes_nothing(training_id: str) -> None:
    world = World()
    world.append(0, request("a"))
    world.drain()
    before = len(world.log)
    world.append(0, cancel(training_id))

    world.drain()

    assert len(world.log) == before
    assert world.committed[0] == 2


def test_repeated_request_trains_once() -> None:
    world = World()
    for _ in range(2):
        world.append(0, request("a"))
        world.read(0)
    world.drain()
    world.append(0, request("a"))

    world.drain()

    assert sum(topic == "models" for topic, _ in world.log) == 1
    assert world.committed[0] == 3


def test_request_that_is_delivered_again_is_no_repeat_of_itself() -> None:
    """Red without ``knows`` in `Trainer.receive`: its offset would be committed before it has ended."""
    world = World()
    world.append(0, request("a"))
    world.read(0)

    world.core.receive(0, 0, request("a"))

    assert world.core.committable() == {0: 0}
    world.drain()
    assert world.committed[0] == 1


def test_other_request_under_a_known_id_is_refused() -> None:
    world = World()
    world.append(0, request("a"))
    world.append(0, request("a", seed=7))
    world.read(0)

    with pytest.raises(
        InvalidMessage, match="training_id a already stands for another request at partition 0, offset 0"
    ):
        world.read(0)
    world.core.skip(0, 1)
    world.drain()

    assert world.committed[0] == 2


def test_died_training_begins_again_and_fails_after_its_last_attempt() -> None:
    # Red without the bound on attempts in `_died`: a training that exhausts memory would restart for ever.
    world = World(max_attempts=3)
    world.append(0, request("a"))
    world.read(0)
    for _ in range(3):
        world.work()
        world.kill_job()
    world.drain()

    assert states(world, "a") == ["queued", "running", "progress", "progress", "progress", "failed"]
    warnings = [event.reason for event in world.events("a") if event.state == "progress" and event.reason]
    assert warnings[0] == "killed by signal 9 (attempt 1 of 3): the training begins again"
    assert world.ends("a")[0].reason == "killed by signal 9 (attempt 3, the last)"


def test_job_that_dies_after_the_release_does_not_undo_it() -> None:
    world = World()
    world.append(0, request("a"))
    world.read(0)
    while not any(isinstance(record, ModelReleased) for _, record in world.log):
        if not world.publish():
            world.work()
    world.kill_job()

    world.drain()

    (end,) = world.ends("a")
    assert (end.state, end.mlflow_run_id) == ("succeeded", None)
    assert world.events("a")[-2].reason == "the run is not recorded: killed by signal 9"


def test_release_in_the_log_is_not_trained_again_but_completed() -> None:
    world = World()
    world.append(0, request("a"))
    world.read(0)
    while not any(isinstance(record, ModelReleased) for _, record in world.log):
        if not world.publish(acknowledged=False):
            world.work()
            continue
        if not isinstance(world.log[-1][1], ModelReleased):
            world.core.sent()
    world.restart()
    world.read(0)

    (order,) = world.core.orders()

    assert isinstance(order, Start)
    assert order.job.release_offset == len(world.log) - 1
    world.restart()
    world.drain()
    world.check_ends()
    assert sum(topic == "models" for topic, _ in world.log) == 1


def test_version_that_another_member_released_first_stands() -> None:
    """Red without the comparison in `Trainer._release`, or when a later release counts in `Ledger.learn`."""
    world = World()
    world.append(0, request("a"))
    world.read(0)
    for _ in range(STEPS):
        world.work()
    first, second = (structs.replace(release(request("a")), version=letter * 16) for letter in "ef")
    world.core.learn(first, 5)
    world.core.learn(second, 6)

    world.drain()

    assert [record.version for _, record in world.log if isinstance(record, Deployment)] == [first.version]
    assert not [record for _, record in world.log if isinstance(record, ModelReleased)]
    assert [(end.state, end.version) for end in world.ends("a")] == [("succeeded", first.version)]


def test_deployment_in_the_log_is_not_published_again() -> None:
    """Red without `is_deployed` in `Trainer._deploy`."""
    world = World()
    world.append(0, request("a"))
    while not any(isinstance(record, Deployment) for _, record in world.log):
        assert world.advance()
    world.restart()

    world.drain()

    assert world.ends("a")
    assert sum(topic == "deployments" for topic, _ in world.log) == 1


def test_artefact_that_cannot_be_published_fails_the_training() -> None:
    world = World()
    world.append(0, request("a"))
    world.read(0)
    while world.core.outgoing() is None or not isinstance(world.core.outgoing().record, ModelReleased):
        if not world.publish():
            world.work()
    world.core.rejected("message of 33554433 bytes is over the limit of models")

    world.drain()

    (end,) = world.ends("a")
    assert (end.state, end.version) == ("failed", None)
    assert "over the limit" in end.reason
    assert not [record for _, record in world.log if isinstance(record, Deployment)]


def test_partition_with_too_many_unfinished_messages_is_full() -> None:
    world = World()
    world.core._read_ahead = 2
    for training_id in ("a", "b"):
        world.append(0, request(training_id))
        world.append(1, request(f"other-{training_id}", series="market/B@1d"))
        world.read(0)
    world.read(1)
    assert world.core.full == {0}

    world.drain()
    assert world.core.full == frozenset()


def test_job_survives_a_rebalance_that_returns_its_partition() -> None:
    # Red when `revoked` stops jobs at once: each member that joins or leaves would restart every training.
    world = World()
    world.append(0, request("a"))
    world.read(0)
    world.work()
    job = world.jobs["a"]
    world.rebalance()
    world.work()
    world.read(0)

    assert world.core.orders() == []
    assert world.jobs["a"] is job
    world.drain()
    world.check_ends()


def test_job_whose_release_was_lost_in_a_rebalance_is_begun_again() -> None:
    world = World()
    world.append(0, request("a"))
    world.read(0)
    while len(world.jobs.get("a", [None] * 2)) > 1:
        world.work()
    world.rebalance()
    world.read(0)

    stop, start = world.core.orders()
    assert stop == Stop("a")
    assert isinstance(start, Start)
    world.jobs = {"a": job_events(start.job)}
    world.drain()
    world.check_ends()
    assert world.ends("a")[0].state == "succeeded"


def test_job_of_a_lost_partition_is_stopped() -> None:
    world = World()
    world.append(0, request("a"))
    world.read(0)
    world.work()
    world.publish()
    world.core.revoked([0, 1])
    assert world.core.orders() == []

    world.core.assigned([1])

    assert world.core.orders() == [Stop("a")]
    assert world.core.outgoing() is None
    assert world.core.committable() == {}


def test_training_that_another_member_ended_is_left() -> None:
    world = World()
    world.append(0, request("a"))
    world.read(0)
    world.work()
    other = World()
    other.append(0, request("a"))
    other.drain()

    for offset, (_, record) in enumerate(other.log):
        world.core.learn(record, offset)

    assert world.core.orders() == [Stop("a")]
    assert world.core.outgoing() is None
    assert world.core.committable() == {0: 1}


def test_late_report_of_a_stopped_job_is_ignored() -> None:
    world = World()
    for event in (Died(training_id="gone", reason="x"), Refused(training_id="gone", reason="x")):
        world.core.on_job(event)

    assert world.core.outgoing() is None


#: What may happen next, each name as often as it should be likely.
ACTIONS = (
    *(
        "advance",
        "advance",
        "advance",
        "advance",
        "advance",
        "advance",
        "read-0",
        "read-1",
        "work",
        "publish",
        "commit",
    ),
    *("lose-acknowledgement", "echo", "kill-job", "rebalance", "crash"),
)
TRAININGS = (
    ("a", 0, "market/AAPL@1d"),
    ("b", 0, "market/AAPL@1d"),
    ("bad-c", 0, "market/AAPL@1d"),
    ("d", 1, "market/MSFT@1d"),
)
MESSAGES = st.one_of(
    st.sampled_from(TRAININGS).map(lambda one: (one[1], request(one[0], series=one[2]))),
    st.sampled_from(TRAININGS).map(lambda one: (one[1], cancel(one[0]))),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    messages=st.lists(MESSAGES, min_size=1, max_size=7),
    actions=st.lists(st.sampled_from(ACTIONS), max_size=80),
    parallel=st.integers(1, 2),
)
def test_any_interleaving_ends_each_training_once(messages: list[Any], actions: list[str], parallel: int) -> None:
    world = World(parallel=parallel)
    for index, (partition, record) in enumerate(messages):
        world.append(partition, record, gap=index % 2)
    steps = {
        "advance": world.advance,
        "read-0": lambda: world.read(0),
        "read-1": lambda: world.read(1),
        "work": world.work,
        "publish": world.publish,
        "lose-acknowledgement": lambda: world.publish(acknowledged=False),
        "echo": world.echo,
        "commit": world.commit,
        "kill-job": world.kill_job,
        "rebalance": world.rebalance,
        "crash": world.restart,
    }

    for action in actions:
        steps[action]()
        world.check_commits()
    world.drain()

    world.check_commits()
    world.check_ends()
    for partition, entries in world.requests.items():
        assert world.committed[partition] == (entries[-1][0] + 1 if entries else 0), "nothing is left to read"
