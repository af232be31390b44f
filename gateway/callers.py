"""What routes about accounts ask of whoever calls."""

from __future__ import annotations

from sqlalchemy import select

from gateway.access import Permission, forbidden
from gateway.accounts.tables import ORGANISATIONS
from gateway.guard import principal
from gateway.problems import FieldFault, Problem, not_found
from gateway.service import GatewayService


def require_person() -> str:
    """Return the id of the user who calls.

    Raises:
        Problem: 403 for an API key: one that leaked must not be able to make further ways in; and for the one user of a
            machine of one's own, who is nobody there.
    """
    caller = principal()
    if not caller.user_id or caller.name.startswith("key/"):
        raise Problem(
            403,
            "person-needed",
            "this needs somebody who has signed in, not an API key; `foretopic admin create-key` makes keys too",
            errors=[FieldFault(field="Authorization", expected="an access token", found="something else")],
        )
    return caller.user_id


def require_no_key() -> None:
    """Let through everybody but API keys.

    Raises:
        Problem: 403, as in `require_person`.
    """
    if principal().name.startswith("key/"):
        require_person()


def unknown_organisation(organisation_id: str) -> Problem:
    """Return the answer for an organisation that does not exist, or not for the caller."""
    return not_found("organisation", organisation_id[:100], "GET /api/v1/organisations lists yours")


def require_organisation(service: GatewayService, permission: Permission, organisation_id: str) -> None:
    """Let through who may do this to an organisation.

    Raises:
        Problem: 404 where it does not exist or the caller is no member, 403 for a role that is too low.
    """
    caller = principal()
    held = caller.in_organisation(organisation_id)
    if Permission.READ not in held and permission not in held:
        raise unknown_organisation(organisation_id)
    if caller.is_operator:
        query = select(ORGANISATIONS.c.organisation_id).where(ORGANISATIONS.c.organisation_id == organisation_id)
        with service.accounts.read() as connection:
            if connection.execute(query).first() is None:
                raise unknown_organisation(organisation_id)
    # A key of one project has no say over the organisation that it belongs to.
    if permission not in held or caller.project_ids is not None:
        raise forbidden(permission, f"in the organisation {organisation_id}")
