"""Load on an HTTP route: N connections that each send the next request when the last is answered.

Raw HTTP/1.1 with keep-alive over asyncio protocols, so that the load costs the machine little beside what it measures::

    python -m benchmarks.load http://127.0.0.1:5000/api/v1/forecasts \
        --body '{"series_id": "market/AAPL@1d", "horizon": 10}' --connections 64 --seconds 15

Prints one line of JSON: answers a second, percentiles of the latency in milliseconds, and the statuses.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_HEAD_END = b"\r\n\r\n"


@dataclass
class Tally:
    """What came back: latency in seconds of each answer, how many of each status, and what broke."""

    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)


class Connection(asyncio.Protocol):
    """One keep-alive connection in a closed loop."""

    def __init__(self, request: bytes, tally: Tally, deadline: float, ended: asyncio.Future[None]) -> None:
        self._request = request
        self._tally = tally
        self._deadline = deadline
        self._ended = ended
        self._buffer = bytearray()
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        if self._sent_at >= self._deadline:
            self._transport.close()
            return
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        head_end = buffer.find(_HEAD_END)
        if head_end < 0:
            return
        head = bytes(buffer[:head_end]).lower()
        start = head.find(b"content-length:")
        if start < 0:
            self._tally.failures["an answer without Content-Length"] += 1
            self._transport.close()
            return
        length = int(head[start + 15 :].split(b"\r\n", 1)[0])
        if len(buffer) < head_end + len(_HEAD_END) + length:
            return
        self._tally.latencies.append(time.perf_counter() - self._sent_at)
        self._tally.statuses[int(head[9:12])] += 1
        buffer.clear()
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if time.perf_counter() < self._deadline:
            self._tally.failures[f"connection lost: {error or 'closed by the server'}"] += 1
        if not self._ended.done():
            self._ended.set_result(None)


def request_bytes(url: str, method: str, body: bytes, headers: Sequence[str]) -> bytes:
    """Return the one request that is sent again and again."""
    parts = urlsplit(url)
    lines = [
        f"{method} {parts.path or '/'}{'?' + parts.query if parts.query else ''} HTTP/1.1",
        f"Host: {parts.netloc}",
    ]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


async def load(url: str, request: bytes, connections: int, seconds: float) -> Tally:
    """Send ``request`` over ``connections`` connections for ``seconds``."""
    parts = urlsplit(url)
    tally = Tally()
    loop = asyncio.get_running_loop()
    deadline = time.perf_counter() + seconds
    ends = []
    for _ in range(connections):
        ended = loop.create_future()
        ends.append(ended)
        await loop.create_connection(
            lambda ended=ended: Connection(request, tally, deadline, ended), parts.hostname, parts.port or 80
        )
    await asyncio.gather(*ends)
    return tally


def summary(tally: Tally, seconds: float) -> dict[str, Any]:
    """Return the figures: answers a second, latencies in milliseconds, statuses."""
    ordered = sorted(tally.latencies)

    def percentile(share: float) -> float | None:
        return round(1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2) if ordered else None

    return {
        "per_second": round(len(ordered) / seconds, 1),
        "answers": len(ordered),
        "median_ms": percentile(0.5),
        "p90_ms": percentile(0.9),
        "p99_ms": percentile(0.99),
        "max_ms": percentile(1.0),
        "statuses": {str(status): count for status, count in sorted(tally.statuses.items())},
        "failures": dict(tally.failures),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the load that the command line describes; exit code 1 when an answer was not 2xx."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("url")
    parser.add_argument("--method", default=None, help="POST with a body, GET without one")
    parser.add_argument("--body", default="", help="JSON, or @FILE")
    parser.add_argument("--header", action="append", default=[], help="'Name: value'; may be repeated")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--warm-up", type=float, default=0.0, help="seconds of load before the counted ones")
    given = parser.parse_args(arguments)
    body = Path(given.body[1:]).read_bytes() if given.body.startswith("@") else given.body.encode()
    request = request_bytes(given.url, given.method or ("POST" if body else "GET"), body, given.header)
    if given.warm_up > 0:
        asyncio.run(load(given.url, request, given.connections, given.warm_up))
    started = time.perf_counter()
    tally = asyncio.run(load(given.url, request, given.connections, given.seconds))
    print(json.dumps(summary(tally, time.perf_counter() - started)))  # noqa: T201  # the figures are the output
    is_clean = not tally.failures and all(200 <= status < 300 for status in tally.statuses)  # noqa: PLR2004
    return 0 if is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
