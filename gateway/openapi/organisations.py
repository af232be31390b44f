"""The operations on organisations: members, their roles, invitations."""

from __future__ import annotations

from gateway import account_answers as answers
from gateway import account_bodies as bodies
from gateway.openapi.examples import ORGANISATION_ID, TIME, TOKEN, USER_ID
from gateway.openapi.operation import DONE, JsonObject, Operation, json_answer
from gateway.openapi.problem_kinds import NO_ORGANISATION, NO_PERSON, QUERY

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
        description="Each with the role of the caller in it; null for operators who are no members.",
        answers={200: json_answer("The organisations.", answers.OrganisationList, {"organisations": [ORGANISATION]})},
        problems=QUERY,
    ),
    Operation(
        method="post",
        path="/api/v1/organisations",
        id="createOrganisation",
        tag="organisations",
        summary="Make an organisation and be its admin; operators only, unless sign-up is open",
        description="Whoever makes it is its admin. Where sign-up is not open only operators may.",
        body=bodies.OrganisationBody,
        examples={"shop": {"name": "Lojas Ana"}},
        answers={201: json_answer("Made.", answers.Organisation, ORGANISATION, "Location")},
        problems={403: ("operator-needed", "person-needed"), 409: ("limit-reached",)},
    ),
    Operation(
        method="get",
        path="/api/v1/organisations/{organisation_id}",
        id="getOrganisation",
        tag="organisations",
        summary="One organisation",
        description="Its name, and the role of the caller in it.",
        parameters=("organisation_id",),
        answers={200: json_answer("The organisation.", answers.Organisation, ORGANISATION)},
        problems={**NO_ORGANISATION, **QUERY},
    ),
    Operation(
        method="patch",
        path="/api/v1/organisations/{organisation_id}",
        id="renameOrganisation",
        tag="organisations",
        summary="Give an organisation another name",
        description="The id stays, and with it every series, model and key.",
        parameters=("organisation_id",),
        body=bodies.OrganisationBody,
        examples={"shop": {"name": "Lojas Ana e Rui"}},
        answers={200: json_answer("Renamed.", answers.Organisation, ORGANISATION)},
        problems={**NO_PERSON, **NO_ORGANISATION},
    ),
    Operation(
        method="get",
        path="/api/v1/organisations/{organisation_id}/members",
        id="listMembers",
        tag="organisations",
        summary="The members of an organisation",
        description="In the order in which they joined, each with their role.",
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
        description=(
            "It holds from the next request on. The last admin stays one; the open invitations of somebody who is no "
            "admin any more are withdrawn."
        ),
        parameters=("organisation_id", "user_id"),
        body=bodies.RoleBody,
        examples={"editor": {"role": "editor"}},
        answers={200: json_answer("The member.", answers.Member, MEMBER)},
        problems={
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
        description=(
            "Everybody may leave; admins send others away. Their open invitations end too. The last admin stays."
        ),
        parameters=("organisation_id", "user_id"),
        answers={204: DONE},
        problems={**NO_PERSON, 404: ("unknown-member", "unknown-organisation"), 409: ("last-admin",)},
    ),
    Operation(
        method="get",
        path="/api/v1/organisations/{organisation_id}/invitations",
        id="listInvitations",
        tag="organisations",
        summary="The open invitations to an organisation",
        description="Those that nobody has accepted and that have not run out.",
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
        description=(
            "No mail is sent. The answer has the link and the token, this once; both are good until `expires_at`, for "
            "this email address alone."
        ),
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
        problems={**NO_PERSON, **NO_ORGANISATION, 409: ("limit-reached",)},
    ),
    Operation(
        method="delete",
        path="/api/v1/organisations/{organisation_id}/invitations/{invitation_id}",
        id="withdrawInvitation",
        tag="organisations",
        summary="Withdraw an invitation",
        description="Its link is good no longer. One that was accepted is refused with 404.",
        parameters=("organisation_id", "invitation_id"),
        answers={204: DONE},
        problems={**NO_PERSON, 404: ("unknown-invitation", "unknown-organisation")},
    ),
)
