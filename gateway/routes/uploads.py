"""Files that people upload: inspected, mapped, loaded as one ingest a series."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Annotated, Any

import msgspec
from flask import Blueprint, Response, g, request, url_for
from msgspec import UNSET, Meta, UnsetType

from gateway import parameters, tenancy
from gateway.access import Permission
from gateway.answers import json_of
from gateway.bodies import Body, invalid, read_body
from gateway.changes import note_change
from gateway.guard import needs, principal
from gateway.headers import new_id
from gateway.limits.quotas import ROW
from gateway.problems import FieldFault, Problem
from gateway.routes.ingests import document as ingest_document
from gateway.service import GatewayService
from gateway.uploads.jobs import Changes, Project
from gateway.uploads.receiving import Receiver
from gateway.uploads.rooms import Owner
from gateway.uploads.shelf import Load, Upload, Wish
from gateway.uploads.tidying import Tidying
from schemas.identity import content_id
from schemas.ingests import IngestEvent, IngestRequested
from schemas.record import Freq, SeriesId
from schemas.topics import INGEST_REQUESTS

SOURCE = "upload"
_DEFAULT_PROJECT = "uploads"
_Names = Annotated[tuple[str, ...], Meta(max_length=2000)]


class LoadBody(Body, frozen=True, kw_only=True):
    """How an upload is loaded; what is left out is as guessed."""

    #: First part of the name of each series; that of the upload unless given.
    project: Project | UnsetType = UNSET
    #: Name of the only series of a file without a column of names; empty: that of the file.
    name: Annotated[str, Meta(max_length=80)] = ""
    time: str | UnsetType = UNSET
    #: Column that names the series; null: the file holds one.
    series: str | UnsetType | None = UNSET
    target: str | UnsetType = UNSET
    columns: _Names | UnsetType = UNSET
    #: Columns that rows later than now may have.
    known_future: _Names | UnsetType = UNSET
    freq: Freq | UnsetType = UNSET
    calendar: str | UnsetType = UNSET
    #: Let in what the quality gate would hold back.
    force: bool = False


_BODY = msgspec.json.Decoder(LoadBody)
_EVENT = msgspec.json.Decoder(IngestEvent)


def blueprint(service: GatewayService) -> Blueprint:
    """Return the routes below ``/api/v1/uploads``."""
    routes = Blueprint("uploads", __name__, url_prefix="/api/v1/uploads")
    shelf = service.shelf
    tidying = Tidying(
        shelf,
        ingest_ids=_ingest_ids,
        states=lambda ids: {
            ingest_id: _EVENT.decode(event).state for ingest_id, event in service.queries.ingest_events(ids).items()
        },
        clock=service.clock,
        keep=timedelta(days=service.settings.upload_keep_days),
    )
    if service.settings.files_directory is not None:
        projection = service.projection
        service.accompany(lambda: tidying.run(lambda: projection.is_stopping, projection.wait_for_write))

    @routes.post("")
    @needs(Permission.WRITE)
    def post() -> Response:
        parameters.require_known(("filename", "load", "project"))
        owner = _owner(service)
        is_loaded_too = parameters.choice("load", ("false", "true")) == "true"
        if is_loaded_too:
            service.require_caught_up()
        upload = shelf.add(
            new_id(),
            Receiver(),
            owner,
            (lambda filename: (wish_of(LoadBody(), owner.project, filename), owner)) if is_loaded_too else None,
        )
        if is_loaded_too:
            try:
                ask_for_ingests(service, upload)
            except Problem:
                # Nothing was asked for, and nobody has been told its id.
                shelf.remove(upload.upload_id)
                raise
        location = url_for("uploads.get", upload_id=upload.upload_id)
        return json_of(document(service, upload), 201, {"Location": location})

    @routes.get("/<upload_id>")
    @needs(Permission.WRITE)
    def get(upload_id: str) -> Response:
        parameters.require_known(())
        return json_of(document(service, tenancy.own_upload(service, upload_id)))

    @routes.post("/<upload_id>/load")
    @needs(Permission.WRITE)
    def load(upload_id: str) -> Response:
        parameters.require_known(())
        service.require_caught_up()
        upload = _load(service, tenancy.own_upload(service, upload_id), read_body(_BODY))
        return json_of(document(service, upload), 202, {"Location": url_for("uploads.get", upload_id=upload_id)})

    @routes.delete("/<upload_id>")
    @needs(Permission.WRITE)
    def delete(upload_id: str) -> Response:
        parameters.require_known(())
        upload = tenancy.own_upload(service, upload_id)
        note_change(service, "upload.removed", upload_id, of=upload.owner.project, filename=upload.filename)
        shelf.remove(upload.upload_id)
        return json_of({"upload_id": upload_id, "state": "removed"})

    return routes


def _owner(service: GatewayService) -> Owner:
    """Return whose the upload of the current request will be: the project that it names, or the only one of a key.

    Raises:
        Problem: 404 for a project that is not the caller's, 403 for a member who may not change it, 422 for none.
    """
    asking = principal()
    (only,) = asking.project_ids if asking.project_ids and len(asking.project_ids) == 1 else ("",)
    named = request.args.get("project") or only or (_DEFAULT_PROJECT if asking.is_operator else "")
    try:
        project = msgspec.convert(named, Project)
    except msgspec.ValidationError as error:
        raise parameters.invalid("project", "the id of a project of yours", named[:100] or "nothing") from error
    tenancy.require_project(service, Permission.WRITE, project, field="project")
    return Owner(organisation_id=service.projects.organisation_of(project) or "", project=project)


def _load(service: GatewayService, upload: Upload, body: LoadBody) -> Upload:
    project = upload.owner.project if body.project is UNSET else body.project
    tenancy.require_project(service, Permission.WRITE, project, field="project")
    if upload.load is None:
        # Before it is split: what is refused can be loaded, or removed, later.
        service.usage.require(principal(), ROW, project, upload.inspection.rows)
    loaded = service.shelf.load(upload.upload_id, wish_of(body, project, upload.filename))
    ask_for_ingests(service, loaded)
    return loaded


def ask_for_ingests(service: GatewayService, loaded: Upload) -> None:
    """Ask for an ingest of each series of an upload; a repeat asks for what is not asked for yet.

    Raises:
        Problem: 409 the project would have too many series, 429 its rows of today are used up, 503 others are in the
            way for too long; nothing is asked for then.
    """
    load = loaded.require_load()
    requests = _requests(loaded.upload_id, load, principal().requester)
    service.shares.require_series(load.project, [wanted.series_id for wanted in requests])
    # Splitting takes as long as it takes; only what is written to the log keeps others waiting.
    with service.one_at_a_time():
        new = [
            (wanted, found.rows)
            for wanted, found in zip(requests, load.series, strict=True)
            if service.queries.ingest(wanted.ingest_id) is None
        ]
        with service.usage.taking(principal(), ROW, {load.project: sum(rows for _, rows in new)}):
            _publish(service, [wanted for wanted, _ in new])


def wish_of(body: LoadBody, project: str, filename: str) -> Wish:
    """Return how a body loads a file into ``project``; its only series, where it holds one, is named after the file."""
    return Wish(
        changes=Changes(**{name: getattr(body, name) for name in Changes.__struct_fields__}),
        project=project,
        name=body.name or PurePosixPath(filename).name.split(".")[0] or "upload",
        force=body.force,
    )


def _publish(service: GatewayService, requests: Sequence[IngestRequested]) -> None:
    timeout = service.settings.delivery_timeout_seconds
    sent = []
    for wanted in requests:
        partition = service.partition_of(INGEST_REQUESTS, INGEST_REQUESTS.key(wanted))
        sent.append(service.publisher.send(INGEST_REQUESTS, wanted, traceparent=g.traceparent, partition=partition))
    ends: dict[int, int] = {}
    for delivery in sent:
        partition, offset = delivery.result(timeout)
        ends[partition] = max(ends.get(partition, 0), offset + 1)
    places = {service.projection.place(INGEST_REQUESTS, partition): end for partition, end in ends.items()}
    service.projection.wait_written(places, timeout)


def _requests(upload_id: str, load: Load, requester: str = "") -> list[IngestRequested]:
    mapping = load.mapping
    requests = []
    for found in load.series:
        series_id = f"{load.project}/{found.name}@{mapping.freq}"
        try:
            msgspec.convert(series_id, SeriesId)
        except msgspec.ValidationError as error:
            fault = FieldFault(field="series", expected="names that ids of series may have", found=series_id)
            raise invalid(str(error), [fault]) from error
        requests.append(
            IngestRequested(
                ingest_id=_ingest_id(upload_id, found.number),
                series_id=series_id,
                sources=(SOURCE,),
                symbol=f"{upload_id}/{found.number:05}",
                freq=mapping.freq,
                calendar=mapping.calendar,
                known_future=load.known_future,
                force=load.force,
                cause="user",
                requester=requester,
            )
        )
    return requests


def _ingest_ids(upload: Upload) -> list[str]:
    series = () if upload.load is None else upload.load.series
    return [_ingest_id(upload.upload_id, found.number) for found in series]


def _ingest_id(upload_id: str, number: int) -> str:
    return content_id("upload", upload_id, number)


def document(service: GatewayService, upload: Upload) -> dict[str, Any]:
    """Return an upload; once it is loaded, with the state of each series."""
    told = {
        "upload_id": upload.upload_id,
        "filename": upload.filename,
        "size_bytes": upload.size_bytes,
        "state": "inspected" if upload.load is None else "loaded",
        "inspection": upload.inspection,
    }
    if upload.load is None:
        return {**told, "mapping": upload.inspection.mapping, "series": []}
    series = []
    for wanted, found in zip(_requests(upload.upload_id, upload.load), upload.load.series, strict=True):
        row = service.queries.ingest(wanted.ingest_id)
        asked = {"ingest_id": wanted.ingest_id, "series_id": wanted.series_id, "state": "queued"}
        series.append({"rows": found.rows, "ingest": asked if row is None else ingest_document(service, row)})
    return {**told, "mapping": upload.load.mapping, "series": series}
