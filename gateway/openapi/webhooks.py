"""The operations on webhooks."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from gateway.answers import Answer, Count
from gateway.openapi.operation import JsonObject, Operation, Sent, json_answer
from gateway.openapi.problem_kinds import QUERY
from gateway.routes.webhooks import TEST_EVENT, EventType, WebhookBody, WebhookChange


class Webhook(Answer, frozen=True, kw_only=True):
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


class WebhookList(Answer, frozen=True, kw_only=True):
    """The webhooks of a project, the oldest first."""

    webhooks: tuple[Webhook, ...]


class WebhookDelivery(Answer, frozen=True, kw_only=True):
    """What a webhook was, or is to be, told; the id is the header `webhook-id`."""

    delivery_id: str
    webhook_id: str
    event: str
    state: Literal["waiting", "delivered", "failed"]
    attempts: Count
    last_status: int | None
    last_error: str
    created: datetime | None
    #: When it is tried next.
    due: datetime | None
    delivered: datetime | None


class DeliveryList(Answer, frozen=True, kw_only=True):
    """Deliveries, the newest first."""

    deliveries: tuple[WebhookDelivery, ...]
    #: Path of the next page; null on the last one.
    next: str | None


class Replayed(Answer, frozen=True, kw_only=True):
    """How many deliveries begin anew."""

    replayed: Count


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
_PATH = "/api/v1/projects/{project_id}/webhooks"


def _operation(method: str, path: str, name: str, summary: str, **more: Any) -> Operation:
    missing = _NO_PROJECT if path == "" else _NO_WEBHOOK
    problems = {404: missing, **more.pop("problems", {})}
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
        problems={
            409: ("too-many-webhooks",),
        },
    ),
    _operation(
        "get",
        "",
        "listWebhooks",
        "The webhooks of a project",
        description="Without their secrets; one that has failed for days says since when, and why it was disabled.",
        answers={200: json_answer("The webhooks.", WebhookList, {"webhooks": [WEBHOOK]})},
        problems=QUERY,
    ),
    _operation(
        "get",
        "/{webhook_id}",
        "getWebhook",
        "One webhook of a project",
        description="Where its events go, which they are, and whether it is enabled.",
        answers={200: json_answer("The webhook.", Webhook, WEBHOOK)},
    ),
    _operation(
        "patch",
        "/{webhook_id}",
        "changeWebhook",
        "Change a webhook: its URL or events, off or on",
        description=(
            "What is left out stays. `is_enabled: false` sends nothing more, and what waits has failed; `true` enables "
            "it again, also after it was disabled for its failures."
        ),
        body=WebhookChange,
        examples={"on": {"is_enabled": True}},
        answers={200: json_answer("Changed.", Webhook, WEBHOOK)},
    ),
    _operation(
        "delete",
        "/{webhook_id}",
        "deleteWebhook",
        "Remove a webhook with its deliveries",
        description="Nothing more is sent, also of what waits.",
        answers={204: Sent(description="Removed.", media_type="")},
    ),
    _operation(
        "post",
        "/{webhook_id}/secret",
        "rotateWebhookSecret",
        "Give a webhook a new secret; the old one signs beside it for a day",
        description=(
            "The secret is shown this once. For a day each event carries two signatures, so that a receiver can change "
            "over."
        ),
        answers={200: json_answer("Rotated.", WebhookWithSecret, _WITH_SECRET)},
    ),
    _operation(
        "post",
        "/{webhook_id}/test",
        "testWebhook",
        f"Send a webhook an event of the type `{TEST_EVENT}`",
        description=(
            "The event says nothing but the id of the webhook. `GET …/deliveries` tells what the receiver answered."
        ),
        answers=_QUEUED,
        problems=_DISABLED,
    ),
    _operation(
        "get",
        "/{webhook_id}/deliveries",
        "listDeliveries",
        "What a webhook was told, the newest first",
        description="Each with how often it was tried, what the receiver answered and when it is tried next.",
        parameters=("delivery_state", "limit", "delivery_cursor"),
        answers={200: json_answer("A page of them.", DeliveryList, {"deliveries": [DELIVERY], "next": None})},
        problems=QUERY,
    ),
    _operation(
        "post",
        "/{webhook_id}/deliveries/{delivery_id}/replay",
        "replayDelivery",
        "Send a delivery again, under its id",
        description=(
            "Its attempts begin anew, whether it had failed or was delivered; the receiver knows it by its "
            "`webhook-id`."
        ),
        parameters=("delivery_id",),
        answers=_QUEUED,
        problems={404: (*_NO_WEBHOOK, "unknown-delivery"), **_DISABLED},
    ),
    _operation(
        "post",
        "/{webhook_id}/replay",
        "replayFailedDeliveries",
        "Send again what a webhook missed",
        description="Those that failed since a time, or all: their attempts begin anew, under their ids.",
        parameters=("since",),
        answers={202: json_answer("On their way.", Replayed, {"replayed": 12})},
        problems={**QUERY, **_DISABLED},
    ),
)
