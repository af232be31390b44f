"""Series, their observations as they are and as they were known, their newest forecast."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, request

from gateway import caching, parameters, tenancy
from gateway.access import Permission
from gateway.answers import json_bytes, json_of
from gateway.forecast_access import reader
from gateway.guard import needs
from gateway.known import point_of_query
from gateway.observed import columnar, decoded, received_at, utc, versions_of
from gateway.problems import Problem
from gateway.service import GatewayService

MAX_ROWS = 10_000


def blueprint(service: GatewayService) -> Blueprint:
    """Return the routes below ``/api/v1/series``."""
    routes = Blueprint("series", __name__, url_prefix="/api/v1/series")

    @routes.get("")
    @needs(Permission.READ)
    def every() -> Response:
        parameters.require_known(())
        return json_of({"series": [_line(row) for row in service.queries.series(tenancy.visible(service))]})

    @routes.get("/<path:series_id>/observations")
    @needs(Permission.READ)
    def observations(series_id: str) -> Response:
        return _observations(service, series_id)

    @routes.get("/<path:series_id>/restatements")
    @needs(Permission.READ)
    def restatements(series_id: str) -> Response:
        return _restatements(service, series_id)

    @routes.get("/<path:series_id>/forecasts/latest")
    @needs(Permission.READ)
    def latest(series_id: str) -> Response:
        parameters.require_known(())
        _require(service, series_id)
        answer = service.queries.latest_forecast(series_id, reader(service))
        if answer is None:
            _series(service, series_id)
            raise Problem(
                404, "no-forecast-yet", f"no forecast of {series_id!r} yet; POST /api/v1/forecasts asks for one"
            )
        return json_bytes(answer)

    @routes.get("/<path:series_id>")
    @needs(Permission.READ)
    def one(series_id: str) -> Response:
        parameters.require_known(())
        return json_of(_line(_series(service, series_id)))

    return routes


def _series(service: GatewayService, series_id: str) -> Mapping[str, Any]:
    _require(service, series_id)
    row = service.queries.one_series(series_id)
    if row is None:
        raise tenancy.unknown_series(series_id)
    return row


def _require(service: GatewayService, series_id: str) -> None:
    tenancy.require(service, Permission.READ, series_id, tenancy.unknown_series(series_id))


def _line(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "first_time": utc(row["first_time"]), "last_time": utc(row["last_time"])}


def _observations(service: GatewayService, series_id: str) -> Response:
    parameters.require_known(("limit", "after", "before", "order", "known_at", "known_at_offset", "versions"))
    limit = parameters.integer("limit", default=1000, minimum=1, maximum=MAX_ROWS)
    is_newest_first = parameters.choice("order", ("oldest", "newest")) == "newest"
    is_with_versions = parameters.choice("versions", ("false", "true")) == "true"
    after, before = parameters.time_seconds("after"), parameters.time_seconds("before")
    series = _series(service, series_id)
    known = point_of_query(service, series_id)
    # The latest view alone is read from one table.
    read = service.queries.observations
    if is_with_versions or not known.is_now:
        read = partial(service.versions.observations, known=known)
    rows = read(series_id, after=after, before=before, limit=limit + 1, is_newest_first=is_newest_first)
    page = rows[:limit]
    document = {
        "series_id": series_id,
        "freq": series["freq"],
        "unit": series["unit"],
        "observations": columnar(page),
        "next": _next_page(page[-1]["time"], is_newest_first) if len(rows) > limit else None,
    }
    if is_with_versions:
        document["versions"] = versions_of(service.versions, series_id, page)
    response = json_of(document)
    if known.before_offset is not None:
        return caching.unchanging(response)
    # Until a time that has just passed, something may still be on its way to the log.
    return response if known.is_now else caching.checked(response)


def _restatements(service: GatewayService, series_id: str) -> Response:
    parameters.require_known(("limit", "order", "cursor"))
    limit = parameters.integer("limit", default=50, minimum=1, maximum=1000)
    is_newest_first = parameters.choice("order", ("oldest", "newest")) == "newest"
    beyond = parameters.place("cursor")
    _series(service, series_id)
    rows = service.versions.restatements(series_id, beyond=beyond, limit=limit + 1, is_newest_first=is_newest_first)
    page = rows[:limit]
    batches = service.versions.batches(series_id, [row["log_offset"] for row in page])
    more = None
    if len(rows) > limit:
        cursor = f"{page[-1]['log_offset']}.{page[-1]['time']}"
        more = f"{request.path}?{urlencode({**request.args.to_dict(), 'cursor': cursor})}"
    lines = [_restatement(row, batches[row["log_offset"]]) for row in page]
    return json_of({"series_id": series_id, "restatements": lines, "next": more})


def _restatement(row: Mapping[str, Any], batch: Mapping[str, Any]) -> dict[str, Any]:
    before, after = decoded(row["before"]), decoded(row["after"])
    return {
        "time": utc(row["time"]),
        "received_at": received_at(batch["received_us"]),
        "log_offset": row["log_offset"],
        **{name: batch[name] for name in ("kind", "reason", "source")},
        "columns": {
            name: {"from": before.get(name), "to": after.get(name)}
            for name in dict.fromkeys((*before, *after))
            if before.get(name) != after.get(name)
        },
    }


def _next_page(last: int, is_newest_first: bool) -> str:
    edge = "before" if is_newest_first else "after"
    time = datetime.fromtimestamp(last, UTC).isoformat().replace("+00:00", "Z")
    return f"{request.path}?{urlencode({**request.args.to_dict(), edge: time})}"
