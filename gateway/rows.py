"""Messages of the log to rows of the store: pure, so that the same log always gives the same rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import repeat
from typing import Any

import msgspec

from gateway.access import project_of
from gateway.history import ISSUED, REFUSED, Row, organisation_of, subject, word
from gateway.tables import MAX_CALENDAR, MAX_FREQ, MAX_SOURCE, MAX_UNIT
from runtime.dead_letter import replay_of
from runtime.incoming import Incoming
from schemas.appends import AppendRequested
from schemas.dead_letters import DeadLetter, DeadLetterDecided, dead_letter_id
from schemas.forecasts import ForecastIssued, ForecastRefused, ForecastRequestBatch, ForecastRequested
from schemas.identity import digest_of
from schemas.ingests import IngestEvent, IngestRequested
from schemas.models import Deployment, ModelReleased
from schemas.observations import ObservationBatch
from schemas.quarantine import ObservationsQuarantined, QuarantineDecided
from schemas.record import Record
from schemas.schedules import RunPlanned, SeriesScheduled
from schemas.trainings import TrainingCancelRequested, TrainingEvent, TrainingRequested

#: The state of what nobody has told of yet.
QUEUED = "queued"
_ENCODER = msgspec.json.Encoder()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Rows:
    """What a batch of messages says, by table; in the order of the log within a partition."""

    #: With `rows`, an `Observed` each, besides the columns of `observation_batches` and `series`.
    observation_batches: list[Row] = field(default_factory=list)
    ingest_requests: list[Row] = field(default_factory=list)
    ingest_events: list[Row] = field(default_factory=list)
    schedules: list[Row] = field(default_factory=list)
    run_plans: list[Row] = field(default_factory=list)
    quarantine: list[Row] = field(default_factory=list)
    quarantine_decisions: list[Row] = field(default_factory=list)
    dead_letters: list[Row] = field(default_factory=list)
    dead_letter_decisions: list[Row] = field(default_factory=list)
    training_requests: list[Row] = field(default_factory=list)
    training_cancellations: list[Row] = field(default_factory=list)
    training_events: list[Row] = field(default_factory=list)
    model_versions: list[Row] = field(default_factory=list)
    deployments: list[Row] = field(default_factory=list)
    forecast_requests: list[Row] = field(default_factory=list)
    #: With `digest`, the digest of what the forecast id names, besides the columns.
    forecasts: list[Row] = field(default_factory=list)


def wish_of(request: ForecastRequested) -> str:
    """Return the digest of what a request asks for: everything but who asked, when and up to which offsets."""
    wish: list[object] = [
        request.series_id,
        request.window,
        request.cutoff,
        request.horizon,
        request.levels,
        request.model,
    ]
    # Fields that came later count only where they are given: what was asked before them keeps its digest.
    if request.future is not None:
        wish.append(request.future)
    if request.known_at is not None:
        wish.append({"known_at": request.known_at})
    return digest_of(wish)


def microseconds(time: datetime) -> int:
    """Return a time in microseconds since the epoch, exactly."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def rows_of(messages: Iterable[Incoming]) -> Rows:
    """Return the rows that ``messages`` stand for."""
    rows = Rows()
    for incoming in messages:
        _ADDERS[type(incoming.record)](rows, incoming, incoming.record)
    return rows


def _observations(rows: Rows, incoming: Incoming, batch: ObservationBatch) -> None:
    series_id, offset = batch.series_id, incoming.message.offset
    received_us = microseconds(batch.received_at)
    # Column by column: a dictionary a row takes twice as long, and there are millions.
    values = (_ENCODER.encode(column)[1:-1].decode().split(",") for column in batch.columns.values())
    texts = map(_row_template(tuple(batch.columns)).__mod__, zip(*values, strict=True))
    times = map(int, map(datetime.timestamp, batch.time))
    rows.observation_batches.append(
        {
            "log_offset": offset,
            "received_us": received_us,
            "batch_id": incoming.envelope.id,
            "series_id": series_id,
            "kind": batch.kind,
            "reason": batch.reason.replace("\x00", "\ufffd"),
            "freq": word(batch.freq, MAX_FREQ),
            "calendar": word(batch.calendar, MAX_CALENDAR),
            "unit": word(batch.unit, MAX_UNIT),
            "source": word(batch.source, MAX_SOURCE),
            "rows": list(zip(repeat(series_id), times, texts, repeat(offset), repeat(received_us))),
        }
    )


@lru_cache(maxsize=256)
def _row_template(names: tuple[str, ...]) -> str:
    """Return a row of these columns as JSON, with `%s` for each value."""
    keys = (_ENCODER.encode(name).decode().replace("%", "%%") for name in names)
    return "{" + ",".join(f"{key}:%s" for key in keys) + "}"


