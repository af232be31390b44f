"""Protections taken away, one at a time: the invariants have to notice each of them.

The named line of the product is what each fault removes; a fault that no seed catches makes its test fail.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import msgspec

from forecasting.panel import SeriesHistory
from ingestor import handlers
from ingestor.state import IngestLog
from predictor.answered import AnsweredRequests
from predictor.core import Predictor
from predictor.releases import Releases
from runtime.errors import TransientError
from runtime.incoming import Outgoing
from runtime.job_worker import JobWorker
from runtime.offsets import OffsetTracker
from runtime.publisher import Sent
from runtime.worker import Worker
from schemas.forecasts import AsOf
from schemas.topics import INGEST_EVENTS

Fault = Callable[[], AbstractContextManager[Any]]
FAULTS: dict[str, Fault] = {}
_EVERYTHING = AsOf(observations=2**60, models=2**60, deployments=2**60)


def _fault(make: Callable[[], Iterator[None]]) -> Callable[[], Iterator[None]]:
    FAULTS[make.__name__.replace("_", "-")] = contextmanager(make)
    return make


@_fault
def commit_before_acknowledge() -> Iterator[None]:
    """`Worker._cycle`: ``yield from self._publish(batch)`` stands before the commit."""

    def commit_first(self: Any, batch: Any) -> Iterator[str]:
        self._member().commit(batch.next_offsets())
        yield from publish(self, batch)

    publish = Worker._publish
    with patch.object(Worker, "_publish", commit_first):
        yield


@_fault
def commit_although_publishing_failed() -> Iterator[None]:
    """`Worker.steps`: a `TransientError` keeps the batch; here a ``finally`` commits it."""

    def commit_in_finally(self: Any, batch: Any) -> Iterator[str]:
        try:
            yield from publish(self, batch)
        except TransientError:
            batch.is_acknowledged = True

    publish = Worker._publish
    with patch.object(Worker, "_publish", commit_in_finally):
        yield


@_fault
def no_dedupe() -> Iterator[None]:
    """`Predictor._on_request`: ``if self.answered.is_repeat(...)``."""
    with patch.object(AnsweredRequests, "is_repeat", lambda *_: False):
        yield


@_fault
def answered_requests_are_not_read_back() -> Iterator[None]:
    """`Predictor.apply`: ``case ForecastIssued() | ForecastRefused()`` fills the memory of answered requests."""
    with patch.object(AnsweredRequests, "see", lambda *_: None):
        yield


@_fault
def state_is_not_rebuilt_before_work() -> Iterator[None]:
    """`PredictorProcess._on_assigned`, as in the shell: ``self.core.require(...)`` and the wait in `needs`."""
    with patch.object(Predictor, "needs", lambda *_: {}):
        yield


@_fault
def observations_beyond_as_of() -> Iterator[None]:
    """`SeriesHistory.view`: ``before_offset``."""

    def everything(self: Any, before_offset: int | None = None, rows: int | None = None) -> Any:
        return view(self, None, rows)

    view = SeriesHistory.view
    with patch.object(SeriesHistory, "view", everything):
        yield


@_fault
def deployments_beyond_as_of() -> Iterator[None]:
    """`Releases.choose`: ``as_of``."""
    choose = Releases.choose
    with patch.object(Releases, "choose", lambda self, reference, _: choose(self, reference, _EVERYTHING)):
        yield


@_fault
def every_release_becomes_champion() -> Iterator[None]:
    """`Releases.learn_deployment`: ``only_if_first``."""

    def always(self: Any, offset: int, deployment: Any) -> None:
        learn(self, offset, msgspec.structs.replace(deployment, only_if_first=False))

    learn = Releases.learn_deployment
    with patch.object(Releases, "learn_deployment", always):
        yield


@_fault
def pinned_in_memory() -> Iterator[None]:
    """`Predictor._pin`: the pin is written to the log before anything is computed from it."""

    def answer_at_once(self: Any, ask: Any, positions: Any) -> Any:
        partition = None if ask.request.series_id is None else ask.partition
        as_of = self._as_of(positions, partition)
        self.answered.give(ask.partition, ask.request.request_id, ask.place)
        return self._prepare(ask, as_of, positions)

    with patch.object(Predictor, "_pin", answer_at_once):
        yield


@_fault
def misplaced_requests_are_answered_where_they_stand() -> Iterator[None]:
    """`Predictor._on_request`: ``if not self._is_at_home(...)``."""
    with patch.object(Predictor, "_is_at_home", lambda *_: True):
        yield


@_fault
def misplaced_requests_are_dropped() -> Iterator[None]:
    """`Predictor._move`: the request is written again."""
    with patch.object(Predictor, "_move", lambda self, ask: ask.decided("moved")):
        yield


@_fault
def the_computer_stands_in_the_answer() -> Iterator[None]:
    """`predictor.windows.issue`: nothing in a forecast depends on who computed it."""

    def signed(self: Any, *arguments: Any) -> Any:
        decision = answer(self, *arguments)
        record = decision.outgoing.record
        if hasattr(record, "unit"):
            record = msgspec.structs.replace(record, unit=f"host-{id(self)}")
            return _with_record(decision, record)
        return decision

    answer = Predictor._answer
    with patch.object(Predictor, "_answer", signed):
        yield


@_fault
def junk_is_skipped() -> Iterator[None]:
    """`Worker._judge`: refused messages become dead letters."""

    def silent(self: Any, batch: Any) -> None:
        batch.is_judged = True

    with patch.object(Worker, "_judge", silent):
        yield


@_fault
def trainer_commits_past_unfinished_trainings() -> Iterator[None]:
    """`OffsetTracker.committable`: ``min(self._unfinished)``."""
    with patch.object(OffsetTracker, "committable", property(lambda self: self._next)):
        yield


@_fault
def trainer_does_not_await_acknowledgements() -> Iterator[None]:
    """`JobWorker._send`: ``publisher.flush(...)`` at its end."""

    def send_only(self: Any, group: Any) -> Generator[str, None, list[Sent]]:
        sending = send(self, group)
        for effect in sending:
            yield effect
            if effect == "before-acknowledge":
                break  # it does not wait
        return []

    send = JobWorker._send
    with patch.object(JobWorker, "_send", send_only):
        yield


@_fault
def ingest_is_told_before_it_is_kept() -> Iterator[None]:
    """`ingestor.handlers.event_to_send`: ``after_acknowledged=True``."""
    with patch.object(handlers, "event_to_send", event_at_once):
        yield


@_fault
def ingestor_does_not_look_into_the_log() -> Iterator[None]:
    """`IngestLog.learn`: what the log has is not published again."""
    with patch.object(IngestLog, "learn", lambda *_: None):
        yield


def event_at_once(incoming: Any, event: Any) -> Outgoing:
    return Outgoing(topic=INGEST_EVENTS, record=event, traceparent=incoming.envelope.traceparent)


def _with_record(decision: Any, record: Any) -> Any:
    return replace(decision, outgoing=replace(decision.outgoing, record=record))
