"""Live rows: a few new rows of many series, written to the log as one append a partition."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec
from flask import Blueprint, Response, g
from msgspec import Meta

from gateway import parameters, tenancy
from gateway.access import Permission, project_of
from gateway.answers import json_of
from gateway.bodies import Body, invalid, read_body
from gateway.guard import needs, principal
from gateway.limits.quotas import ROW
from gateway.problems import FieldFault
from gateway.service import GatewayService
from schemas.appends import MAX_SERIES_AN_APPEND, AppendRequested, SeriesRows
from schemas.identity import content_id
from schemas.topics import INGEST_REQUESTS

#: An append and what stands around it stay below the topic's largest message; text in another script takes more.
_MAX_BYTES_AN_APPEND = INGEST_REQUESTS.max_message_bytes * 3 // 4
_MAX_SERIES = 10_000


class AppendedRows(SeriesRows, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """New rows of one series, column by column; `time` and each column have as many values."""


class AppendBody(Body, frozen=True, kw_only=True):
    """New rows of many series, each named once."""

    series: Annotated[tuple[AppendedRows, ...], Meta(min_length=1, max_length=_MAX_SERIES)]


_BODY = msgspec.json.Decoder(AppendBody)


def blueprint(service: GatewayService) -> Blueprint:
    """Return the route ``/api/v1/observations``."""
    routes = Blueprint("observations", __name__, url_prefix="/api/v1/observations")

    @routes.post("")
    @needs(Permission.WRITE)
    def post() -> Response:
        parameters.require_known(())
        appends = list(_appends(service, tenancy.record_id(), read_body(_BODY).series))
        rows = [sum(len(rows.time) for rows in append.series) for _, append in appends]
        of_projects: Counter[str] = Counter()
        for (_, append), count in zip(appends, rows, strict=True):
            of_projects[project_of(append.series_id)] += count
        timeout = service.settings.delivery_timeout_seconds
        with service.usage.taking(principal(), ROW, of_projects):
            sent = [
                service.publisher.send(INGEST_REQUESTS, append, traceparent=g.traceparent, partition=partition)
                for partition, append in appends
            ]
            for delivery in sent:
                delivery.result(timeout)
        asked = [
            {
                "ingest_id": append.ingest_id,
                "series_id": append.series_id,
                "state": "queued",
                "series": len(append.series),
                "rows": count,
            }
            for (_, append), count in zip(appends, rows, strict=True)
        ]
        return json_of({"ingests": asked}, 202)

    return routes


def _appends(service: GatewayService, key: str, series: Sequence[SeriesRows]) -> Iterator[tuple[int, AppendRequested]]:
    """Yield what is to be written to which partition; the same key with the same rows gives the same ids."""
    seen: set[str] = set()
    # What becomes of an append is told to who may see its project, so it is of one.
    groups: dict[tuple[int, str], list[SeriesRows]] = {}
    of_project: dict[str, list[str]] = {}
    for index, rows in enumerate(series):
        field = f"series[{index}].series_id"
        if rows.series_id in seen:
            expected = "each series once, with all its rows"
            fault = FieldFault(field=field, expected=expected, found=rows.series_id)
            raise invalid(f"{expected} was expected, found {rows.series_id} again", [fault])
        seen.add(rows.series_id)
        project_id = project_of(rows.series_id)
        if project_id not in of_project:
            tenancy.require_project(service, Permission.WRITE, rows.series_id, field=field)
        of_project.setdefault(project_id, []).append(rows.series_id)
        groups.setdefault((service.partition_of(INGEST_REQUESTS, rows.series_id), project_id), []).append(rows)
    for project_id, series_ids in of_project.items():
        service.shares.require_series(project_id, series_ids)
    requester = principal().requester
    for (partition, _), group in sorted(groups.items()):
        for part in _parts(group):
            ingest_id = content_id("append", key, part)
            yield partition, AppendRequested(ingest_id=ingest_id, series=part, requester=requester)


def _parts(series: Sequence[SeriesRows]) -> Iterator[tuple[SeriesRows, ...]]:
    """Yield series in parts that a message can hold.

    Raises:
        Problem: 422 the rows of one series take more than that.
    """
    part: list[SeriesRows] = []
    size = 0
    for rows in series:
        added = len(msgspec.json.encode(rows))
        if added > _MAX_BYTES_AN_APPEND:
            expected = f"at most {_MAX_BYTES_AN_APPEND} bytes of one series in a request; upload a file instead"
            fault = FieldFault(field="series", expected=expected, found=f"{added} bytes of {rows.series_id}")
            raise invalid(f"{expected}, found {added} bytes of {rows.series_id}", [fault])
        if part and (size + added > _MAX_BYTES_AN_APPEND or len(part) == MAX_SERIES_AN_APPEND):
            yield tuple(part)
            part, size = [], 0
        part.append(rows)
        size += added
    yield tuple(part)
