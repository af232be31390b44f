"""What the lists of the history say: query parameters to a filter, rows to lines, pages and files of them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import msgspec
from flask import Response, request

from gateway import exports, parameters, tenancy
from gateway.answers import json_of
from gateway.guard import principal
from gateway.history import STATUSES
from gateway.history_queries import FORECASTS, INGESTS, TRAININGS, Filter, Kind, Mapped, Place, tenants_of
from gateway.service import GatewayService
from schemas.ingests import IngestEvent
from schemas.trainings import TrainingEvent

#: A file is read in pieces of so many rows: each holds up others for some milliseconds.
_ROWS_AT_ONCE = 1_000
_TIMES = ("from", "to")
_PAGED = ("limit", "cursor")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Beyond it, no column takes a time.
_MAX_TIME = 2**62
_CURSOR = msgspec.json.Decoder(tuple[int, str])
_TRAINING_EVENT = msgspec.json.Decoder(TrainingEvent)
_INGEST_EVENT = msgspec.json.Decoder(IngestEvent)
Line = dict[str, Any]


@dataclass(frozen=True)
class List:
    """A list of the history.

    Attributes:
        name: Of the list in its answer, and of a file.
        kind: Where it is read.
        statuses: What the filter ``status`` may be.
        columns: Column of a file -> type of its values.
        line: Makes a line of a file from a row.
    """

    name: str
    kind: Kind
    statuses: tuple[str, ...]
    columns: Mapping[str, type]
    line: Callable[[Mapped], Line]


def moment(milliseconds: int | None) -> datetime | None:
    """Return a time of a row."""
    return None if milliseconds is None else _EPOCH + timedelta(milliseconds=milliseconds)


def asked(row: Mapped) -> Line:
    """Return what every list says of who asked, when and why."""
    names = ("project", "cause", "requester")
    return {"requested_at": moment(row["time_ms"]), **{name: row[name] for name in names}}


def forecast_line(row: Mapped) -> Line:
    """Return what the history says of a forecast."""
    names = ("request_id", "forecast_id", "status", "code", "series_id", "model", "version", "horizon", "batch_id")
    cutoff = row["cutoff"]
    return {
        **{name: row[name] for name in names},
        "cutoff": None if cutoff is None else _EPOCH + timedelta(seconds=cutoff),
        "answered_at": moment(row["answered_ms"]),
        **asked(row),
    }


def _training_line(row: Mapped) -> Line:
    names = ("training_id", "model", "version", "series_id", "state", "is_cancel_requested")
    event = None if row["event"] is None else _TRAINING_EVENT.decode(row["event"])
    told = {"told_at": moment(row["event_ms"]), "reason": "" if event is None else event.reason}
    return {**{name: row[name] for name in names}, **told, **asked(row)}


def _ingest_line(row: Mapped) -> Line:
    event = None if row["event"] is None else _INGEST_EVENT.decode(row["event"])
    return {
        **{name: row[name] for name in ("ingest_id", "series_id", "state")},
        "source": None if event is None else event.source,
        "rows_received": None if event is None else event.rows_received,
        "rows_published": None if event is None else event.rows_published,
        "rows_quarantined": None if event is None else event.rows_quarantined,
        "told_at": moment(row["event_ms"]),
        "reason": "" if event is None else event.reason,
        **asked(row),
    }


_WHO: Mapping[str, type] = {"requested_at": datetime, "project": str, "cause": str, "requester": str}
FORECAST_LIST = List(
    name="forecasts",
    kind=FORECASTS,
    statuses=STATUSES,
    columns={
        **dict.fromkeys(("request_id", "forecast_id", "status", "code", "series_id", "model", "version"), str),
        "horizon": int,
        "batch_id": str,
        "cutoff": datetime,
        "answered_at": datetime,
        **_WHO,
    },
    line=forecast_line,
)
TRAINING_LIST = List(
    name="trainings",
    kind=TRAININGS,
    statuses=("queued", "running", "progress", "succeeded", "failed", "cancelled"),
    columns={
        **dict.fromkeys(("training_id", "model", "version", "series_id", "state"), str),
        "is_cancel_requested": bool,
        "told_at": datetime,
        "reason": str,
        **_WHO,
    },
    line=_training_line,
)
INGEST_LIST = List(
    name="ingests",
    kind=INGESTS,
    statuses=("queued", "running", "succeeded", "failed"),
    columns={
        **dict.fromkeys(("ingest_id", "series_id", "state", "source"), str),
        **dict.fromkeys(("rows_received", "rows_published", "rows_quarantined"), int),
        "told_at": datetime,
        "reason": str,
        **_WHO,
    },
    line=_ingest_line,
)


def answer(service: GatewayService, listed: List, document: Callable[[Mapped], Line]) -> Response:
    """Answer a list for the current request: a page, or a file of everything.

    Args:
        service: Has the rows.
        listed: Which list.
        document: Makes a line of a page from a row.
    """
    parameters.require_known((*listed.kind.filters, *_TIMES, *_PAGED, "format"))
    wanted = _filter(service, listed)
    format_ = _format()
    if format_ in exports.MEDIA_TYPES:
        return _file(service, listed, wanted, format_)
    limit = parameters.integer("limit", default=50, minimum=1, maximum=1000)
    page = service.history.page(listed.kind, wanted, after=_place(), limit=limit)
    next_path = None if page.next is None else _next_path(page.next)
    headers = {} if next_path is None else {"Link": f'<{next_path}>; rel="next"'}
    return json_of({listed.name: [document(row) for row in page.rows], "next": next_path}, headers=headers)


def _filter(service: GatewayService, listed: List) -> Filter:
    given = {name: parameters.text(name) for name in listed.kind.filters}
    equal = {name: value for name, value in given.items() if value is not None}
    if "status" in equal:
        parameters.choice("status", listed.statuses)
    visible = tenancy.visible(service)
    if listed.kind is FORECASTS:
        asking = principal()
        visible = tenants_of(visible, frozenset(asking.roles) | {asking.organisation_id})
    return Filter(equal, from_ms=_time_ms("from"), to_ms=_time_ms("to"), tenants=visible)


def _time_ms(name: str) -> int | None:
    found = parameters.time(name)
    # Up: with `from` nothing earlier is in, with `to` nothing later.
    return None if found is None else -((_EPOCH - found) // timedelta(milliseconds=1))


def _format() -> str:
    """Return the format that the query names, or else the one that the caller accepts most."""
    if "format" in request.args:
        return parameters.choice("format", ("json", *exports.MEDIA_TYPES))
    offered = {"application/json": "json", **{media: name for name, media in exports.MEDIA_TYPES.items()}}
    best = request.accept_mimetypes.best_match(list(offered), default="application/json")
    return offered[best or "application/json"]


def _file(service: GatewayService, listed: List, wanted: Filter, format_: str) -> Response:
    for name in _PAGED:
        if name in request.args:
            raise parameters.invalid(name, "left out: a file has all rows of the filter", request.args[name][:100])
    pieces = service.history.every(listed.kind, wanted, rows_at_once=_ROWS_AT_ONCE)
    lines = ([listed.line(row) for row in rows] for rows in pieces)
    headers = {
        "Content-Disposition": f'attachment; filename="{listed.name}.{format_}"',
        "X-Accel-Buffering": "no",
    }
    content = exports.stream(format_, listed.columns, lines)
    return Response(content, 200, headers, content_type=exports.MEDIA_TYPES[format_])


def _next_path(place: Place) -> str:
    cursor = base64.urlsafe_b64encode(msgspec.json.encode((place.time_ms, place.key))).decode().rstrip("=")
    kept: Sequence[tuple[str, str]] = [(name, value) for name, value in request.args.items() if name != "cursor"]
    return f"{request.path}?{urlencode([*kept, ('cursor', cursor)])}"


def _place() -> Place | None:
    text = request.args.get("cursor")
    if text is None:
        return None
    wrong = parameters.invalid("cursor", "as it stands in the path of a next page", text[:100])
    try:
        time_ms, key = _CURSOR.decode(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, msgspec.DecodeError) as error:
        raise wrong from error
    if not -_MAX_TIME < time_ms < _MAX_TIME or not (key == "" or key.isprintable()):
        raise wrong
    return Place(time_ms, key)
