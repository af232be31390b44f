"""The operations on accounts: signing in, organisations, members, keys, users, the audit log."""

from __future__ import annotations

from gateway import account_answers as answers
from gateway import account_bodies as bodies
from gateway import openapi_examples as examples
from gateway.openapi_parts import JsonObject, Operation, Sent
from gateway.openapi_shared import BODY_PROBLEMS, QUERY, json_answer

_TIME = "2026-01-02T09:00:00Z"
_TOKEN = "k3v9_one-time-secret"  # noqa: S105  # an example
_ORGANISATION_ID, _USER_ID = "org_5f2b1c9e0d7a46338b1f0a9c", "user_0d7a46338b1f0a9c5f2b1c9e"
TOKENS: JsonObject = {
    "access_token": "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFZDI1NTE5Iiwia2lkIjoic2lnXzEifQ.eyJzdWIiOiJ1c2VyXzEifQ.c2ln",
    "token_type": "Bearer",
    "expires_in": 900,
    "refresh_token": "Zk3v9Qx1mY0u8s2c",
    "must_change_password": False,
}
ME: JsonObject = {
    "kind": "user",
    "user_id": _USER_ID,
    "email": "ana@example.org",
    "name": "Ana",
    "is_operator": False,
    "must_change_password": False,
    "organisation_id": _ORGANISATION_ID,
    "organisations": [{"organisation_id": _ORGANISATION_ID, "name": "Lojas Ana", "role": "admin"}],
    "scopes": None,
    "project_ids": None,
}
USER: JsonObject = {
    "user_id": _USER_ID,
    "email": "ana@example.org",
    "name": "Ana",
    "is_operator": False,
    "is_disabled": False,
    "must_change_password": True,
    "created_at": _TIME,
    "last_login_at": None,
}
ORGANISATION: JsonObject = {
    "organisation_id": _ORGANISATION_ID,
    "name": "Lojas Ana",
    "created_at": _TIME,
    "role": "admin",
}
MEMBER: JsonObject = {
    "user_id": _USER_ID,
    "email": "ana@example.org",
    "name": "Ana",
    "role": "editor",
    "joined_at": _TIME,
}
INVITATION: JsonObject = {
    "invitation_id": "inv_1c9e0d7a46338b1f0a9c5f2b",
    "organisation_id": _ORGANISATION_ID,
    "email": "rui@example.org",
    "role": "viewer",
    "created_at": _TIME,
    "expires_at": "2026-01-09T09:00:00Z",
}
KEY: JsonObject = {
    "key_id": "key_338b1f0a9c5f2b1c9e0d7a46",
    "shown": "ftp_Zk3v9Qx1",
    "name": "nightly forecasts",
    "organisation_id": _ORGANISATION_ID,
    "project_id": None,
    "role": "editor",
    "scopes": ["read", "forecast"],
    "created_by": _USER_ID,
    "created_at": _TIME,
    "expires_at": None,
    "requests_a_minute": None,
    "revoked_at": None,
    "last_used_at": None,
}
AUDIT: JsonObject = {
    "sequence": 41,
    "time": _TIME,
    "organisation_id": _ORGANISATION_ID,
    "actor": f"user/{_USER_ID}",
    "action": "key.created",
    "subject": KEY["key_id"],
    "details": {"name": "nightly forecasts", "role": "editor"},
    "x_request_id": "caller-17",
}
JWKS: JsonObject = {
    "keys": [
        {
            "kty": "OKP",
            "crv": "Ed25519",
            "x": "J7e6zzQr3y8yVr3P3CRb54Alhlip6nvufY2RlkDr6x4",
            "kid": "sig_1",
            "use": "sig",
            "alg": "Ed25519",
        }
    ]
}
_DONE = Sent(description="Done; there is nothing to say.", media_type="")
#: The database of accounts may be away.
_AWAY = {503: ("broker-unavailable",)}
_AWAY_OR_BUSY = {503: ("broker-unavailable", "busy")}
_BODY = {**BODY_PROBLEMS, 400: ("empty-body", "malformed-json"), 422: ("invalid-body",), **_AWAY}
_GUESSED = {429: ("too-many-attempts",), **_AWAY_OR_BUSY}
_NO_ORGANISATION = {404: ("unknown-organisation",), **_AWAY}
_NO_PERSON = {403: ("person-needed",)}

