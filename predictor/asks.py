"""Requests in their place in the log, and what becomes of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from predictor.answered import Place
from runtime.broker import partition_for
from runtime.incoming import Incoming, Outgoing
from schemas.forecasts import ForecastRequestBatch, ForecastRequested
from schemas.record import Record
from schemas.topics import FORECAST_REQUESTS, Topic

Outcome = Literal["issued", "refused", "pinned", "moved", "repeat", "requested", "learned", "wrong-partition"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of one request, or of one batch of observations.

    Attributes:
        incoming: The message that brought it.
        outcome: ``issued``, ``refused``, ``pinned`` (written again with offsets), ``moved`` (written again as it is, in
            the partition where it belongs), ``repeat`` (nothing to do); for observations ``requested`` (a forecast,
            automatically) or ``learned`` (no model waits for it); for both ``wrong-partition`` (a dead letter: it
            stands in another partition than its key says and cannot be moved).
        outgoing: What is to be published for it.
        request_id: Empty for observations that ask for nothing.
        series_id: ``None`` for a request with its own window.
        model_version: Of an issued forecast.
        code: Of a refusal.
        reason: Why it is a dead letter.
    """

    incoming: Incoming
    outcome: Outcome
    outgoing: Outgoing | None = None
    request_id: str = ""
    series_id: str | None = None
    model_version: str = ""
    code: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request in its place."""

    incoming: Incoming
    request: ForecastRequested
    place: Place
    traceparent: str | None

    @property
    def partition(self) -> int:
        """The partition where it stands; it is answered there if it belongs there."""
        return self.incoming.message.partition

    def outgoing(self, topic: Topic, record: Record) -> Outgoing:
        """Return a record on its way to the partition of the request, in its trace."""
        return Outgoing(topic=topic, record=record, traceparent=self.traceparent, partition=self.partition)

    def moved(self, partition: int) -> Outgoing:
        """Return the request as it is on its way to another partition, in its trace."""
        return Outgoing(topic=FORECAST_REQUESTS, record=self.request, traceparent=self.traceparent, partition=partition)

    def decided(
        self,
        outcome: Outcome,
        outgoing: Outgoing | None = None,
        *,
        model_version: str = "",
        code: str = "",
        reason: str = "",
    ) -> Decision:
        """Return the decision on it."""
        request = self.request
        return Decision(
            self.incoming, outcome, outgoing, request.request_id, request.series_id, model_version, code, reason
        )


def requests_of(incoming: Incoming) -> tuple[ForecastRequested, ...]:
    """Return the requests in a message; none when it carries something else."""
    record = incoming.record
    if isinstance(record, ForecastRequestBatch):
        return record.requests
    return (record,) if isinstance(record, ForecastRequested) else ()


def asks_of(incoming: Incoming) -> list[Ask]:
    """Return the requests in a message in their places."""
    record, offset, trace = incoming.record, incoming.message.offset, incoming.envelope.traceparent
    if isinstance(record, ForecastRequestBatch) and record.traceparents:
        return [
            Ask(incoming, request, (offset, index), own_trace or None)
            for index, (request, own_trace) in enumerate(zip(record.requests, record.traceparents, strict=True))
        ]
    return [Ask(incoming, request, (offset, index), trace) for index, request in enumerate(requests_of(incoming))]


def key_of(request: ForecastRequested) -> str:
    """Return the key that says where a request belongs."""
    return request.series_id or request.request_id


@lru_cache(maxsize=16_384)
def home(key: str, partitions: int) -> int:
    """Return the partition where messages with this key belong."""
    return partition_for(key.encode(), partitions)
