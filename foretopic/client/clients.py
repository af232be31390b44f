"""The two clients: the same operations, blocking and for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import httpx

from foretopic.client.accounts import Accounts
from foretopic.client.asynchronous import AsyncDriver
from foretopic.client.blocking import BlockingDriver
from foretopic.client.connection import Connection, address
from foretopic.client.data import Data
from foretopic.client.forecasting import Forecasting
from foretopic.client.modelling import Modelling
from foretopic.client.projects import Projects
from foretopic.client.session import Patience, Session
from foretopic.client.system import System

_ANSWER_SECONDS = 60.0


class Operations(Forecasting, Projects, Modelling, Data, Accounts, System):
    """Every operation of a gateway."""


class Client(Operations, BlockingDriver):
    """Calls a gateway, and waits for each answer. Threads may share one.

    What fails in passing (no connection, 429, 502, 503, 504) is sent again, after a while that the gateway may name;
    with an Idempotency-Key, so that nothing is done twice.

    Args:
        url: Of the gateway; ``FORETOPIC_URL`` unless given, else this machine, port 5000.
        api_key: ``FORETOPIC_API_KEY`` unless given; `log_in` is for people.
        timeout_seconds: How long an answer may take.
        retries: How often a call is sent again; 0: never.
        transport: Takes the place of the network, e.g. `httpx.WSGITransport`.
        sleep: Waits; tests pass another.

    Raises:
        ValueError: The URL is none.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout_seconds: float = _ANSWER_SECONDS,
        retries: int = Patience.retries,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        found_url, found_key = address(url, api_key)
        session = Session(api_key=found_key, patience=Patience(retries=retries))
        super().__init__(Connection(found_url, timeout_seconds, transport), session, sleep=sleep)


class AsyncClient(Operations, AsyncDriver):
    """Calls a gateway from an event loop: `Client`, where each method is awaited or iterated over with `async for`."""

    def __init__(
        self,
        url: str | None = None,
        *,
        api_key: str | None = None,
        timeout_seconds: float = _ANSWER_SECONDS,
        retries: int = Patience.retries,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        found_url, found_key = address(url, api_key)
        session = Session(api_key=found_key, patience=Patience(retries=retries))
        super().__init__(Connection(found_url, timeout_seconds, transport), session, sleep=sleep)
