"""The operations on webhooks, and what is sent to them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from gateway import openapi_answers as answers
from gateway import openapi_examples as examples
from gateway.events import TYPES
from gateway.openapi_parts import JsonObject, Operation, Sent
from gateway.openapi_shared import QUERY, json_answer
from gateway.routes.webhooks import TEST_EVENT, EventType, WebhookBody, WebhookChange
from schemas.forecasts import ForecastIssued, ForecastRefused
from schemas.trainings import TrainingEvent


class Webhook(answers.Answer, frozen=True, kw_only=True):
    """Where events of a project are sent, and which."""

    webhook_id: str
    project_id: str
    url: str
    events: tuple[EventType, ...]
    series_id: str | None
    model: str | None
    is_enabled: bool
    #: Why it was disabled; empty while it is enabled.
    disabled_reason: str
    #: Since when every attempt has failed; null after one that did not.
    failing_since: datetime | None
    created: datetime | None


class WebhookWithSecret(Webhook, frozen=True, kw_only=True):
    """A webhook with the secret that signs; it is shown this once."""

    secret: str


class WebhookList(answers.Answer, frozen=True, kw_only=True):
    """The webhooks of a project, the oldest first."""

    webhooks: tuple[Webhook, ...]


class WebhookDelivery(answers.Answer, frozen=True, kw_only=True):
    """What a webhook was, or is to be, told; the id is the header `webhook-id`."""

    delivery_id: str
    webhook_id: str
    event: str
    state: Literal["waiting", "delivered", "failed"]
    attempts: answers.Count
    last_status: int | None
    last_error: str
    created: datetime | None
    #: When it is tried next.
    due: datetime | None
    delivered: datetime | None


class DeliveryList(answers.Answer, frozen=True, kw_only=True):
    """Deliveries, the newest first."""

    deliveries: tuple[WebhookDelivery, ...]
    #: Path of the next page; null on the last one.
    next: str | None


class Replayed(answers.Answer, frozen=True, kw_only=True):
    """How many deliveries begin anew."""

    replayed: answers.Count


class EventDocument(answers.Answer, frozen=True, kw_only=True):
    """What is sent to a webhook, and told by the stream of events."""

    type: str
    timestamp: datetime
    #: The record; of a model, without its artefact.
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


BODY: JsonObject = {"url": "https://hooks.example.com/forecasts", "events": ["forecast.issued", "training.failed"]}
WEBHOOK: JsonObject = {
    "webhook_id": "wh_5f2b1c9e0d7a46338b1f0a9c",
    "project_id": "shops-k3m9wz",
    **BODY,
    "series_id": None,
    "model": None,
    "is_enabled": True,
    "disabled_reason": "",
    "failing_since": None,
    "created": "2025-01-02T21:30:04Z",
}
_WITH_SECRET = {**WEBHOOK, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
DELIVERY: JsonObject = {
    "delivery_id": "msg_8d1f0c7e5b2a4936a0c1d2e3f4a5b6c7",
    "webhook_id": WEBHOOK["webhook_id"],
    "event": "forecast.issued",
    "state": "waiting",
    "attempts": 1,
    "last_status": 503,
    "last_error": "the receiver answered with HTTP status 503",
    "created": "2025-01-02T21:30:04Z",
    "due": "2025-01-02T21:30:09Z",
    "delivered": None,
}
_OF_PROJECT, _ONE = ("project_id",), ("project_id", "webhook_id")
_NO_PROJECT, _NO_WEBHOOK = ("unknown-project",), ("unknown-project", "unknown-webhook")
_BODY = {400: ("empty-body", "malformed-json"), 413: ("body-too-large",), 415: ("unsupported-media-type",)}
_503 = ("broker-unavailable",)
_PATH = "/api/v1/projects/{project_id}/webhooks"


def _operation(method: str, path: str, name: str, summary: str, **more: Any) -> Operation:
    missing = _NO_PROJECT if path == "" else _NO_WEBHOOK
    problems = {404: missing, 503: _503, **more.pop("problems", {})}
    parameters = (_OF_PROJECT if path == "" else _ONE) + more.pop("parameters", ())
    return Operation(
        method=method,
        path=_PATH + path,
        id=name,
        tag="webhooks",
        summary=summary,
        parameters=parameters,
        problems=problems,
        **more,
    )


_QUEUED = {202: json_answer("It is on its way.", WebhookDelivery, DELIVERY)}
_DISABLED = {409: ("webhook-disabled",)}
WEBHOOKS = (
    _operation(
        "post",
        "",
        "createWebhook",
        "Have events of the project sent to a URL",
        description=(
            "Signed as Standard Webhooks says, with the secret that only this answer has. An attempt that is not "
            "answered with 2xx is repeated for more than a day, always with the same `webhook-id`; delivery is at "
            "least once and in no promised order."
        ),
        body=WebhookBody,
        examples={"forecasts": BODY},
        answers={201: json_answer("Made.", WebhookWithSecret, _WITH_SECRET, "Location")},
        problems={**_BODY, 409: ("too-many-webhooks",), 422: ("invalid-body",)},
    ),
    _operation(
        "get",
        "",
        "listWebhooks",
        "The webhooks of a project",
        answers={200: json_answer("They.", WebhookList, {"webhooks": [WEBHOOK]})},
        problems=QUERY,
    ),
    _operation(
        "get", "/{webhook_id}", "getWebhook", "One of them", answers={200: json_answer("It.", Webhook, WEBHOOK)}
    ),
    _operation(
        "patch",
        "/{webhook_id}",
        "changeWebhook",
        "Change its URL or events, switch it off or on",
        body=WebhookChange,
        examples={"on": {"is_enabled": True}},
        answers={200: json_answer("Changed.", Webhook, WEBHOOK)},
        problems={**_BODY, 422: ("invalid-body",)},
    ),
    _operation(
        "delete",
        "/{webhook_id}",
        "deleteWebhook",
        "Remove it with its deliveries",
        answers={204: Sent(description="Removed.", media_type="")},
    ),
    _operation(
        "post",
        "/{webhook_id}/secret",
        "rotateWebhookSecret",
        "Get a new secret; the old one signs beside it for a day",
        answers={200: json_answer("Rotated.", WebhookWithSecret, _WITH_SECRET)},
    ),
    _operation(
        "post",
        "/{webhook_id}/test",
        "testWebhook",
        f"Send it an event of the type `{TEST_EVENT}`",
        answers=_QUEUED,
        problems=_DISABLED,
    ),
    _operation(
        "get",
        "/{webhook_id}/deliveries",
        "listDeliveries",
        "What it was told, the newest first",
        parameters=("delivery_state", "limit", "delivery_cursor"),
        answers={200: json_answer("A page of them.", DeliveryList, {"deliveries": [DELIVERY], "next": None})},
        problems=QUERY,
    ),
    _operation(
        "post",
        "/{webhook_id}/deliveries/{delivery_id}/replay",
        "replayDelivery",
        "Send one again, under its id",
        parameters=("delivery_id",),
        answers=_QUEUED,
        problems={404: (*_NO_WEBHOOK, "unknown-delivery"), **_DISABLED},
    ),
    _operation(
        "post",
        "/{webhook_id}/replay",
        "replayFailedDeliveries",
        "Send again what has failed",
        parameters=("since",),
        answers={202: json_answer("On their way.", Replayed, {"replayed": 12})},
        problems={**QUERY, **_DISABLED},
    ),
)
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


def described() -> JsonObject:
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
            content["example"] = {"type": kind, "timestamp": "2025-01-02T21:30:04Z", "data": examples.forecast()}
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
