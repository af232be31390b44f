"""Where a gateway is, and what both ways of sending need."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import httpx

from foretopic.client.errors import Unreachable
from foretopic.client.steps import Request

FIRST_ERROR = 400
DEFAULT_URL = "http://127.0.0.1:5000"
_PIECE_BYTES = 1 << 18
_CONNECT_SECONDS = 5.0
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", "[::1]"})


@dataclass(frozen=True)
class Connection:
    """Where the gateway is and how long an answer may take.

    Raises:
        ValueError: The URL is none of http or https.
    """

    url: str
    timeout_seconds: float
    #: Takes the place of the network: of httpx, blocking or not as the client is.
    transport: Any = None

    def __post_init__(self) -> None:
        found = httpx.URL(self.url)
        if found.scheme not in ("http", "https") or not found.host:
            raise ValueError(f"url must be that of a gateway, such as {DEFAULT_URL}, was {self.url!r}")

    @property
    def arguments(self) -> dict[str, Any]:
        """Return what a client of httpx is made with."""
        return {
            "base_url": self.url.rstrip("/"),
            "timeout": httpx.Timeout(self.timeout_seconds, connect=_CONNECT_SECONDS),
            "transport": self.transport,
            # A gateway on this machine is not behind the proxy that the environment names.
            "trust_env": httpx.URL(self.url).host not in _LOOPBACK,
            "headers": {"User-Agent": "foretopic-client"},
        }


def address(url: str | None, api_key: str | None) -> tuple[str, str]:
    """Return URL and API key; what is ``None`` is taken from ``FORETOPIC_URL`` and ``FORETOPIC_API_KEY``."""
    found_url = os.environ.get("FORETOPIC_URL", DEFAULT_URL) if url is None else url
    return found_url, os.environ.get("FORETOPIC_API_KEY", "") if api_key is None else api_key


def timeout(request: Request) -> Any:
    """Return how long a request may take, as httpx wants it."""
    if request.timeout_seconds is None:
        return httpx.USE_CLIENT_DEFAULT
    return httpx.Timeout(request.timeout_seconds, connect=_CONNECT_SECONDS)


@contextmanager
def unreachable(request: Request) -> Iterator[None]:
    """Make what httpx raises for want of an answer ours.

    Raises:
        Unreachable: There was none.
    """
    try:
        yield
    except httpx.HTTPError as error:
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        where = f"{request.method} {request.target.partition('?')[0]}"
        raise Unreachable(f"{where}: no answer ({what})", type(error).__name__) from error


@contextmanager
def unfinished(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file beside ``path`` that takes its place once all of it is written, and goes away otherwise."""
    beside = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with beside.open("wb") as file:
            yield file
        beside.replace(path)
    finally:
        with suppress(FileNotFoundError):
            beside.unlink()


def pieces(path: Path) -> Iterator[bytes]:
    """Yield the content of a file."""
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece


async def async_pieces(path: Path) -> AsyncIterator[bytes]:
    """Yield the content of a file; a piece is read faster than a thread is asked for it."""
    for piece in pieces(path):
        yield piece
