"""Asking for data."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec
from flask import Blueprint, Response, g, url_for

from gateway import tenancy
from gateway.access import Permission, project_of
from gateway.answers import json_of
from gateway.bodies import IngestBody, invalid, read_body, rule_broken
from gateway.guard import needs, principal
from gateway.keyed import send_once
from gateway.limits.quotas import ROW
from gateway.problems import FieldFault, Problem, not_found
from gateway.service import GatewayService
from gateway.tenancy import UPLOAD
from schemas.ingests import IngestEvent, IngestRequested
from schemas.record import SeriesId
from schemas.topics import INGEST_REQUESTS

_BODY = msgspec.json.Decoder(IngestBody)
_EVENT = msgspec.json.Decoder(IngestEvent)
_REQUEST = msgspec.json.Decoder(IngestRequested)


def blueprint(service: GatewayService) -> Blueprint:
    """Return the routes below ``/api/v1/ingests``."""
    routes = Blueprint("ingests", __name__, url_prefix="/api/v1/ingests")

    @routes.post("")
    @needs(Permission.WRITE)
    def post() -> Response:
        service.require_caught_up()
        wanted = _request(tenancy.record_id(), read_body(_BODY))
        tenancy.require_project(service, Permission.WRITE, wanted.series_id)
        tenancy.require_sources(service, wanted.sources, wanted.symbol)
        service.shares.require_series(project_of(wanted.series_id), (wanted.series_id,))
        return ask(service, wanted)

    @routes.get("/<ingest_id>")
    @needs(Permission.READ)
    def get(ingest_id: str) -> Response:
        row = service.queries.ingest(ingest_id)
        if row is None or not tenancy.may_read(service, row["series_id"]):
            service.require_caught_up()
            raise not_found("ingest", ingest_id, "GET /api/v1/ingests lists them")
        return json_of(document(service, row))

    return routes


def ask(service: GatewayService, wanted: IngestRequested) -> Response:
    """Publish an ingest once, and say where its end will be told.

    Raises:
        Problem: 409 or 422, of a repeat that is none; 429; 503.
    """

    def first() -> IngestRequested | None:
        row = service.queries.ingest(wanted.ingest_id)
        return None if row is None or row["request"] is None else _REQUEST.decode(row["request"])

    send_once(
        service,
        INGEST_REQUESTS,
        wanted,
        g.traceparent,
        first=first,
        ignoring=("requester",),
        charge=lambda: _charge(service, wanted),
    )
    asked = {"ingest_id": wanted.ingest_id, "series_id": wanted.series_id, "state": "queued"}
    return json_of(asked, 202, {"Location": url_for("ingests.get", ingest_id=wanted.ingest_id)})


def _charge(service: GatewayService, wanted: IngestRequested) -> None:
    """Count the rows of an ingest where they are known before: those of a series of an upload.

    Raises:
        Problem: 429; the project, or its organisation, has not so many rows left today.
    """
    if UPLOAD not in wanted.sources:
        return
    upload_id, _, number = wanted.symbol.partition("/")
    rows: dict[str, int] = {}
    with suppress(Problem):  # there is no such upload, so it brings nothing
        upload = service.shelf.get(upload_id)
        if upload.load is not None and upload.arrived_at is None:  # its files are there
            rows = {f"{series.number:05}": series.rows for series in upload.load.series}
    if number in rows:
        service.usage.take(principal(), ROW, {project_of(wanted.series_id): rows[number]})


def _request(ingest_id: str, body: IngestBody) -> IngestRequested:
    if body.source is not None and body.sources is not None:
        fault = FieldFault(field="source", expected="nothing where sources is given", found=body.source)
        raise invalid("source or sources must be given, not both", [fault])
    series_id = body.series_id or f"market/{body.symbol}@{body.freq}"
    try:
        msgspec.convert(series_id, SeriesId)
        return IngestRequested(
            ingest_id=ingest_id,
            series_id=series_id,
            sources=body.sources or ((body.source,) if body.source else ("yahoo",)),
            symbol=body.symbol,
            freq=body.freq,
            calendar=body.calendar,
            start=body.start,
            end=body.end,
            adjust=body.adjust,
            known_future=body.known_future,
            force=body.force,
            cause=body.cause,
            requester=principal().requester,
        )
    except ValueError as error:
        raise rule_broken(error, body) from error


def document(service: GatewayService, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the newest event; a final one only once the store has the observations that it speaks of."""
    queued = {"ingest_id": row["ingest_id"], "series_id": row["series_id"], "state": "queued"}
    if row["event"] is None:
        return queued
    event = _EVENT.decode(row["event"])
    if event.state != "running" and not service.settled.holds(
        event.ingest_id, lambda: (service.observation_place(event.series_id),)
    ):
        return {**queued, "state": "running"}
    return dict(msgspec.structs.asdict(event))
