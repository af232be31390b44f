"""Prometheus metrics of one process, and the small HTTP server that shows them."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from runtime.broker import TopicPartition
from runtime.health import Health
from runtime.version import CODE_VERSION

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """What every service counts. A service adds its own metrics to `registry`.

    Args:
        service: Value of the label ``service`` of ``foretopic_build_info``.
    """

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        build = Info("foretopic_build", "The service and the version of its code", registry=self.registry)
        build.info({"service": service, "version": CODE_VERSION})
        self._handled = Counter(
            "foretopic_handled", "Messages by topic and outcome", ["topic", "outcome"], registry=self.registry
        )
        self._duration = Histogram(
            "foretopic_handle_duration_seconds",
            "Seconds from the poll of a message to its commit",
            ["topic"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._dead_letters = Counter(
            "foretopic_dead_letters", "Messages that can never be handled", ["topic"], registry=self.registry
        )
        self._retries = Counter(
            "foretopic_retries", "Times that the same messages were tried again", registry=self.registry
        )
        self._backlog = Gauge(
            "foretopic_backlog_messages",
            "Messages in the log that are not handled yet",
            ["topic", "partition"],
            registry=self.registry,
        )
        self._last_record = Gauge(
            "foretopic_last_record_timestamp_seconds",
            "Time of the newest message handled, in seconds since the epoch",
            ["topic"],
            registry=self.registry,
        )

    def handled(self, topic: str, outcome: str, duration_seconds: float, timestamp_ms: int) -> None:
        """Count one message whose offset is committed."""
        self._handled.labels(topic, outcome).inc()
        self._duration.labels(topic).observe(duration_seconds)
        self._last_record.labels(topic).set(timestamp_ms / 1000)

    def dead_letter(self, topic: str) -> None:
        """Count one dead letter, or a message that would be one if this service were the one to write it."""
        self._dead_letters.labels(topic).inc()

    def retry(self) -> None:
        """Count one more try of the same messages."""
        self._retries.inc()

    def backlog(self, messages: Mapping[TopicPartition, int]) -> None:
        """Set how many messages wait in each partition; partitions that are not named are forgotten."""
        self._backlog.clear()
        for partition, count in messages.items():
            self._backlog.labels(partition.topic, str(partition.partition)).set(count)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)


class MetricsServer:
    """Answers ``GET /metrics`` and ``GET /health`` in a thread of its own."""

    def __init__(self, metrics: Metrics, health: Health, *, port: int, host: str = "127.0.0.1") -> None:
        """Listen at once.

        Raises:
            OSError: The port is taken.
        """
        self._server = ThreadingHTTPServer((host, port), _handler(metrics, health))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port, also where 0 asked for any."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def serve(metrics: Metrics, health: Health, *, port: int, host: str = "127.0.0.1") -> MetricsServer:
    """Show metrics and health on a port (0: any free one) until the returned server is closed.

    Raises:
        OSError: The port is taken.
    """
    return MetricsServer(metrics, health, port=port, host=host)


def _handler(metrics: Metrics, health: Health) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(200, CONTENT_TYPE_LATEST, metrics.text())
            elif path == "/health":
                state = health.state()
                body = {"status": "ok" if state.is_healthy else "unavailable", "reason": state.reason}
                self._answer(200 if state.is_healthy else 503, "application/json", json.dumps(body).encode())
            else:
                self._answer(404, "application/json", b'{"expected": ["/metrics", "/health"]}')

        def _answer(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class names it so
            """Say nothing: a probe every few seconds is no news."""

    return Handler
