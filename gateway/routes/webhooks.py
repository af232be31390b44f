"""Webhooks of a project: made, changed, tested, and what they were told."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal, get_args

import msgspec
from flask import Blueprint, Response, request, url_for
from msgspec import UNSET, Meta, UnsetType

from gateway import parameters, tenancy
from gateway.access import Permission, project_of
from gateway.answers import json_of
from gateway.bodies import Body, invalid, read_body
from gateway.changes import note_change
from gateway.events import TYPES
from gateway.guard import needs, principal
from gateway.headers import new_id
from gateway.observed import received_at
from gateway.problems import FieldFault, Problem, not_found
from gateway.service import GatewayService
from gateway.webhooks.deliveries import STATES, Delivery, delivery_id_of
from gateway.webhooks.rows import Webhook
from gateway.webhooks.targets import BadTarget
from schemas.record import ModelName, SeriesId

#: The event that `POST .../test` sends.
TEST_EVENT = "webhook.test"
_CURSOR = re.compile(r"([0-9]{1,18})\.(msg_[0-9a-f]{32})")
EventType = Literal[
    "forecast.issued",
    "forecast.refused",
    "training.succeeded",
    "training.failed",
    "training.cancelled",
    "model.released",
]
assert get_args(EventType) == TYPES  # the types of records that are told, and no other
Events = Annotated[tuple[EventType, ...], Meta(min_length=1, max_length=len(TYPES))]
Url = Annotated[str, Meta(max_length=2000)]


class WebhookBody(Body, frozen=True, kw_only=True):
    """Where events of the project are sent, and which."""

    #: Of a public host, with https.
    url: Url
    events: Events
    #: Only of this series of the project.
    series_id: SeriesId | None = None
    #: Only of this model of the project.
    model: ModelName | None = None


class WebhookChange(Body, frozen=True, kw_only=True):
    """What becomes otherwise; what is left out stays."""

    url: Url | UnsetType = UNSET
    events: Events | UnsetType = UNSET
    is_enabled: bool | UnsetType = UNSET


_BODY = msgspec.json.Decoder(WebhookBody)
_CHANGE = msgspec.json.Decoder(WebhookChange)
_PATH = "/api/v1/projects/<project_id>/webhooks"


def blueprint(service: GatewayService) -> Blueprint:
    """Return the routes below ``/api/v1/projects/{project_id}/webhooks``."""
    routes = Blueprint("webhooks", __name__, url_prefix=_PATH)
    desk = WebhookDesk(service)
    for rule, method, view in (
        ("", "POST", desk.create),
        ("", "GET", desk.every),
        ("/<webhook_id>", "GET", desk.get),
        ("/<webhook_id>", "PATCH", desk.change),
        ("/<webhook_id>", "DELETE", desk.delete),
        ("/<webhook_id>/secret", "POST", desk.rotate),
        ("/<webhook_id>/test", "POST", desk.test),
        ("/<webhook_id>/deliveries", "GET", desk.deliveries),
        ("/<webhook_id>/deliveries/<delivery_id>/replay", "POST", desk.replay),
        ("/<webhook_id>/replay", "POST", desk.replay_failed),
    ):
        # A bound method cannot be marked, so each is put behind a function of its own.
        routes.add_url_rule(
            rule, f"{method}-{view.__name__}", needs(Permission.MANAGE)(_unbound(view)), methods=[method]
        )
    return routes


def _unbound(method: Any) -> Any:
    def view(**path: str) -> Response:
        found: Response = method(**path)
        return found

    return view


class WebhookDesk:
    """Answers the routes; whoever may not manage the project does not learn of its webhooks."""

    def __init__(self, service: GatewayService) -> None:
        self._service = service
        self._webhooks = service.webhooks

    def create(self, project_id: str) -> Response:
        """Answer ``POST .../webhooks``: the only answer, but for a rotation, that has the secret."""
        owner = self._owner(project_id)
        body = read_body(_BODY)
        self._require_target(body.url)
        for field, named in (("series_id", body.series_id), ("model", body.model)):
            if named is not None and project_of(named) != project_id:
                expected = f"a name in the project {project_id}"
                fault = FieldFault(field=field, expected=expected, found=named)
                raise invalid(f"{field} must be {expected}, was {named}", [fault])
        limit = self._service.settings.max_webhooks_a_project
        made = self._webhooks.rows.create(
            project_id,
            url=body.url,
            events=tuple(dict.fromkeys(body.events)),
            series_id=body.series_id,
            model=body.model,
            created_by=principal().user_id,
            organisation_id=owner,
            limit=limit,
        )
        if made is None:
            raise Problem(409, "too-many-webhooks", f"a project may have at most {limit} webhooks; delete one first")
        webhook, secret = made
        self._webhooks.wake()
        location = url_for("webhooks.GET-get", project_id=project_id, webhook_id=webhook.webhook_id)
        return json_of({**document(webhook), "secret": secret}, 201, {"Location": location})

    def every(self, project_id: str) -> Response:
        """Answer ``GET .../webhooks``."""
        self._owner(project_id)
        parameters.require_known(())
        return json_of({"webhooks": [document(one) for one in self._webhooks.rows.of_project(project_id)]})

    def get(self, project_id: str, webhook_id: str) -> Response:
        """Answer ``GET .../webhooks/{webhook_id}``."""
        return json_of(document(self._webhook(project_id, webhook_id)))

    def change(self, project_id: str, webhook_id: str) -> Response:
        """Answer ``PATCH .../webhooks/{webhook_id}``."""
        owner = self._owner(project_id)
        self._webhook(project_id, webhook_id)
        body = read_body(_CHANGE)
        if not isinstance(body.url, UnsetType):
            self._require_target(body.url)
        changes = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not UNSET}
        if changes.get("is_enabled") is False:
            self._webhooks.deliveries.disable(webhook_id, "switched off")
        if changes:
            self._webhooks.rows.change(webhook_id, owner, **changes)
        self._webhooks.wake()
        return json_of(document(self._webhook(project_id, webhook_id)))

    def delete(self, project_id: str, webhook_id: str) -> Response:
        """Answer ``DELETE .../webhooks/{webhook_id}``."""
        owner = self._owner(project_id)
        self._webhook(project_id, webhook_id)
        self._webhooks.rows.delete(webhook_id, owner)
        return Response(status=204)

    def rotate(self, project_id: str, webhook_id: str) -> Response:
        """Answer ``POST .../webhooks/{webhook_id}/secret``."""
        owner = self._owner(project_id)
        webhook = self._webhook(project_id, webhook_id)
        return json_of({**document(webhook), "secret": self._webhooks.rows.rotate(webhook_id, owner)})

    def test(self, project_id: str, webhook_id: str) -> Response:
        """Answer ``POST .../webhooks/{webhook_id}/test``."""
        webhook = self._enabled(project_id, webhook_id)
        event_id = new_id()
        shown = {"type": TEST_EVENT, "timestamp": self._service.clock.now(), "data": {"webhook_id": webhook_id}}
        note_change(self._service, "webhook.tested", webhook_id, of=project_id)
        self._webhooks.deliveries.enqueue([(webhook, event_id, TEST_EVENT, msgspec.json.encode(shown))])
        self._webhooks.wake()
        return self._queued(webhook_id, delivery_id_of(webhook_id, event_id))

    def deliveries(self, project_id: str, webhook_id: str) -> Response:
        """Answer ``GET .../webhooks/{webhook_id}/deliveries``."""
        self._webhook(project_id, webhook_id)
        parameters.require_known(("state", "limit", "cursor"))
        limit = parameters.integer("limit", default=50, minimum=1, maximum=1000)
        state = parameters.choice("state", ("any", *STATES))
        cursor = request.args.get("cursor")
        found = None if cursor is None else _CURSOR.fullmatch(cursor)
        if cursor is not None and found is None:
            raise parameters.invalid("cursor", "as it stands in the path of a next page", cursor[:100])
        before = None if found is None else (int(found[1]), found[2])
        lines = self._webhooks.deliveries.page(
            webhook_id, state=None if state == "any" else state, before=before, limit=limit
        )
        following = None
        if len(lines) == limit:
            last = f"{lines[-1].created_us}.{lines[-1].delivery_id}"
            following = f"{request.path}?state={state}&limit={limit}&cursor={last}"
        return json_of({"deliveries": [delivery_document(line) for line in lines], "next": following})

    def replay(self, project_id: str, webhook_id: str, delivery_id: str) -> Response:
        """Answer ``POST .../deliveries/{delivery_id}/replay``."""
        self._enabled(project_id, webhook_id)
        if self._webhooks.deliveries.get(webhook_id, delivery_id) is None:
            raise not_found("delivery", delivery_id, "GET …/deliveries lists them")
        note_change(self._service, "delivery.replayed", delivery_id, of=project_id, webhook_id=webhook_id)
        self._webhooks.deliveries.replay(webhook_id, delivery_id=delivery_id)
        self._webhooks.wake()
        return self._queued(webhook_id, delivery_id)

    def replay_failed(self, project_id: str, webhook_id: str) -> Response:
        """Answer ``POST .../webhooks/{webhook_id}/replay``."""
        self._enabled(project_id, webhook_id)
        parameters.require_known(("since",))
        since = parameters.time("since")
        since_us = 0 if since is None else int(since.timestamp() * 1_000_000)
        note_change(self._service, "webhook.replayed", webhook_id, of=project_id, since=request.args.get("since"))
        count = self._webhooks.deliveries.replay(webhook_id, since_us=since_us)
        self._webhooks.wake()
        return json_of({"replayed": count}, 202)

    def _queued(self, webhook_id: str, delivery_id: str) -> Response:
        found = self._webhooks.deliveries.get(webhook_id, delivery_id)
        if found is None:
            raise not_found("delivery", delivery_id, "GET …/deliveries lists them")
        return json_of(delivery_document(found), 202)

    def _owner(self, project_id: str) -> str:
        """Return the organisation of a project that the caller manages.

        Raises:
            Problem: 404 for a project that is not the caller's, 403 for a role that is too low.
        """
        missing = not_found("project", project_id, "GET /api/v1/projects lists them")
        tenancy.require(self._service, Permission.MANAGE, project_id, missing)
        return self._service.projects.organisation_of(project_id) or ""

    def _webhook(self, project_id: str, webhook_id: str) -> Webhook:
        self._owner(project_id)
        found = self._webhooks.rows.get(project_id, webhook_id)
        if found is None:
            raise not_found("webhook", webhook_id, "GET …/webhooks lists them")
        return found

    def _enabled(self, project_id: str, webhook_id: str) -> Webhook:
        webhook = self._webhook(project_id, webhook_id)
        if not webhook.is_enabled:
            raise Problem(409, "webhook-disabled", f"an enabled webhook was expected; {webhook.disabled_reason}")
        return webhook

    def _require_target(self, url: str) -> None:
        try:
            self._webhooks.rules.require(url)
        except BadTarget as error:
            fault = FieldFault(field="url", expected=str(error), found=url[:200])
            raise invalid(f"url: {error}", [fault]) from error


def document(webhook: Webhook) -> dict[str, Any]:
    """Return a webhook as it is shown: never with its secret."""
    shown = msgspec.structs.asdict(webhook)
    failing_since, created = shown.pop("failing_since_us"), shown.pop("created_us")
    return {**shown, "failing_since": _time(failing_since), "created": _time(created)}


def delivery_document(delivery: Delivery) -> dict[str, Any]:
    """Return a delivery as it is shown."""
    shown = msgspec.structs.asdict(delivery)
    times = {name: _time(shown.pop(f"{name}_us")) for name in ("created", "due", "delivered")}
    return {**shown, **times}


def _time(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else received_at(microseconds)
