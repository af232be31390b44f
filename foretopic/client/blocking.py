"""Carries out steps by waiting for each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, Self, TypeVar

import httpx

from foretopic.client.connection import FIRST_ERROR, Connection, pieces, timeout, unfinished, unreachable
from foretopic.client.errors import Problem, Unreachable
from foretopic.client.event_text import Event, EventText
from foretopic.client.session import Session, require_good
from foretopic.client.steps import Call, Events, Flow, Pages, Pause, Reply, Request, Started, Step
from foretopic.client.waiting import until_ended

S = TypeVar("S")
T = TypeVar("T")


class Job(Generic[S, T]):
    """Work that was begun: ``answer`` is what the gateway said to it."""

    def __init__(self, driver: BlockingDriver, started: Started[S, T], answer: S) -> None:
        self.answer = answer
        self._driver = driver
        self._started = started

    def wait(self, timeout_seconds: float = 600.0) -> T:
        """Return how it ended.

        Raises:
            Unsuccessful: It ended badly.
            WaitedTooLong: It goes on.
        """
        return self._driver.run(until_ended(self._driver.session, self._started, self.answer, timeout_seconds))


class BlockingDriver:
    """Sends requests with a connection pool; threads may share it."""

    def __init__(self, connection: Connection, session: Session, *, sleep: Callable[[float], None]) -> None:
        self.session = session
        self._http = httpx.Client(**connection.arguments)
        self._sleep = sleep
        self._renewing = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._http.close()

    def run(self, flow: Flow[T]) -> T:
        """Carry out a flow."""
        try:
            step = next(flow)
            while True:
                try:
                    outcome = self._do(step)
                except Unreachable as error:
                    step = flow.throw(error)
                else:
                    step = flow.send(outcome)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # of a Flow[T]

    def _do(self, step: Step) -> Reply | None:
        if isinstance(step, Request):
            return self._sent(step)
        if isinstance(step, Pause):
            self._sleep(step.seconds)
            return None
        with self._renewing:
            tokens = self.session.tokens
            if tokens is not None and tokens.access_token == step.spent:
                self.run(self.session.renew())
        return None

    def _sent(self, request: Request) -> Reply:
        with self._opened(request) as response:
            if request.into is None or response.status_code >= FIRST_ERROR:
                return Reply(response.status_code, response.headers, response.read())
            with unfinished(request.into) as file:
                for piece in response.iter_bytes():
                    file.write(piece)
            return Reply(response.status_code, response.headers, b"")

    @contextmanager
    def _opened(self, request: Request) -> Iterator[httpx.Response]:
        content = request.content if request.file is None else pieces(request.file)
        with (
            unreachable(request),
            self._http.stream(
                request.method, request.target, headers=request.headers, content=content, timeout=timeout(request)
            ) as response,
        ):
            yield response

    def begin(self, started: Started[S, T]) -> Job[S, T]:
        """Begin work."""
        return Job(self, started, self.run(self.session.flow(started.call)))

    def pages(self, pages: Pages[T]) -> Iterator[T]:
        """Yield the items of every page."""
        call: Call[Any] | None = pages.call
        while call is not None:
            page = self.run(self.session.flow(call))
            yield from getattr(page, pages.items)
            call = pages.behind(page.next) if page.next else None

    def follow(self, events: Events) -> Iterator[Event]:
        """Yield events; a stream that ends is opened again behind the last of them."""
        text, tries = EventText(events.after), 0
        while True:
            request = self.session.request(events.at(text.last_id))
            try:
                with self._opened(request) as response:
                    if response.status_code >= FIRST_ERROR:
                        require_good(Reply(response.status_code, response.headers, response.read()))
                    for line in response.iter_lines():
                        if (event := text.take(line)) is not None:
                            tries = 0
                            yield event
                            if events.is_last is not None and events.is_last(event):
                                return
            except (Problem, Unreachable) as error:
                self.run(self.session.mend(events.call, request, error, tries))
                tries += 1
            else:
                self._sleep(text.retry_seconds)
            text.cut()
