"""What the embedded brokers are told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from foretopic.ports import LOOPBACK
from schemas.topics import MEBIBYTE, TOPICS

#: Room for the largest topic's largest message with its batch overhead.
MAX_MESSAGE_BYTES = max(topic.max_message_bytes for topic in TOPICS) + MEBIBYTE
_MIN_INSYNC = {1: 1, 2: 1, 3: 2}

#: Kafka writes what it does to its standard error, which we append to its log file.
LOGGING_PROPERTIES = """\
handlers=java.util.logging.ConsoleHandler
.level=INFO
java.util.logging.ConsoleHandler.level=INFO
java.util.logging.ConsoleHandler.formatter=java.util.logging.SimpleFormatter
java.util.logging.SimpleFormatter.format=%1$tFT%1$tT.%1$tL %4$s %3$s %5$s%6$s%n
org.apache.kafka.common.config.level=WARNING
"""


@dataclass(frozen=True)
class BrokerPlace:
    """Where one broker listens and keeps its log. ``node_id`` counts from 1."""

    node_id: int
    port: int
    controller_port: int
    log_directory: Path


def server_properties(broker: BrokerPlace, brokers: tuple[BrokerPlace, ...]) -> str:
    """Return the configuration of one broker of a cluster in which each is broker and controller."""
    replication = len(brokers)
    voters = ",".join(f"{each.node_id}@{LOOPBACK}:{each.controller_port}" for each in brokers)
    settings: dict[str, object] = {
        "process.roles": "broker,controller",
        "node.id": broker.node_id,
        "controller.quorum.voters": voters,
        "listeners": f"PLAINTEXT://{LOOPBACK}:{broker.port},CONTROLLER://{LOOPBACK}:{broker.controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{broker.port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": broker.log_directory,
        "auto.create.topics.enable": "false",
        # The log is the database: a topic that does not say otherwise is kept for ever.
        "log.retention.ms": -1,
        "default.replication.factor": replication,
        "min.insync.replicas": _MIN_INSYNC[replication],
        # No second member is waited for when a group starts: there rarely is one.
        "group.initial.rebalance.delay.ms": 0,
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "replica.fetch.max.bytes": MAX_MESSAGE_BYTES,
        "offsets.topic.num.partitions": 4,
        "offsets.topic.replication.factor": replication,
        "transaction.state.log.num.partitions": 4,
        "transaction.state.log.replication.factor": replication,
        "transaction.state.log.min.isr": _MIN_INSYNC[replication],
        "share.coordinator.state.topic.num.partitions": 1,
        "share.coordinator.state.topic.replication.factor": replication,
        "share.coordinator.state.topic.min.isr": _MIN_INSYNC[replication],
        # Of the default 128 MiB the log cleaner would take half of our heap at its start.
        "log.cleaner.dedupe.buffer.size": 4 * MEBIBYTE,
        "log.cleaner.threads": 1,
        # A killed broker may come back only when its old session has ended.
        "broker.session.timeout.ms": 4000,
        "broker.heartbeat.interval.ms": 500,
        "num.network.threads": 2,
        "num.io.threads": 4,
        "background.threads": 2,
        "num.recovery.threads.per.data.dir": 2,
    }
    return "".join(f"{name}={value}\n" for name, value in settings.items())
