"""Logs, metrics, health and traces."""

from __future__ import annotations

import json
import logging
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from runtime import logs
from runtime.broker import TopicPartition
from runtime.health import Health
from runtime.metrics import Metrics, MetricsServer, serve
from runtime.tracing import child_of, correlation_id, is_traceparent, new_traceparent
from runtime.version import CODE_VERSION
from tests.fakes import ManualClock

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def _logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("_logging_restored")
def test_a_log_line_is_one_json_object(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    logs.configure("predictor", "info")

    structlog.get_logger().info("message", offset=3, text="line\nbreak", odd={1, 2} - {2})
    structlog.get_logger().debug("not written")
    logging.getLogger("kafka.cluster").warning("lost %s", "a broker")
    logging.getLogger("kafka.cluster").info("not written")

    lines = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    ours, library = lines
    assert (ours["event"], ours["offset"], ours["text"]) == ("message", 3, "line\nbreak")
    assert (ours["service"], ours["level"], ours["code_version"]) == ("predictor", "info", CODE_VERSION)
    assert ours["time"].endswith("Z")
    assert (library["event"], library["logger"], library["message"]) == ("library", "kafka.cluster", "lost a broker")


@pytest.mark.usefixtures("_logging_restored")
def test_an_exception_is_in_its_log_line(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    logs.configure("predictor", "info")
    try:
        {}["not there"]
    except KeyError as error:
        structlog.get_logger().error("stopped", exc_info=error)
        logging.getLogger("x").exception("failed")

    ours, library = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert "KeyError: 'not there'" in ours["exception"]
    assert "KeyError: 'not there'" in library["exception"]


def test_each_process_has_metrics_of_its_own() -> None:
    one, other = Metrics("one"), Metrics("other")
    one.handled("observations", "handled", 0.01, 1_700_000_000_000)
    one.dead_letter("observations")
    one.retry()
    one.backlog({TopicPartition("observations", 3): 7})

    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(one.text().decode())
        for sample in family.samples
    }
    assert samples["foretopic_handled_total", "handled", "observations"] == 1
    assert samples["foretopic_dead_letters_total", "observations"] == 1
    assert samples["foretopic_retries_total",] == 1
    assert samples["foretopic_backlog_messages", "3", "observations"] == 7
    assert samples["foretopic_last_record_timestamp_seconds", "observations"] == 1_700_000_000
    assert samples["foretopic_build_info", CODE_VERSION, "one"] == 1
    assert b"foretopic_handled_total{" not in other.text()


def test_the_backlog_of_a_lost_partition_is_forgotten() -> None:
    metrics = Metrics("one")
    metrics.backlog({TopicPartition("observations", 3): 7})
    metrics.backlog({TopicPartition("observations", 4): 1})

    assert b'partition="3"' not in metrics.text()


@pytest.fixture
def server(clock: ManualClock) -> Iterator[tuple[MetricsServer, Health]]:
    health = Health(clock, stale_after_seconds=60)
    server = serve(Metrics("one"), health, port=0)
    yield server, health
    server.close()


def get(server: MetricsServer, path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.mark.loopback
def test_the_server_shows_metrics_and_health(server: tuple[MetricsServer, Health], clock: ManualClock) -> None:
    shown, health = server

    assert get(shown, "/health") == (503, b'{"status": "unavailable", "reason": "starting"}')
    health.beat()
    assert get(shown, "/health")[0] == 200
    clock.advance(61)
    assert get(shown, "/health") == (503, b'{"status": "unavailable", "reason": "no sign of work for 61 s"}')
    health.beat()
    health.fail("the disk is full")
    assert get(shown, "/health") == (503, b'{"status": "unavailable", "reason": "the disk is full"}')
    status, text = get(shown, "/metrics?x=1")
    assert status == 200
    assert b"foretopic_build_info" in text
    assert get(shown, "/secret")[0] == 404


@pytest.mark.loopback
def test_a_port_that_is_taken_is_an_error(server: tuple[MetricsServer, Health]) -> None:
    with pytest.raises(OSError, match="in use"):
        serve(Metrics("two"), Health(), port=server[0].port)


def test_a_child_keeps_the_trace_and_has_a_span_of_its_own() -> None:
    child = child_of(TRACE)

    assert is_traceparent(child)
    assert correlation_id(child) == correlation_id(TRACE) == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert child != TRACE
    assert child.endswith("-01")


def test_a_child_with_a_seed_is_the_same_each_time() -> None:
    assert child_of(TRACE, "observations/3/7") == child_of(TRACE, "observations/3/7")
    assert child_of(TRACE, "observations/3/7") != child_of(TRACE, "observations/3/8")
    assert new_traceparent("a") == new_traceparent("a") != new_traceparent("b")
    assert new_traceparent() != new_traceparent()


@pytest.mark.parametrize(
    "broken",
    [
        None,
        "",
        "junk",
        "ff" + TRACE[2:],
        TRACE.upper(),
        TRACE[:-1],
        "00-" + "0" * 32 + "-00f067aa0ba902b7-01",
        TRACE + "\n",
    ],
)
def test_a_broken_traceparent_begins_a_new_trace(broken: str | None) -> None:
    assert not is_traceparent(broken or "")
    child = child_of(broken)
    assert is_traceparent(child)
    assert correlation_id(broken or "") == ""
