"""Prometheus metrics of the gateway."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from runtime.metrics import Metrics

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0)


class Meters:
    """The counters, each under the name that Prometheus shows."""

    def __init__(self) -> None:
        self.common = Metrics("gateway")
        registry = self.common.registry
        self.requests = Counter("foretopic_http_requests", "HTTP requests", ["route", "status"], registry=registry)
        self.forecast_seconds = Histogram(
            "foretopic_forecast_seconds", "Time to a waiting forecast's answer", buckets=_SECONDS, registry=registry
        )
        self.waiting = Gauge("foretopic_waiting_requests", "Forecast requests that wait now", registry=registry)
        self.turned_away = Counter("foretopic_turned_away", "Requests refused at the door", ["why"], registry=registry)
        self.junk = Counter("foretopic_junk_messages", "Messages that are no record", ["topic"], registry=registry)
        self.alarms = Counter("foretopic_alarms", "Broken invariants", ["kind"], registry=registry)
