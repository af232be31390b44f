"""The Kafka of docker-compose.yml: its settings on the embedded broker; in a container where a Docker engine answers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml
from docker.errors import DockerException
from testcontainers.core.container import DockerContainer
from testcontainers.core.waiting_utils import wait_for_logs

from foretopic.embedded_kafka import EmbeddedKafka
from foretopic.ports import free_port
from runtime.broker import OutgoingMessage, TopicPartition
from runtime.clock import SystemClock
from runtime.create_topics import TopicsSettings, create_topics
from runtime.kafka_broker import KafkaBroker
from schemas.topics import TOPICS

ROOT = Path(__file__).parents[2]
#: Longer than what ends a broken run within: the start of a container, and the contract in a run of its own.
pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(2400)]
#: Not properties of the broker: the image hands them to Java.
_FOR_JAVA = {"KAFKA_HEAP_OPTS", "KAFKA_OPTS"}
_START_SECONDS = 240.0


def kafka_service() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["kafka"]
    return loaded


def interpolated(value: object, variables: dict[str, str]) -> str:
    """Return the value as Compose makes it: `${NAME:-default}`."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: variables.get(found[1], found[2]), str(value))


@pytest.fixture(scope="module")
def engine() -> None:
    if "DOCKER_HOST" not in os.environ and not Path("/var/run/docker.sock").exists():
        pytest.skip("no Docker engine on this machine: neither DOCKER_HOST nor /var/run/docker.sock")
    try:
        client = docker.from_env(timeout=5)
    except DockerException as error:
        pytest.skip(f"no Docker engine answers on this machine: {error}")
    client.close()


@pytest.fixture(scope="module")
def compose_kafka(engine: None) -> Iterator[tuple[DockerContainer, str]]:
    port = free_port()
    variables = {"FORETOPIC_KAFKA_PORT": str(port)}
    service = kafka_service()
    # The quorum names the broker as the other containers do.
    container = DockerContainer(interpolated(service["image"], variables), hostname="kafka").with_bind_ports(9092, port)
    for name, value in service["environment"].items():
        container = container.with_env(name, interpolated(value, variables))
    with container:
        wait_for_logs(container, "Kafka Server started", timeout=_START_SECONDS)
        yield container, f"127.0.0.1:{port}"


def test_health_check_of_the_compose_file_passes(compose_kafka: tuple[DockerContainer, str]) -> None:
    container, _ = compose_kafka
    kind, command = kafka_service()["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    assert container.exec(["/bin/sh", "-c", command]).exit_code == 0


def test_compose_kafka_keeps_the_contract_of_the_broker(compose_kafka: tuple[DockerContainer, str]) -> None:
    _, servers = compose_kafka
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "kafka", "-p", "no:cacheprovider", "tests/contract"],
        cwd=ROOT,
        env={**os.environ, "KAFKA_BOOTSTRAP_SERVERS": servers},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert re.search(r"\d+ passed", ran.stdout), ran.stdout[-500:]


class ComposeKafka(EmbeddedKafka):
    """The embedded broker with the settings of the compose file, on ports and a directory of its own."""

    def __init__(self, home: Path) -> None:
        self._service = kafka_service()
        heap = re.search(r"-Xmx(\d+)m", self._service["environment"]["KAFKA_HEAP_OPTS"])
        assert heap is not None
        super().__init__(home, heap_mebibytes=int(heap[1]))

    def _write_configuration(self) -> None:
        super()._write_configuration()
        [place] = self._places
        environment = self._service["environment"]
        # As the image does: KAFKA_LOG_DIRS is log.dirs.
        settings = {
            name.removeprefix("KAFKA_").lower().replace("_", "."): interpolated(value, {})
            for name, value in environment.items()
            if name.startswith("KAFKA_") and name not in _FOR_JAVA
        }
        inside = free_port({place.port, place.controller_port})
        settings |= {
            "listeners": f"INSIDE://127.0.0.1:{inside},OUTSIDE://127.0.0.1:{place.port},"
            f"CONTROLLER://127.0.0.1:{place.controller_port}",
            "advertised.listeners": f"INSIDE://127.0.0.1:{inside},OUTSIDE://127.0.0.1:{place.port}",
            "controller.quorum.voters": f"1@127.0.0.1:{place.controller_port}",
            "log.dirs": str(place.log_directory),
        }
        text = "".join(f"{name}={value}\n" for name, value in settings.items())
        self._configuration(0).write_text(text, encoding="utf-8")


def test_settings_carry_the_largest_message(tmp_path: Path) -> None:
    """Red with the default log cleaner in a small heap: the broker then ends for lack of memory."""
    topic = max(TOPICS, key=lambda each: each.max_message_bytes)
    with ComposeKafka(tmp_path) as kafka:
        broker = KafkaBroker(kafka.bootstrap_servers, client_id="compose")
        create_topics(broker, TopicsSettings(), SystemClock())
        value = os.urandom(topic.max_message_bytes - 4096)
        producer = broker.producer()
        partition, offset = producer.send(OutgoingMessage(topic.name, b"key", value)).result(60)
        producer.close()

        reader = broker.reader({TopicPartition(topic.name, partition): offset})
        deadline = SystemClock().monotonic() + 120
        found: list[bytes | None] = []
        while not found and SystemClock().monotonic() < deadline:
            found = [message.value for message in reader.poll(1.0)]
        reader.close()
        broker.close()
    assert found == [value]