AUTH = (
    Operation(
        method="post",
        path="/api/v1/auth/login",
        id="logIn",
        tag="accounts",
        summary="Sign in with a password",
        description="Nobody, a wrong password and a closed account get the same answer after the same time.",
        body=bodies.LoginBody,
        examples={"ana": {"email": "ana@example.org", "password": "four random words here"}},
        answers={200: json_answer("Signed in.", answers.TokenAnswer, TOKENS)},
        problems={**_BODY, 401: ("wrong-credentials",), **_GUESSED},
    ),
    Operation(
        method="post",
        path="/api/v1/auth/refresh",
        id="refreshTokens",
        tag="accounts",
        summary="Exchange a refresh token for new tokens",
        description="Each is good once; one that comes again was stolen, and ends the whole login.",
        body=bodies.RefreshBody,
        examples={"token": {"refresh_token": TOKENS["refresh_token"]}},
        answers={200: json_answer("New tokens.", answers.TokenAnswer, TOKENS)},
        problems={**_BODY, 401: ("unauthenticated",)},
    ),
    Operation(
        method="post",
        path="/api/v1/auth/logout",
        id="logOut",
        tag="accounts",
        summary="Sign out: the tokens of this login are no longer good",
        answers={204: _DONE},
        problems={**_NO_PERSON, **_AWAY},
    ),
    Operation(
        method="post",
        path="/api/v1/auth/signup",
        id="signUp",
        tag="accounts",
        summary="Sign up, with an invitation or, where that is open, with an organisation of one's own",
        body=bodies.SignUpBody,
        examples={
            "invited": {"invitation": _TOKEN, "name": "Rui", "password": "four random words here"},
            "open": {"email": "ana@example.org", "password": "four random words here", "organisation": "Lojas Ana"},
        },
        answers={201: json_answer("Signed up, and in.", answers.TokenAnswer, TOKENS)},
        problems={
            **_BODY,
            403: ("invitation-needed",),
            404: ("unknown-invitation",),
            409: ("email-taken",),
            422: ("invalid-body", "weak-password"),
            **_GUESSED,
        },
    ),
    Operation(
        method="post",
        path="/api/v1/auth/password",
        id="changePassword",
        tag="accounts",
        summary="Choose another password; every other login ends",
        body=bodies.PasswordBody,
        examples={"change": {"password": "one-time password", "new_password": "four random words here"}},
        answers={204: _DONE},
        problems={
            **_BODY,
            401: ("wrong-credentials",),
            **_NO_PERSON,
            422: ("invalid-body", "weak-password"),
            **_GUESSED,
        },
    ),
    Operation(
        method="post",
        path="/api/v1/invitations/accept",
        id="acceptInvitation",
        tag="accounts",
        summary="Become a member by an invitation, with the account that one has",
        body=bodies.AcceptBody,
        examples={"token": {"invitation": _TOKEN}},
        answers={
            200: json_answer("A member.", answers.Joined, {"organisation_id": _ORGANISATION_ID, "role": "viewer"})
        },
        problems={
            **_BODY,
            403: ("invitation-of-another", "person-needed"),
            404: ("unknown-invitation",),
            409: ("already-member",),
        },
    ),
    Operation(
        method="get",
        path="/api/v1/me",
        id="getMe",
        tag="accounts",
        summary="Who sends this request, and what they may do",
        answers={200: json_answer("The caller.", answers.Me, ME)},
        problems={**QUERY, **_AWAY},
    ),
    Operation(
        method="get",
        path="/.well-known/jwks.json",
        id="getSigningKeys",
        tag="accounts",
        summary="The public keys that verify access tokens",
        answers={200: json_answer("The keys.", answers.JsonWebKeySet, JWKS)},
        problems={**QUERY, **_AWAY},
    ),
)
ORGANISATIONS = (
    Operation(
        method="get",
        path="/api/v1/organisations",
        id="listOrganisations",
        tag="organisations",
        summary="The organisations of the caller; operators see all",
        answers={200: json_answer("The organisations.", answers.OrganisationList, {"organisations": [ORGANISATION]})},
        problems={**QUERY, **_AWAY},
    ),
    Operation(
        method="post",
        path="/api/v1/organisations",
        id="createOrganisation",
        tag="organisations",
        summary="Make an organisation and be its admin; operators only, unless sign-up is open",
        body=bodies.OrganisationBody,
        examples={"shop": {"name": "Lojas Ana"}},
        answers={201: json_answer("Made.", answers.Organisation, ORGANISATION, "Location")},
        problems={**_BODY, 403: ("operator-needed", "person-needed")},
    ),
    Operation(
        method="get",
        path="/api/v1/organisations/{organisation_id}",
        id="getOrganisation",
        tag="organisations",
        summary="One organisation",
        parameters=("organisation_id",),
        answers={200: json_answer("The organisation.", answers.Organisation, ORGANISATION)},
        problems={**_NO_ORGANISATION, **QUERY},
    ),
    Operation(
        method="patch",
        path="/api/v1/organisations/{organisation_id}",
        id="renameOrganisation",
        tag="organisations",
        summary="Call it something else",
        parameters=("organisation_id",),
        body=bodies.OrganisationBody,
        examples={"shop": {"name": "Lojas Ana e Rui"}},
        answers={200: json_answer("Renamed.", answers.Organisation, ORGANISATION)},
        problems={**_BODY, **_NO_PERSON, **_NO_ORGANISATION},
    ),
    Operation(
        method="get",
        path="/api/v1/organisations/{organisation_id}/members",
        id="listMembers",
        tag="organisations",
        summary="Its members",
        parameters=("organisation_id",),
        answers={200: json_answer("The members.", answers.MemberList, {"members": [MEMBER]})},
        problems={**_NO_ORGANISATION, **QUERY},
    ),
    Operation(
        method="patch",
        path="/api/v1/organisations/{organisation_id}/members/{user_id}",
        id="changeMember",
        tag="organisations",
        summary="Give a member another role",
        parameters=("organisation_id", "user_id"),
        body=bodies.RoleBody,
        examples={"editor": {"role": "editor"}},
        answers={200: json_answer("The member.", answers.Member, MEMBER)},
        problems={
            **_BODY,
            **_NO_PERSON,
            404: ("unknown-member", "unknown-organisation"),
            409: ("last-admin",),
        },
    ),
    Operation(
        method="delete",
        path="/api/v1/organisations/{organisation_id}/members/{user_id}",
        id="removeMember",
        tag="organisations",
        summary="Send a member away, or leave; the API keys that they made there end",
        parameters=("organisation_id", "user_id"),
        answers={204: _DONE},
        problems={**_NO_PERSON, 404: ("unknown-member", "unknown-organisation"), 409: ("last-admin",), **_AWAY},
    ),
    Operation(
        method="get",
        path="/api/v1/organisations/{organisation_id}/invitations",
        id="listInvitations",
        tag="organisations",
        summary="Its open invitations",
        parameters=("organisation_id",),
        answers={200: json_answer("The invitations.", answers.InvitationList, {"invitations": [INVITATION]})},
        problems={**_NO_ORGANISATION, **QUERY},
    ),
    Operation(
        method="post",
        path="/api/v1/organisations/{organisation_id}/invitations",
        id="invite",
        tag="organisations",
        summary="Invite somebody; give them the link that is answered",
        parameters=("organisation_id",),
        body=bodies.InvitationBody,
        examples={"viewer": {"email": "rui@example.org", "role": "viewer"}},
        answers={
            201: json_answer(
                "Invited.",
                answers.NewInvitation,
                {**INVITATION, "token": _TOKEN, "link": f"https://forecasts.example.org/join#{_TOKEN}"},
            )
        },
        problems={**_BODY, **_NO_PERSON, **_NO_ORGANISATION},
    ),
    Operation(
        method="delete",
        path="/api/v1/organisations/{organisation_id}/invitations/{invitation_id}",
        id="withdrawInvitation",
        tag="organisations",
        summary="Withdraw an invitation",
        parameters=("organisation_id", "invitation_id"),
        answers={204: _DONE},
        problems={**_NO_PERSON, 404: ("unknown-invitation", "unknown-organisation"), **_AWAY},
    ),
)
KEYS = (
    Operation(
        method="get",
        path="/api/v1/keys",
        id="listKeys",
        tag="keys",
        summary="The API keys of an organisation, the newest first",
        parameters=("of_organisation",),
        answers={200: json_answer("The keys.", answers.ApiKeyList, {"keys": [KEY]})},
        problems={**_NO_ORGANISATION, **QUERY},
    ),
    Operation(
        method="post",
        path="/api/v1/keys",
        id="createKey",
        tag="keys",
        summary="Make an API key; it is shown this once",
        body=bodies.KeyBody,
        examples={"nightly": {"name": "nightly forecasts", "role": "editor", "scopes": ["read", "forecast"]}},
        answers={201: json_answer("Made.", answers.NewApiKey, {**KEY, "key": "ftp_Zk3v9Qx1mY0u8s2c"})},
        problems={**_BODY, **_NO_PERSON, 404: ("unknown-organisation", "unknown-project")},
    ),
    Operation(
        method="delete",
        path="/api/v1/keys/{key_id}",
        id="revokeKey",
        tag="keys",
        summary="End an API key, at once here and within five seconds on other gateways",
        parameters=("key_id",),
        answers={204: _DONE},
        problems={**_NO_PERSON, 404: ("unknown-key",), **_AWAY},
    ),
)
USERS = (
    Operation(
        method="get",
        path="/api/v1/users",
        id="listUsers",
        tag="users",
        summary="Every user, for operators",
        parameters=("after_user", "limit"),
        answers={200: json_answer("The users.", answers.UserPage, {"users": [USER], "next": None})},
        problems={**QUERY, **_AWAY},
    ),
    Operation(
        method="post",
        path="/api/v1/users",
        id="createUser",
        tag="users",
        summary="Make a user with a one-time password",
        body=bodies.UserBody,
        examples={"ana": {"email": "ana@example.org", "organisation_id": _ORGANISATION_ID, "role": "editor"}},
        answers={201: json_answer("Made.", answers.NewUser, {**USER, "password": _TOKEN}, "Location")},
        problems={
            **_BODY,
            **_NO_PERSON,
            404: ("unknown-organisation",),
            409: ("email-taken",),
            **_AWAY_OR_BUSY,
        },
    ),
    Operation(
        method="get",
        path="/api/v1/users/{user_id}",
        id="getUser",
        tag="users",
        summary="One user",
        parameters=("user_id",),
        answers={200: json_answer("The user.", answers.User, USER)},
        problems={404: ("unknown-user",), **QUERY, **_AWAY},
    ),
    Operation(
        method="patch",
        path="/api/v1/users/{user_id}",
        id="changeUser",
        tag="users",
        summary="Name, disable, or make an operator; who is disabled is signed out everywhere",
        parameters=("user_id",),
        body=bodies.UserChangeBody,
        examples={"disable": {"is_disabled": True}},
        answers={200: json_answer("The user.", answers.User, {**USER, "is_disabled": True})},
        problems={**_BODY, **_NO_PERSON, 404: ("unknown-user",), 409: ("last-operator",)},
    ),
    Operation(
        method="get",
        path="/api/v1/audit",
        id="listAudit",
        tag="users",
        summary="Every change, the newest first: of one's own organisations; operators see all",
        parameters=("before_sequence", "limit", "of_organisation"),
        answers={200: json_answer("The changes.", answers.AuditPage, {"audit": [AUDIT], "next": None})},
        problems={**_NO_ORGANISATION, **QUERY},
    ),
)
_HTML = Sent(description="The page.", media_type="text/html", example=examples.HTML)
_ON = Sent(description="Signed in, or done: on to the next page.", media_type="", headers=("Location",))
_AGAIN = Sent(description="The page again, with what is wrong.", media_type="text/html", example=examples.HTML)
_FORM_REFUSED = dict.fromkeys((400, 401, 404, 409, 422, 429, 503), _AGAIN)


def _page(method: str, path: str, id_: str, summary: str, answers_: dict[int, Sent]) -> Operation:
    return Operation(method=method, path=path, id=id_, tag="pages", summary=summary, answers=answers_)


PAGES = (
    Operation(
        method="get",
        path="/login",
        id="getLoginPage",
        tag="pages",
        summary="Sign in, in a browser",
        parameters=("next_page",),
        answers={200: _HTML},
    ),
    _page("post", "/login", "submitLogin", "The form of the page", {303: _ON, **_FORM_REFUSED}),
    _page("post", "/logout", "logOutBrowser", "Sign a browser out", {303: _ON}),
    _page("get", "/join", "getJoinPage", "Take an invitation, in a browser", {200: _HTML}),
    _page("post", "/join", "submitJoin", "The form of the page", {303: _ON, **_FORM_REFUSED}),
    _page("get", "/login/password", "getPasswordPage", "Choose another password", {200: _HTML}),
    _page("post", "/login/password", "submitPassword", "The form of the page", {303: _ON, **_FORM_REFUSED}),
)
ACCOUNTS = (*AUTH, *ORGANISATIONS, *KEYS, *USERS, *PAGES)
