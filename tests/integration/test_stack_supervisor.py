"""Child processes under supervision: started again, stopped in order, never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from foretopic.errors import NotReady, ProcessDied
from foretopic.processes import wait_until
from foretopic.supervisor import ServiceSpec, Supervisor
from runtime.clock import SystemClock
from tests.integration.installation import is_gone

pytestmark = pytest.mark.e2e
SECONDS = 60.0


def eventually(condition) -> None:
    assert wait_until(condition, clock=SystemClock(), deadline_seconds=SECONDS)


def spec(tmp_path: Path, name: str, script: str, **changes) -> ServiceSpec:
    """Return a service that runs a shell script in the folder of the test."""
    values = {
        "command": lambda: ["/bin/sh", "-c", f"cd {tmp_path}; {script}"],
        "environment": dict(os.environ),
        "log_path": tmp_path / f"{name}.log",
        "is_ready": lambda: True,
        "stop_seconds": 60.0,
    }
    return ServiceSpec(name=name, **values | changes)


@pytest.fixture
def supervise(clock):
    """Makes supervisors and stops them at the end."""
    made = []

    def make(*specs: ServiceSpec, **options) -> Supervisor:
        supervisor = Supervisor(specs, **{"clock": clock} | options)
        made.append(supervisor)
        return supervisor

    yield make
    for supervisor in made:
        supervisor.kill()
        supervisor.stop()


def entry(supervisor: Supervisor, name: str):
    return next(found for found in supervisor.entries if found.name == name)


def pid_of(supervisor: Supervisor, name: str) -> int:
    mark = entry(supervisor, name).process
    assert mark is not None
    return mark.pid


def tick_until(supervisor: Supervisor, name: str, state: str) -> None:
    def is_there() -> bool:
        supervisor.tick()
        return entry(supervisor, name).state == state

    eventually(is_there)


def test_killed_service_is_started_again_after_a_pause(tmp_path, clock, supervise):
    # Goes red without the `waiting` branch in Supervisor.tick.
    notices: list[str] = []
    supervisor = supervise(spec(tmp_path, "worker", "exec sleep 1000"), notice=notices.append)
    supervisor.start(["worker"])
    tick_until(supervisor, "worker", "running")
    first = pid_of(supervisor, "worker")
    os.kill(first, signal.SIGKILL)
    tick_until(supervisor, "worker", "waiting")
    assert "worker ended with SIGKILL" in notices[0]
    clock.advance(0.49)
    supervisor.tick()
    assert entry(supervisor, "worker").state == "waiting"
    clock.advance(0.02)
    tick_until(supervisor, "worker", "running")
    assert pid_of(supervisor, "worker") != first
    assert entry(supervisor, "worker").restarts == 1
    assert entry(supervisor, "worker").last_end == "SIGKILL"


def test_pause_doubles_up_to_its_longest_and_starts_over_after_a_steady_run(tmp_path, clock, supervise):
    notices: list[str] = []
    supervisor = supervise(spec(tmp_path, "worker", "exec sleep 1000"), notice=notices.append)
    supervisor.start(["worker"])

    def end_after(seconds: float) -> None:
        clock.advance(seconds)
        os.kill(pid_of(supervisor, "worker"), signal.SIGKILL)
        tick_until(supervisor, "worker", "waiting")
        clock.advance(30)
        tick_until(supervisor, "worker", "running")

    for _ in range(8):
        end_after(1)
    end_after(61)
    pauses = [float(notice.partition("starts again in ")[2].partition(" s")[0]) for notice in notices]
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 0.5]


def test_service_that_keeps_ending_before_it_is_ready_is_told_with_its_log(tmp_path, supervise):
    broken = spec(tmp_path, "worker", "echo settings are wrong; exit 3", is_ready=lambda: False)
    supervisor = supervise(broken, clock=SystemClock())
    supervisor.start(["worker"])
    with pytest.raises(ProcessDied, match=r"(?s)worker ended with exit code 3.*settings are wrong"):
        supervisor.wait_until_ready(["worker"], deadline_seconds=60, is_stopped=lambda: False)


def test_service_that_never_gets_ready_is_told(tmp_path, supervise):
    supervisor = supervise(spec(tmp_path, "worker", "exec sleep 1000", is_ready=lambda: False))
    supervisor.start(["worker"])
    with pytest.raises(NotReady, match=r"worker did not answer within 5 s; see .*worker\.log"):
        supervisor.wait_until_ready(["worker"], deadline_seconds=5, is_stopped=lambda: False)


def test_services_stop_in_the_reverse_order_of_their_start(tmp_path, supervise):
    names = ["first", "second", "third"]
    script = "trap 'echo {name} >> order; exit 0' TERM; echo up > {name}.up; while :; do sleep 0.05; done"
    supervisor = supervise(*(spec(tmp_path, name, script.format(name=name)) for name in names))
    supervisor.start(names)
    eventually(lambda: all((tmp_path / f"{name}.up").exists() for name in names))
    supervisor.stop()
    assert (tmp_path / "order").read_text().split() == names[::-1]
    assert {found.state for found in supervisor.entries} == {"stopped"}


def test_service_that_ignores_the_request_to_end_is_killed_with_all_it_started(tmp_path, supervise):
    # Goes red without the SIGKILL to the group in Supervisor._stop and _reap.
    stubborn = "trap '' TERM; sleep 1000 & echo $! > child; while :; do sleep 0.05; done"
    notices: list[str] = []
    supervisor = supervise(spec(tmp_path, "worker", stubborn, stop_seconds=0.2), notice=notices.append)
    supervisor.start(["worker"])
    eventually(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text().strip() != "")
    pids = [pid_of(supervisor, "worker"), int((tmp_path / "child").read_text())]
    supervisor.stop()
    assert any("did not end within" in notice for notice in notices)
    eventually(lambda: all(is_gone(pid) for pid in pids))


def test_what_a_dead_service_started_is_killed_before_its_restart(tmp_path, supervise):
    # Goes red without the signal_group call in Supervisor._reap.
    supervisor = supervise(spec(tmp_path, "worker", "sleep 1000 & echo $! > child; exec sleep 1000"))
    supervisor.start(["worker"])
    eventually(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text().strip() != "")
    child = int((tmp_path / "child").read_text())
    os.kill(pid_of(supervisor, "worker"), signal.SIGKILL)
    tick_until(supervisor, "worker", "waiting")
    eventually(lambda: is_gone(child))


SUPERVISE = """
import os, sys
from pathlib import Path
from foretopic.supervisor import ServiceSpec, Supervisor
from runtime.clock import SystemClock
home = Path(sys.argv[1])
script = f"cd {home}; echo $$ > service; sleep 1000 & echo $! > child; exec sleep 1000"
spec = ServiceSpec(name="worker", command=lambda: ["/bin/sh", "-c", script], environment=dict(os.environ),
                   log_path=home / "worker.log", is_ready=lambda: True)
