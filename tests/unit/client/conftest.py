"""Both clients behind one face, against a live gateway with accounts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from msgspec import structs

from foretopic import AsyncClient, Client
from foretopic.client import AsyncJob
from schemas.forecasts import ForecastIssued, ForecastRequested, default_model_name
from schemas.record import Record
from tests.listening import listening
from tests.unit.gateway.possessions import plant
from tests.unit.gateway.tenants import Tenants, tenants
from tests.unit.gateway.world import Responder, issued


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    """Two tenants; the project of the first is filled, and a predictor answers."""
    folder, files = tmp_path_factory.mktemp("gateway"), tmp_path_factory.mktemp("files")
    with tenants(folder, files_directory=files) as made, Responder(made.world.broker, issued_by_its_own):
        plant(made, made.apples)
        yield made


def issued_by_its_own(request: ForecastRequested) -> Record:
    """Return a forecast of the series' own model: that of another project would hide it."""
    answer = issued(request)
    assert isinstance(answer, ForecastIssued)
    return structs.replace(
        answer, model=structs.replace(answer.model, name=default_model_name(request.series_id or ""))
    )


class AsyncWsgi(httpx.AsyncBaseTransport):
    """Takes a request of an async client to a WSGI app."""

    def __init__(self, app: Any) -> None:
        self._wsgi = httpx.WSGITransport(app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        content = await request.aread()
        plain = httpx.Request(request.method, request.url, headers=request.headers, content=content)
        answer = await asyncio.to_thread(self._wsgi.handle_request, plain)
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.read())


class Awaited:
    """An `AsyncClient` that is used as a `Client` is: each method is awaited here."""

    def __init__(self, **arguments: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._client = AsyncClient(**arguments)
        self.session = self._client.session

    def __getattr__(self, name: str) -> Any:
        def called(*args: Any, **kwargs: Any) -> Any:
            found = getattr(self._client, name)(*args, **kwargs)
            if hasattr(found, "__aiter__"):
                return self._iterated(found)
            found = self._loop.run_until_complete(found)
            return AwaitedJob(found, self._loop) if isinstance(found, AsyncJob) else found

        return called

    def _iterated(self, found: Any) -> Iterator[Any]:
        try:
            while True:
                try:
                    yield self._loop.run_until_complete(anext(found))
                except StopAsyncIteration:
                    return
        finally:
            self._loop.run_until_complete(found.aclose())

    def close(self) -> None:
        self._loop.run_until_complete(self._client.aclose())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


class AwaitedJob:
    def __init__(self, job: AsyncJob[Any, Any], loop: asyncio.AbstractEventLoop) -> None:
        self.answer = job.answer
        self._job, self._loop = job, loop

    def wait(self, *args: float, **kwargs: float) -> Any:
        return self._loop.run_until_complete(self._job.wait(*args, **kwargs))


class Slept:
    """Waits for nothing, and says for how long it would have."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)

    async def async_sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)


KINDS = ("blocking", "async")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def slept() -> Slept:
    return Slept()


@pytest.fixture
def new_client(kind: str, slept: Slept) -> Iterator[Any]:
    """Makes a client of either kind; ``answer`` or ``app`` take the place of the network."""
    made: list[Any] = []

    def make(*, answer: Any = None, app: Any = None, **arguments: Any) -> Any:
        given: dict[str, Any] = {"url": "http://gateway.example", "api_key": "", **arguments}
        if answer is not None:
            given["transport"] = httpx.MockTransport(answer)
            given["sleep"] = slept.sleep if kind == "blocking" else slept.async_sleep
        elif app is not None:
            given["url"] = "http://localhost"
            given["transport"] = httpx.WSGITransport(app) if kind == "blocking" else AsyncWsgi(app)
        made.append(Client(**given) if kind == "blocking" else Awaited(**given))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def client(new_client: Any, both: Tenants) -> Any:
    """A client of an editor of the first tenant."""
    return new_client(app=both.world.app, api_key=both.apples.admin.key)


@pytest.fixture(scope="module")
def served(both: Tenants) -> Iterator[str]:
    """The URL of the gateway on a real socket."""
    with listening(both.world.app) as url:
        yield url
