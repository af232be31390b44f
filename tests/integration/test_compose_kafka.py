"""The Kafka of docker-compose.yml in a real container keeps the contract of the broker; needs a Docker engine."""

from __future__ import annotations

import os
import re
import socket
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

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.kafka, pytest.mark.slow]
_START_SECONDS = 120.0


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
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
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
        timeout=600,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert re.search(r"\d+ passed", ran.stdout), ran.stdout[-500:]
