"""The operations on API keys."""

from __future__ import annotations

from gateway import account_answers as answers
from gateway import account_bodies as bodies
from gateway.openapi.examples import ORGANISATION_ID, TIME, USER_ID
from gateway.openapi.operation import DONE, JsonObject, Operation, json_answer
from gateway.openapi.problem_kinds import NO_ORGANISATION, NO_PERSON, QUERY

KEY: JsonObject = {
    "key_id": "key_338b1f0a9c5f2b1c9e0d7a46",
    "shown": "ftp_Zk3v9Qx1",
    "name": "nightly forecasts",
    "organisation_id": ORGANISATION_ID,
    "project_id": None,
    "role": "editor",
    "scopes": ["read", "forecast"],
    "created_by": USER_ID,
    "created_at": TIME,
    "expires_at": None,
    "requests_a_minute": None,
    "revoked_at": None,
    "last_used_at": None,
}

KEYS = (
    Operation(
        method="get",
        path="/api/v1/keys",
        id="listKeys",
        tag="keys",
        summary="The API keys of an organisation, the newest first",
        description=(
            "Without the keys themselves: those are shown when they are made. Without `organisation_id` those of your "
            "first organisation."
        ),
        parameters=("of_organisation",),
        answers={200: json_answer("The keys.", answers.ApiKeyList, {"keys": [KEY]})},
        problems={**NO_ORGANISATION, **QUERY},
    ),
    Operation(
        method="post",
        path="/api/v1/keys",
        id="createKey",
        tag="keys",
        summary="Make an API key; it is shown this once",
        description=(
            "A key may do at most what whoever made it may do, at any time. `scopes`, `project_id` and `expires_at` "
            "narrow it. Send it as `Authorization: Bearer KEY`."
        ),
        body=bodies.KeyBody,
        examples={"nightly": {"name": "nightly forecasts", "role": "editor", "scopes": ["read", "forecast"]}},
        answers={201: json_answer("Made.", answers.NewApiKey, {**KEY, "key": "ftp_Zk3v9Qx1mY0u8s2c"})},
        problems={
            **NO_PERSON,
            404: ("unknown-organisation", "unknown-project"),
            409: ("limit-reached",),
        },
    ),
    Operation(
        method="delete",
        path="/api/v1/keys/{key_id}",
        id="revokeKey",
        tag="keys",
        summary="End an API key, at once here and within five seconds on other gateways",
        description="A key that has ended stays as it is.",
        parameters=("key_id",),
        answers={204: DONE},
        problems={**NO_PERSON, 404: ("unknown-key",)},
    ),
)
