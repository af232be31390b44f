"""The audit log: who changed what, filtered."""

from __future__ import annotations

from flask import Blueprint, Response, request
from sqlalchemy import select

from gateway import parameters
from gateway.access import Permission
from gateway.accounts.tables import AUDIT
from gateway.admin.pages import LIMIT, Cell, Choice, Table, after, given, listed, when_us
from gateway.guard import needs
from gateway.service import GatewayService

_FILTERS = {
    "actor": "Who (user/ID, key/ID)",
    "action": "What, such as key.created",
    "subject": "Of what",
    "organisation_id": "Id of the organisation",
}


def add(routes: Blueprint, service: GatewayService) -> None:
    """Add the page of the audit log."""

    @routes.get("/audit")
    @needs(Permission.OPERATE)
    def audit_log() -> Response:
        return _list(service)


def _list(service: GatewayService) -> Response:
    before = parameters.integer("before", default=2**62, minimum=1, maximum=2**62)
    query = select(AUDIT).where(AUDIT.c.sequence < before).order_by(AUDIT.c.sequence.desc()).limit(LIMIT + 1)
    for name in _FILTERS:
        if (wanted := given(name)) is not None:
            # `user.` has everything about users.
            begins = name == "action" and wanted.endswith(".")
            column = AUDIT.c[name]
            query = query.where(column.startswith(wanted, autoescape=True) if begins else column == wanted)
    with service.accounts.read() as connection:
        rows = connection.execute(query).mappings().all()
    lines = [
        (
            when_us(row["time_us"]),
            Cell(row["actor"] or "this machine"),
            Cell(row["action"]),
            Cell(row["subject"]),
            Cell(row["details"], look="code"),
            Cell(row["x_request_id"], look="code"),
        )
        for row in rows[:LIMIT]
    ]
    return listed(
        "Audit log",
        Table(("Time (UTC)", "Who", "What", "Of what", "Details", "Request"), lines, "No change is found."),
        filters=[Choice(name, label, value=request.args.get(name, "")) for name, label in _FILTERS.items()],
        following=after(before=rows[LIMIT - 1]["sequence"]) if len(rows) > LIMIT else None,
    )
