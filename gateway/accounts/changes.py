"""Changes that are made in the log or on the shelf, in the audit log."""

from __future__ import annotations

from typing import Any

from gateway.accounts.audit import audit
from gateway.accounts.database import AccountsDatabase


def note_change(
    accounts: AccountsDatabase, action: str, subject: str, *, organisation_id: str | None = None, **details: Any
) -> None:
    """Note a change just before it is made elsewhere.

    No transaction holds both, so the row comes first: there is no change without a row. Where the change then fails,
    the caller is told so with 5xx, and it may stand in the log all the same.

    Args:
        accounts: Where the audit log stands.
        action: Such as `model.deployed`.
        subject: The id of what is changed.
        organisation_id: Whose admins may read it; ``None``: the organisation of the caller.
        **details: What changes, as JSON has it; never a secret.
    """
    with accounts.write() as connection:
        audit(connection, action, subject, organisation_id=organisation_id, **details)
