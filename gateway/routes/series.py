"""Series, their observations, their newest forecast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import msgspec
from flask import Blueprint, Response, request

from gateway import parameters
from gateway.answers import json_bytes, json_of
from gateway.problems import Problem, not_found
from gateway.service import GatewayService

MAX_ROWS = 10_000
_COLUMNS = msgspec.json.Decoder(dict[str, float | None])


def blueprint(service: GatewayService) -> Blueprint:
    """Return the routes below ``/api/v1/series``."""
    routes = Blueprint("series", __name__, url_prefix="/api/v1/series")

    @routes.get("")
    def every() -> Response:
        parameters.require_known(())
        return json_of({"series": [_line(row) for row in service.queries.series()]})

    @routes.get("/<path:series_id>/observations")
    def observations(series_id: str) -> Response:
        return _observations(service, series_id)

    @routes.get("/<path:series_id>/forecasts/latest")
    def latest(series_id: str) -> Response:
        parameters.require_known(())
        answer = service.queries.latest_forecast(series_id)
        if answer is None:
            _series(service, series_id)
            raise Problem(
                404, "no-forecast-yet", f"no forecast of {series_id!r} yet; POST /api/v1/forecasts asks for one"
            )
        return json_bytes(answer)

    @routes.get("/<path:series_id>")
    def one(series_id: str) -> Response:
        parameters.require_known(())
        return json_of(_line(_series(service, series_id)))

    return routes


def utc(seconds: int | None) -> datetime | None:
    """Return seconds since the epoch as a UTC time."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def _series(service: GatewayService, series_id: str) -> Mapping[str, Any]:
    row = service.queries.one_series(series_id)
    if row is None:
        raise not_found("series", series_id, "GET /api/v1/series lists them, POST /api/v1/ingests fetches another one")
    return row


def _line(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "first_time": utc(row["first_time"]), "last_time": utc(row["last_time"])}


def _observations(service: GatewayService, series_id: str) -> Response:
    parameters.require_known(("limit", "after", "before", "order"))
    limit = parameters.integer("limit", default=1000, minimum=1, maximum=MAX_ROWS)
    is_newest_first = parameters.choice("order", ("oldest", "newest")) == "newest"
    series = _series(service, series_id)
    rows = service.queries.observations(
        series_id,
        after=parameters.time_seconds("after"),
        before=parameters.time_seconds("before"),
        limit=limit + 1,
        is_newest_first=is_newest_first,
    )
    page = rows[:limit]
    document = {
        "series_id": series_id,
        "freq": series["freq"],
        "unit": series["unit"],
        "observations": _columnar(page),
        "next": _next_page(page[-1]["time"], is_newest_first) if len(rows) > limit else None,
    }
    return json_of(document)


def _columnar(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    decoded = [_COLUMNS.decode(row["columns"]) for row in rows]
    names = dict.fromkeys(name for columns in decoded for name in columns)
    return {
        "time": [utc(row["time"]) for row in rows],
        "columns": {name: [columns.get(name) for columns in decoded] for name in names},
    }


def _next_page(last: int, is_newest_first: bool) -> str:
    edge = "before" if is_newest_first else "after"
    time = datetime.fromtimestamp(last, UTC).isoformat().replace("+00:00", "Z")
    return f"{request.path}?{urlencode({**request.args.to_dict(), edge: time})}"
