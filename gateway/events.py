"""What is told to those who subscribe: records of the log that mean something to a user, as one JSON document each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from gateway.access import project_of
from runtime.broker import TopicPartition
from runtime.incoming import Incoming
from schemas.forecasts import ForecastIssued, ForecastRefused
from schemas.models import ModelReleased
from schemas.record import Record
from schemas.topics import FORECASTS, MODELS, TRAINING_EVENTS
from schemas.trainings import TrainingEvent

#: The topics whose records are events, in the order in which positions name them.
EVENT_TOPICS = (FORECASTS, TRAINING_EVENTS, MODELS)
FORECAST_ISSUED, FORECAST_REFUSED = "forecast.issued", "forecast.refused"
MODEL_RELEASED = "model.released"
_TRAININGS = {state: f"training.{state}" for state in ("succeeded", "failed", "cancelled")}
TYPES = (FORECAST_ISSUED, FORECAST_REFUSED, *_TRAININGS.values(), MODEL_RELEASED)
#: Of a release: the artefact is for those that serve it.
_NOT_TOLD = frozenset({"graph", "recipe", "leaderboard", "fold_metrics", "fold_spread"})


Told = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Event:
    """One event; ``series_ids`` and ``model`` are what it is about."""

    id: str
    type: str
    time: datetime
    place: TopicPartition
    offset: int
    #: The key of the row in the projection: see `gateway.told`.
    row_key: tuple[str, ...]
    series_ids: tuple[str, ...]
    model: str | None
    #: The record as it travelled, or what is told of it.
    record: bytes

    @property
    def project(self) -> str:
        """Return the project that it belongs to: that of its series, else of its model; of a training, the model's."""
        first = self.series_ids[0] if self.series_ids else ""
        is_forecast = self.type in (FORECAST_ISSUED, FORECAST_REFUSED)
        return project_of((first or self.model or "") if is_forecast else (self.model or first))

    @property
    def projects(self) -> frozenset[str]:
        """Return the projects that one must be allowed to read to be told: a forecast shows its model, too."""
        return frozenset(project_of(name) for name in (self.project, self.model) if name)

    def document(self) -> bytes:
        """Return ``{"type", "timestamp", "data"}``, the form of Standard Webhooks."""
        shown = {"type": self.type, "timestamp": self.time, "data": msgspec.Raw(self.record)}
        return msgspec.json.encode(shown)


def event_of(incoming: Incoming) -> Event | None:
    """Return the event that a message is; ``None``: it tells nothing that one can subscribe to.

    A refusal of a request with a window of its own belongs to no series and no model; it is told to its caller alone.
    """
    build = _BUILDERS.get(type(incoming.record))
    told = None if build is None or incoming.message.value is None else build(incoming.record)
    if told is None:
        return None
    message, envelope = incoming.message, incoming.envelope
    place = TopicPartition(message.topic, message.partition)
    known = {"row_key": (envelope.id,), "record": message.value, **told}
    return Event(id=envelope.id, time=envelope.time, place=place, offset=message.offset, **known)


def _issued(forecast: ForecastIssued) -> Told:
    return {
        "type": FORECAST_ISSUED,
        "row_key": (forecast.request_id,),
        "series_ids": () if forecast.series_id is None else (forecast.series_id,),
        "model": forecast.model.name,
    }


def _refused(refusal: ForecastRefused) -> Told | None:
    if refusal.series_id is None:
        return None
    return {
        "type": FORECAST_REFUSED,
        "row_key": (refusal.request_id,),
        "series_ids": (refusal.series_id,),
        "model": None,
    }


def _training(event: TrainingEvent) -> Told | None:
    kind = _TRAININGS.get(event.state)
    return None if kind is None else {"type": kind, "series_ids": (event.series_id,), "model": event.model}


def _release(release: ModelReleased) -> Told:
    shown = {name: getattr(release, name) for name in release.__struct_fields__ if name not in _NOT_TOLD}
    return {
        "type": MODEL_RELEASED,
        "row_key": (release.model, release.version),
        "series_ids": release.series_ids,
        "model": release.model,
        "record": msgspec.json.encode(shown),
    }


_BUILDERS: Mapping[type[Record], Callable[[Any], Told | None]] = {
    ForecastIssued: _issued,
    ForecastRefused: _refused,
    TrainingEvent: _training,
    ModelReleased: _release,
}
