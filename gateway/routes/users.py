"""Users, for operators, and the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
from flask import Blueprint, Response, request
from sqlalchemy import select

from gateway import account_answers as answers
from gateway import parameters
from gateway.access import Permission
from gateway.account_bodies import UserBody, UserChangeBody
from gateway.accounts.passwords import one_time_password
from gateway.accounts.tables import AUDIT, USERS
from gateway.accounts.users import add_member, add_user, change_user, plain_email
from gateway.answers import json_of
from gateway.bodies import read_body
from gateway.callers import require_no_key, require_organisation
from gateway.guard import needs, principal
from gateway.problems import not_found
from gateway.service import GatewayService

_NEW = msgspec.json.Decoder(UserBody)
_CHANGE = msgspec.json.Decoder(UserChangeBody)


def blueprint(service: GatewayService) -> Blueprint:
    """Return the routes below ``/api/v1/users``, and ``/api/v1/audit``."""
    routes = Blueprint("users", __name__)

    @routes.get("/api/v1/users")
    @needs(Permission.OPERATE)
    def every() -> Response:
        return _users(service)

    @routes.post("/api/v1/users")
    @needs(Permission.OPERATE)
    def create() -> Response:
        require_no_key()
        return _create(service)

    @routes.get("/api/v1/users/<user_id>")
    @needs(Permission.OPERATE)
    def one(user_id: str) -> Response:
        parameters.require_known(())
        return json_of(_user(service, user_id))

    @routes.patch("/api/v1/users/<user_id>")
    @needs(Permission.OPERATE)
    def change(user_id: str) -> Response:
        require_no_key()
        return _change(service, user_id)

    @routes.get("/api/v1/audit")
    @needs(Permission.MANAGE)
    def audit_log() -> Response:
        return _audit(service)

    return routes


def _user(service: GatewayService, user_id: str) -> dict[str, Any]:
    with service.accounts.read() as connection:
        row = connection.execute(select(USERS).where(USERS.c.user_id == user_id)).mappings().first()
    if row is None:
        raise not_found("user", user_id[:100], "GET /api/v1/users lists them")
    return answers.of_row(row, answers.User)


def _users(service: GatewayService) -> Response:
    parameters.require_known(("after", "limit"))
    limit = parameters.integer("limit", default=50, minimum=1, maximum=1000)
    query = select(USERS).order_by(USERS.c.user_id).limit(limit + 1)
    if "after" in request.args:
        query = query.where(USERS.c.user_id > request.args["after"])
    with service.accounts.read() as connection:
        rows = connection.execute(query).mappings().all()
    more = {"after": rows[limit - 1]["user_id"], "limit": limit} if len(rows) > limit else None
    following = None if more is None else f"/api/v1/users?{urlencode(more)}"
    return json_of({"users": [answers.of_row(row, answers.User) for row in rows[:limit]], "next": following})


def _create(service: GatewayService) -> Response:
    user_id, password = create_user(service, read_body(_NEW))
    where = {"Location": f"/api/v1/users/{user_id}"}
    return json_of({**_user(service, user_id), "password": password}, 201, where)


def create_user(service: GatewayService, body: UserBody) -> tuple[str, str]:
    """Make a user; return the id and a password for one sign-in.

    Raises:
        Problem: 422 no email address, 409 somebody has it, 404 no such organisation.
    """
    email = plain_email(body.email)
    if body.organisation_id is not None:
        require_organisation(service, Permission.MANAGE, body.organisation_id)
    password = one_time_password()
    hashed = service.sign_in.passwords.hash(password)
    now = service.accounts.now_us()
    with service.accounts.change() as connection:
        user_id = add_user(
            connection,
            email=email,
            name=body.name,
            now_us=now,
            password_hash=hashed,
            must_change_password=True,
            is_operator=body.is_operator,
            actor=principal().name,
        )
        if body.organisation_id is not None:
            add_member(connection, body.organisation_id, user_id, body.role, now)
    return user_id, password


def _change(service: GatewayService, user_id: str) -> Response:
    body = read_body(_CHANGE)
    _user(service, user_id)
    values = {name: value for name, value in msgspec.structs.asdict(body).items() if value is not msgspec.UNSET}
    change_one(service, user_id, values)
    return json_of(_user(service, user_id))


def change_one(service: GatewayService, user_id: str, values: Mapping[str, Any]) -> None:
    """Change columns of a user.

    Raises:
        Problem: 409; nobody would be left who runs the gateway.
    """
    if values:
        with service.accounts.change() as connection:
            change_user(connection, user_id, service.accounts.now_us(), **values)


def _audit(service: GatewayService) -> Response:
    parameters.require_known(("before", "limit", "organisation_id"))
    limit = parameters.integer("limit", default=50, minimum=1, maximum=1000)
    before = parameters.integer("before", default=2**62, minimum=1, maximum=2**62)
    caller, organisation_id = principal(), request.args.get("organisation_id")
    query = select(AUDIT).where(AUDIT.c.sequence < before).order_by(AUDIT.c.sequence.desc()).limit(limit + 1)
    if organisation_id is not None:
        require_organisation(service, Permission.MANAGE, organisation_id)
        query = query.where(AUDIT.c.organisation_id == organisation_id)
    elif not caller.is_operator:
        own = [one for one in caller.roles if Permission.MANAGE in caller.in_organisation(one)]
        query = query.where(AUDIT.c.organisation_id.in_(own if caller.project_ids is None else []))
    with service.accounts.read() as connection:
        rows = connection.execute(query).mappings().all()
    following = None
    if len(rows) > limit:
        more = {"before": rows[limit - 1]["sequence"], "limit": limit}
        more |= {} if organisation_id is None else {"organisation_id": organisation_id}
        following = f"/api/v1/audit?{urlencode(more)}"
    lines = [
        answers.of_row(row, answers.AuditLine, details=msgspec.json.decode(row["details"])) for row in rows[:limit]
    ]
    return json_of({"audit": lines, "next": following})
