"""A real Kafka in a container, for the machines where a Docker engine answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kafka import KafkaAdminClient
from kafka.errors import KafkaError
from testcontainers.core.container import DockerContainer

from foretopic.ports import free_port
from runtime.clock import SystemClock

IMAGE = "apache/kafka:4.2.1"
_START_SECONDS = 240.0


@contextmanager
def kafka_in_docker() -> Iterator[str]:
    """Run one KRaft broker and yield its bootstrap servers.

    testcontainers' own ``KafkaContainer`` knows Confluent's image alone. Clients must reach the address that the broker
    advertises, so the host's port is chosen before the start.
    """
    port = free_port()
    container = DockerContainer(IMAGE).with_bind_ports(9092, port)
    for name, value in {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_LISTENERS": "PLAINTEXT://0.0.0.0:9092,CONTROLLER://localhost:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
    }.items():
        container = container.with_env(name, value)
    with container:
        servers = f"127.0.0.1:{port}"
        _wait_until_it_answers(servers)
        yield servers


def _wait_until_it_answers(servers: str) -> None:
    clock = SystemClock()
    deadline = clock.monotonic() + _START_SECONDS
    while True:
        try:
            admin = KafkaAdminClient(bootstrap_servers=servers)
        except KafkaError as error:
            if clock.monotonic() > deadline:
                raise TimeoutError(f"{IMAGE} does not answer at {servers} after {_START_SECONDS} s") from error
            clock.sleep(0.2)
        else:
            admin.close()
            return
