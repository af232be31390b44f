"""The operations on organisations: members, their roles, invitations."""

from __future__ import annotations

from gateway import account_answers as answers
from gateway import account_bodies as bodies
from gateway.openapi.examples import ORGANISATION_ID, TIME, TOKEN, USER_ID
from gateway.openapi.operation import DONE, JsonObject, Operation, json_answer
from gateway.openapi.problem_kinds import (
    ACCOUNT_BODY,
    AWAY,
    NO_ORGANISATION,
    NO_PERSON,
    QUERY,
)

ORGANISATION: JsonObject = {
    "organisation_id": ORGANISATION_ID,
    "name": "Lojas Ana",
    "created_at": TIME,
    "role": "admin",
}
MEMBER: JsonObject = {
    "user_id": USER_ID,
    "email": "ana@example.org",
    "name": "Ana",
    "role": "editor",
    "joined_at": TIME,
}
INVITATION: JsonObject = {
    "invitation_id": "inv_1c9e0d7a46338b1f0a9c5f2b",
    "organisation_id": ORGANISATION_ID,
    "email": "rui@example.org",
    "role": "viewer",
    "created_at": TIME,
    "expires_at": "2026-01-09T09:00:00Z",
}
ORGANISATIONS = (
    Operation(
        method="get",
        path="/api/v1/organisations",
        id="listOrganisations",
        tag="organisations",
        summary="The organisations of the caller; operators see all",
        answers={200: json_answer("The organisations.", answers.OrganisationList, {"organisations": [ORGANISATION]})},
        problems={**QUERY, **AWAY},
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
        problems={**ACCOUNT_BODY, 403: ("operator-needed", "person-needed")},
    ),
    Operation(
        method="get",
        path="/api/v1/organisations/{organisation_id}",
        id="getOrganisation",
        tag="organisations",
        summary="One organisation",
        parameters=("organisation_id",),
        answers={200: json_answer("The organisation.", answers.Organisation, ORGANISATION)},
        problems={**NO_ORGANISATION, **QUERY},
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
        problems={**ACCOUNT_BODY, **NO_PERSON, **NO_ORGANISATION},
    ),
    Operation(
        method="get",
        path="/api/v1/organisations/{organisation_id}/members",
        id="listMembers",
        tag="organisations",
        summary="Its members",
        parameters=("organisation_id",),
        answers={200: json_answer("The members.", answers.MemberList, {"members": [MEMBER]})},
        problems={**NO_ORGANISATION, **QUERY},
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
            **ACCOUNT_BODY,
            **NO_PERSON,
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
        answers={204: DONE},
        problems={**NO_PERSON, 404: ("unknown-member", "unknown-organisation"), 409: ("last-admin",), **AWAY},
    ),
    Operation(
        method="get",
        path="/api/v1/organisations/{organisation_id}/invitations",
        id="listInvitations",
        tag="organisations",
        summary="Its open invitations",
        parameters=("organisation_id",),
        answers={200: json_answer("The invitations.", answers.InvitationList, {"invitations": [INVITATION]})},
        problems={**NO_ORGANISATION, **QUERY},
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
                {**INVITATION, "token": TOKEN, "link": f"https://forecasts.example.org/join#{TOKEN}"},
            )
        },
        problems={**ACCOUNT_BODY, **NO_PERSON, **NO_ORGANISATION},
    ),
    Operation(
        method="delete",
        path="/api/v1/organisations/{organisation_id}/invitations/{invitation_id}",
        id="withdrawInvitation",
        tag="organisations",
        summary="Withdraw an invitation",
        parameters=("organisation_id", "invitation_id"),
        answers={204: DONE},
        problems={**NO_PERSON, 404: ("unknown-invitation", "unknown-organisation"), **AWAY},
    ),
)
