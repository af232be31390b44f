"""The audit log: one row for every change that a person or a key made, written together with the change."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import current_app, g, has_request_context
from sqlalchemy import Connection, insert

from gateway.access import Principal
from gateway.accounts.tables import AUDIT
from gateway.rows import microseconds
from runtime.clock import SystemClock

#: Who changes something from a shell of the machine.
COMMAND_LINE = "command-line"
_LONGEST_SUBJECT = 400


def audit(
    connection: Connection,
    action: str,
    subject: str,
    *,
    organisation_id: str | None = None,
    actor: str | None = None,
    **details: Any,
) -> None:
    """Note a change in the transaction that makes it: both are kept, or neither.

    Args:
        connection: The transaction of the change.
        action: Such as ``key.created``.
        subject: The id of what was changed.
        organisation_id: Whose admins may read it; ``None``: the organisation of the caller.
        actor: ``None``: who sends the current request; outside of one, the command line.
        **details: What changed, as JSON has it. Never a secret: everything given here can be read later.
    """
    principal: Principal | None = g.get("principal") if has_request_context() else None
    if principal is None:
        caller, caller_organisation, x_request_id = COMMAND_LINE, "", ""
        clock = SystemClock()
    else:
        caller, caller_organisation = principal.name, principal.organisation_id
        x_request_id = g.get("x_request_id", "")
        clock = current_app.extensions["foretopic"].clock
    connection.execute(
        insert(AUDIT),
        {
            "time_us": microseconds(clock.now()),
            "organisation_id": caller_organisation if organisation_id is None else organisation_id,
            "actor": caller if actor is None else actor,
            "action": action,
            "subject": subject[:_LONGEST_SUBJECT],
            "details": msgspec.json.encode(details).decode(),
            "x_request_id": x_request_id,
        },
    )
