"""Trainings: asked for, watched, cancelled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from functools import partial
from typing import Any

import msgspec
import structlog
from flask import Blueprint, Response, g, request, url_for

from gateway import tenancy
from gateway.access import Permission, project_of
from gateway.answers import json_of
from gateway.bodies import TrainingBody, invalid, read_body, rule_broken
from gateway.changes import note_change
from gateway.guard import needs, principal
from gateway.keyed import send_once
from gateway.known import ends_known_at
from gateway.limits.quotas import TRAINING
from gateway.problems import FieldFault, Problem, not_found
from gateway.service import GatewayService
from gateway.streams import BEAT, BEGIN, HEARTBEAT_SECONDS, block, stream
from gateway.training_checks import require_trainable
from runtime.errors import TransientError
from schemas.forecasts import default_model_name
from schemas.topics import OBSERVATIONS, TRAINING_REQUESTS
from schemas.trainings import (
    FINAL_TRAINING_STATES,
    FeatureRequested,
    StepFeatureRequested,
    TrainingCancelRequested,
    TrainingEvent,
    TrainingRequested,
)

_LOG = structlog.get_logger("gateway")
_BODY = msgspec.json.Decoder(TrainingBody)
_EVENT = msgspec.json.Decoder(TrainingEvent)
_REQUEST = msgspec.json.Decoder(TrainingRequested)


def blueprint(service: GatewayService) -> Blueprint:
    """Return the routes below ``/api/v1/trainings``."""
    routes = Blueprint("trainings", __name__, url_prefix="/api/v1/trainings")

    @routes.post("")
    @needs(Permission.TRAIN)
    def post() -> Response:
        return _post(service)

    @routes.get("/<training_id>")
    @needs(Permission.READ)
    def get(training_id: str) -> Response:
        return json_of(document(service, _row(service, training_id)))

    @routes.delete("/<training_id>")
    @needs(Permission.TRAIN)
    def delete(training_id: str) -> Response:
        return _delete(service, training_id)

    @routes.get("/<training_id>/events")
    @needs(Permission.READ)
    def events(training_id: str) -> Response:
        _row(service, training_id)
        end = service.streams.admit(principal())
        return stream(_events(service, training_id, _last_event_id()), end)

    return routes


def document(service: GatewayService, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the newest event of a training; a final one only once the store has the release that it speaks of."""
    known = {
        "training_id": row["training_id"],
        "model": row["model"],
        "series_id": row["series_id"],
        "state": "queued",
        "is_cancel_requested": bool(row["is_cancel_requested"]),
    }
    if row["event"] is None:
        return known
    event = _EVENT.decode(row["event"])
    if event.state in FINAL_TRAINING_STATES and not service.settled.holds(event.training_id, service.model_places):
        return {**known, "state": "running", "fraction": event.fraction, "stage": event.stage}
    return known | msgspec.structs.asdict(event)


def _row(service: GatewayService, training_id: str) -> Mapping[str, Any]:
    row = service.queries.training(training_id)
    if row is None or not tenancy.may_read(service, row["model"]):
        service.require_caught_up()
        raise _unknown(training_id)
    return row


def _unknown(training_id: str) -> Problem:
    return not_found("training", training_id, "GET /api/v1/trainings lists them")


def _post(service: GatewayService) -> Response:
    (wanted,) = start(service, [(tenancy.record_id(), read_body(_BODY))])
    document = {"training_id": wanted.training_id, "state": "queued", "model": wanted.model}
    return json_of(document, 202, {"Location": url_for("trainings.get", training_id=wanted.training_id)})


def start(service: GatewayService, asked: Sequence[tuple[str, TrainingBody]]) -> list[TrainingRequested]:
    """Ask for trainings of one project by their ids, once for each.

    All are judged before the first one is asked for: who is refused has started nothing.

    Raises:
        Problem: A body asks for what cannot be, or for what is not the caller's, or more than the quotas leave.
    """
    service.require_caught_up()
    wanted = [_request(service, training_id, body) for training_id, body in asked]
    project_id = project_of(wanted[0].model)

    def charge() -> None:
        service.usage.take(principal(), TRAINING, {project_id: 1})

    if new := sum(_before(service, one.training_id) is None for one in wanted):
        service.usage.require(principal(), TRAINING, project_id, new)
    for one in wanted:
        send_once(
            service,
            TRAINING_REQUESTS,
            one,
            g.traceparent,
            first=partial(_before, service, one.training_id),
            ignoring=("as_of", "requester"),
            charge=charge,
        )
    return wanted


def _before(service: GatewayService, training_id: str) -> TrainingRequested | None:
    """Return the request that came before under this id."""
    row = service.queries.training(training_id)
    return None if row is None or row["request"] is None else _REQUEST.decode(row["request"])


