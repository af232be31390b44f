"""Fixtures of the whole suite, and what no test may do: use the network, or depend on this machine's variables."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import hypothesis
import pytest

from runtime.memory_broker import MemoryBroker
from runtime.topic_specs import specs
from tests.fakes import ManualClock

# What Hypothesis does where it sees by the variables that it is in CI; ours runs in a container that has none of them.
# Without it an example may take 200 ms and ten examples a second to draw, whoever else works on the machine, and each
# run draws others: a change would be red for what it has nothing to do with. `--hypothesis-profile=default` looks on.
hypothesis.settings.load_profile("ci")

#: Tests with one of these may open sockets; `loopback` only on this machine.
_SOCKET_MARKERS = ("kafka", "e2e", "chromium", "postgres")
_SHARED_DATA = os.environ.get("FORETOPIC_SHARED_DATA")

# Before any fixture: a session fixture must not see them either.
for _name in [name for name in os.environ if name.startswith("FORETOPIC_")]:
    del os.environ[_name]


class _RenderedRecord(logging.LogRecord):
    """A log record as text alone.

    pytest keeps the records of every test to the end. Those of kafka-python name sockets and errors with their frames,
    so closed clients would live on, and their sockets be found unclosed when the run is over.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        if self.name.partition(".")[0] == "kafka":
            self.msg, self.args = self.getMessage(), ()
            if self.exc_info:
                self.exc_text, self.exc_info = logging.Formatter().formatException(self.exc_info), None


logging.setLogRecordFactory(_RenderedRecord)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=("sqlite", "postgresql"),
        default="sqlite",
        help="what a gateway in a test keeps its projection and its accounts in, unless the test says it",
    )


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name bytes that are no text by their number: those of a gzip hold the second they were made in.

    Workers that run the same tests must name them alike, and two of them need not collect within one second.
    """
    return f"{len(val)} bytes" if isinstance(val, bytes) and not val.isascii() else None


@pytest.fixture(autouse=True)
def _terminal_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no variable say what a terminal can do: with some of them colours stand in the output of every command."""
    for name in ("FORCE_COLOR", "NO_COLOR", "TERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port at which nobody listens, and nobody else can: connections are refused all the while."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture(autouse=True)
def _sockets_shut(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections and listening sockets outside the tests that say they need them."""
    if any(request.node.get_closest_marker(marker) for marker in _SOCKET_MARKERS):
        return
    may_loop_back = request.node.get_closest_marker("loopback") is not None
    for method in ("connect", "connect_ex", "bind"):
        monkeypatch.setattr(socket.socket, method, _guarded(method, may_loop_back=may_loop_back))


def _guarded(method: str, *, may_loop_back: bool) -> object:
    original = getattr(socket.socket, method)

    def guarded(self: socket.socket, address: object) -> object:
        is_local = self.family not in (socket.AF_INET, socket.AF_INET6)
        host = address[0] if isinstance(address, tuple) else ""
        if is_local or (may_loop_back and host in ("127.0.0.1", "::1", "localhost")):
            return original(self, address)
        pytest.fail(f"socket.{method}({address!r}): mark the test {', '.join((*_SOCKET_MARKERS, 'loopback'))}")

    return guarded


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def broker(clock: ManualClock) -> MemoryBroker:
    """An in-memory broker with every topic of the contract; it waits by moving ``clock``."""
    broker = MemoryBroker(clock)
    broker.ensure_topics(specs())
    return broker


@pytest.fixture
def topic_prefix() -> str:
    """A prefix that no other test has."""
    return f"t{uuid4().hex[:12]}-"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout."""
    folder = Path(_SHARED_DATA) if _SHARED_DATA else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real data not found: {folder} is no folder; set FORETOPIC_SHARED_DATA")
    return folder


@pytest.fixture(scope="session")
def databases() -> Iterator[Any]:
    """Databases on one PostgreSQL server; only for tests with the marker ``postgres``."""
    from tests.integration.gateway_process import postgres_server
    from tests.postgres import Databases

    with postgres_server() as url:
        yield Databases(url)


@pytest.fixture(scope="session", autouse=True)
def _database_of_worlds(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let every gateway of a test that names no database have PostgreSQL, where the command line asks for it."""
    if request.config.getoption("--database") == "sqlite":
        yield
        return
    from tests import postgres

    postgres.of_worlds = request.getfixturevalue("databases")
    yield
    postgres.of_worlds = None


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Bootstrap servers of a real Kafka: the one given, one in Docker, or the embedded one."""
    given = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if given:
        yield given
        return
    if _docker_answers():
        from tests.kafka_container import kafka_in_docker

        with kafka_in_docker() as servers:
            yield servers
        return
    from foretopic.embedded_kafka import EmbeddedKafka

    with EmbeddedKafka(tmp_path_factory.mktemp("kafka")) as embedded:
        yield embedded.bootstrap_servers


def _docker_answers() -> bool:
    if not Path("/var/run/docker.sock").exists() and "DOCKER_HOST" not in os.environ:
        return False
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=5)
        try:
            return bool(client.ping())
        finally:
            client.close()
    except DockerException:
        return False
