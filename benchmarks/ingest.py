"""Measure how fast history comes back from the log: ``python -m benchmarks.ingest [--series N] [--rows N]``.

One process, one core, no broker: the messages as they stand in the log are decoded with every check and folded to the
latest view of each series, which is what a trainer or a predictor does when it starts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import psutil
from rich.console import Console

from benchmarks.machine import description
from forecasting.panel import SeriesHistory
from schemas.codec import EncodedRecord, decode, encode
from schemas.observations import ObservationBatch
from schemas.topics import OBSERVATIONS

TARGET_SECONDS = 10.0
_START = datetime(2017, 1, 2, tzinfo=UTC)
_SEED = 5


def batches(series: int, rows: int) -> Iterator[ObservationBatch]:
    """Yield one batch of daily bars (open, high, low, close, volume) a series."""
    rng = np.random.default_rng(_SEED)
    time_ = tuple(_START + timedelta(days=day) for day in range(rows))
    for number in range(series):
        close = (100 * np.exp(np.cumsum(rng.normal(0, 0.01, rows)))).round(4)
        open_ = (close * (1 + rng.normal(0, 0.002, rows))).round(4)
        values = {
            "open": open_,
            "high": np.maximum(open_, close) + 0.5,
            "low": np.minimum(open_, close) - 0.5,
            "close": close,
            "volume": rng.integers(1_000, 10_000_000, rows).astype(float),
        }
        yield ObservationBatch.of(
            series_id=f"bench/S{number:05}@1d",
            freq="1d",
            calendar="24/7",
            unit="USD",
            kind="history",
            source="mock",
            received_at=_START + timedelta(days=rows),
            time=time_,
            columns={name: tuple(column.tolist()) for name, column in values.items()},
        )


def rebuild(messages: list[EncodedRecord]) -> dict[str, SeriesHistory]:
    """Return the histories that ``messages`` say, each with its latest view made."""
    histories: dict[str, SeriesHistory] = {}
    for offset, message in enumerate(messages):
        batch = decode(OBSERVATIONS, message.value, message.headers).record
        if not isinstance(batch, ObservationBatch):
            raise TypeError(f"an ObservationBatch was expected, found a {type(batch).__name__}")
        histories.setdefault(batch.series_id, SeriesHistory(batch.series_id)).append(offset, batch)
    for history in histories.values():
        history.view()
    return histories


def main() -> None:
    """Measure and print; exit code 1 beyond the target."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ingest", description=__doc__)
    parser.add_argument("--series", type=int, default=1_000)
    parser.add_argument("--rows", type=int, default=2_000)
    given = parser.parse_args()
    messages = [
        encode(OBSERVATIONS, batch, source="/foretopic/bench", time=_START)
        for batch in batches(given.series, given.rows)
    ]
    started, cpu = time.perf_counter(), time.process_time()
    histories = rebuild(messages)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    rows = sum(len(history.view()) for history in histories.values())
    resident = psutil.Process().memory_info().rss / 2**20
    size = sum(len(message.value) for message in messages) / 2**20
    console = Console(width=120, highlight=False)
    for line in description(("foretopic", "msgspec", "numpy")):
        console.print(line)
    console.print(
        f"rebuilt {rows:,} rows of {len(histories):,} series in {seconds:.1f} s ({cpu:.1f} s of CPU), "
        f"target {TARGET_SECONDS:.0f} s; {resident:.0f} MiB resident, {size:.0f} MiB of them messages"
    )
    if seconds > TARGET_SECONDS:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
