"""Signing in and out, up, and who one is."""

from __future__ import annotations

import msgspec
from flask import Blueprint, Response, request
from sqlalchemy import select

from gateway import caching, parameters
from gateway.access import Permission
from gateway.account_bodies import AcceptBody, LoginBody, PasswordBody, RefreshBody, SignUpBody
from gateway.accounts.audit import audit
from gateway.accounts.authenticator import login_of
from gateway.accounts.logins import end_login, exchange
from gateway.accounts.people import person_of
from gateway.accounts.sign_in import Signed, invitation_of, take
from gateway.accounts.tables import ORGANISATIONS
from gateway.answers import json_of
from gateway.bodies import read_body
from gateway.callers import require_person
from gateway.guard import needs, open_to_all, principal, unauthenticated
from gateway.problems import FieldFault, Problem
from gateway.service import GatewayService

_LOGIN = msgspec.json.Decoder(LoginBody)
_REFRESH = msgspec.json.Decoder(RefreshBody)
_SIGN_UP = msgspec.json.Decoder(SignUpBody)
_PASSWORD = msgspec.json.Decoder(PasswordBody)
_ACCEPT = msgspec.json.Decoder(AcceptBody)


def blueprint(service: GatewayService) -> Blueprint:
    """Return the routes below ``/api/v1/auth``, and ``/api/v1/me``."""
    routes = Blueprint("auth", __name__)

    _add_ways_in(routes, service)
    _add_signed_in(routes, service)
    return routes


def _add_ways_in(routes: Blueprint, service: GatewayService) -> None:
    @routes.post("/api/v1/auth/login")
    @open_to_all
    def login() -> Response:
        body = read_body(_LOGIN)
        signed = service.sign_in.with_password(body.email, body.password, address=_address(), kind="token")
        return _tokens(service, signed)

    @routes.post("/api/v1/auth/refresh")
    @open_to_all
    def refresh() -> Response:
        found = exchange(service.accounts, read_body(_REFRESH).refresh_token)
        person = None if found is None else service.people.person(found.user_id)
        if found is None or person is None:
            raise unauthenticated("the refresh token is not, or no longer, good; sign in again")
        signed = Signed(found.user_id, found.login_id, person.must_change_password, found.refresh_token)
        return _tokens(service, signed)

    @routes.post("/api/v1/auth/signup")
    @open_to_all
    def sign_up() -> Response:
        body = read_body(_SIGN_UP)
        signed = service.sign_in.sign_up(
            email=body.email or "",
            name=body.name,
            password=body.password,
            organisation=body.organisation,
            invitation=body.invitation,
            address=_address(),
        )
        return _tokens(service, signed, 201)


def _add_signed_in(routes: Blueprint, service: GatewayService) -> None:
    @routes.post("/api/v1/auth/logout")
    @needs(Permission.READ)
    def logout() -> Response:
        require_person()
        login_id = login_of(request, service.tokens)
        if login_id is not None:
            with service.accounts.change() as connection:
                end_login(connection, login_id, service.accounts.now_us())
                audit(connection, "login.ended", login_id, organisation_id="")
        return Response(status=204)

    @routes.post("/api/v1/auth/password")
    @needs(Permission.READ)
    def change_password() -> Response:
        user_id = require_person()
        body = read_body(_PASSWORD)
        service.sign_in.change_password(
            user_id,
            body.password,
            body.new_password,
            address=_address(),
            login_id=login_of(request, service.tokens),
        )
        return Response(status=204)

    @routes.post("/api/v1/invitations/accept")
    @needs(Permission.READ)
    def accept() -> Response:
        return _accept(service, require_person())

    @routes.get("/api/v1/me")
    @needs(Permission.READ)
    def me() -> Response:
        parameters.require_known(())
        return _me(service)

    @routes.get("/.well-known/jwks.json")
    @open_to_all
    def keys() -> Response:
        parameters.require_known(())
        return caching.public(json_of(service.keyring.public()))


def _address() -> str:
    return request.remote_addr or ""


def _tokens(service: GatewayService, signed: Signed, status: int = 200) -> Response:
    answer = {
        "access_token": service.tokens.issue(signed.user_id, signed.login_id),
        "token_type": "Bearer",
        "expires_in": service.tokens.lifetime_seconds,
        "refresh_token": signed.refresh_token,
        "must_change_password": signed.must_change_password,
    }
    return json_of(answer, status)


def _accept(service: GatewayService, user_id: str) -> Response:
    body = read_body(_ACCEPT)
    now = service.accounts.now_us()
    with service.accounts.change() as connection:
        invited = invitation_of(connection, body.invitation, now)
        person = person_of(connection, user_id)
        if person is None or person.email != invited["email"]:
            raise Problem(
                403,
                "invitation-of-another",
                "the invitation is for another email address; sign in, or up, with that one",
                errors=[FieldFault(field="invitation", expected="one for your email address", found="another")],
            )
        take(connection, invited, user_id, now)
    return json_of({"organisation_id": invited["organisation_id"], "role": invited["role"]})


def _me(service: GatewayService) -> Response:
    caller = principal()
    person = service.people.person(caller.user_id) if caller.user_id else None
    query = select(ORGANISATIONS.c.organisation_id, ORGANISATIONS.c.name).where(
        ORGANISATIONS.c.organisation_id.in_(list(caller.roles))
    )
    with service.accounts.read() as connection:
        names = {row.organisation_id: row.name for row in connection.execute(query)}
    scopes, project_ids = caller.scopes, caller.project_ids
    return json_of(
        {
            "kind": caller.name.partition("/")[0] or "local",
            "user_id": caller.user_id,
            "email": "" if person is None else person.email,
            "name": "" if person is None else person.name,
            "is_operator": caller.is_operator,
            "must_change_password": person is not None and person.must_change_password,
            "organisation_id": caller.organisation_id,
            "organisations": [
                {"organisation_id": organisation, "name": names.get(organisation, ""), "role": role}
                for organisation, role in caller.roles.items()
            ],
            "scopes": None if scopes is None else sorted(scopes),
            "project_ids": None if project_ids is None else sorted(project_ids),
        }
    )
