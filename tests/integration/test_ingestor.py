"""The ingestor on a real Kafka: loads, repeats, faults, and kill -9 in the middle of a load."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from tests.integration.ingestor_process import Client, ingestor_process

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

AAPL = {"series_id": "market/AAPL@1d", "symbol": "AAPL", "sources": ("sample",), "calendar": "XNYS"}
HET = {"series_id": "market/HET@1h", "symbol": "HET", "sources": ("mock",), "freq": "1h"}
#: After so many batches of a load of thirteen the process is killed, each in an installation of its own; on a machine
#: that keeps us waiting after more of them, but before the last one.
KILL_AFTER = (1, 1, 2, 4, 7)
BEFORE_THE_LAST = 12
#: What the service may hold while it waits, in bytes; it holds some 110 MiB.
IDLE_BYTES = 160 * 1024 * 1024
AAPL_AFTER_CLOSE = {"symbol": "AAPL", "sources": ("sample",), "calendar": "XNYS"}
#: Series with a schedule.
SCHEDULED = 24


@pytest.fixture
def client(kafka: str, topic_prefix: str) -> Iterator[Client]:
    client = Client(kafka, topic_prefix)
    yield client
    client.close()


def test_loads_repeats_and_faults(client: Client, tmp_path: Path) -> None:
    client.ask("first", **AAPL)
    client.junk()
    client.ask("again", **AAPL)
    client.ask("unknown", **AAPL | {"series_id": "market/NOPE@1d", "symbol": "NOPE"})
    client.ask("fallback", **AAPL | {"series_id": "market/MSFT@1d", "symbol": "MSFT", "sources": ("yahoo", "sample")})
    with ingestor_process(client, tmp_path) as process:
        first = client.wait_for_end("first")
        again = client.wait_for_end("again")
        unknown = client.wait_for_end("unknown")
        fallback = client.wait_for_end("fallback")
        client.wait_until(lambda: client.letters, "the dead letter")
        require_lean(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0

    assert (first.state, first.source, first.rows_received, first.rows_published) == ("succeeded", "sample", 3270, 3270)
    assert (again.state, again.rows_published) == ("succeeded", 0)
    assert len(client.times("market/AAPL@1d")) == 3270
    assert (unknown.state, client.times("market/NOPE@1d")) == ("failed", [])
    assert unknown.reason == "sample: symbol must be one of AAPL, FB, GOOG, IBM, MSFT, was 'NOPE'"
    assert (fallback.state, fallback.source) == ("succeeded", "sample")
    assert fallback.reason.startswith("yahoo: could not be reached within 5 s: ")
    assert fallback.reason.endswith("; sample taken instead")
    assert [(letter.service, letter.value) for letter in client.letters] == [("ingestor", b"junk")]
    assert {event.ingest_id for event in client.events if event.state == "running"} == {
        "first",
        "again",
        "unknown",
        "fallback",
    }


def test_killed_in_the_middle_of_a_load_every_row_stands_once(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    """Every row stands in the log once, whenever the load was cut."""
    with ExitStack() as stack:
        clients = [Client(kafka, f"{topic_prefix}{number}-") for number in range(len(KILL_AFTER))]
        for client in clients:
            stack.callback(client.close)
            client.ask("load", **HET)
        with ExitStack() as first:
            processes = [
                first.enter_context(
                    ingestor_process(client, tmp_path, "tests.integration.held_ingestor", BEFORE_THE_LAST)
                )
                for client in clients
            ]
            waiting = set(range(len(clients)))
            deadline = clients[0].clock.monotonic() + 240
            while waiting:
                assert clients[0].clock.monotonic() < deadline, f"no observations from {waiting}"
                for number in sorted(waiting):
                    if clients[number].observations_written() >= KILL_AFTER[number]:
                        processes[number].kill()
                        processes[number].wait(60)
                        waiting.discard(number)
            for client in clients:
                client.catch_up()
                assert client.final("load") is None
                assert 0 < len(client.batches) <= BEFORE_THE_LAST
        for client in clients:
            stack.enter_context(ingestor_process(client, tmp_path))
        for client in clients:
            event = client.wait_for_end("load")
            times = client.times("market/HET@1h")
            assert event.state == "succeeded"
            assert len(times) == len(set(times)) >= event.rows_received > 50_000


def test_two_instances_begin_every_run_once_through_kill_and_rebalance(client: Client, tmp_path: Path) -> None:
    """The schedules are older than their last due time, so each series is one run behind, and no more."""
    series = [*(f"market/HET-{number}@1d" for number in range(SCHEDULED - 1)), "market/AAPL@1d"]
    # In three days again: not due while the test runs.
    weekly = f"0 0 * * {(datetime.now(UTC).isoweekday() + 3) % 7}"
    for number in range(SCHEDULED // 2):
        client.schedule(number, series[number], symbol="HET", cron=weekly)
    # New York closes at 17, 18, 20 or 21 o'clock UTC: not due while the test runs either.
    minutes = 6 * 60 if 16 <= datetime.now(UTC).hour <= 21 else 30
    client.schedule(SCHEDULED, series[-1], **AAPL_AFTER_CLOSE, after_close_minutes=minutes)
    with ingestor_process(client, tmp_path) as first, ingestor_process(client, tmp_path) as second:
        client.wait_until(lambda: len(ended(client)) >= 3, "the first runs")
        first.kill()
        first.wait(60)
        for number in range(SCHEDULED // 2, SCHEDULED - 1):
            client.schedule(number, series[number], symbol="HET", cron=weekly)
        with ingestor_process(client, tmp_path) as third:
            client.wait_until(lambda: len(ended(client)) == SCHEDULED, "every run")
            client.catch_up()
            assert second.poll() is None
            # One of the two has read the sessions of New York.
            for process in (second, third):
                require_lean(process)

    assert {run.series_id for run in client.runs} == set(series)
    assert {run.ingest_id for run in client.runs} == ended(client)
    for series_id in series:
        told = [event for event in client.events if event.series_id == series_id]
        assert len(client.times(series_id)) == len(set(client.times(series_id))) > 1000, told


def require_lean(ingestor: subprocess.Popen[bytes]) -> None:
    """Red where the service loads what only its children need: yfinance and the calendars bring pandas."""
    process = psutil.Process(ingestor.pid)
    assert not [mapped.path for mapped in process.memory_maps() if "/pandas/" in mapped.path]
    assert process.memory_info().rss < IDLE_BYTES


def ended(client: Client) -> set[str]:
    return {event.ingest_id for event in client.events if event.state == "succeeded"}
