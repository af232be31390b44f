"""Waiting forecast requests to messages: all that wait for one partition go into one record.

There is no fixed linger. A request that comes while nothing is on its way is sent at once; those that come while
messages are on their way gather, and go together when these are acknowledged. So an idle gateway adds no delay and
a busy one writes fewer and fuller records.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import structlog

from gateway.open_requests import OpenRequest, OpenRequests
from runtime.broker import Delivery
from runtime.clock import Clock
from runtime.errors import DeliveryFailed, TransientError
from runtime.publisher import Publisher
from schemas.forecasts import ForecastRequestBatch, ForecastRequested
from schemas.topics import FORECAST_REQUESTS

MAX_REQUESTS_A_RECORD = 200
#: A float may take more digits in our JSON than in the caller's, so the estimate of a request is twice its body.
_BYTES_BESIDE_BODY = 600
_MAX_ESTIMATED_BYTES = FORECAST_REQUESTS.max_message_bytes - 64 * 1024

_LOG = structlog.get_logger("gateway")


class Waiting(NamedTuple):
    """A request on its way to the log."""

    entry: OpenRequest
    request: ForecastRequested
    partition: int
    traceparent: str
    body_bytes: int


def gathered(waiting: Sequence[Waiting]) -> Iterator[list[Waiting]]:
    """Yield ``waiting`` in groups of one partition that fit into one record, in order within a partition."""
    by_partition: defaultdict[int, list[Waiting]] = defaultdict(list)
    for item in waiting:
        by_partition[item.partition].append(item)
    for items in by_partition.values():
        group: list[Waiting] = []
        size = 0
        for item in items:
            estimate = 2 * item.body_bytes + _BYTES_BESIDE_BODY
            if group and (len(group) == MAX_REQUESTS_A_RECORD or size + estimate > _MAX_ESTIMATED_BYTES):
                yield group
                group, size = [], 0
            group.append(item)
            size += estimate
        yield group


class Dispatcher:
    """Sends what waits, in a thread of its own."""

    def __init__(
        self,
        publisher: Publisher,
        open_requests: OpenRequests,
        *,
        clock: Clock,
        delivery_timeout_seconds: float,
        stuck_after_seconds: float,
    ) -> None:
        self._publisher = publisher
        self._open_requests = open_requests
        self._clock = clock
        self._delivery_timeout_seconds = delivery_timeout_seconds
        self._stuck_after_seconds = stuck_after_seconds
        self._wakeup = threading.Condition(threading.Lock())
        self._waiting: list[Waiting] = []
        self._sending_since: float | None = None
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="dispatcher", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """Send what still waits and end the thread."""
        with self._wakeup:
            self._is_stopping = True
            self._wakeup.notify()
        self._thread.join(timeout_seconds)

    def put(self, waiting: Sequence[Waiting]) -> None:
        """Queue requests, together; they are on their way at once when nothing else is."""
        with self._wakeup:
            is_first = not self._waiting
            self._waiting += waiting
            if self._sending_since is None and is_first:
                self._wakeup.notify()

    def is_stuck(self) -> bool:
        """Return whether the log has acknowledged nothing for so long that further requests must be turned away."""
        since = self._sending_since
        return since is not None and self._clock.monotonic() - since > self._stuck_after_seconds

    def _run(self) -> None:
        while True:
            with self._wakeup:
                self._sending_since = None
                while not self._waiting:
                    if self._is_stopping:
                        return
                    self._wakeup.wait()
                waiting, self._waiting = self._waiting, []
                self._sending_since = self._clock.monotonic()
            self._send(waiting)

    def _send(self, waiting: Sequence[Waiting]) -> None:
        sent = []
        for group in gathered(waiting):
            entries = [item.entry for item in group]
            try:
                sent.append((entries, self._publish(group)))
            except (TransientError, ValueError) as failure:
                self._fail(entries, failure)
        deadline = self._clock.monotonic() + self._delivery_timeout_seconds
        for entries, delivery in sent:
            try:
                delivery.result(max(0.0, deadline - self._clock.monotonic()))
            except DeliveryFailed as failure:
                self._fail(entries, failure)
            else:
                self._open_requests.logged(entries)

    def _fail(self, entries: list[OpenRequest], failure: TransientError | ValueError) -> None:
        _LOG.warning("requests-not-logged", requests=len(entries), reason=str(failure))
        self._open_requests.failed(entries, failure)

    def _publish(self, group: list[Waiting]) -> Delivery:
        first = group[0]
        if len(group) == 1:
            return self._publisher.send(
                FORECAST_REQUESTS, first.request, traceparent=first.traceparent, partition=first.partition
            )
        batch = ForecastRequestBatch(
            requests=tuple(item.request for item in group),
            traceparents=tuple(item.traceparent for item in group),
        )
        return self._publisher.send(FORECAST_REQUESTS, batch, traceparent=first.traceparent, partition=first.partition)
