"""Request bodies of accounts; those with secrets in them are never repeated."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from gateway.access import Permission, Role
from gateway.bodies import Body, SecretBody
from schemas.record import UtcTime

Email = Annotated[str, Meta(min_length=3, max_length=320)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Password = Annotated[str, Meta(min_length=1, max_length=500)]
Token = Annotated[str, Meta(min_length=1, max_length=100)]


class LoginBody(SecretBody, frozen=True, kw_only=True):
    """Who signs in."""

    email: Email
    password: Password


class RefreshBody(SecretBody, frozen=True, kw_only=True):
    """A refresh token; it is good once."""

    refresh_token: Token


class SignUpBody(SecretBody, frozen=True, kw_only=True):
    """Who signs up: with an invitation, or with an address where sign-up is open."""

    password: Password
    name: Annotated[str, Meta(max_length=200)] = ""
    email: Email | None = None
    invitation: Token | None = None
    #: Name of their own organisation; the email address unless given.
    organisation: Annotated[str, Meta(max_length=200)] = ""

    def __post_init__(self) -> None:
        if (self.email is None) == (self.invitation is None):
            raise ValueError("exactly one of email and invitation must be given: an invitation has an address")


class PasswordBody(SecretBody, frozen=True, kw_only=True):
    """The password of today, and another."""

    password: Password
    new_password: Password


class AcceptBody(SecretBody, frozen=True, kw_only=True):
    """The token of an invitation."""

    invitation: Token


class OrganisationBody(Body, frozen=True, kw_only=True):
    """What an organisation is called."""

    name: Name


class RoleBody(Body, frozen=True, kw_only=True):
    """What a member is from now on."""

    role: Role


class InvitationBody(Body, frozen=True, kw_only=True):
    """Who is invited, and what they will be."""

    email: Email
    role: Role = Role.VIEWER


class KeyBody(Body, frozen=True, kw_only=True):
    """What an API key may do: at most what whoever makes it may do, at any time."""

    name: Name
    role: Role = Role.EDITOR
    #: Only these permissions of the role; null: all of them.
    scopes: Annotated[tuple[Permission, ...], Meta(min_length=1)] | None = None
    #: Only this project; null: all of the organisation.
    project_id: Annotated[str, Meta(min_length=1, max_length=80)] | None = None
    #: Null: until it is revoked.
    expires_at: UtcTime | None = None
    #: Requests a minute, where that is less than the gateway lets any caller send.
    requests_a_minute: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    #: Null: the first one of whoever makes it.
    organisation_id: Annotated[str, Meta(max_length=40)] | None = None


class UserBody(Body, frozen=True, kw_only=True):
    """Somebody who gets a one-time password."""

    email: Email
    name: Annotated[str, Meta(max_length=200)] = ""
    is_operator: bool = False
    #: Of which organisation they become a member, and what there.
    organisation_id: Annotated[str, Meta(max_length=40)] | None = None
    role: Role = Role.VIEWER


class UserChangeBody(Body, frozen=True, kw_only=True):
    """What changes of a user; what is left out stays."""

    name: Name | msgspec.UnsetType = msgspec.UNSET
    is_operator: bool | msgspec.UnsetType = msgspec.UNSET
    is_disabled: bool | msgspec.UnsetType = msgspec.UNSET
