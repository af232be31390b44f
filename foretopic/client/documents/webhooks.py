"""Webhooks and what they were told."""

from __future__ import annotations

from datetime import datetime

from foretopic.client.documents.document import Document


class Webhook(Document, frozen=True, kw_only=True):
    """Where events of a project are sent, and which."""

    webhook_id: str
    project_id: str
    url: str
    events: tuple[str, ...]
    series_id: str | None = None
    model: str | None = None
    is_enabled: bool
    disabled_reason: str
    failing_since: datetime | None = None
    created: datetime | None = None


class WebhookList(Document, frozen=True, kw_only=True):
    """The webhooks of a project, the oldest first."""

    webhooks: tuple[Webhook, ...]


class WebhookWithSecret(Webhook, frozen=True, kw_only=True):
    """A webhook with the secret that signs; it is shown this once."""

    secret: str


class WebhookDelivery(Document, frozen=True, kw_only=True):
    """What a webhook was, or is to be, told; the id is the header `webhook-id`."""

    delivery_id: str
    webhook_id: str
    event: str
    state: str
    attempts: int
    last_status: int | None = None
    last_error: str
    created: datetime | None = None
    due: datetime | None = None
    delivered: datetime | None = None


class DeliveryList(Document, frozen=True, kw_only=True):
    """Deliveries, the newest first."""

    deliveries: tuple[WebhookDelivery, ...]
    next: str | None = None


class Replayed(Document, frozen=True, kw_only=True):
    """How many deliveries begin anew."""

    replayed: int