supervisor = Supervisor([spec], clock=SystemClock())
supervisor.start(["worker"])
print("started", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def supervising_process(tmp_path):
    """A process that supervises a service which has started another process; the pids of both, and of the guard."""
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISE, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert supervisor.stdin is not None
    assert supervisor.stdout is not None
    assert supervisor.stdout.readline() == b"started\n"
    eventually(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text().strip() != "")
    service, child = (int((tmp_path / name).read_text()) for name in ("service", "child"))
    (guard,) = (
        found.pid for found in psutil.Process(supervisor.pid).children() if "guard.py" in " ".join(found.cmdline())
    )
    yield supervisor, service, child, guard
    supervisor.kill()
    supervisor.wait()
    supervisor.stdin.close()
    supervisor.stdout.close()
    for pid in (service, child):
        if not is_gone(pid):
            os.kill(pid, signal.SIGKILL)


def test_killed_supervisor_leaves_nothing_behind(supervising_process):
    # Goes red without the killpg call in foretopic/guard.py.
    supervisor, *pids = supervising_process
    os.kill(supervisor.pid, signal.SIGKILL)
    eventually(lambda: all(is_gone(pid) for pid in pids))


def test_service_dies_with_its_supervisor_even_without_the_guard(supervising_process):
    # Goes red without the prctl call in foretopic/leash.py.
    supervisor, service, _, guard = supervising_process
    os.kill(guard, signal.SIGKILL)
    eventually(lambda: is_gone(guard))
    os.kill(supervisor.pid, signal.SIGKILL)
    eventually(lambda: is_gone(service))