def _asked(incoming: Incoming, of: str, requester: str, cause: str) -> Row:
    """Return the columns that say who asked for something of the series or model ``of``, when and why."""
    asked = {"time_ms": incoming.message.timestamp_ms, "project": project_of(of), "cause": word(cause)}
    return asked | _asker(requester)


def _asker(requester: str) -> Row:
    return {"requester": word(requester), "organisation_id": organisation_of(word(requester))}


def _ingest_request(rows: Rows, incoming: Incoming, request: IngestRequested) -> None:
    rows.ingest_requests.append(
        {
            **_asked(incoming, request.series_id, request.requester, request.cause),
            "ingest_id": request.ingest_id,
            "series_id": request.series_id,
            "requested_ms": incoming.message.timestamp_ms,
            "request": incoming.message.value,
            "state": QUEUED,
        }
    )


def _append(rows: Rows, incoming: Incoming, append: AppendRequested) -> None:
    # What was asked stands in the log; kept here it would only be the rows once more.
    rows.ingest_requests.append(
        {
            **_asked(incoming, append.series_id, "", append.cause),
            "ingest_id": append.ingest_id,
            "series_id": append.series_id,
            "requested_ms": incoming.message.timestamp_ms,
            "request": None,
            "state": QUEUED,
        }
    )


def _ingest_event(rows: Rows, incoming: Incoming, event: IngestEvent) -> None:
    rows.ingest_events.append(
        {
            **_asked(incoming, event.series_id, "", ""),
            "event_id": incoming.envelope.id,
            "log_offset": incoming.message.offset,
            "ingest_id": event.ingest_id,
            "state": event.state,
            "series_id": event.series_id,
            "event": incoming.message.value,
            "event_ms": incoming.message.timestamp_ms,
        }
    )


def _quarantined(rows: Rows, incoming: Incoming, held: ObservationsQuarantined) -> None:
    rows.quarantine.append(
        {
            "quarantine_id": held.quarantine_id,
            "series_id": held.series_id,
            "ingest_id": held.ingest_id,
            "held_ms": incoming.message.timestamp_ms,
            "rows": len(held.batch.time),
            "source": word(held.batch.source, MAX_SOURCE),
            "first_time": int(held.batch.time[0].timestamp()),
            "last_time": int(held.batch.time[-1].timestamp()),
            "broken": _ENCODER.encode(held.broken),
            "record": incoming.message.value,
        }
    )


def _quarantine_decision(rows: Rows, incoming: Incoming, decided: QuarantineDecided) -> None:
    rows.quarantine_decisions.append(
        {
            "quarantine_id": decided.quarantine_id,
            "decided_ms": incoming.message.timestamp_ms,
            "decision": decided.decision,
            "record": incoming.message.value,
        }
    )


def _dead_letter(rows: Rows, incoming: Incoming, letter: DeadLetter) -> None:
    rows.dead_letters.append(
        {
            "dead_letter_id": dead_letter_id(letter.topic, letter.partition, letter.offset),
            "died_ms": incoming.message.timestamp_ms,
            "topic": word(letter.topic),
            "service": word(letter.service),
            "reason": letter.reason.replace("\x00", "\ufffd"),
            "value_bytes": len(letter.value or b""),
            "replay_of": replay_of(letter) or None,
            "record": incoming.message.value,
        }
    )


def _dead_letter_decision(rows: Rows, incoming: Incoming, decided: DeadLetterDecided) -> None:
    rows.dead_letter_decisions.append(
        {
            "dead_letter_id": dead_letter_id(decided.topic, decided.partition, decided.offset),
            "decided_ms": incoming.message.timestamp_ms,
            "decision": decided.decision,
            "record": incoming.message.value,
        }
    )


def _schedule(rows: Rows, incoming: Incoming, schedule: SeriesScheduled) -> None:
    rows.schedules.append(
        {
            "series_id": schedule.series_id,
            "log_offset": incoming.message.offset,
            "scheduled_ms": incoming.message.timestamp_ms,
            "schedule": incoming.message.value,
        }
    )


def _run_plan(rows: Rows, incoming: Incoming, plan: RunPlanned) -> None:
    offset = incoming.message.offset
    rows.run_plans.append({"series_id": plan.series_id, "log_offset": offset, "plan": incoming.message.value})


def _training_request(rows: Rows, incoming: Incoming, request: TrainingRequested) -> None:
    rows.training_requests.append(
        {
            **_asked(incoming, request.model, request.requester, request.cause),
            "training_id": request.training_id,
            "model": request.model,
            "series_id": request.series_ids[0],
            "requested_ms": incoming.message.timestamp_ms,
            "request": incoming.message.value,
            "is_cancel_requested": False,
            "state": QUEUED,
        }
    )


