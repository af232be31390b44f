"""What is sent to webhooks: the section `webhooks` of the document."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from gateway.answers import Answer
from gateway.events import TYPES
from gateway.openapi.examples import forecast
from gateway.openapi.operation import JsonObject
from schemas.forecasts import ForecastIssued, ForecastRefused
from schemas.trainings import TrainingEvent


class EventDocument(Answer, frozen=True, kw_only=True):
    """What is sent to a webhook, and told by the stream of events."""

    type: str
    timestamp: datetime
    #: The record; of a model, without its artefact, leaderboard and folds.
    data: dict[str, Any]


class ForecastIssuedEvent(EventDocument, frozen=True, kw_only=True):
    """A forecast was issued."""

    data: ForecastIssued  # type: ignore[assignment]


class ForecastRefusedEvent(EventDocument, frozen=True, kw_only=True):
    """A forecast was refused."""

    data: ForecastRefused  # type: ignore[assignment]


class TrainingEndedEvent(EventDocument, frozen=True, kw_only=True):
    """A training has ended."""

    data: TrainingEvent  # type: ignore[assignment]


_DATA = {
    **dict.fromkeys(TYPES, EventDocument),
    "forecast.issued": ForecastIssuedEvent,
    "forecast.refused": ForecastRefusedEvent,
    **dict.fromkeys((kind for kind in TYPES if kind.startswith("training.")), TrainingEndedEvent),
}
EVENT_TYPES = (EventDocument, ForecastIssuedEvent, ForecastRefusedEvent, TrainingEndedEvent)
_SIGNED = (
    ("webhook-id", "The delivery: the same in every attempt, and when it is replayed."),
    ("webhook-timestamp", "Seconds since the epoch of this attempt."),
    ("webhook-signature", "`v1,` and base64 of HMAC-SHA256 over id, timestamp and body with dots between."),
)


def webhooks() -> JsonObject:
    """Return the section ``webhooks`` of the document: what a receiver is sent, by type of event."""
    headers = [
        {"name": name, "in": "header", "required": True, "description": told, "schema": {"type": "string"}}
        for name, told in _SIGNED
    ]
    section: JsonObject = {}
    for kind, type_ in _DATA.items():
        schema = {"$ref": f"#/components/schemas/{type_.__name__}"}
        content: JsonObject = {"schema": schema}
        if kind == "forecast.issued":
            content["example"] = {"type": kind, "timestamp": "2025-01-02T21:30:04Z", "data": forecast()}
        section[kind] = {
            "post": {
                "operationId": "".join(part.capitalize() for part in kind.split(".")),
                "tags": ["webhooks"],
                "summary": f"`{kind}`",
                "security": [],
                "parameters": headers,
                "requestBody": {"required": True, "content": {"application/json": content}},
                "responses": {
                    "2XX": {"description": "Taken."},
                    "410": {"description": "Nothing more is wanted: the webhook is disabled."},
                },
            }
        }
    return section
