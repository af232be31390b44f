"""API keys."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import Blueprint, Response, request
from sqlalchemy import select, update

from gateway import account_answers as answers
from gateway import parameters
from gateway.access import PUBLIC_PROJECTS, Permission
from gateway.account_bodies import KeyBody
from gateway.accounts.audit import audit
from gateway.accounts.keys import NewKey, add_key
from gateway.accounts.tables import API_KEYS
from gateway.answers import json_of
from gateway.bodies import invalid, read_body
from gateway.callers import require_no_key, require_organisation, require_person
from gateway.guard import needs, principal
from gateway.problems import FieldFault, not_found
from gateway.rows import microseconds
from gateway.service import GatewayService

_BODY = msgspec.json.Decoder(KeyBody)


def blueprint(service: GatewayService) -> Blueprint:
    """Return the routes below ``/api/v1/keys``."""
    routes = Blueprint("keys", __name__, url_prefix="/api/v1/keys")

    @routes.get("")
    @needs(Permission.MANAGE)
    def every() -> Response:
        parameters.require_known(("organisation_id",))
        organisation_id = request.args.get("organisation_id", principal().organisation_id)
        require_organisation(service, Permission.MANAGE, organisation_id)
        query = (
            select(API_KEYS)
            .where(API_KEYS.c.organisation_id == organisation_id)
            .order_by(API_KEYS.c.created_us.desc(), API_KEYS.c.key_id)
        )
        with service.accounts.read() as connection:
            rows = connection.execute(query).mappings().all()
        return json_of({"keys": [_key(row) for row in rows]})

    @routes.post("")
    @needs(Permission.MANAGE)
    def create() -> Response:
        user_id = require_person()
        body = read_body(_BODY)
        organisation_id = body.organisation_id or principal().organisation_id
        require_organisation(service, Permission.MANAGE, organisation_id)
        _require_possible(service, body, organisation_id)
        new = NewKey(
            name=body.name,
            organisation_id=organisation_id,
            created_by=user_id,
            role=body.role,
            project_id=body.project_id,
            scopes=body.scopes,
            expires_us=None if body.expires_at is None else microseconds(body.expires_at),
            requests_a_minute=body.requests_a_minute,
        )
        with service.accounts.change() as connection:
            service.shares.require(connection, "api_keys", organisation_id)
            key_id, secret = add_key(connection, new, service.accounts.now_us())
            row = connection.execute(select(API_KEYS).where(API_KEYS.c.key_id == key_id)).mappings().one()
        return json_of({**_key(row), "key": secret}, 201)

    @routes.delete("/<key_id>")
    @needs(Permission.MANAGE)
    def revoke(key_id: str) -> Response:
        revoke_key(service, key_id)
        return Response(status=204)

    return routes


def _key(row: Any) -> dict[str, Any]:
    scopes = None if row["scopes"] is None else msgspec.json.decode(row["scopes"])
    return answers.of_row(row, answers.ApiKey, scopes=scopes)


def _require_possible(service: GatewayService, body: KeyBody, organisation_id: str) -> None:
    """Refuse a key that could never do anything, or more than whoever makes it."""
    if body.expires_at is not None and body.expires_at <= service.accounts.clock.now():
        found = body.expires_at.isoformat()
        raise invalid(
            "expires_at must be in the future", [FieldFault(field="expires_at", expected="a time to come", found=found)]
        )
    if body.project_id is not None and (
        body.project_id in PUBLIC_PROJECTS or service.projects.organisation_of(body.project_id) != organisation_id
    ):
        raise not_found("project", body.project_id, "a key is for a project of its organisation")
    if body.scopes is None or Permission.OPERATE not in body.scopes:
        return
    if not principal().is_operator or body.project_id is not None:
        expected = "no operate: only operators make keys with it, and not for one project"
        raise invalid(f"scopes must have {expected}", [FieldFault(field="scopes", expected=expected, found="operate")])


def revoke_key(service: GatewayService, key_id: str) -> None:
    """End a key of an organisation that the caller manages; one that has ended stays as it is.

    Raises:
        Problem: 404, or 403 for a role that is too low.
    """
    missing = not_found("key", key_id[:100], "GET /api/v1/keys lists them")
    with service.accounts.read() as connection:
        row = connection.execute(select(API_KEYS).where(API_KEYS.c.key_id == key_id)).mappings().first()
    if row is None or Permission.READ not in principal().in_organisation(row["organisation_id"]):
        raise missing
    require_organisation(service, Permission.MANAGE, row["organisation_id"])
    require_no_key()
    with service.accounts.change() as connection:
        is_good = (API_KEYS.c.key_id == key_id) & API_KEYS.c.revoked_us.is_(None)
        revoked = update(API_KEYS).where(is_good).values(revoked_us=service.accounts.now_us())
        if connection.execute(revoked).rowcount == 1:
            audit(connection, "key.revoked", key_id, organisation_id=row["organisation_id"])
