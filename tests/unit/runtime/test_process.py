"""What a service's ``__main__`` does: each end has its exit code, and no fault of settings has a traceback."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
import structlog

from runtime import process
from runtime.health import Health
from runtime.metrics import Metrics, serve
from runtime.settings import ServiceSettings, settings_config


class ShopSettings(ServiceSettings):
    model_config = settings_config("shop")
    shelves: int = 3


class Shop:
    def __init__(self, work: Callable[[threading.Event], None]) -> None:
        self._work = work

    def run(self, stop: threading.Event) -> None:
        self._work(stop)


@pytest.fixture(autouse=True)
def _process_restored() -> Iterator[None]:
    """Signals, logs and the look for garbage belong to the process that runs the tests."""
    import logging

    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    root = logging.getLogger()
    root_handlers, level = list(root.handlers), root.level
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:] = root_handlers
    root.setLevel(level)


def run(work: Callable[[threading.Event], None]) -> int:
    return process.run_service("shop", ShopSettings, lambda settings, metrics, health: Shop(work))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_service_and_the_process_ends_well(number: signal.Signals) -> None:
    def work(stop: threading.Event) -> None:
        os.kill(os.getpid(), number)
        assert stop.wait(60)

    assert run(work) == process.EXIT_OK


def test_a_fault_ends_the_process_with_one_and_stands_in_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    def work(stop: threading.Event) -> None:
        raise LookupError("a broken invariant")

    assert run(work) == process.EXIT_FAILED
    assert '"reason":"LookupError: a broken invariant"' in capfd.readouterr().out


def test_settings_that_cannot_be_used_are_told_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORETOPIC_SHOP_SHELVES", "many")
    monkeypatch.setenv("FORETOPIC_SHOP_SHELVS", "3")

    with pytest.raises(SystemExit) as caught:
        run(lambda stop: None)

    assert caught.value.code == process.EXIT_SETTINGS
    told = capsys.readouterr().err
    assert "FORETOPIC_SHOP_SHELVES was 'many'" in told
    assert "FORETOPIC_SHOP_SHELVS is not known" in told
    assert "Traceback" not in told


@pytest.mark.loopback
def test_a_metrics_port_that_is_taken_is_a_fault_of_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(Metrics("other"), Health(), port=0)
    monkeypatch.setenv("FORETOPIC_METRICS_PORT", str(server.port))
    try:
        with pytest.raises(SystemExit) as caught:
            run(lambda stop: None)
    finally:
        server.close()

    assert caught.value.code == process.EXIT_SETTINGS
    assert f"FORETOPIC_METRICS_PORT was {server.port}" in capsys.readouterr().err


def test_nothing_connects_or_reads_the_environment_at_import() -> None:
    """A gunicorn worker or a fork inherits nothing: no thread, no socket of Kafka's."""
    code = (
        "import threading, runtime.kafka_broker, runtime.process, runtime.worker;"
        "import sys; sys.exit(threading.active_count() - 1)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
