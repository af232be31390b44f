"""Sources of series: when each is fetched again, how that goes, and how late it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from flask import Blueprint, Response, g
from msgspec import structs

from gateway import parameters, tenancy
from gateway.access import Permission, project_of
from gateway.answers import json_of
from gateway.bodies import RetrainBody, SourceBody, faulty, invalid, read_body, rule_broken
from gateway.changes import note_change
from gateway.faults import faults_of
from gateway.guard import needs, principal
from gateway.headers import new_id
from gateway.preconditions import require_unchanged
from gateway.problems import FieldFault, Problem, not_found
from gateway.routes.ingests import ask
from gateway.routes.ingests import document as ingest_document
from gateway.service import GatewayService
from runtime.cron import cron_times
from schemas.ingests import IngestEvent, IngestRequested
from schemas.record import SeriesId
from schemas.schedules import RetrainRule, RunPlanned, SeriesScheduled
from schemas.topics import INGEST_SCHEDULES

_BODY = msgspec.json.Decoder(SourceBody)
_SCHEDULE = msgspec.json.Decoder(SeriesScheduled)
_PLAN = msgspec.json.Decoder(RunPlanned)
_EVENT = msgspec.json.Decoder(IngestEvent)
#: Of a schedule, what stands beside it, and what is nobody else's.
_BESIDE = ("series_id", "requester")


def blueprint(service: GatewayService) -> Blueprint:
    """Return the routes below ``/api/v1/sources``."""
    routes = Blueprint("sources", __name__, url_prefix="/api/v1/sources")

    @routes.get("")
    @needs(Permission.READ)
    def every() -> Response:
        parameters.require_known(())
        return json_of({"sources": _documents(service, service.queries.sources(tenancy.visible(service)))})

    @routes.get("/<path:series_id>")
    @needs(Permission.READ)
    def one(series_id: str) -> Response:
        parameters.require_known(())
        tenancy.require(service, Permission.READ, series_id, _unknown(series_id))
        return _answer(service, series_id)

    @routes.put("/<path:series_id>")
    @needs(Permission.WRITE)
    def put(series_id: str) -> Response:
        wanted = _schedule(series_id, read_body(_BODY))
        tenancy.require_project(service, Permission.WRITE, series_id)
        tenancy.require_sources(service, wanted.sources, wanted.symbol)
        for index, rule in enumerate(wanted.retrain):
            tenancy.require_within(f"retrain[{index}].model", series_id, rule.model, with_public=False)

        def wanted_after(before: SeriesScheduled | None) -> SeriesScheduled:
            if before is None:
                service.shares.require_series(project_of(series_id), (series_id,))
                service.shares.require_schedule(project_of(series_id))
            return wanted

        return _write(service, series_id, wanted_after)

    @routes.post("/<path:series_id>/pause")
    @needs(Permission.WRITE)
    def pause(series_id: str) -> Response:
        return _write(service, series_id, lambda before: _paused(series_id, before, is_paused=True))

    @routes.post("/<path:series_id>/resume")
    @needs(Permission.WRITE)
    def resume(series_id: str) -> Response:
        return _write(service, series_id, lambda before: _paused(series_id, before, is_paused=False))

    @routes.post("/<path:series_id>/run")
    @needs(Permission.WRITE)
    def run(series_id: str) -> Response:
        return _run(service, series_id)

    return routes


def _schedule(series_id: str, body: SourceBody) -> SeriesScheduled:
    """Return the schedule that a body describes.

    Raises:
        Problem: 422; a field, or how fields go together, is not what is asked for.
    """
    if (body.source is None) == (body.sources is None):
        fault = FieldFault(field="sources", expected="sources or source, one of them", found="none or both")
        raise invalid("exactly one of sources and source must be given", [fault])
    if faults := faults_of(series_id, SeriesId, path="series_id"):
        raise faulty(faults)
    freq = series_id.rpartition("@")[2]
    if body.freq not in (None, freq):
        raise faulty([FieldFault(field="freq", expected=f"{freq}, in which the series id ends", found=body.freq)])
    # The time zone is judged where the body has no cron expression too: those of `retrain` are in it.
    _require_times(body.cron or "0 0 * * *", body, body)
    for index, rule in enumerate(body.retrain):
        _require_times(rule.cron, body, rule, f"retrain[{index}]")
    try:
        return SeriesScheduled(
            schedule_id=new_id(),
            series_id=series_id,
            sources=body.sources or (body.source or "",),
            symbol=body.symbol,
            freq=freq,
            calendar=body.calendar,
            adjust=body.adjust,
            known_future=body.known_future,
            cron=body.cron,
            timezone=body.timezone,
            after_close_minutes=body.after_close_minutes,
            jitter_seconds=body.jitter_seconds,
            is_paused=body.is_paused,
            retrain=tuple(RetrainRule(**structs.asdict(rule)) for rule in body.retrain),
            cause=body.cause,
            requester=principal().requester,
        )
    except ValueError as error:
        raise rule_broken(error, body) from error


def _require_times(cron: str, body: SourceBody, of: SourceBody | RetrainBody, path: str = "") -> None:
    """Refuse the cron expression, of the body or of what stands at a path of it, that names no times."""
    try:
        if cron:  # empty: by observations alone
            cron_times(cron, body.timezone, datetime(2025, 1, 1, tzinfo=UTC))
    except ValueError as error:
        raise rule_broken(error, of, path) from error


def _paused(series_id: str, before: SeriesScheduled | None, *, is_paused: bool) -> SeriesScheduled:
    if before is None:
        raise _unknown(series_id)
    return structs.replace(before, schedule_id=new_id(), is_paused=is_paused, requester=principal().requester)


def _write(
    service: GatewayService, series_id: str, wanted_after: Callable[[SeriesScheduled | None], SeriesScheduled]
) -> Response:
    """Write a schedule unless it says what the one before says; answer with what holds then."""
    tenancy.require(service, Permission.WRITE, series_id, _unknown(series_id))
    service.require_caught_up()
    with service.one_at_a_time():
        row = service.queries.source(series_id)
        before = None if row is None else _SCHEDULE.decode(row["schedule"])
        wanted = wanted_after(before)
        # What says what holds already is a repeat.
        if before is None or not _says_the_same(wanted, before):
            require_unchanged(None if before is None else before.schedule_id)
            told = {"sources": wanted.sources, "symbol": wanted.symbol, "is_paused": wanted.is_paused}
            note_change(service, "source.changed", series_id, of=series_id, **told)
            placed = service.publish(INGEST_SCHEDULES, wanted, g.traceparent)
            service.projection.wait_written(placed.ends, service.settings.delivery_timeout_seconds)
    return _answer(service, series_id)


def _says_the_same(wanted: SeriesScheduled, before: SeriesScheduled) -> bool:
    return structs.replace(wanted, schedule_id=before.schedule_id, requester=before.requester) == before


def _run(service: GatewayService, series_id: str) -> Response:
    tenancy.require(service, Permission.WRITE, series_id, _unknown(series_id))
    service.require_caught_up()
    row = service.queries.source(series_id)
    if row is None:
        raise _unknown(series_id)
    schedule = _SCHEDULE.decode(row["schedule"])
    wanted = IngestRequested(
        ingest_id=tenancy.record_id(),
        series_id=series_id,
        sources=schedule.sources,
        symbol=schedule.symbol,
        freq=schedule.freq,
        calendar=schedule.calendar,
        adjust=schedule.adjust,
        known_future=schedule.known_future,
        requester=principal().requester,
    )
    return ask(service, wanted)


def _answer(service: GatewayService, series_id: str) -> Response:
    row = service.queries.source(series_id)
    if row is None:
        service.require_caught_up()
        raise _unknown(series_id)
    found = _documents(service, [row])[0]
    response = json_of(found)
    # Of what can be changed; how it goes changes all the time.
    response.set_etag(found["schedule"]["schedule_id"])
    return response


def _unknown(series_id: str) -> Problem:
    return not_found("source", series_id, "PUT /api/v1/sources/SERIES_ID schedules one, GET /api/v1/sources lists them")


def _documents(service: GatewayService, rows: list[Mapping[str, Any]]) -> list[dict[str, Any]]:
    ingests: dict[str, list[Mapping[str, Any]]] = {}
    one = rows[0]["series_id"] if len(rows) == 1 else None
    for ingest in service.queries.ingests_of_sources(tenancy.visible(service), one):
        ingests.setdefault(ingest["series_id"], []).append(ingest)
    return [_document(service, row, ingests.get(row["series_id"], [])) for row in rows]


def _document(service: GatewayService, row: Mapping[str, Any], ingests: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a source with its state; ``ingests`` are its newest ones, the newest first."""
    schedule = _SCHEDULE.decode(row["schedule"])
    plan = None if row["plan"] is None else _PLAN.decode(row["plan"])
    if plan is not None and plan.schedule_id != schedule.schedule_id:
        plan = None  # the ingestor has not read the newest schedule yet
    late_from = None if plan is None else plan.late_from
    late = 0.0 if late_from is None else max(0.0, (service.clock.now() - late_from).total_seconds())
    reason = "" if plan is None else plan.reason
    failed = next((event for event in map(_failure, ingests) if event is not None), None)
    return {
        "series_id": schedule.series_id,
        "state": "paused" if schedule.is_paused else "refused" if reason else "active",
        "reason": reason,
        "schedule": {name: value for name, value in structs.asdict(schedule).items() if name not in _BESIDE},
        "next_run": None if plan is None else plan.next_run,
        "last_ingest": ingest_document(service, ingests[0]) if ingests else None,
        "last_error": failed,
        "newest_observation": None if row["last_time"] is None else datetime.fromtimestamp(row["last_time"], UTC),
        "late_seconds": round(late),
    }


def _failure(ingest: Mapping[str, Any]) -> dict[str, Any] | None:
    if ingest["event"] is None:
        return None
    event = _EVENT.decode(ingest["event"])
    if event.state != "failed":
        return None
    time = datetime.fromtimestamp(ingest["event_ms"] / 1000, UTC)
    return {"ingest_id": event.ingest_id, "time": time, "reason": event.reason}
