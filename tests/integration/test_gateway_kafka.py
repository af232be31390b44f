"""The gateway as a process on a real Kafka: killed under load, stopped, made again from the log."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from uuid import uuid4

import pytest

from foretopic.embedded_kafka import EmbeddedKafka
from gateway.store import Store, open_engine
from runtime.clock import SystemClock
from runtime.kafka_broker import KafkaBroker
from runtime.publisher import Publisher
from runtime.topic_specs import specs
from schemas import topics
from tests import factories
from tests.integration.gateway_process import Answer, GatewayProcess, postgres_server, wait_for
from tests.unit.gateway.world import Responder, contents, wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

URL = "/api/v1/forecasts"
GOOD = {"series_id": factories.SERIES, "horizon": 3}
#: Kills of the gateway, by database.
KILLS = {"sqlite": 3, "postgresql": 1}
CLIENTS = 8


@dataclass
class Log:
    """The topics of one test on the shared Kafka."""

    servers: str
    prefix: str
    broker: KafkaBroker


@pytest.fixture
def log(kafka: str, topic_prefix: str) -> Iterator[Log]:
    with log_with_a_champion(kafka, topic_prefix) as log:
        yield log


@contextmanager
def log_with_a_champion(kafka: str, topic_prefix: str) -> Iterator[Log]:
    """Yield topics of their own with one series, one release and its deployment."""
    broker = KafkaBroker(kafka, client_id="test")
    broker.ensure_topics(specs(topic_prefix))
    publisher = Publisher(broker.producer(), service="test", clock=SystemClock(), topic_prefix=topic_prefix)
    for topic, record in (
        (topics.OBSERVATIONS, factories.observation_batch()),
        (topics.MODELS, factories.model_release()),
        (topics.DEPLOYMENTS, factories.deployment()),
    ):
        publisher.send(topic, record).result(60.0)
    publisher.close()
    yield Log(kafka, topic_prefix, broker)
    broker.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'gateway.db'}"
    else:
        with postgres_server() as url:
            yield url


@dataclass
class Load:
    """Callers that repeat a request with its key until it is accepted, as a careful client does."""

    gateway: GatewayProcess
    #: No further request is begun; those that are begun are repeated until they are accepted: else one that stands in
    #: the log could be answered between two looks at what was asked and what was answered.
    is_over: threading.Event = field(default_factory=threading.Event)
    #: Nothing is repeated any more either.
    is_given_up: threading.Event = field(default_factory=threading.Event)
    accepted: dict[str, Answer] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)

    def run(self) -> None:
        while not self.is_over.is_set():
            key = uuid4().hex
            while key not in self.accepted and not self.is_given_up.is_set():
                try:
                    answer = self.gateway.call("POST", URL, GOOD, {"Idempotency-Key": key, "Prefer": "wait=2"})
                except (OSError, HTTPException):
                    # Killed, or not up again yet.
                    self.is_given_up.wait(0.1)
                    continue
                if answer.status in (200, 202):
                    self.accepted[key] = answer
                elif answer.status == 503:
                    self.is_given_up.wait(0.1)
                else:
                    self.unexpected.append(f"{answer.status} {answer.content!r}")
                    return


def test_every_accepted_request_is_answered_through_kills(log: Log, database_url: str, tmp_path: Path) -> None:
    gateway = GatewayProcess(log.servers, log.prefix, tmp_path, database_url=database_url)
    load = Load(gateway)
    callers = [threading.Thread(target=load.run) for _ in range(CLIENTS)]
    try:
        with Responder(log.broker, prefix=log.prefix) as predictor:
            gateway.start()
            for caller in callers:
                caller.start()
            kills = KILLS[database_url.partition(":")[0]]
            for kill in range(1, kills + 1):
                wait_until(lambda kill=kill: len(load.accepted) > 40 * kill or load.unexpected, "load")  # type: ignore[misc]
                gateway.kill()
                gateway.start()
            wait_until(lambda: len(load.accepted) > 40 * (kills + 1) or load.unexpected, "load after the last kill")
            load.is_over.set()
            for caller in callers:
                caller.join(120)
            assert not any(caller.is_alive() for caller in callers)
            assert load.unexpected == []

            for key, first in load.accepted.items():
                answer = wait_for(gateway, f"{URL}/{key}", 200)
                assert answer.json["request_id"] == key
                # What was answered once is answered with the same bytes for ever.
                assert first.status == 202 or first.content == answer.content
            asked = {request.request_id for request in predictor.requests}
            assert set(load.accepted) <= asked
        assert gateway.stop() == 0
        kept = stored(database_url)
        answered = [row[0] for row in kept["forecasts"]]
        assert len(answered) == len(set(answered))
        assert set(answered) == asked
        assert kept["alarms"] == []

        with store_of(database_url) as store:
            clear(store)
        gateway.start()
        assert gateway.stop() == 0
        assert stored(database_url) == kept
    finally:
        load.is_over.set()
        load.is_given_up.set()
        gateway.close()


@contextmanager
def store_of(url: str) -> Iterator[Store]:
    store = Store(open_engine(url))
    yield store
    store.engine.dispose()


def stored(url: str) -> dict[str, list[tuple[object, ...]]]:
    with store_of(url) as store:
        return contents(store)


def clear(store: Store) -> None:
    """Leave nothing, not even the tables: as a new, empty database."""
    with store.engine.begin() as connection:
        for table in (*contents(store), "alembic_version"):
            connection.exec_driver_sql(f"DROP TABLE {table}")


@pytest.fixture
def gateway(log: Log, tmp_path: Path) -> Iterator[GatewayProcess]:
    process = GatewayProcess(log.servers, log.prefix, tmp_path, graceful_stop_seconds="100")
    process.start()
    yield process
    process.close()


def test_a_request_outlives_a_gateway_that_was_killed_while_it_waited(log: Log, gateway: GatewayProcess) -> None:
    accepted = gateway.call("POST", URL, GOOD, {"Prefer": "wait=0"})
    assert accepted.status == 202
    gateway.kill()
    gateway.start()
    location = accepted.headers["Location"]
    assert gateway.call("GET", location).status == 202

    with Responder(log.broker, prefix=log.prefix):
        answer = wait_for(gateway, location, 200)

    assert answer.json["request_id"] == accepted.json["request_id"]


def test_a_stop_lets_waiting_requests_end(log: Log, gateway: GatewayProcess) -> None:
    answers: list[Answer] = []
    asked = {"Prefer": "wait=60"}
    caller = threading.Thread(target=lambda: answers.append(gateway.call("POST", URL, GOOD, asked, 120)))
    caller.start()
    wait_until(lambda: "foretopic_waiting_requests 1.0" in gateway.call("GET", "/metrics").content.decode())

    gateway.ask_to_stop()
    # What it waits for comes after the signal only: one that ends at once has no answer for it.
    with Responder(log.broker, prefix=log.prefix):
        assert gateway.wait_for_end() == 0

    caller.join(60)
    assert [answer.status for answer in answers] == [200]


@pytest.fixture(scope="module")
def shared_gateway(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """One for all tests that leave it as it was."""
    with log_with_a_champion(kafka, f"t{uuid4().hex[:12]}-") as log:
        process = GatewayProcess(log.servers, log.prefix, tmp_path_factory.mktemp("gateway"))
        try:
            process.start()
            yield process
        finally:
            process.close()


def raw(port: int, head: str, chunks: Iterator[bytes] | tuple[bytes, ...] = ()) -> str:
    """Send a request as it stands; return what comes back up to the end of the body's first part."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(head.encode())
        for chunk in chunks:
            try:
                connection.sendall(chunk)
            except (BrokenPipeError, ConnectionResetError):
                break
        received = b""
        while b"\r\n\r\n" not in received or not received.endswith(b"}"):
            part = connection.recv(65_536)
            if not part:
                break
            received += part
    return received.decode()


