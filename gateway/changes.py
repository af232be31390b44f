"""Changes that are made in the log, on the shelf or by a queue, in the audit log."""

from __future__ import annotations

from typing import Any

from gateway.access import project_of
from gateway.accounts.audit import audit
from gateway.service import GatewayService


def note_change(service: GatewayService, action: str, subject: str, *, of: str | None = None, **details: Any) -> None:
    """Note a change just before it is made elsewhere.

    No transaction holds both, so the row comes first: there is no change without a row. Where the change then fails,
    the caller is told so with 5xx, and it may stand in the log all the same.

    Args:
        service: Has the audit log.
        action: Such as `model.deployed`.
        subject: The id of what is changed.
        of: A series, model or project: admins of the organisation that has it may read the row; ``None``: operators.
        **details: What changes, as JSON has it; never a secret.
    """
    organisation_id = "" if of is None else service.projects.organisation_of(project_of(of)) or ""
    with service.accounts.write() as connection:
        audit(connection, action, subject, organisation_id=organisation_id, **details)
