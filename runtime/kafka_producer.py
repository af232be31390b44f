"""Appends to Kafka through kafka-python: idempotent, acknowledged by all in-sync replicas, sent without lingering."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from kafka import KafkaProducer as Client
from kafka import errors

from runtime.broker import OutgoingMessage
from runtime.errors import DeliveryFailed, TransientError
from runtime.kafka_connection import require_reachable
from runtime.kafka_errors import in_our_words
from runtime.message_size import require_size

_SECOND = 1000
MAX_REQUEST_BYTES = 68 * 1024 * 1024
#: Small messages that wait for the broker at the same time go together; below what any topic of ours takes at once.
_BATCH_BYTES = 128 * 1024
_DELIVERY_TIMEOUT_MS = 60 * _SECOND
#: Time for the largest request on a busy machine.
_REQUEST_TIMEOUT_MS = 30 * _SECOND
_START_TIMEOUT_MS = 10 * _SECOND
_CLOSE_SECONDS = 10.0


class KafkaDelivery:
    """The fate of one message."""

    def __init__(self, future: Any) -> None:
        self._future = future

    def result(self, timeout_seconds: float) -> tuple[int, int]:
        try:
            metadata = self._future.get(timeout=timeout_seconds)
        except errors.KafkaError as error:
            raise DeliveryFailed(f"not acknowledged: {type(error).__name__} {error}") from error
        return int(metadata.partition), int(metadata.offset)


class KafkaProducer:
    """One producer; may be shared between threads.

    Args:
        bootstrap_servers: ``host:port``, separated by commas.
        client_id: How the broker's logs name it.
        max_message_bytes: Gives the size that a topic takes, after asking the broker once.

    Raises:
        BrokerUnavailable: The broker does not answer.
    """

    def __init__(self, bootstrap_servers: str, client_id: str, max_message_bytes: Callable[[str], int]) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._client_id = client_id
        self._max_message_bytes = max_message_bytes
        self._lock = threading.Lock()
        self._failed = 0
        self._last_failure = ""
        self._client = self._new_client()

    def send(self, message: OutgoingMessage) -> KafkaDelivery:
        if message.key is None and message.partition is None:
            raise ValueError("a message needs a key or a partition")
        require_size(message, self._max_message_bytes(message.topic))
        with in_our_words(f"sending to {message.topic}"):
            try:
                future = self._client.send(
                    message.topic,
                    key=message.key,
                    value=message.value,
                    headers=list(message.headers),
                    partition=message.partition,
                )
            except AssertionError as error:
                raise ValueError(f"sending to {message.topic}: {error}") from error
        future.add_errback(self._on_failure)
        return KafkaDelivery(future)

    def flush(self, timeout_seconds: float) -> None:
        try:
            self._client.flush(timeout=timeout_seconds)
        except errors.KafkaTimeoutError as error:
            raise DeliveryFailed(f"not everything was acknowledged in {timeout_seconds} s") from error
        with self._lock:
            failed, self._failed = self._failed, 0
            reason = self._last_failure
        if failed:
            raise DeliveryFailed(f"{failed} messages were not acknowledged; the last one: {reason}")

    def close(self) -> None:
        try:
            self._client.close(timeout=_CLOSE_SECONDS)
        except errors.KafkaTimeoutError as error:
            raise TransientError(f"closing the producer: {error}") from error

    def _on_failure(self, error: BaseException) -> None:
        with self._lock:
            self._failed += 1
            self._last_failure = f"{type(error).__name__} {error}"

    def _new_client(self) -> Client:
        with in_our_words("starting a producer"):
            client = Client(
                bootstrap_servers=require_reachable(self._bootstrap_servers),
                client_id=self._client_id,
                acks="all",
                enable_idempotence=True,
                # A request that waits for company costs each forecast its wait; those that come together still
                # share a batch.
                linger_ms=0,
                batch_size=_BATCH_BYTES,
                max_request_size=MAX_REQUEST_BYTES,
                delivery_timeout_ms=_DELIVERY_TIMEOUT_MS,
                request_timeout_ms=_REQUEST_TIMEOUT_MS,
                max_block_ms=_START_TIMEOUT_MS,
                bootstrap_timeout_ms=_START_TIMEOUT_MS,
                reconnect_backoff_max_ms=_SECOND,
                allow_auto_create_topics=False,
                metrics_enabled=False,
            )
        if not client.config["enable_idempotence"] or client.config["acks"] != -1:
            client.close(timeout=0)
            raise RuntimeError("the producer is not idempotent, or does not wait for all in-sync replicas")
        return client
