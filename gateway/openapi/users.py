"""The operations on users, and the audit log."""

from __future__ import annotations

from gateway import account_answers as answers
from gateway import account_bodies as bodies
from gateway.openapi.examples import ORGANISATION_ID, TIME, TOKEN, USER_ID
from gateway.openapi.keys import KEY
from gateway.openapi.operation import JsonObject, Operation, json_answer
from gateway.openapi.problem_kinds import NO_ORGANISATION, NO_PERSON, QUERY

USER: JsonObject = {
    "user_id": USER_ID,
    "email": "ana@example.org",
    "name": "Ana",
    "is_operator": False,
    "is_disabled": False,
    "must_change_password": True,
    "created_at": TIME,
    "last_login_at": None,
}
AUDIT: JsonObject = {
    "sequence": 41,
    "time": TIME,
    "organisation_id": ORGANISATION_ID,
    "actor": f"user/{USER_ID}",
    "action": "key.created",
    "subject": KEY["key_id"],
    "details": {"name": "nightly forecasts", "role": "editor"},
    "x_request_id": "caller-17",
}

USERS = (
    Operation(
        method="get",
        path="/api/v1/users",
        id="listUsers",
        tag="users",
        summary="Every user, for operators",
        description="By id, page by page: `next` is the path of the next page, null on the last one.",
        parameters=("after_user", "limit"),
        answers={200: json_answer("The users.", answers.UserPage, {"users": [USER], "next": None})},
        problems=QUERY,
    ),
    Operation(
        method="post",
        path="/api/v1/users",
        id="createUser",
        tag="users",
        summary="Make a user with a one-time password",
        description=(
            "The answer has the password, this once; it is good for one sign-in, after which another is chosen. With "
            "`organisation_id` they become a member there."
        ),
        body=bodies.UserBody,
        examples={"ana": {"email": "ana@example.org", "organisation_id": ORGANISATION_ID, "role": "editor"}},
        answers={201: json_answer("Made.", answers.NewUser, {**USER, "password": TOKEN}, "Location")},
        problems={
            **NO_PERSON,
            404: ("unknown-organisation",),
            409: ("email-taken",),
        },
    ),
    Operation(
        method="get",
        path="/api/v1/users/{user_id}",
        id="getUser",
        tag="users",
        summary="One user",
        description=(
            "For operators. Members of an organisation are listed at `/api/v1/organisations/{organisation_id}/members`."
        ),
        parameters=("user_id",),
        answers={200: json_answer("The user.", answers.User, USER)},
        problems={404: ("unknown-user",), **QUERY},
    ),
    Operation(
        method="patch",
        path="/api/v1/users/{user_id}",
        id="changeUser",
        tag="users",
        summary="Name, disable, or make an operator; who is disabled is signed out everywhere",
        description="What is left out stays. The last operator who is not disabled stays one.",
        parameters=("user_id",),
        body=bodies.UserChangeBody,
        examples={"disable": {"is_disabled": True}},
        answers={200: json_answer("The user.", answers.User, {**USER, "is_disabled": True})},
        problems={**NO_PERSON, 404: ("unknown-user",), 409: ("last-operator",)},
    ),
    Operation(
        method="get",
        path="/api/v1/audit",
        id="listAudit",
        tag="users",
        summary="Every change, the newest first: of one's own organisations; operators see all",
        description=(
            "Who changed what, to what, and under which `X-Request-ID`. Page by page: `next` is the path of the next "
            "page, null on the last one."
        ),
        parameters=("before_sequence", "limit", "of_organisation"),
        answers={200: json_answer("The changes.", answers.AuditPage, {"audit": [AUDIT], "next": None})},
        problems={**NO_ORGANISATION, **QUERY},
    ),
)
