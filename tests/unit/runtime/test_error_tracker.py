"""The error tracker: what it is told, what it never is, and that nobody notices when it is away."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
import structlog
from flask import Flask
from prometheus_client import CollectorRegistry, Counter
from sentry_sdk.utils import Dsn

from foretopic.ports import free_port
from gateway import every_answer, problems
from runtime import error_tracker, logs
from runtime.error_tracker import EVENTS_A_MINUTE, ErrorTracker, tracker_of
from runtime.errors import SettingsError
from runtime.settings import ServiceSettings, load_settings
from runtime.version import CODE_VERSION
from tests.fakes import ManualClock
from tests.tracker import KEY, PATIENCE_SECONDS, Tracker, tracker_server
from tests.unit.trainer.test_child_process import Job, TrainerSettings, task_of, training_request

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SECRET = "correct-horse-battery"

Told = Callable[..., ErrorTracker]


@pytest.fixture
def server() -> Iterator[Tracker]:
    with tracker_server() as server:
        yield server


@pytest.fixture
def told(server: Tracker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """Return a function that makes the logs of this process go to a tracker."""
    # An answer that a busy machine gives late would count as none: the event is lost, or comes behind the next one.
    monkeypatch.setattr(error_tracker, "TIMEOUT_SECONDS", PATIENCE_SECONDS)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    trackers = []

    def tell(dsn: str, clock: ManualClock | None = None) -> ErrorTracker:
        trackers.append(ErrorTracker("shop", dsn, "test", clock))
        logs.configure("shop", "info", trackers[-1])
        return trackers[-1]

    yield tell
    for tracker in trackers:
        tracker.close(0.0)
    # The SDK's thread still sends what waits, and would tell of each event that is lost in whatever test is next.
    server.may_answer.set()
    for thread in threading.enumerate():
        if thread.name == "sentry-sdk.BackgroundWorker":
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def fail(password: str) -> None:
    try:
        {}[password]
    except KeyError as missing:
        failure = ValueError(f"no {password}")
        failure.add_note(password)
        raise failure from missing


def failure() -> ValueError:
    try:
        fail(SECRET)
    except ValueError as error:
        return error
    raise AssertionError


@pytest.mark.loopback
def test_an_error_comes_with_its_trace_and_what_finds_it_in_the_log(server: Tracker, told: Told) -> None:
    told(server.dsn)
    structlog.contextvars.bind_contextvars(x_request_id="asked-1")

    structlog.get_logger().critical("stopped", exc_info=failure(), traceparent=TRACE, topic="observations", offset=7)

    [event] = server.events(1)
    assert event["logentry"] == {"message": "stopped"}
    assert (event["level"], event["environment"], event["release"]) == ("fatal", "test", f"foretopic@{CODE_VERSION}")
    assert event["tags"] == {
        "service": "shop", "x_request_id": "asked-1", "traceparent": TRACE, "topic": "observations", "offset": "7",
    }  # fmt: skip
    cause, error = event["exception"]["values"]
    assert (cause["type"], error["type"]) == ("KeyError", "ValueError")
    assert [frame["function"] for frame in error["stacktrace"]["frames"]] == ["failure", "fail"]
    assert error["stacktrace"]["frames"][0]["filename"] == "runtime/test_error_tracker.py"
    assert all(frame["lineno"] > 0 for frame in cause["stacktrace"]["frames"])


@pytest.mark.loopback
def test_what_a_library_logs_comes_without_its_message(server: Tracker, told: Told) -> None:
    tracker = told(server.dsn)
    library = logging.getLogger("mode.worker")

    try:
        fail(SECRET)
    except ValueError:
        library.exception("cannot reach %s", SECRET)
        structlog.get_logger().exception("worker_failed")
    library.warning("not told")
    structlog.get_logger().warning("not told")
    structlog.get_logger().error("told")

    of_library, ours, last = server.events(3)
    assert (of_library["logger"], of_library["level"]) == ("mode.worker", "error")
    assert of_library["logentry"]["message"].startswith("mode.worker, line ")
    assert len(of_library["exception"]["values"]) == len(ours["exception"]["values"]) == 2
    assert last["logentry"]["message"] == "told"
    tracker.close()
    assert len(server.envelopes) == 3


@pytest.mark.loopback
def test_nothing_of_a_request_or_of_the_data_leaves(
    server: Tracker, told: Told, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Red without `before_send=_cut` (messages, paths), or where `_send` takes more fields than `IDS`."""
    monkeypatch.setenv("SENTRY_SERVER_NAME", SECRET)
    told(server.dsn)
    app = Flask("shop")
    problems.install(app)
    every_answer.install(app, Counter("n", "n", ("route", "status"), registry=CollectorRegistry()), is_https=False)

    @app.post("/things/<name>")
    def break_down(name: str) -> str:
        from flask import request

        taken = {"body": request.get_json(), "cookies": request.cookies, "query": request.args, "name": name}
        structlog.get_logger().error("broken", reason=SECRET, path=request.path, asked=taken)
        raise LookupError(f"cannot use {taken}")

    client = app.test_client()
    client.set_cookie("foretopic", SECRET)
    answer = client.post(
        f"/things/{SECRET}?token={SECRET}",
        json={"email": f"{SECRET}@example.org"},
        headers={"Authorization": f"Bearer {SECRET}", "X-Request-ID": "asked-2", "User-Agent": SECRET},
    )
    structlog.get_logger().error("stopped", exc_info=failure())

    assert answer.status_code == 500
    broken, unexpected, _ = server.events(3)
    assert broken["tags"]["x_request_id"] == unexpected["tags"]["x_request_id"] == "asked-2"
    assert unexpected["exception"]["values"][-1]["type"] == "LookupError"
    sent = "".join(server.envelopes)
    assert SECRET not in sent
    assert os.uname().nodename not in sent
    assert str(Path.cwd()) not in sent
    told_here = capfd.readouterr().out
    assert SECRET in told_here  # it was there to be sent
    assert KEY not in told_here


