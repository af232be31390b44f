"""A thousand forecasts by one call and by a thousand: ``python -m benchmarks.batches --url URL --series ID [ID ...]``.

It asks a gateway that runs, with a model for each of the series, and says how long both ways took.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

FORECASTS = 1000
_HORIZON = 3
_SECONDS = 120.0


def one_call(client: httpx.Client, series_ids: Sequence[str]) -> float:
    """Return the seconds that all take by one call."""
    entries = [{"series_id": series_ids[number % len(series_ids)]} for number in range(FORECASTS)]
    began = time.perf_counter()
    answer = client.post(
        "/api/v1/forecasts:batch", json={"horizon": _HORIZON, "forecasts": entries}, headers={"Prefer": "wait=60"}
    )
    answer.raise_for_status()
    issued = answer.json()["counts"]["issued"]
    if issued != FORECASTS:
        raise RuntimeError(f"{FORECASTS} forecasts were to be issued, {issued} were")
    return time.perf_counter() - began


def single_calls(client: httpx.Client, series_ids: Sequence[str], connections: int) -> float:
    """Return the seconds that they take by a call each, so many at once."""

    def ask(number: int) -> None:
        body: dict[str, Any] = {"series_id": series_ids[number % len(series_ids)], "horizon": _HORIZON}
        client.post("/api/v1/forecasts", json=body).raise_for_status()

    began = time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(ask, range(FORECASTS)))
    return time.perf_counter() - began


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; print a line each; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:5000")
    parser.add_argument("--series", nargs="+", required=True)
    parser.add_argument("--connections", type=int, default=32)
    given = parser.parse_args(arguments)
    limits = httpx.Limits(max_connections=given.connections)
    with httpx.Client(base_url=given.url, timeout=_SECONDS, limits=limits) as client:
        one_call(client, given.series)  # warm
        batch = min(one_call(client, given.series) for _ in range(3))
        single = single_calls(client, given.series, given.connections)
    sys.stdout.write(
        f"{FORECASTS} forecasts by one call: {batch:.2f} s ({FORECASTS / batch:.0f} a second)\n"
        f"{FORECASTS} forecasts by a call each, {given.connections} at once: {single:.2f} s "
        f"({FORECASTS / single:.0f} a second)\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