def _request(service: GatewayService, training_id: str, body: TrainingBody) -> TrainingRequested:
    series_ids = body.series_ids or ((body.series_id,) if body.series_id else ())
    if not series_ids or (body.series_ids and body.series_id):
        fault = FieldFault(field="series_ids", expected="series_ids or series_id, one of them", found="none or both")
        raise invalid("exactly one of series_ids and series_id must be given", [fault])
    for index, series_id in enumerate(series_ids):
        unknown = tenancy.unknown_series(series_id, f"series_ids[{index}]" if body.series_ids else "series_id")
        tenancy.require(service, Permission.READ, series_id, unknown)
        if not service.projection.knows_series(series_id):
            raise unknown
    model = body.model or default_model_name(series_ids[0])
    tenancy.require_project(service, Permission.TRAIN, model, field="model")
    for index, series_id in enumerate(series_ids):
        tenancy.require_within(f"series_ids[{index}]", project_of(model), series_id, with_public=True)
    require_trainable(service, body, series_ids)
    ends = _ends(service, body, series_ids)
    try:
        return TrainingRequested(
            training_id=training_id,
            model=model,
            series_ids=series_ids,
            target=body.target,
            columns=body.columns,
            algorithm=body.algorithm,
            horizon=body.horizon,
            window_size=body.window_size,
            levels=body.levels,
            hyperparameters=body.hyperparameters,
            covariates=body.covariates,
            features=tuple(FeatureRequested(**msgspec.structs.asdict(one)) for one in body.features),
            step_features=tuple(StepFeatureRequested(**msgspec.structs.asdict(one)) for one in body.step_features),
            season_length=body.season_length,
            gaps=body.gaps,
            candidates=body.candidates,
            budget_seconds=body.budget_seconds,
            search_trials=body.search_trials,
            fallback=body.fallback,
            intervals=body.intervals,
            seed=body.seed,
            as_of={str(number): end for number, end in sorted(ends.items())},
            known_at=None if body.known_at is None else body.known_at.astimezone(UTC),
            cause=body.cause,
            requester=principal().requester,
        )
    except ValueError as error:
        raise rule_broken(error, body) from error


def _ends(service: GatewayService, body: TrainingBody, series_ids: Sequence[str]) -> dict[int, int]:
    """Return partition of `observations` -> end offset that the training may read up to."""
    if body.known_at is not None:
        return ends_known_at(service, series_ids, body.known_at)
    partitions = {service.partition_of(OBSERVATIONS, series_id) for series_id in series_ids}
    return {number: service.projection.seen(OBSERVATIONS, number) for number in partitions}


def _delete(service: GatewayService, training_id: str) -> Response:
    row = _row(service, training_id)
    tenancy.require(service, Permission.TRAIN, row["model"], _unknown(training_id))
    if row["event"] is not None and (event := _EVENT.decode(row["event"])).state in FINAL_TRAINING_STATES:
        raise Problem(
            409, "training-ended", f"a running training was expected, {training_id!r} has ended: {event.state}"
        )
    cancellation = TrainingCancelRequested(
        training_id=training_id, series_id=row["series_id"], reason="asked for over HTTP"
    )
    note_change(service, "training.cancelled", training_id, of=row["model"])
    placed = service.publish(TRAINING_REQUESTS, cancellation, g.traceparent)
    service.projection.wait_written(placed.ends, service.settings.delivery_timeout_seconds)
    return json_of(document(service, _row(service, training_id)), 202)


def _last_event_id() -> int:
    text = request.headers.get("Last-Event-ID", "")
    return int(text) if text.isascii() and text.isdecimal() else -1


def _events(service: GatewayService, training_id: str, after: int) -> Iterator[bytes]:
    """Yield the events behind an offset as they come, until the final one; the event id is the log offset."""
    yield BEGIN
    beat = service.clock.monotonic()
    while not service.projection.is_stopping:
        try:
            for offset, event in _told(service, training_id, after):
                after = offset
                data = msgspec.json.encode(msgspec.structs.asdict(event))
                yield block(event.state, str(offset), data)
                if event.state in FINAL_TRAINING_STATES:
                    return
        except TransientError as error:
            # The reader connects again and goes on behind the last event that it has.
            _LOG.warning("stream-ended", training_id=training_id, reason=str(error))
            return
        service.projection.wait_for_write(1.0)
        if service.clock.monotonic() - beat > HEARTBEAT_SECONDS:
            beat = service.clock.monotonic()
            yield BEAT


def _told(service: GatewayService, training_id: str, after: int) -> Iterator[tuple[int, TrainingEvent]]:
    for row in service.queries.training_events(training_id, after):
        event = _EVENT.decode(row["event"])
        if event.state in FINAL_TRAINING_STATES and not service.settled.holds(training_id, service.model_places):
            return
        yield row["log_offset"], event
