"""Measure how data come in and back: ``python -m benchmarks.ingest [--series N] [--rows N]``.

On a real Kafka of its own, with ingestor and gateway as processes beside it:

- backfill: one long-format Parquet file is uploaded and loaded, until the log has acknowledged every row and every
  final event;
- live: then so many rows a second are appended for a while, one row of each series a request, and it is measured when
  the log has acknowledged the last of them;
- rebuild: a fresh process reads `observations` from the beginning and folds the view of each series, as a trainer or
  a predictor does when it starts;
- floor: what kafka-python alone takes for a message of one live row, sent and read by a fresh process.
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
from pyarrow import parquet
from rich.console import Console
from rich.table import Table

from benchmarks.machine import description
from benchmarks.services import PeakMemory, Services, running_services
from forecasting.panel import SeriesHistory
from runtime.broker import Message, OutgoingMessage, TopicPartition, TopicSpec
from runtime.follower import Follower
from runtime.incoming import Incoming
from runtime.kafka_broker import KafkaBroker
from schemas.errors import InvalidRecord
from schemas.ingests import IngestEvent
from schemas.observations import ObservationBatch
from schemas.topics import INGEST_EVENTS, OBSERVATIONS, Topic

BACKFILL_SECONDS, BACKFILL_MEBIBYTES, REBUILD_SECONDS, LIVE_ROWS_A_SECOND = 20.0, 600.0, 10.0, 5_000.0
#: Live rows may be so far behind when the last is sent: more, and they would not be sustained.
LIVE_BEHIND_SECONDS = 2.0
_START = datetime(2017, 1, 2, tzinfo=UTC)
_SEED = 5
_DEADLINE_SECONDS = 600.0
_FLOOR_MESSAGES = 20_000
#: So few questions to the broker while it works, so that asking costs nothing.
_LOOK_SECONDS, _ASK_SECONDS = 0.1, 0.5
#: How often memory is looked at: a child lives for seconds in a backfill; live rows change little, and share our cores.
_BACKFILL_LOOK_SECONDS, _LIVE_LOOK_SECONDS = 0.05, 1.0


def long_table(series: int, rows: int) -> pa.Table:
    """Return daily bars (open, high, low, close, volume) of so many series, one series after another."""
    rng = np.random.default_rng(_SEED)
    close = (100 * np.exp(np.cumsum(rng.normal(0, 0.01, (series, rows)), axis=1))).round(4).ravel()
    open_ = (close * (1 + rng.normal(0, 0.002, series * rows))).round(4)
    days = np.tile(np.datetime64(_START.date(), "s") + np.arange(rows) * np.timedelta64(1, "D"), series)
    names = pa.DictionaryArray.from_arrays(
        np.repeat(np.arange(series, dtype=np.int32), rows), [f"S{number:05}" for number in range(series)]
    )
    return pa.table(
        {
            "series": names.cast(pa.string()),
            "date": pa.array(days.astype("datetime64[us]")),
            "open": open_,
            "high": (np.maximum(open_, close) * 1.005).round(4),
            "low": (np.minimum(open_, close) * 0.995).round(4),
            "close": close,
            "volume": rng.integers(1_000, 10_000_000, series * rows).astype(float),
        }
    )


def upload(url: str, file: Path) -> None:
    """Upload a file and ask to load it as guessed; it returns when every series has been asked for."""
    request = urllib.request.Request(  # noqa: S310  # our own loopback address
        f"{url}/api/v1/uploads?load=true&filename={file.name}",
        method="POST",
        data=file.read_bytes(),
        headers={"Content-Type": "application/octet-stream"},
    )
    with urllib.request.urlopen(request, timeout=_DEADLINE_SECONDS) as response:  # noqa: S310  # the same
        json.load(response)


def wait_until_readable(url: str, rows: int) -> None:
    """Wait until the gateway can give out so many rows."""
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while True:
        with urllib.request.urlopen(f"{url}/api/v1/series", timeout=_DEADLINE_SECONDS) as response:  # noqa: S310
            found = sum(line["rows"] for line in json.load(response)["series"])
        if found == rows:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{rows:,} rows were to be read over HTTP, there are {found:,}")
        time.sleep(_ASK_SECONDS)


class Watch:
    """Counts what stands in a topic by its end offsets."""

    def __init__(self, kafka: str) -> None:
        self._broker = KafkaBroker(kafka, "foretopic-bench-watch")

    def count(self, topic: Topic) -> int:
        """Return how many messages the topic has."""
        places = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
        return sum(self._broker.end_offsets(places).values())

    def wait_for(self, topic: Topic, messages: int, deadline_seconds: float = _DEADLINE_SECONDS) -> None:
        """Wait until the topic has so many messages."""
        deadline = time.monotonic() + deadline_seconds
        while (found := self.count(topic)) < messages:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic.name} was to have {messages} messages, has {found}")
            time.sleep(_LOOK_SECONDS)

    def close(self) -> None:
        """Let go of the broker."""
        self._broker.close()


def backfill(services: Services, file: Path, series: int, rows: int) -> dict[str, float]:
    """Return how long a backfill took until all is in the log, with peak memory, everything started included.

    What comes after it begins when the gateway has all of it in its store too.
    """
    watch = Watch(services.kafka)
    watched = {name: pid for name, pid in services.pids.items() if name != "kafka"}
    used = services.processor_seconds()
    with PeakMemory(watched, _BACKFILL_LOOK_SECONDS) as peak:
        started = time.perf_counter()
        upload(services.url, file)
        asked = time.perf_counter() - started
        watch.wait_for(OBSERVATIONS, series)
        watch.wait_for(INGEST_EVENTS, 2 * series)  # each runs, each ends
        seconds = time.perf_counter() - started
        processors = {name: after - used[name] for name, after in services.processor_seconds().items()}
        wait_until_readable(services.url, series * rows)
        readable = time.perf_counter() - started
    watch.close()
    return {
        "seconds": seconds,
        "asked_seconds": asked,
        "readable_seconds": readable,
        "peak_mebibytes": peak.at_once,
        **{f"{name}_mebibytes": size for name, size in peak.mebibytes.items() if name != "at once"},
        **{f"{name}_processor_seconds": used for name, used in processors.items()},
    }


def live_body(series: int, day: int) -> bytes:
    """Return a request with one row of each series, of the ``day``-th day since the first: close to what was before."""
    time_ = (_START + timedelta(days=day)).isoformat()
    close = [100.0 + (day + number) % 7 / 10 for number in range(series)]
    rows = [
        {
            "series_id": f"bench/S{number:05}@1d",
            "time": [time_],
            "columns": {
                "open": [value],
                "high": [value + 0.5],
                "low": [value - 0.5],
                "close": [value + 0.1],
                "volume": [1_000.0 + (day + number) % 100],
            },
        }
        for number, value in enumerate(close)
    ]
    return json.dumps({"series": rows}).encode()


def live(services: Services, series: int, rows: int, seconds: float) -> dict[str, float]:
    """Append a row of each series, again and again at the wanted rate, and wait until all stand in the log."""
    rounds = max(int(seconds * LIVE_ROWS_A_SECOND / series), 1)
    bodies = [live_body(series, rows + number) for number in range(rounds)]
    watch = Watch(services.kafka)
    ends = watch.count(INGEST_EVENTS)
    watched = {name: pid for name, pid in services.pids.items() if name != "kafka"}
    used = services.processor_seconds()
    connection = http.client.HTTPConnection(services.url.removeprefix("http://"), timeout=_DEADLINE_SECONDS)
    with PeakMemory(watched, _LIVE_LOOK_SECONDS) as peak:
        started = time.perf_counter()
        for number, body in enumerate(bodies):
            # At the pace of the rate, whatever the answers take.
            time.sleep(max(started + number * series / LIVE_ROWS_A_SECOND - time.perf_counter(), 0.0))
            connection.request("POST", "/api/v1/observations", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != http.HTTPStatus.ACCEPTED:
                raise RuntimeError(f"an append was answered with {answer.status}: {content[:500]!r}")
            ends += len(json.loads(content)["ingests"])
        sent = time.perf_counter() - started
        # An append has one event, its end, which stands behind the acknowledgement of its rows.
        watch.wait_for(INGEST_EVENTS, ends)
        took = time.perf_counter() - started
    connection.close()
    watch.close()
    processors = {name: after - used[name] for name, after in services.processor_seconds().items()}
    return {
        "rows": rounds * series,
        "rows_a_second": rounds * series / max(took, rounds * series / LIVE_ROWS_A_SECOND),
        "sent_seconds": sent,
        "behind_seconds": took - sent,
        "peak_mebibytes": peak.at_once,
        **{f"{name}_mebibytes": size for name, size in peak.mebibytes.items() if name != "at once"},
        **{f"{name}_processor_seconds": used for name, used in processors.items()},
    }


def rebuild(kafka: str) -> dict[str, float]:
    """Read `observations` to its end and fold every series; what the events say must be there, once."""
    histories: dict[str, SeriesHistory] = {}
    told: dict[str, int] = {}

    def apply(incoming: Incoming) -> None:
        batch = incoming.record
        if not isinstance(batch, ObservationBatch):
            raise TypeError(f"an ObservationBatch was expected, found a {type(batch).__name__}")
        history = histories.setdefault(batch.series_id, SeriesHistory(batch.series_id))
        history.append(incoming.message.offset, batch)

    def learn(incoming: Incoming) -> None:
        if isinstance(incoming.record, IngestEvent) and incoming.record.state != "running":
            told[incoming.record.ingest_id] = incoming.record.rows_published

    started, cpu = time.perf_counter(), time.process_time()
    _read(kafka, OBSERVATIONS, apply)
    rows = sum(len(history.view()) for history in histories.values())
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    resident = psutil.Process().memory_info().rss / 2**20
    _read(kafka, INGEST_EVENTS, learn)
    if sum(told.values()) != rows:
        raise RuntimeError(f"the events tell of {sum(told.values()):,} rows, the log has {rows:,}")
    return {
        "seconds": seconds,
        "processor_seconds": cpu,
        "rows": rows,
        "series": len(histories),
        "resident_mebibytes": resident,
    }


def floor(kafka: str) -> dict[str, float]:
    """Send and read messages as large as a live row, by kafka-python as we set it up, and nothing else."""
    topic, count = "floor", _FLOOR_MESSAGES
    broker = KafkaBroker(kafka, "foretopic-bench-floor")
    broker.ensure_topics([TopicSpec(name=topic, partitions=OBSERVATIONS.partitions)])
    producer = broker.producer()
    body = live_body(1, 0)
    headers = tuple((f"header-{number}", b"x" * 30) for number in range(7))
    messages = [
        OutgoingMessage(
            topic=topic, key=b"key", value=body, headers=headers, partition=number % OBSERVATIONS.partitions
        )
        for number in range(count)
    ]
    started = time.process_time()
    for message in messages:
        producer.send(message)
    producer.flush(_DEADLINE_SECONDS)
    sent = time.process_time() - started
    producer.close()
    reader = broker.reader({TopicPartition(topic, number): 0 for number in range(OBSERVATIONS.partitions)})
    started, found = time.process_time(), 0
    while found < count:
        found += len(reader.poll(1.0))
    read = time.process_time() - started
    reader.close()
    broker.close()
    return {"sent_microseconds": 1e6 * sent / count, "read_microseconds": 1e6 * read / count}


def _read(kafka: str, topic: Topic, apply: Callable[[Incoming], None]) -> None:
    broker = KafkaBroker(kafka, "foretopic-bench-rebuild")
    follower = Follower(broker, topics=[topic], topic_prefix="", apply=apply, on_invalid=_refuse)
    follower.assign({TopicPartition(topic.name, number): 0 for number in range(topic.partitions)})
    try:
        follower.catch_up(None, _DEADLINE_SECONDS)
    finally:
        follower.close()
        broker.close()


def _refuse(message: Message, error: InvalidRecord) -> None:
    raise RuntimeError(f"{message.topic}-{message.partition} at {message.offset}: {error}")


def in_fresh_process(what: str, kafka: str) -> dict[str, float]:
    """Return what a further process measures."""
    command = [sys.executable, "-m", "benchmarks.ingest", "--only", what, "--kafka", kafka]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def measure(series: int, rows: int, live_seconds: float, keep: Path | None = None) -> dict[str, dict[str, float]]:
    """Return all figures."""
    with tempfile.TemporaryDirectory(prefix="foretopic-bench-") as folder:
        home = keep or Path(folder)
        file = home / "bench.parquet"
        parquet.write_table(long_table(series, rows), file)
        with running_services(home) as services:
            found = {"backfill": backfill(services, file, series, rows)}
            found["rebuild"] = in_fresh_process("rebuild", services.kafka)
            if found["rebuild"]["rows"] != series * rows:
                raise RuntimeError(
                    f"{series * rows:,} rows were expected in the log, found {found['rebuild']['rows']:,}"
                )
            found["live"] = live(services, series, rows, live_seconds)
            # Every row once, and as the events tell.
            again = in_fresh_process("rebuild", services.kafka)["rows"]
            found["floor"] = in_fresh_process("floor", services.kafka)
            if again != series * rows + found["live"]["rows"]:
                raise RuntimeError(f"{found['live']['rows']:,} live rows were sent, {again - series * rows:,} came")
            return found


def missed(figures: dict[str, dict[str, float]]) -> list[str]:
    """Return the targets that were missed, each with what was measured."""
    backfilled, rebuilt, lived = figures["backfill"], figures["rebuild"], figures["live"]
    judged = (
        (backfilled["seconds"] <= BACKFILL_SECONDS, f"backfill: {backfilled['seconds']:.1f} s"),
        (backfilled["peak_mebibytes"] <= BACKFILL_MEBIBYTES, f"backfill: {backfilled['peak_mebibytes']:.0f} MiB"),
        (rebuilt["seconds"] <= REBUILD_SECONDS, f"rebuild: {rebuilt['seconds']:.1f} s"),
        (
            lived["sent_seconds"] + lived["behind_seconds"] <= lived["rows"] / LIVE_ROWS_A_SECOND + LIVE_BEHIND_SECONDS,
            f"live: {lived['rows_a_second']:,.0f} rows a second",
        ),
    )
    return [text for is_reached, text in judged if not is_reached]


def show(figures: dict[str, dict[str, float]], console: Console) -> None:
    """Print the figures beside their targets."""
    backfilled, rebuilt, lived = figures["backfill"], figures["rebuild"], figures["live"]
    table = Table("figure", "measured", "target")
    rows, series = int(rebuilt["rows"]), int(rebuilt["series"])
    name = f"backfill of {rows:,} rows, {series:,} series, from one Parquet file"
    table.add_row(name, f"{backfilled['seconds']:.1f} s", f"{BACKFILL_SECONDS:.0f} s for 2,000,000")
    table.add_row("until all of it can be read over HTTP", f"{backfilled['readable_seconds']:.1f} s", "")
    table.add_row("its memory at most, ingestor and gateway", _memory(backfilled), f"{BACKFILL_MEBIBYTES:.0f} MiB")
    table.add_row("its processor time", _processors(backfilled), "")
    table.add_row("rebuild of it from the log", f"{rebuilt['seconds']:.1f} s", f"{REBUILD_SECONDS:.0f} s")
    table.add_row("its memory", f"{rebuilt['resident_mebibytes']:.0f} MiB", "")
    told = f"{lived['rows_a_second']:,.0f} a second, {lived['behind_seconds']:.1f} s behind at the end"
    table.add_row(f"{int(lived['rows']):,} live rows, one a series", told, f"{LIVE_ROWS_A_SECOND:,.0f} a second")
    table.add_row("their memory at most", _memory(lived), "")
    table.add_row("their processor time", _processors(lived), "")
    alone = figures["floor"]
    told = f"{alone['sent_microseconds']:.0f} µs sent, {alone['read_microseconds']:.0f} µs read, of processor time"
    table.add_row("a message of one row by kafka-python alone", told, "")
    console.print(table)


def _memory(figures: dict[str, float]) -> str:
    parts = ", ".join(f"{name} {figures[f'{name}_mebibytes']:.0f}" for name in ("ingestor", "gateway"))
    return f"{figures['peak_mebibytes']:.0f} MiB at once ({parts})"


def _processors(figures: dict[str, float]) -> str:
    return ", ".join(
        f"{name} {figures[f'{name}_processor_seconds']:.1f} s" for name in ("ingestor", "gateway", "kafka")
    )


def main() -> None:
    """Measure and print; exit code 1 beyond a target."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description=__doc__)
    parser.add_argument("--series", type=int, default=1_000)
    parser.add_argument("--rows", type=int, default=2_000)
    parser.add_argument("--live-seconds", type=float, default=20.0, help="how long live rows are sent")
    parser.add_argument("--keep", type=Path, help="an empty directory for everything, logs too; left as it is")
    parser.add_argument("--only", choices=("rebuild", "floor"), help=argparse.SUPPRESS)
    parser.add_argument("--kafka", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only is not None:
        sys.stdout.write(json.dumps({"rebuild": rebuild, "floor": floor}[given.only](given.kafka)))
        return
    figures = measure(given.series, given.rows, given.live_seconds, given.keep)
    console = Console(width=120, highlight=False)
    for line in description(("foretopic", "kafka-python", "msgspec", "numpy", "pyarrow")):
        console.print(line)
    show(figures, console)
    if faults := missed(figures):
        console.print(f"beyond the target: {'; '.join(faults)}")
        raise SystemExit(1)


if __name__ == "__main__":
    main()
