"""Apache Kafka through kafka-python 3.0.12, a rewrite of 2026: pinned exactly, and held by the contract tests.

Nothing connects before it is asked for, and each process makes its own connections: kafka-python's threads and sockets
do not survive a fork.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

from kafka import IsolationLevel, KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import GroupIdNotFoundError, TopicAlreadyExistsError

from runtime.broker import PartitionsCallback, TopicPartition, TopicSpec
from runtime.errors import TransientError
from runtime.kafka_connection import addresses, require_reachable
from runtime.kafka_consumer import KafkaGroupConsumer, KafkaReader, ours, theirs
from runtime.kafka_errors import in_our_words
from runtime.kafka_producer import KafkaProducer

_SECOND = 1000
_REQUEST_TIMEOUT_MS = 10 * _SECOND
#: From the answer that topics are created until they are there: seconds for a whole installation on a busy machine.
_CREATION_TIMEOUT_MS = 60 * _SECOND
_NO_TOPIC = 3


class KafkaBroker:
    """A Kafka cluster.

    Args:
        bootstrap_servers: Brokers to ask first, ``host:port``, separated by commas.
        client_id: How the broker's logs name this process.
        max_poll_interval_seconds: A consumer that does not poll for so long loses its partitions.
    """

    def __init__(self, bootstrap_servers: str, client_id: str, *, max_poll_interval_seconds: float = 300.0) -> None:
        addresses(bootstrap_servers)
        self._bootstrap_servers = bootstrap_servers
        self._client_id = client_id
        self._max_poll_interval_seconds = max_poll_interval_seconds
        self._lock = threading.Lock()
        self._admin_client: KafkaAdminClient | None = None
        self._admin_process = 0
        self._max_message_bytes: dict[str, int] = {}

    def producer(self) -> KafkaProducer:
        return KafkaProducer(self._bootstrap_servers, f"{self._client_id}-producer", self._limit)

    def consumer(
        self,
        *,
        group: str,
        topics: Sequence[str],
        on_assigned: PartitionsCallback | None = None,
        on_revoked: PartitionsCallback | None = None,
    ) -> KafkaGroupConsumer:
        if not topics:
            raise ValueError("a consumer needs at least one topic")
        return KafkaGroupConsumer(
            self._bootstrap_servers,
            f"{self._client_id}-consumer",
            group=group,
            topics=topics,
            on_assigned=on_assigned,
            on_revoked=on_revoked,
            max_poll_interval_seconds=self._max_poll_interval_seconds,
        )

    def reader(self, positions: Mapping[TopicPartition, int]) -> KafkaReader:
        return KafkaReader(self._bootstrap_servers, f"{self._client_id}-reader", positions)

    def partitions(self, topic: str) -> int:
        return self._partition_counts([topic]).get(topic, 0)

    def begin_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return self._offsets(partitions, OffsetSpec.EARLIEST)

    def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return self._offsets(partitions, OffsetSpec.LATEST)

    def offsets_at(self, partitions: Iterable[TopicPartition], timestamp_ms: int) -> dict[TopicPartition, int]:
        wanted = list(partitions)
        found = self._offsets(wanted, timestamp_ms)
        beyond = [partition for partition, offset in found.items() if offset < 0]
        return {**found, **self.end_offsets(beyond)}

    def committed(self, group: str, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        wanted = [theirs(partition) for partition in partitions]
        if not wanted:
            return {}
        with in_our_words(f"asking for the committed offsets of {group}"):
            found = self._admin().list_group_offsets({group: wanted})[group]
        return {ours(key): int(stored.offset) for key, stored in found.items() if stored.offset >= 0}

    def members(self, group: str) -> int:
        with in_our_words(f"asking for the members of {group}"):
            try:
                described = self._admin().describe_groups([group])
            except GroupIdNotFoundError:
                return 0
        return len(described[group]["members"])

    def ensure_topics(self, specs: Iterable[TopicSpec]) -> None:
        wanted = {spec.name: spec for spec in specs}
        if not wanted:
            return
        known = self._partition_counts(wanted)
        missing = {name: _as_new_topic(spec) for name, spec in wanted.items() if name not in known}
        if missing:
            with in_our_words(f"creating {', '.join(sorted(missing))}"):
                # Somebody else may create them at the same moment; whether they did it alike is checked below.
                with suppress(TopicAlreadyExistsError):
                    self._admin().create_topics(missing, timeout_ms=_REQUEST_TIMEOUT_MS)
                self._admin().wait_for_topics(list(missing), timeout_ms=_CREATION_TIMEOUT_MS)
            known = self._partition_counts(wanted)
        wrong = [
            f"topic {name} exists with {known.get(name, 0)} partitions, {spec.partitions} are wanted"
            for name, spec in wanted.items()
            if known.get(name) != spec.partitions
        ]
        if wrong:
            raise ValueError("; ".join(wrong))

    def close(self) -> None:
        with self._lock:
            admin, self._admin_client = self._admin_client, None
        if admin is not None and self._admin_process == os.getpid():
            admin.close()

    def _admin(self) -> KafkaAdminClient:
        with self._lock:
            if self._admin_client is None or self._admin_process != os.getpid():
                self._admin_client = KafkaAdminClient(
                    bootstrap_servers=require_reachable(self._bootstrap_servers),
                    client_id=f"{self._client_id}-admin",
                    request_timeout_ms=_REQUEST_TIMEOUT_MS,
                    bootstrap_timeout_ms=_REQUEST_TIMEOUT_MS,
                    reconnect_backoff_max_ms=_SECOND,
                )
                self._admin_process = os.getpid()
            return self._admin_client

    def _partition_counts(self, topics: Iterable[str]) -> dict[str, int]:
        """Return how many partitions each topic has; those that do not exist are left out."""
        wanted = list(topics)
        with in_our_words(f"asking for {', '.join(wanted)}"):
            described = self._admin().describe_topics(wanted)
        return {topic["name"]: len(topic["partitions"]) for topic in described if topic["error_code"] != _NO_TOPIC}

    def _offsets(self, partitions: Iterable[TopicPartition], spec: OffsetSpec | int) -> dict[TopicPartition, int]:
        wanted = {theirs(partition): spec for partition in partitions}
        if not wanted:
            return {}
        with in_our_words("asking for offsets"):
            found = self._admin().list_partition_offsets(
                wanted, isolation_level=IsolationLevel.READ_COMMITTED, timeout_ms=_REQUEST_TIMEOUT_MS
            )
        return {ours(partition): int(offset.offset) for partition, offset in found.items()}

    def _limit(self, topic: str) -> int:
        """Return the largest message that a topic takes, asking the broker once a topic."""
        known = self._max_message_bytes.get(topic)
        if known is None:
            if not self.partitions(topic):
                raise TransientError(f"topic {topic} does not exist; create the topics first")
            resource = ConfigResource(ConfigResourceType.TOPIC, topic)
            with in_our_words(f"asking for the settings of {topic}"):
                described = self._admin().describe_configs([resource], config_filter="all")
            known = int(described["topic"][topic]["max.message.bytes"]["value"])
            self._max_message_bytes[topic] = known
        return known


def _as_new_topic(spec: TopicSpec) -> dict[str, object]:
    return {
        "num_partitions": spec.partitions,
        "replication_factor": spec.replication_factor,
        "configs": {
            "cleanup.policy": "compact" if spec.is_compacted else "delete",
            "retention.ms": "-1" if spec.retention_ms is None else str(spec.retention_ms),
            "max.message.bytes": str(spec.max_message_bytes),
            "min.insync.replicas": str(spec.min_insync_replicas),
            # The broker unpacks what any client compressed, so that every reader can read it without its codec.
            "compression.type": "uncompressed",
        },
    }
