"""The operations on uploads."""

from __future__ import annotations

from typing import Literal

from gateway.answers import Answer
from gateway.openapi.ingests import Ingest
from gateway.openapi.operation import JsonObject, Operation, json_answer
from gateway.openapi.problem_kinds import NO_ROOM, STARTING
from gateway.routes.uploads import LoadBody
from gateway.uploads.jobs import ColumnMapping, Inspection


class UploadedSeries(Answer, frozen=True, kw_only=True):
    """A series of an upload, and how its ingest goes."""

    rows: int
    ingest: Ingest


class UploadDocument(Answer, frozen=True, kw_only=True):
    """An uploaded file: what it seems to hold, and once it is loaded the state of each series."""

    upload_id: str
    #: The client's name of the file, a label.
    filename: str
    size_bytes: int
    state: Literal["inspected", "loaded"]
    inspection: Inspection
    #: As guessed, or as it was loaded.
    mapping: ColumnMapping
    series: tuple[UploadedSeries, ...] = ()


class UploadRemoved(Answer, frozen=True, kw_only=True):
    """An upload that is no more."""

    upload_id: str
    state: Literal["removed"]


_MAPPING: JsonObject = {
    "time": "Date",
    "series": "Store",
    "target": "Sales",
    "columns": ["Sales", "Promo"],
    "known_future": ["Promo"],
    "freq": "1d",
    "calendar": "24/7",
}
_UPLOAD: JsonObject = {
    "upload_id": "5f2b1c9e0d7a46338b1f0a9c2e4d6b70",
    "filename": "stores.csv",
    "size_bytes": 91042,
    "state": "inspected",
    "inspection": {
        "kind": "csv",
        "rows": 1508,
        "columns": [
            {"name": "Store", "kind": "number", "missing": 0},
            {"name": "Date", "kind": "time", "missing": 0},
            {"name": "Sales", "kind": "number", "missing": 14},
            {"name": "Promo", "kind": "number", "missing": 0},
        ],
        "mapping": _MAPPING,
        "target_candidates": ["Sales", "Promo"],
        "series_candidates": ["Store"],
        "series_count": 2,
        "series_examples": ["1", "2"],
        "first_time": "2013-01-02T00:00:00Z",
        "last_time": "2015-07-31T00:00:00Z",
        "preview": [["1", "2013-01-02", "5530", "0"]],
        "notes": [],
    },
    "mapping": _MAPPING,
    "series": [],
}
_LOADED: JsonObject = {
    **_UPLOAD,
    "state": "loaded",
    "series": [{"rows": 754, "ingest": {"ingest_id": "0d0a2f3c6a0f", "series_id": "shops/1@1d", "state": "queued"}}],
}
_OFF = ("uploads-off",)

UPLOADS = (
    Operation(
        method="post",
        path="/api/v1/uploads",
        id="uploadFile",
        counts_as="row",
        tag="uploads",
        summary="Upload a CSV or Parquet file, and see what it holds",
        description=(
            "The file is the one of a form, or the body itself with `filename` in the query; CSV may be packed by "
            "gzip. The answer says what each column seems to be; nothing is loaded before `loadUpload`, or `load=true`."
        ),
        parameters=("filename", "load", "upload_project"),
        takes_file=True,
        answers={201: json_answer("What the file seems to hold.", UploadDocument, _UPLOAD, "Location")},
        problems={
            404: ("unknown-project",),
            409: ("uploads-off", "limit-reached"),
            422: ("invalid-parameter", "invalid-upload"),
            **STARTING,
            507: NO_ROOM,
        },
    ),
    Operation(
        method="get",
        path="/api/v1/uploads/{upload_id}",
        id="getUpload",
        tag="uploads",
        summary="What a file seems to hold, or how each of its series is loaded",
        description=(
            "Before it is loaded: the columns and how they would be read. Afterwards: the ingest of each series."
        ),
        parameters=("upload_id",),
        answers={200: json_answer("The upload.", UploadDocument, _LOADED)},
        problems={404: ("unknown-upload",), 409: _OFF, 422: ("invalid-parameter",)},
    ),
    Operation(
        method="post",
        path="/api/v1/uploads/{upload_id}/load",
        id="loadUpload",
        counts_as="row",
        is_repeatable=True,
        tag="uploads",
        summary="Load an upload: one ingest a series",
        description="What the body leaves out is as guessed. The same again changes nothing.",
        parameters=("upload_id",),
        body=LoadBody,
        examples={"as-guessed": {}, "changed": {"project": "shops", "known_future": ["Promo"], "calendar": "24/7"}},
        answers={202: json_answer("Asked.", UploadDocument, _LOADED, "Location")},
        problems={
            404: ("unknown-upload", "unknown-project"),
            409: ("uploads-off", "upload-loaded", "limit-reached"),
            422: ("invalid-parameter", "invalid-upload"),
            **STARTING,
            507: NO_ROOM,
        },
    ),
    Operation(
        method="delete",
        path="/api/v1/uploads/{upload_id}",
        id="removeUpload",
        tag="uploads",
        summary="Remove an upload from the disk; what was loaded stays in the log",
        description="A series that still waits to be loaded then fails.",
        parameters=("upload_id",),
        answers={
            200: json_answer(
                "Removed.", UploadRemoved, {"upload_id": "5f2b1c9e0d7a46338b1f0a9c2e4d6b70", "state": "removed"}
            )
        },
        problems={404: ("unknown-upload",), 409: _OFF, 422: ("invalid-parameter",)},
    ),
)
