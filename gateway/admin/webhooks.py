"""Webhooks that fail: what could not be delivered, and trying it again; never their secrets."""

from __future__ import annotations

from flask import Blueprint, Response, url_for
from sqlalchemy import select

from gateway.access import Permission
from gateway.accounts.tables import DELIVERIES, WEBHOOKS
from gateway.admin.pages import (
    LIMIT,
    Cell,
    ConfirmForm,
    Table,
    after,
    asked,
    done,
    given,
    listed,
    when_us,
)
from gateway.changes import note_change
from gateway.guard import needs
from gateway.problems import not_found
from gateway.service import GatewayService
from gateway.webhooks.deliveries import FAILED


def add(routes: Blueprint, service: GatewayService) -> None:
    """Add the pages of webhooks."""

    @routes.get("/webhooks")
    @needs(Permission.OPERATE)
    def webhooks() -> Response:
        return _list(service)

    @routes.route("/webhooks/deliveries/<delivery_id>/replay", methods=["GET", "POST"])
    @needs(Permission.OPERATE)
    def replay_delivery(delivery_id: str) -> Response:
        return _replay(service, delivery_id)


_FAILED = (
    select(
        DELIVERIES.c.delivery_id,
        DELIVERIES.c.webhook_id,
        DELIVERIES.c.event,
        DELIVERIES.c.attempts,
        DELIVERIES.c.created_us,
        DELIVERIES.c.last_status,
        DELIVERIES.c.last_error,
        WEBHOOKS.c.project_id,
        WEBHOOKS.c.url,
        WEBHOOKS.c.is_enabled,
        WEBHOOKS.c.disabled_reason,
    )
    .join(WEBHOOKS, WEBHOOKS.c.webhook_id == DELIVERIES.c.webhook_id)
    .where(DELIVERIES.c.state == FAILED)
)


def _list(service: GatewayService) -> Response:
    query = _FAILED.order_by(DELIVERIES.c.delivery_id).limit(LIMIT + 1)
    if (behind := given("after")) is not None:
        query = query.where(DELIVERIES.c.delivery_id > behind)
    with service.accounts.read() as connection:
        rows = connection.execute(query).all()
    lines = [
        (
            Cell(row.project_id, look="code"),
            Cell(row.url),
            Cell(row.event),
            Cell(row.attempts),
            Cell(row.last_error if row.last_status is None else f"{row.last_status} {row.last_error}"),
            when_us(row.created_us),
            Cell("Try again", url_for("admin.replay_delivery", delivery_id=row.delivery_id))
            if row.is_enabled
            else Cell(f"disabled: {row.disabled_reason}", look="warn"),
        )
        for row in rows[:LIMIT]
    ]
    columns = ("Project", "Address", "Event", "Attempts", "Last answer", "Made (UTC)", "")
    return listed(
        "Failed deliveries of webhooks",
        Table(columns, lines, "Every webhook was told what it was to be told."),
        following=after(after=rows[LIMIT - 1].delivery_id) if len(rows) > LIMIT else None,
    )


def _replay(service: GatewayService, delivery_id: str) -> Response:
    form, back = ConfirmForm(), url_for("admin.webhooks")
    with service.accounts.read() as connection:
        row = connection.execute(_FAILED.where(DELIVERIES.c.delivery_id == delivery_id)).first()
    if row is None or not row.is_enabled:
        raise not_found("delivery", delivery_id[:100], "the list has those that failed and can be tried again")
    if not form.validate_on_submit():
        text = f"{row.event} is sent to {row.url} again, with the same id."
        return asked(form, title="Try the delivery again?", text=text, button="Try again", back=back)
    note_change(service, "delivery.replayed", delivery_id, of=row.project_id, webhook_id=row.webhook_id)
    service.webhooks.deliveries.replay(row.webhook_id, delivery_id=delivery_id)
    service.webhooks.wake()
    return done("The delivery is tried again.", back)
