"""Signing in at an OpenID provider: by authorization code with state, nonce and PKCE; who that is here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from authlib.integrations.base_client.errors import OAuthError  # type: ignore[import-untyped]
from authlib.integrations.flask_client import OAuth  # type: ignore[import-untyped]
from flask.sansio.app import App
from joserfc.errors import JoseError
from requests import RequestException
from sqlalchemy import Connection, RowMapping, insert, select

from gateway.accounts.database import AccountsDatabase
from gateway.accounts.sign_in import take
from gateway.accounts.tables import IDENTITIES, INVITATIONS, USERS
from gateway.accounts.users import add_organisation, add_user, user_by_email
from gateway.problems import Problem
from gateway.settings import GatewaySettings

_NAME = "oidc"
_TIMEOUT_SECONDS = 10
#: What a provider may sign with: never nothing, and never a secret that both sides know.
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")


class Provider:
    """One OpenID provider, found by its discovery document."""

    def __init__(self, app: App, settings: GatewaySettings) -> None:
        self._settings = settings
        self._issuer = settings.oidc_issuer.rstrip("/")
        oauth = OAuth(app)
        oauth.register(
            _NAME,
            client_id=settings.oidc_client_id,
            client_secret=settings.oidc_client_secret.get_secret_value() or None,
            server_metadata_url=f"{self._issuer}/.well-known/openid-configuration",
            client_kwargs={
                "scope": "openid email profile",
                "code_challenge_method": "S256",
                "default_timeout": _TIMEOUT_SECONDS,
            },
        )
        self._client = oauth.create_client(_NAME)

    def redirect(self, callback: str) -> Any:
        """Return the redirect to the provider; state, nonce and verifier go into the session of the browser.

        Raises:
            Problem: 502; the provider cannot be reached, or is another than the settings name.
        """
        try:
            self._require_ours()
            return self._client.authorize_redirect(callback)
        except (RequestException, ValueError, RuntimeError) as error:
            raise _failed("the provider cannot be reached") from error

    def claims(self) -> Mapping[str, Any]:
        """Return what the provider says of who comes back from it.

        Raises:
            Problem: 502; the answer is not one to what this browser asked, or not to be trusted.
        """
        try:
            self._require_ours()
            token = self._client.authorize_access_token()
        except (OAuthError, JoseError, RequestException, ValueError, RuntimeError, KeyError) as error:
            raise _failed(f"the answer of the provider cannot be used ({type(error).__name__})") from error
        claims = token.get("userinfo")
        if not claims or not claims.get("sub"):
            raise _failed("the provider did not say who this is")
        return dict(claims)

    def _require_ours(self) -> None:
        metadata = self._client.load_server_metadata()
        if str(metadata.get("issuer", "")).rstrip("/") != self._issuer:
            raise ValueError("another issuer")
        offered = metadata.get("id_token_signing_alg_values_supported") or ["RS256"]
        metadata["id_token_signing_alg_values_supported"] = [name for name in offered if name in _ALGORITHMS]

    def user_of(self, database: AccountsDatabase, claims: Mapping[str, Any]) -> str:
        """Return the id of the user whom the provider names; who is allowed to becomes one.

        Raises:
            Problem: 403; nobody here, and not to be made.
        """
        now = database.now_us()
        identity = {"issuer": self._issuer, "subject": str(claims["sub"])}
        with database.change() as connection:
            known = connection.execute(
                select(USERS.c.user_id, USERS.c.is_disabled)
                .join(IDENTITIES, IDENTITIES.c.user_id == USERS.c.user_id)
                .where(IDENTITIES.c.issuer == identity["issuer"], IDENTITIES.c.subject == identity["subject"])
            ).first()
            if known is not None:
                if known.is_disabled:
                    raise _refused("the account is closed")
                return str(known.user_id)
            user_id = self._new_user(connection, claims, now)
            connection.execute(insert(IDENTITIES), {**identity, "user_id": user_id, "created_us": now})
            return user_id

    def _new_user(self, connection: Connection, claims: Mapping[str, Any], now: int) -> str:
        email = str(claims.get("email", "")).lower()
        # An address that nobody has checked is what somebody typed: it may be that of another.
        if not email or claims.get("email_verified") is not True:
            raise _refused("the provider has not verified the email address")
        domains = {domain.lower() for domain in self._settings.oidc_allowed_domains}
        if domains and email.rpartition("@")[2] not in domains:
            raise _refused("the domain of the email address is not among those that may sign in")
        user = user_by_email(connection, email)
        if user is not None:
            # With a password, it may have been made by somebody else who waits for the owner of the address.
            if user["password_hash"] is not None or user["is_disabled"]:
                raise _refused("this email address has an account with a password", "sign in with that")
            own = (IDENTITIES.c.user_id == user["user_id"]) & (IDENTITIES.c.issuer == self._issuer)
            if connection.execute(select(IDENTITIES.c.subject).where(own)).first() is not None:
                # The provider gave the address to somebody else, who is not whom we know by it.
                raise _refused("this email address belongs to another person of the provider")
            return str(user["user_id"])
        invited = _invitation(connection, email, now)
        if invited is None and self._settings.oidc_signup != "open":
            raise _refused("nobody with this email address was invited")
        user_id = add_user(connection, email=email, name=str(claims.get("name", ""))[:200], now_us=now)
        if invited is None:
            add_organisation(connection, email, now, admin=user_id, actor=f"user/{user_id}")
        else:
            take(connection, invited, user_id, now)
        return user_id


def _invitation(connection: Connection, email: str, now: int) -> RowMapping | None:
    table = INVITATIONS
    is_open = table.c.accepted_us.is_(None) & (table.c.expires_us > now)
    query = select(table).where(table.c.email == email, is_open).order_by(table.c.created_us).limit(1)
    return connection.execute(query).mappings().first()


def _failed(why: str) -> Problem:
    return Problem(502, "provider-failed", f"{why}; sign in again, or in another way")


def _refused(why: str, advice: str = "ask an admin of your organisation") -> Problem:
    return Problem(403, "sign-in-refused", f"{why}; {advice}")
