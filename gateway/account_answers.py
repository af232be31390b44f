"""Answers about accounts, and how rows become them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import RowMapping

from gateway.access import Permission, Role
from gateway.answers import Answer, Count
from gateway.observed import received_at


class TokenAnswer(Answer, frozen=True, kw_only=True):
    """Somebody is signed in: a token for requests, and one to exchange when it runs out (RFC 6749)."""

    access_token: str
    token_type: Literal["Bearer"]
    #: Seconds.
    expires_in: Count
    refresh_token: str
    #: True: only the password can be changed with these tokens.
    must_change_password: bool


class MembershipLine(Answer, frozen=True, kw_only=True):
    """What somebody is in an organisation."""

    organisation_id: str
    name: str
    role: Role


class Me(Answer, frozen=True, kw_only=True):
    """Who sends this request."""

    #: `user`, `key`, or `local`: the one user of a machine of one's own.
    kind: Literal["user", "key", "local"]
    user_id: str
    email: str
    name: str
    is_operator: bool
    must_change_password: bool
    #: For which it asks for what belongs to none.
    organisation_id: str
    organisations: tuple[MembershipLine, ...]
    #: Of a key: its limits; null: none.
    scopes: tuple[Permission, ...] | None
    project_ids: tuple[str, ...] | None


class User(Answer, frozen=True, kw_only=True):
    """A user, as operators see them."""

    user_id: str
    email: str
    name: str
    is_operator: bool
    is_disabled: bool
    must_change_password: bool
    created_at: datetime
    last_login_at: datetime | None


class NewUser(User, frozen=True, kw_only=True):
    """A user who was just made."""

    #: Shown once; it must be changed at the first sign-in.
    password: str


class UserPage(Answer, frozen=True, kw_only=True):
    """Some users."""

    users: tuple[User, ...]
    #: Path of the next page; null on the last one.
    next: str | None


class Organisation(Answer, frozen=True, kw_only=True):
    """An organisation."""

    organisation_id: str
    name: str
    created_at: datetime
    #: What the caller is there; null for an operator who is no member.
    role: Role | None


class OrganisationList(Answer, frozen=True, kw_only=True):
    """The organisations that the caller is a member of; operators see all."""

    organisations: tuple[Organisation, ...]


class Member(Answer, frozen=True, kw_only=True):
    """A member of an organisation."""

    user_id: str
    email: str
    name: str
    role: Role
    joined_at: datetime


class Joined(Answer, frozen=True, kw_only=True):
    """What somebody became by an invitation."""

    organisation_id: str
    role: Role


class MemberList(Answer, frozen=True, kw_only=True):
    """The members of an organisation."""

    members: tuple[Member, ...]


class Invitation(Answer, frozen=True, kw_only=True):
    """An invitation that has not been taken."""

    invitation_id: str
    organisation_id: str
    email: str
    role: Role
    created_at: datetime
    expires_at: datetime


class NewInvitation(Invitation, frozen=True, kw_only=True):
    """An invitation that was just made: give token or link to whoever is invited."""

    #: Shown once.
    token: str
    link: str


class InvitationList(Answer, frozen=True, kw_only=True):
    """The open invitations of an organisation."""

    invitations: tuple[Invitation, ...]


class ApiKey(Answer, frozen=True, kw_only=True):
    """An API key, without the key itself."""

    key_id: str
    #: Its first characters, to tell keys apart.
    shown: str
    name: str
    organisation_id: str
    project_id: str | None
    role: Role
    scopes: tuple[Permission, ...] | None
    created_by: str
    created_at: datetime
    expires_at: datetime | None
    #: Null: as the settings of the gateway say.
    requests_a_minute: int | None
    revoked_at: datetime | None
    #: To the minute.
    last_used_at: datetime | None


class NewApiKey(ApiKey, frozen=True, kw_only=True):
    """An API key that was just made."""

    #: Shown once.
    key: str


class ApiKeyList(Answer, frozen=True, kw_only=True):
    """The API keys of an organisation, the newest first."""

    keys: tuple[ApiKey, ...]


class AuditLine(Answer, frozen=True, kw_only=True):
    """A change: who made it, what, to what."""

    sequence: Count
    time: datetime
    organisation_id: str
    #: `user/ID`, `key/ID`, `command-line`, or empty for the one user of a machine of one's own.
    actor: str
    action: str
    subject: str
    details: dict[str, Any]
    x_request_id: str


class AuditPage(Answer, frozen=True, kw_only=True):
    """Some changes, the newest first."""

    audit: tuple[AuditLine, ...]
    #: Path of the next page; null on the last one.
    next: str | None


class JsonWebKey(Answer, frozen=True, kw_only=True):
    """The public half of a key that signs access tokens (RFC 7517, RFC 8037)."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str
    kid: str
    use: Literal["sig"]
    alg: Literal["Ed25519"]


class JsonWebKeySet(Answer, frozen=True, kw_only=True):
    """The keys that verify access tokens."""

    keys: tuple[JsonWebKey, ...]


#: Column of a row -> field of an answer.
_TIMES = {
    "created_us": "created_at",
    "last_login_us": "last_login_at",
    "expires_us": "expires_at",
    "revoked_us": "revoked_at",
    "last_used_us": "last_used_at",
    "time_us": "time",
}


def utc_of(microseconds: int | None) -> datetime | None:
    """Return microseconds since the epoch as a UTC time."""
    return None if microseconds is None else received_at(microseconds)


def of_row(row: RowMapping, type_: type[Answer], **more: Any) -> dict[str, Any]:
    """Return the fields that an answer has, from a row; nothing else of it, so that no secret goes out."""
    values = {_TIMES.get(name, name): utc_of(value) if name in _TIMES else value for name, value in row.items()}
    values |= more
    return {field.name: values[field.name] for field in msgspec.structs.fields(type_)}