@pytest.mark.loopback
def test_a_tracker_that_is_away_costs_a_line_for_each_event(
    nobody: int, told: Told, capfd: pytest.CaptureFixture[str]
) -> None:
    """Red without `retries`: each try leaves a warning of the HTTP client as well."""
    tracker = told(f"http://{KEY}@127.0.0.1:{nobody}/7")

    structlog.get_logger().error("stopped", exc_info=failure())
    tracker.close(PATIENCE_SECONDS)

    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    # The thread that sends can be done before the line of the error itself is written.
    lost, stopped = sorted(lines, key=lambda line: str(line["event"]))
    assert (stopped["event"], stopped["level"]) == ("stopped", "error")
    assert "ValueError: no correct-horse-battery" in stopped["exception"]
    assert (lost["event"], lost["level"], lost["reason"]) == ("error-not-tracked", "warning", "network")


@pytest.mark.loopback
def test_nobody_waits_for_a_tracker_that_hangs(server: Tracker, told: Told) -> None:
    """The server holds its first answer back all the while."""
    server.may_answer.clear()
    tracker = told(server.dsn)

    for _ in range(10):
        structlog.get_logger().error("stopped")
    tracker.close(0.2)

    assert len(server.events(1)) == 1
    assert not server.may_answer.is_set()


@pytest.mark.loopback
def test_a_loop_of_errors_floods_neither_the_tracker_nor_us(server: Tracker, told: Told, clock: ManualClock) -> None:
    """Red without `_may_send`."""
    tracker = told(server.dsn, clock)

    for _ in range(EVENTS_A_MINUTE + 20):
        structlog.get_logger().error("stopped")
    clock.advance(60)
    structlog.get_logger().error("a minute later")
    tracker.close(PATIENCE_SECONDS)

    assert len(server.envelopes) == EVENTS_A_MINUTE + 1
    assert server.events(1)[-1]["logentry"]["message"] == "a minute later"


class Unreadable(Exception):
    @property
    def errno(self) -> int:
        raise RuntimeError("not to be looked at")


@pytest.mark.loopback
def test_an_exception_that_cannot_be_looked_at_is_still_logged(
    server: Tracker, told: Told, capfd: pytest.CaptureFixture[str]
) -> None:
    """Red without the `except` in `ErrorTracker._send`."""
    told(server.dsn)

    structlog.get_logger().error("stopped", exc_info=Unreadable("odd"))

    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["error-tracker-failed", "stopped"]
    assert "Unreadable: odd" in lines[1]["exception"]


