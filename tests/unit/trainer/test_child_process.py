"""Jobs in child processes: what is told of every kind of end, and that no child outlives its parent."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from tests.factories import training_request
from tests.fakes import ManualClock
from trainer.child_process import ChildProcessRunner
from trainer.compose import task_of
from trainer.jobs import Died, Job, JobEvent, Progressed, Recorded, Refused, Trained
from trainer.settings import TrainerSettings

DEADLINE_SECONDS = 120.0


def new_runner(clock: ManualClock | None = None) -> ChildProcessRunner:
    return ChildProcessRunner(
        lambda job: task_of(TrainerSettings(), job),
        recording_timeout_seconds=60.0,
        clock=clock,
        module="tests.unit.trainer.children",
    )


def start(runner: ChildProcessRunner, training_id: str) -> None:
    runner.start(Job(request=training_request(training_id)))


def events_until(runner: ChildProcessRunner, *kinds: type[JobEvent]) -> list[JobEvent]:
    """Poll until an event of one of these kinds came, and return all that came."""
    found: list[JobEvent] = []
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not any(isinstance(event, kinds) for event in found):
        assert time.monotonic() < deadline, f"not within {DEADLINE_SECONDS} s, only {found}"
        found += runner.poll()
        # The child needs the processor to say something.
        threading.Event().wait(0.005)
    return found


@pytest.fixture
def runner() -> Iterator[ChildProcessRunner]:
    runner = new_runner()
    yield runner
    runner.close()


def test_events_come_in_order_and_the_last_one_after_the_process_has_ended(runner: ChildProcessRunner) -> None:
    start(runner, "good")
    process_id = runner.processes()["good"]

    events = events_until(runner, Recorded)

    assert [type(event) for event in events] == [Progressed, Trained, Recorded]
    assert not psutil.pid_exists(process_id)
    assert runner.processes() == {}


def test_refusal_is_told_with_its_reason(runner: ChildProcessRunner) -> None:
    start(runner, "refused")

    assert events_until(runner, Refused, Died)[-1] == Refused(training_id="refused", reason="too-little-history")


@pytest.mark.parametrize(
    ("training_id", "reason"),
    [
        ("raises", "ended with exit status 1, its log says why"),
        ("killed", "was killed by SIGKILL, which the kernel also sends when memory is short"),
        ("cut-off", "was killed by SIGSEGV"),
    ],
)
def test_death_is_told_with_its_cause(runner: ChildProcessRunner, training_id: str, reason: str) -> None:
    # `cut-off`: red when half a line is taken for an event.
    start(runner, training_id)

    *_, last = events_until(runner, Died, Refused)

    assert isinstance(last, Died)
    assert last.reason == f"the training process {reason}"


def test_child_that_records_for_too_long_is_killed() -> None:
    clock = ManualClock()
    runner = new_runner(clock)
    start(runner, "records-for-ever")
    events_until(runner, Trained)
    assert runner.poll() == []

    clock.advance(61.0)

    assert events_until(runner, Died) == [
        Died(training_id="records-for-ever", reason="recording took longer than 60 s")
    ]


def test_cancelled_job_leaves_no_process_and_no_event(runner: ChildProcessRunner) -> None:
    start(runner, "sleeps")
    events_until(runner, Progressed)
    process = psutil.Process(runner.processes()["sleeps"])

    runner.cancel("sleeps")

    assert not process.is_running()
    assert runner.poll() == []
    start(runner, "sleeps")
    runner.close()
    assert runner.processes() == {}


def test_training_runs_once_at_a_time(runner: ChildProcessRunner) -> None:
    start(runner, "sleeps")

    with pytest.raises(ValueError, match="training sleeps runs already"):
        start(runner, "sleeps")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_child_leaves_signals_to_its_parent(runner: ChildProcessRunner, number: int) -> None:
    # Red without the ignored signals in `bind_life_to`: a stop of the whole group would count as a failed attempt.
    start(runner, "sleeps")
    events_until(runner, Progressed)
    process = psutil.Process(runner.processes()["sleeps"])

    process.send_signal(number)

    with pytest.raises(psutil.TimeoutExpired):
        process.wait(0.3)


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_child_dies_with_its_parent() -> None:
    # Red without PR_SET_PDEATHSIG in `bind_life_to`.
    parent = subprocess.Popen([sys.executable, "-m", "tests.unit.trainer.parent"], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout as output:
        child = psutil.Process(int(output.readline()))

        parent.kill()
        parent.wait(DEADLINE_SECONDS)

    gone, _ = psutil.wait_procs([child], timeout=DEADLINE_SECONDS)
    assert gone