def test_a_body_of_50_megabytes_is_refused_before_it_is_sent(shared_gateway: GatewayProcess) -> None:
    size = 50 * 1024 * 1024
    head = f"POST {URL} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"

    answer = raw(shared_gateway.port, head)

    assert answer.startswith("HTTP/1.1 413 ")
    assert "application/problem+json" in answer
    assert '"/problems/body-too-large"' in answer


def test_an_endless_chunked_body_is_refused_at_the_limit(shared_gateway: GatewayProcess) -> None:
    head = f"POST {URL} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"

    answer = raw(shared_gateway.port, head, (chunk,) * 17)

    assert answer.startswith("HTTP/1.1 413 ")
    assert shared_gateway.call("GET", "/health").status == 200


def test_every_log_line_is_json_and_carries_the_request_id(shared_gateway: GatewayProcess) -> None:
    shared_gateway.call("GET", "/api/v1/series", headers={"X-Request-ID": "find-me"})

    lines = wait_until(lambda: [line for line in shared_gateway.log().splitlines() if "find-me" in line])

    assert re.search(r'"path":"/api/v1/series".*"x_request_id":"find-me"', lines[0])


def test_a_broker_that_is_away_is_told_at_once_and_its_return_is_noticed(topic_prefix: str, tmp_path: Path) -> None:
    with EmbeddedKafka(tmp_path / "kafka") as kafka:
        with log_with_a_champion(kafka.bootstrap_servers, topic_prefix):
            gateway = GatewayProcess(
                kafka.bootstrap_servers, topic_prefix, tmp_path, stuck_after_seconds="1", delivery_timeout_seconds="300"
            )
        try:
            gateway.start()
            with responding(kafka.bootstrap_servers, topic_prefix):
                before = gateway.call("POST", URL, GOOD, {"Prefer": "wait=60"}, timeout_seconds=90)
                assert before.status == 200
            kafka.kill(0)

            for path, body in ((URL, GOOD), (URL, GOOD), ("/api/v1/trainings", {"series_id": factories.SERIES})):
                # Without an answer where the log is waited for: kafka-python gives up after a minute, the gateway later.
                answer = gateway.call("POST", path, body, {"Prefer": "wait=1"}, timeout_seconds=45)
                assert answer.status == 503
                assert answer.json["type"] == "/problems/broker-unavailable"
                assert "Retry-After" in answer.headers
            assert gateway.call("GET", f"{URL}/{before.json['request_id']}").content == before.content
            assert gateway.call("GET", "/health").status == 200

            kafka.restart(0)
            with responding(kafka.bootstrap_servers, topic_prefix):
                wait_until(lambda: gateway.call("POST", URL, GOOD).status == 200, "a forecast after the return")
        finally:
            gateway.close()


@contextmanager
def responding(servers: str, prefix: str) -> Iterator[None]:
    """Answer requests over connections of its own: kafka-python leaves sockets open when it cannot connect."""
    broker = KafkaBroker(servers, client_id="test")
    with Responder(broker, prefix=prefix):
        yield
    broker.close()