def test_without_a_dsn_the_sdk_is_not_imported() -> None:
    """Red where `runtime.error_tracker` or `runtime.settings` imports the SDK at its top."""
    code = (
        "import sys, structlog; from runtime import logs; from runtime.error_tracker import tracker_of;"
        "from runtime.settings import ServiceSettings, load_settings; settings = load_settings(ServiceSettings);"
        "logs.configure('shop', 'info', tracker_of('shop', settings)); structlog.get_logger().error('stopped');"
        "sys.exit('sentry_sdk' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


@pytest.mark.loopback
def test_what_is_logged_last_is_sent_before_the_process_ends(server: Tracker) -> None:
    """Red without `atexit.register`: here nothing can be sent before the process is on its way out."""
    code = f"""
import atexit, threading, structlog, urllib3
from runtime import logs
from runtime.error_tracker import ErrorTracker
leaving, request = threading.Event(), urllib3.PoolManager.request
ErrorTracker.close.__defaults__ = ({PATIENCE_SECONDS},)  # a busy machine may need more than `FLUSH_SECONDS`
urllib3.PoolManager.request = lambda *given, **named: leaving.wait() and request(*given, **named)
logs.configure("shop", "info", ErrorTracker("shop", {server.dsn!r}, "test"))
atexit.register(leaving.set)
structlog.get_logger().error("stopped")
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)

    assert len(server.events(1)) == 1


@pytest.mark.parametrize(
    "dsn",
    [
        SECRET,
        f"https://errors.example.org/{SECRET}",
        f"https://{SECRET}@errors.example.org/",
        f"https://{SECRET}@errors.example.org/shop",
        f"https://{SECRET}@errors.example.org:port/7",
        f"https://{SECRET}@/7",
        f"ftp://{SECRET}@errors.example.org/7",
        f"https://{SECRET}@[errors/7",
        f"https://{SECRET}@errors.example.org/\u0667",
    ],
)
def test_a_bad_dsn_is_refused_and_not_repeated(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETOPIC_ERROR_TRACKER_DSN", dsn)

    with pytest.raises(SettingsError) as caught:
        load_settings(ServiceSettings)

    assert "FORETOPIC_ERROR_TRACKER_DSN was (secret): " in str(caught.value)
    assert "https://KEY@HOST/PROJECT was expected" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "dsn",
    ["https://key@o1.ingest.sentry.io/4501", "http://key:old@127.0.0.1:8000/1", "https://key@example.org/errors/2"],
)
def test_a_dsn_that_is_taken_is_one_for_the_sdk(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETOPIC_ERROR_TRACKER_DSN", dsn)

    settings = load_settings(ServiceSettings)

    assert Dsn(settings.error_tracker_dsn.get_secret_value()).public_key == "key"
    assert "key" not in repr(settings)
    tracker = tracker_of("shop", settings)
    assert tracker is not None
    tracker.close(0.0)


def started(module: str, *arguments: str, stdin: bytes = b"", descriptor: int | None = None, **settings: str) -> int:
    ran = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, **{f"FORETOPIC_{name.upper()}": value for name, value in settings.items()}},
        input=stdin,
        pass_fds=() if descriptor is None else (descriptor,),
        capture_output=True,
        timeout=3 * PATIENCE_SECONDS,
        check=False,
    )
    return ran.returncode


@pytest.mark.loopback
def test_a_service_that_stops_on_a_fault_has_told_it(server: Tracker) -> None:
    """Red where `runtime.process` does not hand its tracker to `logs.configure`."""
    code = (
        "from runtime import process, settings; process.run_service('shop', settings.ServiceSettings, lambda *_: None)"
    )
    environment = {**os.environ, "FORETOPIC_ERROR_TRACKER_DSN": server.dsn}

    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)

    [event] = server.events(1)
    assert (event["logentry"]["message"], event["level"]) == ("stopped", "fatal")
    assert [value["type"] for value in event["exception"]["values"]] == ["AttributeError"]


@pytest.mark.loopback
@pytest.mark.slow
@pytest.mark.parametrize("service", ["gateway", "predictor", "topics", "trainer"])
def test_a_process_that_cannot_go_on_has_told_it_before_it_ends(service: str, server: Tracker, nobody: int) -> None:
    """Red where it does not hand its tracker to `logs.configure`; besides without gunicorn's `LibraryErrors` in
    `gateway.server`, and without `close` in `predictor.__main__`."""
    if service == "trainer":
        read_end, write_end = os.pipe()
        settings = TrainerSettings(kafka_bootstrap_servers="nowhere:none", error_tracker_dsn=server.dsn)
        task = msgspec.json.encode(task_of(settings, Job(request=training_request("train-7"))))
        code = started("trainer.child", str(os.getpid()), str(write_end), stdin=task, descriptor=write_end)
        os.close(write_end)
        os.close(read_end)
    else:
        code = started(
            "runtime.create_topics" if service == "topics" else service,
            error_tracker_dsn=server.dsn,
            topics_timeout_seconds="0.1",
            kafka_bootstrap_servers=f"127.0.0.1:{nobody}",
            gateway_port=str(free_port()),
            gateway_accounts="local",
            gateway_database_url=f"sqlite:////{SECRET}/gateway.db",
        )

    assert code != 0
    [event] = server.events(1)
    assert event["tags"]["service"] == service
    assert event["tags"].get("training_id") == ("train-7" if service == "trainer" else None)
    assert SECRET not in server.envelopes[0]
