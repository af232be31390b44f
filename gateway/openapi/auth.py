"""The operations on signing in and up."""

from __future__ import annotations

from gateway import account_answers as answers
from gateway import account_bodies as bodies
from gateway.openapi.examples import ORGANISATION_ID, TOKEN, USER_ID
from gateway.openapi.operation import DONE, JsonObject, Operation, json_answer
from gateway.openapi.problem_kinds import AWAY, NO_PERSON, QUERY

TOKENS: JsonObject = {
    "access_token": "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFZDI1NTE5Iiwia2lkIjoic2lnXzEifQ.eyJzdWIiOiJ1c2VyXzEifQ.c2ln",
    "token_type": "Bearer",
    "expires_in": 900,
    "refresh_token": "Zk3v9Qx1mY0u8s2c",
    "must_change_password": False,
}
ME: JsonObject = {
    "kind": "user",
    "user_id": USER_ID,
    "email": "ana@example.org",
    "name": "Ana",
    "is_operator": False,
    "must_change_password": False,
    "organisation_id": ORGANISATION_ID,
    "organisations": [{"organisation_id": ORGANISATION_ID, "name": "Lojas Ana", "role": "admin"}],
    "scopes": None,
    "project_ids": None,
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
_GUESSED = {429: ("too-many-attempts",)}

AUTH = (
    Operation(
        method="post",
        path="/api/v1/auth/login",
        id="logIn",
        is_open=True,
        is_repeatable=True,
        tag="accounts",
        summary="Sign in with a password",
        description="Nobody, a wrong password and a closed account get the same answer after the same time.",
        body=bodies.LoginBody,
        examples={"ana": {"email": "ana@example.org", "password": "four random words here"}},
        answers={200: json_answer("Signed in.", answers.TokenAnswer, TOKENS)},
        problems={401: ("wrong-credentials",), **_GUESSED},
    ),
    Operation(
        method="post",
        path="/api/v1/auth/refresh",
        id="refreshTokens",
        is_open=True,
        is_repeatable=True,
        tag="accounts",
        summary="Exchange a refresh token for new tokens",
        description="Each is good once; one that comes again was stolen, and ends the whole login.",
        body=bodies.RefreshBody,
        examples={"token": {"refresh_token": TOKENS["refresh_token"]}},
        answers={200: json_answer("New tokens.", answers.TokenAnswer, TOKENS)},
        problems={401: ("unauthenticated",)},
    ),
    Operation(
        method="post",
        path="/api/v1/auth/logout",
        id="logOut",
        is_repeatable=True,
        tag="accounts",
        summary="Sign out: the tokens of this login are no longer good",
        description=(
            "The access token, the refresh token and the cookie of this login end; other logins of the same user stay."
        ),
        answers={204: DONE},
        problems=NO_PERSON,
    ),
    Operation(
        method="post",
        path="/api/v1/auth/signup",
        id="signUp",
        is_open=True,
        is_repeatable=True,
        tag="accounts",
        summary="Sign up, with an invitation or, where that is open, with an organisation of one's own",
        description=(
            "An invitation has an email address and an organisation. Without one, where sign-up is open, `email` is "
            "given and an organisation is made, of which one is the admin. Whoever has an account accepts an "
            "invitation instead."
        ),
        body=bodies.SignUpBody,
        examples={
            "invited": {"invitation": TOKEN, "name": "Rui", "password": "four random words here"},
            "open": {"email": "ana@example.org", "password": "four random words here", "organisation": "Lojas Ana"},
        },
        answers={201: json_answer("Signed up, and in.", answers.TokenAnswer, TOKENS)},
        problems={
            403: ("invitation-needed",),
            404: ("unknown-invitation",),
            409: ("email-taken",),
            422: ("weak-password",),
            **_GUESSED,
        },
    ),
    Operation(
        method="post",
        path="/api/v1/auth/password",
        id="changePassword",
        is_repeatable=True,
        tag="accounts",
        summary="Choose another password; every other login ends",
        description=(
            "This login stays. Whoever has a password for one sign-in chooses another with this before anything else."
        ),
        body=bodies.PasswordBody,
        examples={"change": {"password": "one-time password", "new_password": "four random words here"}},
        answers={204: DONE},
        problems={
            401: ("wrong-credentials",),
            **NO_PERSON,
            422: ("weak-password",),
            **_GUESSED,
        },
    ),
    Operation(
        method="post",
        path="/api/v1/invitations/accept",
        id="acceptInvitation",
        is_repeatable=True,
        tag="accounts",
        summary="Become a member by an invitation, with the account that one has",
        description=(
            "The invitation must be for the email address of the caller. Whoever has no account signs up with it "
            "instead."
        ),
        body=bodies.AcceptBody,
        examples={"token": {"invitation": TOKEN}},
        answers={200: json_answer("A member.", answers.Joined, {"organisation_id": ORGANISATION_ID, "role": "viewer"})},
        problems={
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
        description=(
            "A user with their organisations and roles, or an API key with its scopes and projects. On a machine of "
            "one's own, where nobody signs in, the kind is `local`."
        ),
        answers={200: json_answer("The caller.", answers.Me, ME)},
        problems=QUERY,
    ),
    Operation(
        method="get",
        path="/.well-known/jwks.json",
        id="getSigningKeys",
        is_open=True,
        is_cached=True,
        tag="accounts",
        summary="The public keys that verify access tokens",
        description="A JSON Web Key Set (RFC 7517), for services that check access tokens by themselves.",
        answers={200: json_answer("The keys.", answers.JsonWebKeySet, JWKS)},
        problems={**QUERY, **AWAY},
    ),
)