def _training_cancellation(rows: Rows, _incoming: Incoming, cancellation: TrainingCancelRequested) -> None:
    rows.training_cancellations.append({"of_training_id": cancellation.training_id})


def _training_event(rows: Rows, incoming: Incoming, event: TrainingEvent) -> None:
    rows.training_events.append(
        {
            **_asked(incoming, event.model, "", ""),
            "event_id": incoming.envelope.id,
            "training_id": event.training_id,
            "state": event.state,
            "version": event.version,
            "model": event.model,
            "series_id": event.series_id,
            "log_offset": incoming.message.offset,
            "event": incoming.message.value,
            "event_ms": incoming.message.timestamp_ms,
        }
    )


def _model_version(rows: Rows, incoming: Incoming, release: ModelReleased) -> None:
    rows.model_versions.append(
        {
            "model": release.model,
            "version": release.version,
            "training_id": release.training_id,
            "log_offset": incoming.message.offset,
            "release": _ENCODER.encode(msgspec.structs.replace(release, graph=None)),
        }
    )


def _deployment(rows: Rows, incoming: Incoming, deployment: Deployment) -> None:
    rows.deployments.append(
        {
            "deployment_id": deployment.deployment_id,
            "model": deployment.model,
            "version": deployment.version,
            "role": deployment.role,
            "is_only_if_first": deployment.only_if_first,
            "log_offset": incoming.message.offset,
            "deployed_ms": incoming.message.timestamp_ms,
            "deployment": incoming.message.value,
        }
    )


def _forecast_request(rows: Rows, incoming: Incoming, request: ForecastRequested) -> None:
    project, model = subject(request.series_id, request.model)
    rows.forecast_requests.append(
        {
            "request_id": request.request_id,
            "series_id": request.series_id,
            "time_ms": incoming.message.timestamp_ms,
            "project": project,
            **_asker(request.requester),
            "cause": word(request.cause),
            "model": model,
            "version": (request.model or "").partition(":")[2] or None,
            "horizon": request.horizon,
            "batch_id": request.batch_id,
            "wish": wish_of(request),
            "is_pinned": request.as_of is not None,
            "log_partition": incoming.message.partition,
            "log_offset": incoming.message.offset,
        }
    )


def _forecast_requests(rows: Rows, incoming: Incoming, batch: ForecastRequestBatch) -> None:
    for request in batch.requests:
        _forecast_request(rows, incoming, request)


def _forecast(rows: Rows, incoming: Incoming, answer: ForecastIssued | ForecastRefused) -> None:
    rows.forecasts.append(
        {
            "request_id": answer.request_id,
            "series_id": answer.series_id,
            "log_partition": incoming.message.partition,
            "log_offset": incoming.message.offset,
            "answer": incoming.message.value,
            "answered_ms": incoming.message.timestamp_ms,
            "cause": word(answer.cause),
            **(_issue(answer) if isinstance(answer, ForecastIssued) else _refusal(answer)),
        }
    )


def _issue(answer: ForecastIssued) -> Row:
    return {
        "status": ISSUED,
        "forecast_id": answer.forecast_id,
        "digest": digest_of(answer.content()),
        "project": subject(answer.series_id, answer.model.name)[0],
        "model": answer.model.name,
        "version": answer.model.version,
        "horizon": len(answer.steps),
        "cutoff": None if answer.cutoff is None else int(answer.cutoff.timestamp()),
        "code": None,
    }


def _refusal(answer: ForecastRefused) -> Row:
    project, model = subject(answer.series_id, None)
    return {
        "status": REFUSED,
        "forecast_id": None,
        "digest": "",
        "project": project,
        "model": model,
        "version": None,
        "horizon": None,
        "cutoff": None,
        "code": word(answer.code),
    }


_ADDERS: dict[type[Record], Callable[[Rows, Incoming, Any], None]] = {
    ObservationBatch: _observations,
    IngestRequested: _ingest_request,
    AppendRequested: _append,
    IngestEvent: _ingest_event,
    SeriesScheduled: _schedule,
    RunPlanned: _run_plan,
    ObservationsQuarantined: _quarantined,
    QuarantineDecided: _quarantine_decision,
    DeadLetter: _dead_letter,
    DeadLetterDecided: _dead_letter_decision,
    TrainingRequested: _training_request,
    TrainingCancelRequested: _training_cancellation,
    TrainingEvent: _training_event,
    ModelReleased: _model_version,
    Deployment: _deployment,
    ForecastRequested: _forecast_request,
    ForecastRequestBatch: _forecast_requests,
    ForecastIssued: _forecast,
    ForecastRefused: _forecast,
}
