"""The trainer on a real Kafka: trainings end to end, kills, cancellations, membership, MLflow near and away."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from runtime.clock import SystemClock
from runtime.health import Health
from runtime.kafka_broker import KafkaBroker
from schemas.models import Deployment, ModelReleased
from schemas.topics import TRAINING_REQUESTS
from tests.factories import training_cancel_request
from tests.integration import held_child
from tests.integration.trainer_process import TINY_LSTM, Client, trainer_process
from trainer import compose
from trainer.metrics import TrainerMetrics
from trainer.settings import TrainerSettings

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

#: Never fits within a test.
ENDLESS_LSTM = {
    "algorithm": "lstm",
    "hyperparameters": {"layers": "64,64", "epochs": 2000, "patience": 1000, "refits": 1},
}


@pytest.fixture
def client(kafka: str, topic_prefix: str) -> Iterator[Client]:
    client = Client(kafka, topic_prefix)
    yield client
    client.close()


@pytest.mark.parametrize("algorithm", ["drift", "linear"])
def test_training_ends_in_one_release_and_one_deployment(client: Client, tmp_path: Path, algorithm: str) -> None:
    client.request("training-1", algorithm=algorithm, as_of=client.history())

    with trainer_process(client, tmp_path):
        end = client.wait_for_end("training-1")
        client.wait_until(lambda: client.committed() == 1, what="the request is committed")

    assert (end.state, end.reason) == ("succeeded", "")
    (release,) = client.records(ModelReleased)
    (deployment,) = client.records(Deployment)
    assert (release.algorithm, release.version) == (algorithm, end.version)
    assert deployment.version == release.version
    assert {"reading", "backtest", "calibration", "export"} <= {event.stage for event in client.events("training-1")}


def test_killed_trainer_resumes_with_one_release_one_deployment_and_one_end(client: Client, tmp_path: Path) -> None:
    # Red without `bind_life_to` in `trainer.child`: the child of the killed trainer trains on.
    client.request("training-1", **TINY_LSTM, as_of=client.history())
    with trainer_process(client, tmp_path, held_at="epoch") as trainer:
        client.wait_until(
            lambda: any(event.stage == "fitting" and event.epoch for event in client.events("training-1")),
            what="the training is under way",
        )
        (child,) = trainer.children()
        trainer.kill()
        gone, _ = psutil.wait_procs([child], timeout=60)
        assert gone, "the child dies with its trainer"
    assert not client.ends("training-1")
    assert client.committed() == 0

    with trainer_process(client, tmp_path):
        end = client.wait_for_end("training-1")
        client.wait_until(lambda: client.committed() == 1, what="the request is committed")

    assert end.state == "succeeded"
    assert len(client.records(ModelReleased)) == 1
    assert len(client.records(Deployment)) == 1
    events = client.events("training-1")
    assert [event.sequence for event in events] == list(range(len(events)))


def test_killed_child_is_tried_again(client: Client, tmp_path: Path) -> None:
    client.request("training-1", as_of=client.history())
    with trainer_process(client, tmp_path, held_at="reading") as trainer:
        client.wait_until(lambda: client.events("training-1")[2:], what="the training runs")
        (child,) = trainer.children()
        child.kill()
        trainer.let_go()
        end = client.wait_for_end("training-1")

    assert end.state == "succeeded"
    (warning,) = [event.reason for event in client.events("training-1") if event.reason]
    assert "killed by SIGKILL" in warning
    assert "attempt 1 of 3" in warning


def test_training_survives_a_stop_for_the_whole_process_group(client: Client, tmp_path: Path) -> None:
    # Red without the ignored signals in `bind_life_to` and `start_new_session`: the child's death is told as a failure.
    client.request("training-1", as_of=client.history())
    with trainer_process(client, tmp_path, held_at="reading", max_attempts=1) as trainer:
        client.wait_until(lambda: client.events("training-1")[2:], what="the training runs")
        assert trainer.interrupt(signal.SIGTERM) == 0
    assert not client.ends("training-1")

    with trainer_process(client, tmp_path, max_attempts=1):
        assert client.wait_for_end("training-1").state == "succeeded"


def test_running_and_queued_trainings_are_cancelled(client: Client, tmp_path: Path) -> None:
    as_of = client.history(rows=2_000)
    client.request("running", **ENDLESS_LSTM, as_of=as_of)
    client.request("queued", as_of=as_of)
    with trainer_process(client, tmp_path) as trainer:
        client.wait_until(
            lambda: any(event.stage == "fitting" for event in client.events("running")), what="the training runs"
        )
        (child,) = trainer.children()
        client.write(TRAINING_REQUESTS, training_cancel_request("queued", reason="second thoughts"))
        assert client.wait_for_end("queued").reason == "second thoughts"
        assert child.is_running()
        assert client.committed() == 0, "nothing is committed past the running one"
        client.write(TRAINING_REQUESTS, training_cancel_request("running"))
        assert client.wait_for_end("running").state == "cancelled"
        gone, _ = psutil.wait_procs([child], timeout=60)
        assert gone
        client.wait_until(lambda: client.committed() == 4, what="all four messages are committed")

    assert client.ends("queued")[0].state == "cancelled"
    assert not client.records(ModelReleased)


def test_membership_outlives_a_training_that_is_longer_than_the_poll_interval(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Red when jobs run within the loop (`InProcessRunner`): nothing is held then, and the training has ended.
    # The interval is as long as a member may be silent in any case.
    interval = 10.0
    hold = tmp_path / "hold"
    hold.write_text("reading")
    monkeypatch.setenv(held_child.HOLD, str(hold))
    runner = partial(compose.ChildProcessRunner, module=held_child.__name__)
    monkeypatch.setattr(compose, "ChildProcessRunner", runner)
    settings = TrainerSettings(kafka_bootstrap_servers=client.bootstrap_servers, topic_prefix=client.prefix)
    broker = KafkaBroker(client.bootstrap_servers, client_id="trainer", max_poll_interval_seconds=interval)
    trainer = compose.build(settings, broker=broker, metrics=TrainerMetrics(), health=Health(SystemClock()))
    assignments: list[object] = []
    assigned = trainer._core.assigned
    trainer._core.assigned = lambda numbers: (assignments.append(numbers), assigned(numbers))[1]  # type: ignore[method-assign]
    stop = threading.Event()
    thread = threading.Thread(target=trainer.run, args=(stop,))
    client.request("training-1", as_of=client.history())
    thread.start()
    try:
        client.wait_until(
            lambda: any(event.state == "progress" for event in client.events("training-1")), what="it has begun"
        )
        held = client.clock.monotonic()
        client.wait_until(lambda: client.clock.monotonic() - held > 1.5 * interval, what="longer than the interval")
        assert not client.ends("training-1")
        hold.unlink()
        assert client.wait_for_end("training-1").state == "succeeded"
    finally:
        stop.set()
        thread.join(60)
    broker.close()

    assert len(assignments) == 1
