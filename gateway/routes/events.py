"""Events as they happen: server-sent events that go on where they were cut off."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response, request

from gateway import parameters, tenancy
from gateway.access import Permission, project_of
from gateway.event_stream import EventStream
from gateway.events import TYPES
from gateway.forecast_access import reader
from gateway.guard import needs, principal
from gateway.problems import Problem, not_found
from gateway.service import GatewayService
from gateway.streams import stream
from gateway.told import Wish

_PARAMETERS = ("series_id", "model", "project", "types", "last_event_id")


def blueprint(service: GatewayService) -> Blueprint:
    """Return the route of events."""
    routes = Blueprint("events", __name__, url_prefix="/api/v1/events")

    @routes.get("")
    @needs(Permission.READ)
    def follow() -> Response:
        parameters.require_known(_PARAMETERS)
        wish = _wish(service)
        service.require_caught_up()
        end = service.streams.admit(principal())
        try:
            return _begun(service, wish, end)
        except BaseException:
            end()
            raise

    return routes


def _begun(service: GatewayService, wish: Wish, end: Callable[[], None]) -> Response:
    # A polyfill of EventSource may not set headers, and says it in the query.
    after = request.headers.get("Last-Event-ID") or request.args.get("last_event_id", "")
    try:
        events = EventStream(service, wish, after)
    except ValueError as error:
        expected = f"the id of an event of this log ({error})"
        raise parameters.invalid("last_event_id", expected, after[:100]) from error

    def close() -> None:
        events.close()
        end()

    return stream(events.chunks(), close)


def _wish(service: GatewayService) -> Wish:
    """Return what the caller wants and may know.

    Raises:
        Problem: 404 a project that the caller may not see, 422 another type.
    """
    given = {name: request.args.get(name) or None for name in ("series_id", "model", "project")}
    for name, missing in (("series_id", _unknown_series), ("model", _unknown_model), ("project", _unknown_project)):
        found = given[name]
        if found is not None:
            tenancy.require(service, Permission.READ, project_of(found), missing(found))
    types = tuple((request.args.get("types") or ",".join(TYPES)).split(","))
    for kind in types:
        if kind not in TYPES:
            raise parameters.invalid("types", f"some of {', '.join(TYPES)}, with commas between", kind[:100])
    reading = reader(service)
    return Wish(
        types=frozenset(types),
        projects=reading.projects,
        organisation_ids=reading.organisation_ids,
        **given,
    )


def _unknown_series(series_id: str) -> Problem:
    return tenancy.unknown_series(series_id)


def _unknown_model(model: str) -> Problem:
    return not_found("model", model, "GET /api/v1/models lists them")


def _unknown_project(project: str) -> Problem:
    return not_found("project", project, "GET /api/v1/projects lists them", field="project")
