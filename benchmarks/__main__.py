"""Measure a whole stack beside the servers that people use today: ``python -m benchmarks [--seconds N] [--out FILE]``.

Everything runs on this machine at the same time: broker, services, load. Each figure stands beside its target or
its peer.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from rich.console import Console
from rich.table import Table

from benchmarks.machine import description
from benchmarks.peers import COLUMNS, WINDOW_SIZE
from benchmarks.stack import Stack, free_port, running_stack

SERIES, MODEL = "market/AAPL@1d", "market/bench-60x6"
COLUMN_NAMES = ("open", "high", "low", "close", "volume", "adj_close")
CONNECTIONS = 64


def load(url: str, body: object, *, connections: int, seconds: float) -> dict[str, Any]:
    """Return the figures of a load run in a process of its own; any answer but 2xx is an error."""
    command = [sys.executable, "-m", "benchmarks.load", url, "--body", json.dumps(body)]
    command += ["--connections", str(connections), "--seconds", str(seconds), "--warm-up", "3"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        raise RuntimeError(f"load on {url} failed: {ran.stdout}{ran.stderr}")
    return dict(json.loads(ran.stdout))


def round_trip_milliseconds(bootstrap: str, rounds: int = 500) -> float:
    """Return the median time of one message to Kafka and back with librdkafka: the floor of what goes through it."""
    topic = "bench-round-trip"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for created in admin.create_topics([NewTopic(topic, 1)]).values():
        created.result(10)
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0, "acks": "all"})
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": topic, "fetch.wait.max.ms": 500})
    consumer.assign([TopicPartition(topic, 0, 0)])
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        producer.produce(topic, b"x" * 200)
        producer.poll(0)
        while consumer.poll(1.0) is None:
            producer.poll(0)
        times.append(time.perf_counter() - started)
    producer.flush(10)
    consumer.close()
    return 1000 * statistics.median(times[rounds // 5 :])


@contextmanager
def peer(kind: str) -> Iterator[str]:
    """Serve the peer ``kind`` and yield its URL."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-m", "benchmarks.peers", kind, str(port)])
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{url}/health", timeout=1).close()  # noqa: S310  # our own loopback address
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        yield f"{url}/predict"
    finally:
        process.terminate()
        process.wait(timeout=30)


def train_window_model(stack: Stack) -> None:
    """Train the peers' network over 60 rows x 6 columns; for one epoch, since only its shape counts."""
    training = stack.call(
        "POST",
        "/api/v1/trainings",
        {
            "series_ids": [SERIES],
            "model": MODEL,
            "algorithm": "lstm",
            "columns": COLUMN_NAMES,
            "window_size": WINDOW_SIZE,
            "horizon": 1,
            "hyperparameters": {"layers": "100,50", "dropout": 0.25, "dense": 16, "epochs": 1, "batch_size": 256},
        },
    )
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        state = stack.call("GET", f"/api/v1/trainings/{training['training_id']}")
        if state["state"] == "succeeded":
            return
        if state["state"] in ("failed", "cancelled"):
            raise RuntimeError(f"the training {state['state']}: {state.get('reason')}")
        time.sleep(0.5)
    raise TimeoutError("the training took more than 300 s")


def window() -> list[list[float]]:
    """Return 60 rows of plausible daily bars; the same rows go to every server."""
    closes = [100.0 + day % 7 + 0.1 * day for day in range(WINDOW_SIZE)]
    rows = [[close, close + 1, close - 1, close, 1_000_000.0 + 1_000 * (close % 3), close] for close in closes]
    if any(len(row) != COLUMNS for row in rows):
        raise ValueError(f"a row has {COLUMNS} columns")
    return rows


def measure(seconds: float) -> dict[str, Any]:
    """Return all figures of one run."""
    figures: dict[str, Any] = {"machine": description()}
    with tempfile.TemporaryDirectory(prefix="foretopic-bench-") as home, running_stack(Path(home)) as stack:
        figures["ready_seconds"] = stack.ready_seconds
        time.sleep(20)  # at rest: what training and starting have used is given back
        figures["resident_mebibytes"] = stack.resident_mebibytes()
        figures["round_trip_ms"] = round_trip_milliseconds(stack.kafka)
        forecasts, series = f"{stack.url}/api/v1/forecasts", {"series_id": SERIES, "horizon": 10}
        figures["idle"] = load(forecasts, series, connections=1, seconds=seconds)
        figures["series"] = load(forecasts, series, connections=CONNECTIONS, seconds=seconds)
        train_window_model(stack)
        rows = window()
        of_window = {"window": rows, "horizon": 1, "model": MODEL}
        figures["window"] = load(forecasts, of_window, connections=CONNECTIONS, seconds=seconds)
        for kind in ("torch", "onnx"):
            with peer(kind) as url:
                figures[kind] = load(url, {"window": rows}, connections=CONNECTIONS, seconds=seconds)
    return figures


def show(figures: dict[str, Any]) -> None:
    """Print the figures beside their targets and peers."""
    console = Console(width=120)
    for line in figures["machine"]:
        console.print(line)
    table = Table("figure", "measured", "target or peer")
    resident = sum(figures["resident_mebibytes"].values())
    parts = ", ".join(f"{name} {size:.0f}" for name, size in sorted(figures["resident_mebibytes"].items()))
    table.add_row("from `up` to ready, first training included", f"{figures['ready_seconds']:.1f} s", "60 s")
    table.add_row("resident at rest", f"{resident:.0f} MiB ({parts})", "1638 MiB")
    table.add_row("one Kafka round trip (librdkafka), median", f"{figures['round_trip_ms']:.1f} ms", "the floor")
    table.add_row("idle forecast over HTTP, median", f"{figures['idle']['median_ms']:.1f} ms", "20 ms")
    table.add_row("idle forecast over HTTP, 99th percentile", f"{figures['idle']['p99_ms']:.1f} ms", "60 ms")
    table.add_row(f"series forecasts, {CONNECTIONS} connections", _rate(figures["series"]), "350 a second")
    table.add_row("60 x 6 window through Kafka, the same network", _rate(figures["window"]), "")
    table.add_row("60 x 6 window, FastAPI + torch in-process", _rate(figures["torch"]), "the peer")
    table.add_row("60 x 6 window, FastAPI + ONNX Runtime in-process", _rate(figures["onnx"]), "the peer")
    for kind in ("torch", "onnx"):
        ratio = figures["window"]["per_second"] / figures[kind]["per_second"]
        table.add_row(f"window through Kafka / FastAPI + {kind}", f"{ratio:.2f}", "")
    console.print(table)


def _rate(figure: dict[str, Any]) -> str:
    return f"{figure['per_second']:.0f} a second, median {figure['median_ms']:.0f} ms, p99 {figure['p99_ms']:.0f} ms"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0, help="length of each load")
    parser.add_argument("--out", type=Path, help="write the figures as JSON too")
    given = parser.parse_args()
    figures = measure(given.seconds)
    if given.out is not None:
        given.out.write_text(json.dumps(figures, indent=2) + "\n")
    show(figures)


if __name__ == "__main__":
    main()
