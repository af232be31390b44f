"""Who sends a request: by an access token, an API key, or the cookie of a browser that has signed in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import structlog
from flask import Request, current_app, g, session

from gateway.access import ANONYMOUS, LOCAL, Principal
from gateway.accounts import keys
from gateway.accounts.database import AccountsDatabase
from gateway.accounts.people import People, Person
from gateway.accounts.tokens import NotGood, Tokens
from gateway.guard import Authenticator, permission_of, unauthenticated
from gateway.problems import FieldFault, Problem
from gateway.same_site import SameSite, require_csrf_token
from gateway.service import GatewayService
from gateway.store import StoreUnavailable

#: In the cookie: the login that it stands for.
LOGIN = "login"
_LOG = structlog.get_logger("gateway")
#: These bring other credentials in their body; an access token that has expired does not stand in their way.
_BY_BODY = frozenset({"auth.login", "auth.refresh"})
#: All that somebody with a one-time password may do.
_BEFORE_PASSWORD = frozenset(
    {"auth.change_password", "auth.logout", "auth.me", "login.password", "login.change_password", "login.logout"}
)
_NOT_GOOD = "the credentials are not, or no longer, good; sign in again, or use another key"


class AccountAuthenticator:
    """Knows callers by what they send; without credentials they are nobody."""

    def __init__(self, database: AccountsDatabase, people: People, tokens: Tokens, same_site: SameSite) -> None:
        self._database = database
        self._people = people
        self._tokens = tokens
        self._same_site = same_site
        self._last_uses = keys.LastUses(database)

    def authenticate(self, request: Request) -> Principal:
        """Return who sends it."""
        if request.endpoint in _BY_BODY:
            return ANONYMOUS
        header = request.headers.get("Authorization")
        if header is None:
            return self._of_cookie(request)
        scheme, _, credentials = header.partition(" ")
        credentials = credentials.strip()
        if scheme.lower() != "bearer" or not credentials:
            raise unauthenticated("the header Authorization must be `Bearer` and an access token or an API key")
        if keys.looks_like_key(credentials):
            return self._of_key(credentials)
        return self._of_token(credentials, request)

    def _of_token(self, token: str, request: Request) -> Principal:
        try:
            claimed = self._tokens.check(token)
        except NotGood as error:
            # Why it is refused helps only who forges one; the log may tell, without the token.
            _LOG.info("token-refused", reason=str(error))
            raise unauthenticated(_NOT_GOOD) from error
        person = self._signed_in(claimed.login_id, "token")
        if person is None or person.user_id != claimed.user_id:
            raise unauthenticated(_NOT_GOOD)
        return self._principal(person, claimed.login_id, "token", request)

    def _of_key(self, secret: str) -> Principal:
        key_hash = keys.hash_of(secret)
        principal = self._behind_key(key_hash)
        if principal is None:
            raise unauthenticated(_NOT_GOOD)
        key_id = principal.name.removeprefix("key/")
        try:
            self._last_uses.note(key_id)
        except StoreUnavailable as error:
            # The key is good whether or not its use can be noted now.
            _LOG.warning("last-use-not-noted", key_id=key_id, reason=str(error))
        return replace(principal, is_current=lambda: self._behind_key(key_hash) == principal)

    def _behind_key(self, key_hash: bytes) -> Principal | None:
        known = self._people.key(key_hash)
        if known is None or (known.expires_us is not None and known.expires_us <= self._database.now_us()):
            return None
        creator = self._people.person(known.created_by)
        return None if creator is None else known.principal(creator)

    def _of_cookie(self, request: Request) -> Principal:
        # Only who has one pays for looking into it.
        if not request.cookies or LOGIN not in session:
            return ANONYMOUS
        login_id = str(session[LOGIN])
        person = self._signed_in(login_id, "browser")
        if person is None:
            return ANONYMOUS
        # Other sites can make a browser send this cookie, so it proves nothing on its own.
        if self._same_site.is_unsafe(request):
            self._same_site.require(request)
            require_csrf_token(request)
        g.is_by_cookie = True
        return self._principal(person, login_id, "browser", request)

    def _principal(self, person: Person, login_id: str, kind: str, request: Request) -> Principal:
        if person.must_change_password and request.endpoint not in _BEFORE_PASSWORD:
            if request.endpoint is None or permission_of(current_app, request.endpoint) is None:
                # What everybody may see, such as the style of the page on which the password is changed.
                return ANONYMOUS
            raise Problem(
                403,
                "password-change-required",
                "the password was given for one sign-in; choose another with POST /api/v1/auth/password, or at /login",
                errors=[
                    FieldFault(field="Authorization", expected="a password of your own", found="a one-time password")
                ],
            )
        principal = person.principal

        def is_current() -> bool:
            now = self._signed_in(login_id, kind)
            return now is not None and now.principal == principal

        return replace(principal, is_current=is_current)

    def _signed_in(self, login_id: str, kind: str) -> Person | None:
        login = self._people.login(login_id)
        if login is None or login.kind != kind or login.expires_us <= self._database.now_us():
            return None
        person = self._people.person(login.user_id)
        return None if person is None or person.is_disabled else person


class LocalAuthenticator:
    """Takes who reaches a machine of one's own for its owner, but not a page of another site in their browser."""

    def __init__(self, inner: AccountAuthenticator, same_site: SameSite) -> None:
        self._inner = inner
        self._same_site = same_site

    def authenticate(self, request: Request) -> Principal:
        """Return who sends it; without credentials it is the owner."""
        self._same_site.require_host(request)
        if self._same_site.is_unsafe(request):
            self._same_site.require(request)
        found = self._inner.authenticate(request)
        return LOCAL if found.is_anonymous else found


def authenticator_of(service: GatewayService) -> Authenticator:
    """Return what knows the callers of a gateway with these settings."""
    settings = service.settings
    same_site = SameSite(hosts=settings.allowed_hosts, origins=[settings.public_url])
    accounts = AccountAuthenticator(service.accounts, service.people, service.tokens, same_site)
    if settings.accounts == "required":
        return accounts
    # Nobody signs in here, so the pages that may read may also write.
    origins = [settings.public_url, *settings.cross_origins]
    return LocalAuthenticator(accounts, SameSite(hosts=settings.allowed_hosts, origins=origins))


def login_of(request: Request, tokens: Tokens) -> str | None:
    """Return the login of a request that was authenticated, ``None`` for a key."""
    header: Any = request.headers.get("Authorization")
    if header is None:
        return str(session[LOGIN]) if LOGIN in session else None
    credentials = header.partition(" ")[2].strip()
    return None if keys.looks_like_key(credentials) else tokens.check(credentials).login_id
