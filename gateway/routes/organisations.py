"""Organisations, their members and invitations."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec
from flask import Blueprint, Response, request
from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from gateway import account_answers as answers
from gateway import parameters
from gateway.access import Permission, Role
from gateway.account_bodies import InvitationBody, OrganisationBody, RoleBody
from gateway.accounts.audit import audit
from gateway.accounts.database import new_row_id
from gateway.accounts.keys import hash_of, revoke_keys
from gateway.accounts.tables import INVITATIONS, MEMBERSHIPS, ORGANISATIONS, USERS
from gateway.accounts.users import add_organisation, plain_email
from gateway.answers import json_of
from gateway.bodies import read_body
from gateway.callers import require_no_key, require_organisation, require_person
from gateway.guard import needs, principal
from gateway.problems import FieldFault, Problem, not_found
from gateway.service import GatewayService

_ORGANISATION = msgspec.json.Decoder(OrganisationBody)
_ROLE = msgspec.json.Decoder(RoleBody)
_INVITATION = msgspec.json.Decoder(InvitationBody)
_DAY_US = 86_400_000_000


def blueprint(service: GatewayService) -> Blueprint:
    """Return the routes below ``/api/v1/organisations``."""
    routes = Blueprint("organisations", __name__, url_prefix="/api/v1/organisations")
    _add_organisations(routes, service)
    _add_members(routes, service)
    _add_invitations(routes, service)
    return routes


def _add_organisations(routes: Blueprint, service: GatewayService) -> None:
    @routes.get("")
    @needs(Permission.READ)
    def every() -> Response:
        parameters.require_known(())
        return json_of({"organisations": _organisations(service)})

    @routes.post("")
    @needs(Permission.READ)
    def create() -> Response:
        require_no_key()
        caller = principal()
        if service.settings.signup != "open" and not caller.is_operator:
            raise Problem(403, "operator-needed", "on this gateway operators make organisations; ask one")
        body = read_body(_ORGANISATION)
        with service.accounts.change() as connection:
            service.shares.require(connection, "organisations", caller.user_id)
            now = service.accounts.now_us()
            organisation_id = add_organisation(connection, body.name, now, admin=caller.user_id or None)
        role = Role.ADMIN if caller.user_id else None
        where = {"Location": f"/api/v1/organisations/{organisation_id}"}
        return json_of(_organisation(service, organisation_id, role), 201, where)

    @routes.get("/<organisation_id>")
    @needs(Permission.READ)
    def one(organisation_id: str) -> Response:
        parameters.require_known(())
        require_organisation(service, Permission.READ, organisation_id)
        return json_of(_organisation(service, organisation_id, principal().roles.get(organisation_id)))

    @routes.patch("/<organisation_id>")
    @needs(Permission.MANAGE)
    def rename(organisation_id: str) -> Response:
        require_organisation(service, Permission.MANAGE, organisation_id)
        require_no_key()
        body = read_body(_ORGANISATION)
        with service.accounts.change() as connection:
            same = ORGANISATIONS.c.organisation_id == organisation_id
            connection.execute(update(ORGANISATIONS).where(same).values(name=body.name))
            audit(connection, "organisation.renamed", organisation_id, organisation_id=organisation_id, name=body.name)
        return json_of(_organisation(service, organisation_id, principal().roles.get(organisation_id)))


def _add_members(routes: Blueprint, service: GatewayService) -> None:
    @routes.get("/<organisation_id>/members")
    @needs(Permission.READ)
    def members(organisation_id: str) -> Response:
        parameters.require_known(())
        require_organisation(service, Permission.READ, organisation_id)
        with service.accounts.read() as connection:
            return json_of({"members": _members(connection, organisation_id)})

    @routes.patch("/<organisation_id>/members/<user_id>")
    @needs(Permission.MANAGE)
    def change_role(organisation_id: str, user_id: str) -> Response:
        require_organisation(service, Permission.MANAGE, organisation_id)
        require_no_key()
        change_member(service, organisation_id, user_id, read_body(_ROLE).role)
        with service.accounts.read() as connection:
            return json_of(_members(connection, organisation_id, user_id)[0])

    @routes.delete("/<organisation_id>/members/<user_id>")
    @needs(Permission.READ)
    def remove(organisation_id: str, user_id: str) -> Response:
        # Everybody may leave; only those who manage send others away.
        is_own = bool(user_id) and user_id == principal().user_id
        require_organisation(service, Permission.READ if is_own else Permission.MANAGE, organisation_id)
        require_no_key()
        remove_member(service, organisation_id, user_id)
        return Response(status=204)


def change_member(service: GatewayService, organisation_id: str, user_id: str, role: Role) -> None:
    """Give a member another role.

    Raises:
        Problem: 404 no such member, 409 no admin would be left.
    """
    with service.accounts.change() as connection:
        before = _locked_member(connection, organisation_id, user_id)
        connection.execute(update(MEMBERSHIPS).where(_same(organisation_id, user_id)).values(role=role))
        _require_an_admin(connection, organisation_id)
        if role != Role.ADMIN:
            _withdraw_of(connection, organisation_id, user_id)
        told = {"before": before["role"], "role": role}
        audit(connection, "member.changed", user_id, organisation_id=organisation_id, **told)


def remove_member(service: GatewayService, organisation_id: str, user_id: str) -> None:
    """Take a member out of an organisation, with the keys that they made there and the invitations that are open.

    Raises:
        Problem: 404 no such member, 409 no admin would be left.
    """
    with service.accounts.change() as connection:
        _locked_member(connection, organisation_id, user_id)
        connection.execute(delete(MEMBERSHIPS).where(_same(organisation_id, user_id)))
        _require_an_admin(connection, organisation_id)
        now = service.accounts.now_us()
        revoke_keys(connection, now, organisation_id=organisation_id, created_by=user_id)
        _withdraw_of(connection, organisation_id, user_id)
        audit(connection, "member.removed", user_id, organisation_id=organisation_id)


def _add_invitations(routes: Blueprint, service: GatewayService) -> None:
    @routes.get("/<organisation_id>/invitations")
    @needs(Permission.MANAGE)
    def invitations(organisation_id: str) -> Response:
        parameters.require_known(())
        require_organisation(service, Permission.MANAGE, organisation_id)
        is_open = INVITATIONS.c.accepted_us.is_(None) & (INVITATIONS.c.expires_us > service.accounts.now_us())
        query = (
            select(INVITATIONS)
            .where(INVITATIONS.c.organisation_id == organisation_id, is_open)
            .order_by(INVITATIONS.c.created_us)
        )
        with service.accounts.read() as connection:
            rows = connection.execute(query).mappings().all()
        return json_of({"invitations": [answers.of_row(row, answers.Invitation) for row in rows]})

    @routes.post("/<organisation_id>/invitations")
    @needs(Permission.MANAGE)
    def invite(organisation_id: str) -> Response:
        require_organisation(service, Permission.MANAGE, organisation_id)
        return json_of(_invite(service, organisation_id, require_person()), 201)

    @routes.delete("/<organisation_id>/invitations/<invitation_id>")
    @needs(Permission.MANAGE)
    def withdraw(organisation_id: str, invitation_id: str) -> Response:
        require_organisation(service, Permission.MANAGE, organisation_id)
        require_no_key()
        table = INVITATIONS
        same = (table.c.invitation_id == invitation_id) & (table.c.organisation_id == organisation_id)
        with service.accounts.change() as connection:
            if connection.execute(delete(table).where(same, table.c.accepted_us.is_(None))).rowcount != 1:
                raise not_found("invitation", invitation_id[:100], "the list of invitations has those that are open")
            audit(connection, "invitation.withdrawn", invitation_id, organisation_id=organisation_id)
        return Response(status=204)


def _organisations(service: GatewayService) -> list[dict[str, Any]]:
    caller = principal()
    query = select(ORGANISATIONS).order_by(ORGANISATIONS.c.created_us, ORGANISATIONS.c.organisation_id)
    if not caller.is_operator:
        query = query.where(ORGANISATIONS.c.organisation_id.in_(list(caller.roles)))
    with service.accounts.read() as connection:
        rows = connection.execute(query).mappings().all()
    return [answers.of_row(row, answers.Organisation, role=caller.roles.get(row["organisation_id"])) for row in rows]


def _organisation(service: GatewayService, organisation_id: str, role: Role | None) -> dict[str, Any]:
    query = select(ORGANISATIONS).where(ORGANISATIONS.c.organisation_id == organisation_id)
    with service.accounts.read() as connection:
        return answers.of_row(connection.execute(query).mappings().one(), answers.Organisation, role=role)


def _members(connection: Connection, organisation_id: str, user_id: str | None = None) -> list[dict[str, Any]]:
    query = (
        select(USERS.c.user_id, USERS.c.email, USERS.c.name, MEMBERSHIPS.c.role, MEMBERSHIPS.c.created_us)
        .join(USERS, USERS.c.user_id == MEMBERSHIPS.c.user_id)
        .where(MEMBERSHIPS.c.organisation_id == organisation_id)
        .order_by(MEMBERSHIPS.c.created_us, USERS.c.user_id)
    )
    if user_id is not None:
        query = query.where(USERS.c.user_id == user_id)
    rows = connection.execute(query).mappings().all()
    return [answers.of_row(row, answers.Member, joined_at=answers.utc_of(row["created_us"])) for row in rows]


def _same(organisation_id: str, user_id: str) -> Any:
    return (MEMBERSHIPS.c.organisation_id == organisation_id) & (MEMBERSHIPS.c.user_id == user_id)


def _locked_member(connection: Connection, organisation_id: str, user_id: str) -> RowMapping:
    """Return a member, and let nobody else change the members of the organisation until the transaction ends."""
    organisation = ORGANISATIONS.c.organisation_id == organisation_id
    connection.execute(update(ORGANISATIONS).where(organisation).values(name=ORGANISATIONS.c.name))
    found = connection.execute(select(MEMBERSHIPS).where(_same(organisation_id, user_id))).mappings().first()
    if found is None:
        raise not_found("member", user_id[:100], f"GET /api/v1/organisations/{organisation_id}/members lists them")
    return found


def _withdraw_of(connection: Connection, organisation_id: str, user_id: str) -> None:
    """Withdraw what somebody invited to, who is no admin any more: it may be a way back for themselves."""
    theirs = (INVITATIONS.c.organisation_id == organisation_id) & (INVITATIONS.c.invited_by == user_id)
    connection.execute(delete(INVITATIONS).where(theirs, INVITATIONS.c.accepted_us.is_(None)))


def _require_an_admin(connection: Connection, organisation_id: str) -> None:
    admins = select(func.count()).where(
        MEMBERSHIPS.c.organisation_id == organisation_id, MEMBERSHIPS.c.role == Role.ADMIN
    )
    if connection.scalar(admins) == 0:
        raise Problem(
            409,
            "last-admin",
            "an organisation needs an admin; make another member one first",
            errors=[FieldFault(field="role", expected="another admin", found="the last one")],
        )


def _invite(service: GatewayService, organisation_id: str, invited_by: str) -> dict[str, Any]:
    body = read_body(_INVITATION)
    settings, now = service.settings, service.accounts.now_us()
    token = secrets.token_urlsafe(32)
    row: dict[str, Any] = {
        "invitation_id": new_row_id("inv"),
        "token_hash": hash_of(token),
        "organisation_id": organisation_id,
        "email": plain_email(body.email),
        "role": body.role,
        "invited_by": invited_by,
        "created_us": now,
        "expires_us": now + settings.invitation_days * _DAY_US,
    }
    with service.accounts.change() as connection:
        service.shares.require(connection, "members", organisation_id)
        connection.execute(insert(INVITATIONS), row)
        audit(
            connection,
            "invitation.created",
            row["invitation_id"],
            organisation_id=organisation_id,
            email=row["email"],
            role=body.role,
        )
        query = select(INVITATIONS).where(INVITATIONS.c.invitation_id == row["invitation_id"])
        made = connection.execute(query).mappings().one()
    # Behind the `#`, so that the token comes into no log of a server.
    link = f"{settings.public_url or request.host_url.rstrip('/')}/join#{token}"
    return answers.of_row(made, answers.NewInvitation, token=token, link=link)
