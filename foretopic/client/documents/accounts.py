"""Who may come in."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from foretopic.client.documents.document import Document
from foretopic.client.documents.projects import UsedToday


class ApiKey(Document, frozen=True, kw_only=True):
    """An API key, without the key itself."""

    key_id: str
    shown: str
    name: str
    organisation_id: str
    project_id: str | None = None
    role: str
    scopes: tuple[str, ...] | None = None
    created_by: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None


class ApiKeyList(Document, frozen=True, kw_only=True):
    """The API keys of an organisation, the newest first."""

    keys: tuple[ApiKey, ...]


class AuditLine(Document, frozen=True, kw_only=True):
    """A change: who made it, what, to what."""

    sequence: int
    time: datetime
    organisation_id: str
    actor: str
    action: str
    subject: str
    details: dict[str, Any]
    x_request_id: str


class AuditPage(Document, frozen=True, kw_only=True):
    """Some changes, the newest first."""

    audit: tuple[AuditLine, ...]
    next: str | None = None


class OrganisationQuotas(Document, frozen=True, kw_only=True):
    """What an organisation may have and use; null: as the settings of the installation say."""

    projects: int | None = None
    upload_bytes: int | None = None
    api_keys: int | None = None
    members: int | None = None
    forecasts_a_day: int | None = None
    trainings_a_day: int | None = None
    rows_a_day: int | None = None


class OrganisationInUse(Document, frozen=True, kw_only=True):
    """What an organisation has now."""

    projects: int
    upload_bytes: int
    api_keys: int
    members: int


class OrganisationLimits(OrganisationInUse, frozen=True, kw_only=True):
    """What holds for an organisation, in a day over all its projects; 0: no limit."""

    forecasts_a_day: int
    trainings_a_day: int
    rows_a_day: int


class OrganisationQuotasInForce(Document, frozen=True, kw_only=True):
    """What an organisation may have at once and use in a day, and what it has and uses."""

    organisation_id: str
    quotas: OrganisationQuotas
    in_force: OrganisationLimits
    used_today: UsedToday
    in_use: OrganisationInUse
    resets_at: datetime


class Invitation(Document, frozen=True, kw_only=True):
    """An invitation that has not been taken."""

    invitation_id: str
    organisation_id: str
    email: str
    role: str
    created_at: datetime
    expires_at: datetime


class InvitationList(Document, frozen=True, kw_only=True):
    """The open invitations of an organisation."""

    invitations: tuple[Invitation, ...]


class Joined(Document, frozen=True, kw_only=True):
    """What somebody became by an invitation."""

    organisation_id: str
    role: str


class JsonWebKey(Document, frozen=True, kw_only=True):
    """The public half of a key that signs access tokens (RFC 7517, RFC 8037)."""

    kty: str
    crv: str
    x: str
    kid: str
    use: str
    alg: str


class JsonWebKeySet(Document, frozen=True, kw_only=True):
    """The keys that verify access tokens."""

    keys: tuple[JsonWebKey, ...]


class MembershipLine(Document, frozen=True, kw_only=True):
    """What somebody is in an organisation."""

    organisation_id: str
    name: str
    role: str


class Me(Document, frozen=True, kw_only=True):
    """Who sends this request."""

    kind: str
    user_id: str
    email: str
    name: str
    is_operator: bool
    must_change_password: bool
    organisation_id: str
    organisations: tuple[MembershipLine, ...]
    scopes: tuple[str, ...] | None = None
    project_ids: tuple[str, ...] | None = None


class Member(Document, frozen=True, kw_only=True):
    """A member of an organisation."""

    user_id: str
    email: str
    name: str
    role: str
    joined_at: datetime


class MemberList(Document, frozen=True, kw_only=True):
    """The members of an organisation."""

    members: tuple[Member, ...]


class NewApiKey(ApiKey, frozen=True, kw_only=True):
    """An API key that was just made."""

    key: str


class NewInvitation(Invitation, frozen=True, kw_only=True):
    """An invitation that was just made: give token or link to whoever is invited."""

    token: str
    link: str


class Organisation(Document, frozen=True, kw_only=True):
    """An organisation."""

    organisation_id: str
    name: str
    created_at: datetime
    role: str | None = None


class OrganisationList(Document, frozen=True, kw_only=True):
    """The organisations that the caller is a member of; operators see all."""

    organisations: tuple[Organisation, ...]


class Tokens(Document, frozen=True, kw_only=True):
    """Somebody is signed in: a token for requests, and one to exchange when it runs out (RFC 6749)."""

    access_token: str
    token_type: str
    expires_in: int
    refresh_token: str
    must_change_password: bool


class User(Document, frozen=True, kw_only=True):
    """A user, as operators see them."""

    user_id: str
    email: str
    name: str
    is_operator: bool
    is_disabled: bool
    must_change_password: bool
    created_at: datetime
    last_login_at: datetime | None = None


class NewUser(User, frozen=True, kw_only=True):
    """A user who was just made."""

    password: str


class UserPage(Document, frozen=True, kw_only=True):
    """Some users."""

    users: tuple[User, ...]
    next: str | None = None
