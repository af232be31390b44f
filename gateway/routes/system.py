"""How the gateway and the services behind it are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from gateway import tenancy
from gateway.access import Permission
from gateway.answers import json_of
from gateway.guard import needs, open_to_all, principal
from gateway.projection import FOLLOWED
from gateway.routes.models import champion_of, roles_of
from gateway.routes.trainings import document as training_document
from gateway.service import GatewayService
from runtime.broker import TopicPartition
from runtime.version import CODE_VERSION
from schemas.topics import FORECAST_REQUESTS, INGEST_REQUESTS, OBSERVATIONS, TRAINING_REQUESTS, Topic

#: Service -> the topics whose messages wait for it.
WORK: Mapping[str, tuple[Topic, ...]] = {
    "ingestor": (INGEST_REQUESTS,),
    "trainer": (TRAINING_REQUESTS,),
    "predictor": (FORECAST_REQUESTS, OBSERVATIONS),
}
WRITES: Mapping[str, tuple[str, ...]] = {
    "ingestor": ("observations", "ingest-events"),
    "trainer": ("training-events", "models"),
    "predictor": ("forecasts",),
    "gateway": ("forecast-requests", "training-requests", "ingest-requests"),
}
_SHOWN_TRAININGS = 5
_SHOWN_ALARMS = 20
_REMEMBERED_SECONDS = 1.0


def blueprint(service: GatewayService) -> Blueprint:
    """Return the routes ``/health``, ``/ready``, ``/status`` and ``/metrics``."""
    routes = Blueprint("system", __name__)
    remembered = Remembered(service, _status)

    @routes.get("/health")
    @open_to_all
    def health() -> Response:
        failure = service.projection.failure
        if failure is not None:
            # What went wrong may name somebody's series, and everybody can ask here.
            return json_of({"status": "unavailable", "reason": "the projection ended; the log says why"}, 503)
        return json_of({"status": "ok", "version": CODE_VERSION})

    @routes.get("/ready")
    @open_to_all
    def ready() -> Response:
        missing = _missing(service)
        if missing:
            return json_of({"status": "unavailable", "waiting_for": missing}, 503, {"Retry-After": "1"})
        return json_of({"status": "ok"})

    @routes.get("/status")
    @needs(Permission.READ)
    def status() -> Response:
        return json_of(_as_seen(service, remembered.value()))

    @routes.get("/metrics")
    @(open_to_all if service.settings.is_metrics_open else needs(Permission.OPERATE))
    def metrics() -> Response:
        return Response(service.meters.common.text(), content_type=CONTENT_TYPE_LATEST)

    return routes


class Remembered:
    """A document that is made at most once a second, however many ask for it."""

    def __init__(self, service: GatewayService, make: Callable[[GatewayService], dict[str, Any]]) -> None:
        self._service = service
        self._make = make
        self._made_at: float | None = None
        self._value: dict[str, Any] = {}

    def value(self) -> dict[str, Any]:
        """Return the document, at most a second old."""
        now = self._service.clock.monotonic()
        if self._made_at is None or now - self._made_at > _REMEMBERED_SECONDS:
            self._value = self._make(self._service)
            self._made_at = now
        return self._value


def _missing(service: GatewayService) -> list[str]:
    missing = []
    if service.projection.failure is not None:
        missing.append("the projection, which ended; see /health")
    if not service.projection.is_caught_up:
        missing.append("the log, which is still being read")
    if not any(champion_of(roles) for roles in roles_of(service.queries.deployments()).values()):
        missing.append("a champion: no model has been deployed yet")
    return missing


def _status(service: GatewayService) -> dict[str, Any]:
    alarms = service.queries.alarms(_SHOWN_ALARMS)
    missing = _missing(service)
    return {
        "version": CODE_VERSION,
        "is_ready": not missing,
        "waiting_for": missing,
        "services": [_gateway(service), *(_service(service, name) for name in WORK)],
        "topics": _topics(service),
        "alarms": alarms,
    }


def _as_seen(service: GatewayService, status: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state with the trainings that the caller may see; how much there is of what is for operators."""
    rows = service.queries.trainings(_SHOWN_TRAININGS, tenancy.visible(service))
    told = {**status, "trainings": [training_document(service, row) for row in rows]}
    if Permission.OPERATE in principal().anywhere():
        return told
    services = [{**one, "members": None, "backlog": None, "last_record_time": None} for one in status["services"]]
    return {**told, "services": services, "topics": [], "alarms": []}


def _places(service: GatewayService, topics: tuple[Topic, ...]) -> list[TopicPartition]:
    return [
        service.projection.place(topic, partition) for topic in topics for partition in range(service.partitions(topic))
    ]


def _gateway(service: GatewayService) -> dict[str, Any]:
    ends = service.end_offsets(_places(service, FOLLOWED))
    written = service.projection.written()
    backlog = sum(max(0, end - (written[place].next_offset if place in written else 0)) for place, end in ends.items())
    return {
        "name": "gateway",
        "state": "up" if service.projection.is_caught_up else "waiting",
        "members": 1,
        "backlog": backlog,
        "last_record_time": _last_record(service, "gateway"),
    }


def _service(service: GatewayService, name: str) -> dict[str, Any]:
    group = f"{service.settings.topic_prefix}{name}"
    places = _places(service, WORK[name])
    ends = service.end_offsets(places)
    committed = service.committed(group, places)
    members = service.members(group)
    return {
        "name": name,
        "state": "up" if members else "down",
        "members": members,
        "backlog": sum(max(0, end - committed.get(place, 0)) for place, end in ends.items()),
        "last_record_time": _last_record(service, name),
    }


def _last_record(service: GatewayService, name: str) -> datetime | None:
    names = {f"{service.settings.topic_prefix}{topic}" for topic in WRITES[name]}
    return _newest(service, names)


def _newest(service: GatewayService, names: set[str]) -> datetime | None:
    newest = max(
        (position.last_record_ms for place, position in service.projection.written().items() if place.topic in names),
        default=0,
    )
    return datetime.fromtimestamp(newest / 1000, UTC) if newest else None


def _topics(service: GatewayService) -> list[dict[str, Any]]:
    described = []
    for topic in FOLLOWED:
        places = _places(service, (topic,))
        name = topic.full_name(service.settings.topic_prefix)
        ends = service.end_offsets(places)
        described.append(
            {
                "topic": name,
                "partitions": len(places),
                "end_offsets": sum(ends.values()),
                "last_record_time": _newest(service, {name}),
            }
        )
    return described
