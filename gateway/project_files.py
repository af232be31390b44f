"""A project made of a file: received, read, split into series, and only then registered and loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

import msgspec
from flask import request

from gateway import parameters
from gateway.accounts.project_rows import ProjectFile
from gateway.accounts.projects import new_project_id
from gateway.bodies import faulty, field_faults
from gateway.guard import principal
from gateway.headers import new_id
from gateway.limits.quotas import ROW
from gateway.routes.uploads import LoadBody, ask_for_ingests, document, wish_of
from gateway.service import GatewayService
from gateway.uploads.receiving import Receiver
from gateway.uploads.rooms import Owner
from gateway.uploads.shelf import Load, Upload, Wish

_LISTS = ("columns", "known_future")
_OF_PROJECT = ("name", "description", "organisation_id")
#: Fields of a form, or query parameters beside a bare body.
FIELDS = (*_OF_PROJECT, "time", "series", "target", *_LISTS, "freq", "calendar", "force")
_MAX_NAME, _MAX_DESCRIPTION = 200, 10_000


def create_from_file(service: GatewayService, organisation_of: Callable[[str], str]) -> tuple[str, dict[str, Any]]:
    """Make a project of the file of the current request; return its id and how the loading goes.

    What cannot be used leaves neither file nor project.

    Args:
        service: The gateway.
        organisation_of: Judges the organisation that the request names, and returns whose the project is.

    Raises:
        Problem: 422 the file, or what is said of its columns, cannot be used.
    """
    parameters.require_known(("filename", *FIELDS))
    service.require_caught_up()
    first = Owner(organisation_id=organisation_of(request.args.get("organisation_id", "")))
    receiver = Receiver()
    form: dict[str, str] = {}

    def wish_for(filename: str) -> tuple[Wish, Owner]:
        given = _given(receiver.fields)
        organisation_id = organisation_of(_one(given, "organisation_id"))
        form["name"] = _one(given, "name") or PurePosixPath(filename).name.split(".")[0] or "project"
        form["description"] = _one(given, "description")
        _require_short(form["name"], form["description"])
        project_id = new_project_id(form["name"])
        owner = Owner(organisation_id=organisation_id, project=project_id)
        return wish_of(_load_body(given), project_id, filename), owner

    upload = service.shelf.add(new_id(), receiver, first, wish_for)
    try:
        load = upload.require_load()
        organisation_id = upload.owner.organisation_id
        service.shares.require_series(load.project, [series.name for series in load.series])
        rows = sum(series.rows for series in load.series)
        service.usage.require(principal(), ROW, load.project, rows, owner=organisation_id)
        service.projects.create(
            organisation_id=organisation_id,
            **form,
            created_by=principal().user_id,
            project_id=load.project,
            mapping=_mapping(upload, load),
            admit=lambda connection: service.shares.require(connection, "projects", organisation_id),
        )
    except BaseException:
        service.shelf.remove(upload.upload_id)
        raise
    ask_for_ingests(service, upload)
    return load.project, document(service, upload)


def _given(fields: Mapping[str, list[str]]) -> dict[str, list[str]]:
    for name, values in fields.items():
        if name not in FIELDS:
            raise parameters.invalid(name, f"one of {', '.join(FIELDS)}", values[0][:100])
    parameters.require_no_nul((name, value) for name, values in fields.items() for value in values)
    return {**request.args.to_dict(flat=False), **fields}


def _one(given: Mapping[str, list[str]], name: str) -> str:
    return given.get(name, [""])[-1]


def _require_short(name: str, description: str) -> None:
    for field, text, most in (("name", name, _MAX_NAME), ("description", description, _MAX_DESCRIPTION)):
        if len(text) > most:
            raise parameters.invalid(field, f"at most {most} characters", f"{text[:50]}… ({len(text)} characters)")


def _load_body(given: Mapping[str, list[str]]) -> LoadBody:
    """Return how the file is loaded: what is not given is as guessed; an empty series means that it holds one."""
    raw: dict[str, Any] = {name: _one(given, name) for name in ("time", "target", "freq", "calendar") if name in given}
    raw |= {name: [part for value in given[name] for part in _parts(value)] for name in _LISTS if name in given}
    if "series" in given:
        raw["series"] = _one(given, "series") or None
    if "force" in given:
        raw["force"] = {"true": True, "false": False}.get(_one(given, "force"), _one(given, "force"))
    try:
        return msgspec.convert(raw, LoadBody)
    except msgspec.ValidationError as error:
        raise faulty(field_faults(raw, LoadBody)) from error


def _parts(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _mapping(upload: Upload, load: Load) -> bytes:
    return msgspec.json.encode(
        ProjectFile(
            upload_id=upload.upload_id,
            filename=upload.filename,
            mapping=load.mapping,
            columns=tuple(column.name for column in upload.inspection.columns),
        )
    )
