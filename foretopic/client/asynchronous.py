"""Carries out steps in an event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Generic, Self, TypeVar

import httpx

from foretopic.client.connection import FIRST_ERROR, Connection, async_pieces, timeout, unfinished, unreachable
from foretopic.client.errors import Problem, Unreachable
from foretopic.client.event_text import Event, EventText
from foretopic.client.session import Session, require_good
from foretopic.client.steps import Call, Events, Flow, Pages, Pause, Reply, Request, Started, Step
from foretopic.client.waiting import until_ended

S = TypeVar("S")
T = TypeVar("T")


class AsyncJob(Generic[S, T]):
    """Work that was begun: ``answer`` is what the gateway said to it."""

    def __init__(self, driver: AsyncDriver, started: Started[S, T], answer: S) -> None:
        self.answer = answer
        self._driver = driver
        self._started = started

    async def wait(self, timeout_seconds: float = 600.0) -> T:
        """Return how it ended.

        Raises:
            Unsuccessful: It ended badly.
            WaitedTooLong: It goes on.
        """
        return await self._driver.run(until_ended(self._driver.session, self._started, self.answer, timeout_seconds))


class AsyncDriver:
    """Sends requests with a connection pool of one event loop; its tasks may share it."""

    def __init__(self, connection: Connection, session: Session, *, sleep: Callable[[float], Awaitable[None]]) -> None:
        self.session = session
        self._http = httpx.AsyncClient(**connection.arguments)
        self._sleep = sleep
        self._renewing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()

    async def run(self, flow: Flow[T]) -> T:
        """Carry out a flow."""
        try:
            step = next(flow)
            while True:
                try:
                    outcome = await self._do(step)
                except Unreachable as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(outcome)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # of a Flow[T]

    async def _do(self, step: Step) -> Reply | None:
        if isinstance(step, Request):
            return await self._sent(step)
        if isinstance(step, Pause):
            await self._sleep(step.seconds)
            return None
        async with self._renewing:
            tokens = self.session.tokens
            if tokens is not None and tokens.access_token == step.spent:
                await self.run(self.session.renew())
        return None

    async def _sent(self, request: Request) -> Reply:
        async with self._opened(request) as response:
            if request.into is None or response.status_code >= FIRST_ERROR:
                return Reply(response.status_code, response.headers, await response.aread())
            with unfinished(request.into) as file:
                async for piece in response.aiter_bytes():
                    file.write(piece)
            return Reply(response.status_code, response.headers, b"")

    @asynccontextmanager
    async def _opened(self, request: Request) -> AsyncIterator[httpx.Response]:
        content = request.content if request.file is None else async_pieces(request.file)
        with unreachable(request):
            async with self._http.stream(
                request.method, request.target, headers=request.headers, content=content, timeout=timeout(request)
            ) as response:
                yield response

    async def begin(self, started: Started[S, T]) -> AsyncJob[S, T]:
        """Begin work."""
        return AsyncJob(self, started, await self.run(self.session.flow(started.call)))

    async def pages(self, pages: Pages[T]) -> AsyncIterator[T]:
        """Yield the items of every page."""
        call: Call[Any] | None = pages.call
        while call is not None:
            page = await self.run(self.session.flow(call))
            for item in getattr(page, pages.items):
                yield item
            call = pages.behind(page.next) if page.next else None

    async def follow(self, events: Events) -> AsyncIterator[Event]:
        """Yield events; a stream that ends is opened again behind the last of them."""
        text, tries = EventText(events.after), 0
        while True:
            request = self.session.request(events.at(text.last_id))
            try:
                async with self._opened(request) as response:
                    if response.status_code >= FIRST_ERROR:
                        require_good(Reply(response.status_code, response.headers, await response.aread()))
                    async for line in response.aiter_lines():
                        if (event := text.take(line)) is not None:
                            tries = 0
                            yield event
                            if events.is_last is not None and events.is_last(event):
                                return
            except (Problem, Unreachable) as error:
                await self.run(self.session.mend(events.call, request, error, tries))
                tries += 1
            else:
                await self._sleep(text.retry_seconds)
            text.cut()
