"""How many forecasts were asked for: by day, project, model and who asked."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from flask import Response, request
from sqlalchemy import Select, func, or_, select

from gateway import parameters, tenancy
from gateway.access import PUBLIC_PROJECTS
from gateway.answers import json_of
from gateway.guard import principal
from gateway.history import USAGE_COUNTS
from gateway.service import GatewayService
from gateway.store import translated
from gateway.tables import USAGE

_EPOCH = date(1970, 1, 1)
_BY = ("day", "project", "model", "requester")
_FILTERS = ("project", "model", "requester")
_MAX_LINES = 10_000


def answer(service: GatewayService) -> Response:
    """Answer ``GET /api/v1/usage`` for the current request."""
    parameters.require_known((*_FILTERS, "from", "to", "by"))
    by = _by()
    query = _of_caller(service, _sums(by))
    for name in _FILTERS:
        if (value := parameters.text(name)) is not None:
            query = query.where(USAGE.c[name] == value)
    if (first := _day("from")) is not None:
        query = query.where(USAGE.c.day >= first)
    if (end := _day("to")) is not None:
        query = query.where(USAGE.c.day < end)
    with translated(), service.history.engine.connect() as connection:
        rows = connection.execute(query.limit(_MAX_LINES + 1)).mappings().all()
    if len(rows) > _MAX_LINES:
        expected = f"such that at most {_MAX_LINES} lines come (or a shorter time from `from` to `to`)"
        raise parameters.invalid("by", expected, ",".join(by))
    return json_of({"usage": [_line(dict(row)) for row in rows]})


def _sums(by: tuple[str, ...]) -> Select[Any]:
    keys = [USAGE.c[name] for name in by]
    sums = [func.sum(USAGE.c[name]).label(name) for name in USAGE_COUNTS]
    return select(*keys, *sums).group_by(*keys).order_by(*keys)


def _of_caller(service: GatewayService, query: Select[Any]) -> Select[Any]:
    """Leave what the caller may see: its projects, and of public ones what its organisations asked for."""
    visible = tenancy.visible(service)
    if visible is None:
        return query
    asking = principal()
    organisations = {each for each in (*asking.roles, asking.organisation_id) if each}
    own = USAGE.c.project.in_(sorted(visible - PUBLIC_PROJECTS))
    public = USAGE.c.project.in_(sorted(visible & PUBLIC_PROJECTS))
    return query.where(or_(own, public & USAGE.c.organisation_id.in_(sorted(organisations))))


def _by() -> tuple[str, ...]:
    text = parameters.text("by")
    names = _BY if text is None else tuple(text.split(","))
    if len(set(names)) < len(names) or not set(names) <= set(_BY):
        raise parameters.invalid("by", f"some of {', '.join(_BY)}, each once, with commas between", text or "")
    return names


def _day(name: str) -> int | None:
    text = request.args.get(name)
    if text is None:
        return None
    try:
        return (date.fromisoformat(text) - _EPOCH).days
    except ValueError:
        raise parameters.invalid(name, "a day such as 2025-01-02 (UTC)", text[:100]) from None


def _line(row: dict[str, Any]) -> dict[str, Any]:
    day = {"day": _EPOCH + timedelta(days=row.pop("day"))} if "day" in row else {}
    # PostgreSQL sums whole numbers to decimals.
    counts = {name: int(row.pop(name)) for name in USAGE_COUNTS}
    return {**day, **row, **counts}
