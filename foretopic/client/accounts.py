"""People, organisations and keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from foretopic.client.documents.accounts import (
    ApiKeyList,
    AuditLine,
    AuditPage,
    InvitationList,
    Joined,
    JsonWebKeySet,
    Me,
    Member,
    MemberList,
    NewApiKey,
    NewInvitation,
    NewUser,
    Organisation,
    OrganisationList,
    OrganisationQuotasInForce,
    Tokens,
    User,
    UserPage,
)
from foretopic.client.offered import listing, operation
from foretopic.client.session import Session, change, done, path, read
from foretopic.client.steps import Asker, Call, Flow, Pages

_ORGANISATION = "/api/v1/organisations/{one}"


class Accounts:
    """Who may do what."""

    session: Session

    @operation
    def log_in(self, email: str, password: str) -> Call[Tokens]:
        """Sign in; from now on this client is that person, and gets new tokens by itself when these run out."""
        return self._signing_in("/api/v1/auth/login", {"email": email, "password": password})

    @operation
    def sign_up(
        self,
        password: str,
        *,
        email: str | None = None,
        name: str | None = None,
        invitation: str | None = None,
        organisation: str | None = None,
    ) -> Call[Tokens]:
        """Sign up and be signed in, by an invitation or, where that is open, with an email address."""
        body = {
            "password": password,
            "email": email,
            "name": name,
            "invitation": invitation,
            "organisation": organisation,
        }
        return self._signing_in("/api/v1/auth/signup", body)

    @operation
    def refresh_tokens(self, refresh_token: str) -> Call[Tokens]:
        """Go on with tokens of an earlier login; those of this client are renewed by themselves."""
        return self._signing_in("/api/v1/auth/refresh", {"refresh_token": refresh_token})

    @operation
    def log_out(self) -> Call[None]:
        """Sign out: the tokens of this login are no longer good."""

        def forgotten(_asker: Asker, _answer: None) -> Flow[None]:
            yield from ()
            self.session.tokens = None

        return Call(method="POST", path="/api/v1/auth/logout", then=forgotten)

    def _signing_in(self, target: str, body: Mapping[str, object]) -> Call[Tokens]:
        session = self.session

        def kept(_asker: Asker, tokens: Tokens) -> Flow[Tokens]:
            yield from ()
            session.tokens = tokens
            return tokens

        kinds = {200: Tokens, 201: Tokens}
        return Call(method="POST", path=target, answers=kinds, body=body, is_once=True, is_signed=False, then=kept)

    @operation
    def get_me(self) -> Call[Me]:
        """Return who this client is, and what it may do."""
        return read("/api/v1/me", Me)

    @operation
    def get_signing_keys(self) -> Call[JsonWebKeySet]:
        """Return the public keys that verify access tokens."""
        return read("/.well-known/jwks.json", JsonWebKeySet)

    @operation
    def change_password(self, password: str, new_password: str) -> Call[None]:
        """Choose another password; every other login ends."""
        return done("POST", "/api/v1/auth/password", {"password": password, "new_password": new_password})

    @operation
    def accept_invitation(self, invitation: str) -> Call[Joined]:
        """Become a member by the token of an invitation."""
        return change("POST", "/api/v1/invitations/accept", Joined, {"invitation": invitation})

    @operation
    def list_organisations(self) -> Call[OrganisationList]:
        """Return the organisations of the caller."""
        return read("/api/v1/organisations", OrganisationList)

    @operation
    def create_organisation(self, name: str) -> Call[Organisation]:
        """Make an organisation and be its admin."""
        return change("POST", "/api/v1/organisations", Organisation, {"name": name})

    @operation
    def get_organisation(self, organisation_id: str) -> Call[Organisation]:
        """Return an organisation."""
        return read(path(_ORGANISATION, one=organisation_id), Organisation)

    @operation
    def rename_organisation(self, organisation_id: str, name: str) -> Call[Organisation]:
        """Call an organisation something else."""
        return change("PATCH", path(_ORGANISATION, one=organisation_id), Organisation, {"name": name})

    @operation
    def get_organisation_quotas(self, organisation_id: str) -> Call[OrganisationQuotasInForce]:
        """Return what an organisation may have at once and use in a day, and what it has and uses."""
        return read(path(_ORGANISATION + "/quotas", one=organisation_id), OrganisationQuotasInForce)

    @operation
    def change_organisation_quotas(
        self, /, organisation_id: str, **quotas: int | None
    ) -> Call[OrganisationQuotasInForce]:
        """Change what an organisation may have and use; ``None``: as the installation says. Operators only."""
        return Call(
            method="PATCH",
            path=path(_ORGANISATION + "/quotas", one=organisation_id),
            answers={200: OrganisationQuotasInForce},
            body=quotas,
            sends_none=True,
        )

    @operation
    def list_members(self, organisation_id: str) -> Call[MemberList]:
        """Return the members of an organisation."""
        return read(path(_ORGANISATION + "/members", one=organisation_id), MemberList)

    @operation
    def change_member(self, organisation_id: str, user_id: str, role: str) -> Call[Member]:
        """Give a member another role."""
        target = path(_ORGANISATION + "/members/{two}", one=organisation_id, two=user_id)
        return change("PATCH", target, Member, {"role": role})

    @operation
    def remove_member(self, organisation_id: str, user_id: str) -> Call[None]:
        """Remove somebody from an organisation."""
        return done("DELETE", path(_ORGANISATION + "/members/{two}", one=organisation_id, two=user_id))

    @operation
    def list_invitations(self, organisation_id: str) -> Call[InvitationList]:
        """Return the open invitations of an organisation."""
        return read(path(_ORGANISATION + "/invitations", one=organisation_id), InvitationList)

    @operation
    def invite(self, organisation_id: str, email: str, *, role: str | None = None) -> Call[NewInvitation]:
        """Invite somebody; the answer has the link for them, this once."""
        return Call(
            method="POST",
            path=path(_ORGANISATION + "/invitations", one=organisation_id),
            answers={201: NewInvitation},
            body={"email": email, "role": role},
            is_once=True,
        )

    @operation
    def withdraw_invitation(self, organisation_id: str, invitation_id: str) -> Call[None]:
        """Take an invitation back."""
        target = path(_ORGANISATION + "/invitations/{two}", one=organisation_id, two=invitation_id)
        return done("DELETE", target)

    @operation
    def list_keys(self, *, organisation_id: str | None = None) -> Call[ApiKeyList]:
        """Return the API keys of an organisation."""
        return read("/api/v1/keys", ApiKeyList, organisation_id=organisation_id)

    @operation
    def create_key(
        self,
        name: str,
        *,
        role: str | None = None,
        scopes: Sequence[str] | None = None,
        project_id: str | None = None,
        expires_at: datetime | None = None,
        organisation_id: str | None = None,
    ) -> Call[NewApiKey]:
        """Make an API key; the answer has it, this once."""
        body = {
            "name": name,
            "role": role,
            "scopes": scopes,
            "project_id": project_id,
            "expires_at": expires_at,
            "organisation_id": organisation_id,
        }
        return Call(method="POST", path="/api/v1/keys", answers={201: NewApiKey}, body=body, is_once=True)

    @operation
    def revoke_key(self, key_id: str) -> Call[None]:
        """Make an API key useless, at once."""
        return done("DELETE", path("/api/v1/keys/{one}", one=key_id))

    @listing
    def list_users(self, *, limit: int | None = None) -> Pages[User]:
        """Yield the users of the gateway; operators only. ``limit`` is of one page."""
        return Pages(read("/api/v1/users", UserPage, limit=limit), "users", User)

    @operation
    def create_user(
        self,
        email: str,
        *,
        name: str | None = None,
        is_operator: bool | None = None,
        organisation_id: str | None = None,
        role: str | None = None,
    ) -> Call[NewUser]:
        """Make a user; the answer has their one-time password, this once."""
        body = {
            "email": email,
            "name": name,
            "is_operator": is_operator,
            "organisation_id": organisation_id,
            "role": role,
        }
        return Call(method="POST", path="/api/v1/users", answers={201: NewUser}, body=body, is_once=True)

    @operation
    def get_user(self, user_id: str) -> Call[User]:
        """Return a user."""
        return read(path("/api/v1/users/{one}", one=user_id), User)

    @operation
    def change_user(
        self,
        user_id: str,
        *,
        name: str | None = None,
        is_operator: bool | None = None,
        is_disabled: bool | None = None,
    ) -> Call[User]:
        """Change what a user is called or may do."""
        body = {"name": name, "is_operator": is_operator, "is_disabled": is_disabled}
        return change("PATCH", path("/api/v1/users/{one}", one=user_id), User, body)

    @listing
    def list_audit(self, *, organisation_id: str | None = None, limit: int | None = None) -> Pages[AuditLine]:
        """Yield who changed what, the newest first; ``limit`` is of one page."""
        call = read("/api/v1/audit", AuditPage, organisation_id=organisation_id, limit=limit)
        return Pages(call, "audit", AuditLine)
