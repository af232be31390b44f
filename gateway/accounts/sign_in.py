"""Signing in and up: passwords judged, logins started, invitations taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, RowMapping, select, update

from gateway.access import Role
from gateway.accounts.audit import audit
from gateway.accounts.database import AccountsDatabase
from gateway.accounts.keys import hash_of
from gateway.accounts.logins import end_logins, new_refresh_token, start_login
from gateway.accounts.passwords import Passwords, require_good
from gateway.accounts.tables import INVITATIONS, MEMBERSHIPS, USERS
from gateway.accounts.throttle import Throttle
from gateway.accounts.tokens import Tokens
from gateway.accounts.users import add_member, add_organisation, add_user, plain_email, user_by_email
from gateway.guard import CHALLENGE
from gateway.problems import FieldFault, Problem
from gateway.settings import GatewaySettings

_SECOND = 1_000_000
_DAY = 86_400 * _SECOND
Kind = Literal["token", "browser"]


@dataclass(frozen=True)
class Signed:
    """Somebody who has signed in; `refresh_token` for programs only."""

    user_id: str
    login_id: str
    must_change_password: bool
    refresh_token: str = ""


class SignIn:
    """What the routes for programs and the pages for people have in common."""

    def __init__(self, database: AccountsDatabase, settings: GatewaySettings, tokens: Tokens) -> None:
        self.tokens = tokens
        self.passwords = Passwords(memory_kibibytes=settings.password_memory_kibibytes, rounds=settings.password_rounds)
        self._database = database
        self._settings = settings
        self._throttle = Throttle()

    def with_password(self, email: str, password: str, *, address: str, kind: Kind) -> Signed:
        """Sign somebody in.

        Raises:
            Problem: 401, the same and after the same time for nobody, for a wrong password and for who is disabled; 429
                after too many attempts.
        """
        email = email.strip().lower()
        self._throttle.attempt(email, address)
        with self._database.read() as connection:
            user = user_by_email(connection, email)
        is_right = self.passwords.is_right(password, None if user is None else user["password_hash"])
        if user is None or not is_right or user["is_disabled"]:
            raise _wrong()
        self._throttle.succeeded(email, address)
        fresh_hash = self.passwords.hash(password) if self.passwords.is_outdated(user["password_hash"]) else None
        with self._database.change() as connection:
            if fresh_hash is not None:
                # Only over the hash that was judged: the password may have been changed meanwhile.
                same = (USERS.c.user_id == user["user_id"]) & (USERS.c.password_hash == user["password_hash"])
                connection.execute(update(USERS).where(same).values(password_hash=fresh_hash))
            return self.start(connection, user["user_id"], kind, must_change_password=user["must_change_password"])

    def start(self, connection: Connection, user_id: str, kind: Kind, *, must_change_password: bool = False) -> Signed:
        """Start a login of somebody who has shown who they are."""
        settings, now = self._settings, self._database.now_us()
        lasts = settings.refresh_token_days * _DAY if kind == "token" else settings.browser_hours * 3600 * _SECOND
        login_id = start_login(connection, user_id, kind, now_us=now, expires_us=now + lasts)
        audit(connection, "login.started", login_id, organisation_id="", actor=f"user/{user_id}", kind=kind)
        refresh = ""
        if kind == "token":
            refresh = new_refresh_token(connection, login_id, now_us=now, expires_us=now + lasts)
        return Signed(user_id, login_id, must_change_password, refresh)

    def change_password(self, user_id: str, old: str, new: str, *, address: str, login_id: str | None) -> None:
        """Give somebody another password, who knows the one of today; ends their other logins.

        Raises:
            Problem: 401 wrong password, 422 a weak one, 429 too many attempts.
        """
        with self._database.read() as connection:
            user = connection.execute(select(USERS).where(USERS.c.user_id == user_id)).mappings().one()
        require_good(new, user["email"], field="new_password")
        self._throttle.attempt(user["email"], address)
        if not self.passwords.is_right(old, user["password_hash"]):
            raise _wrong()
        if old == new:
            fault = FieldFault(field="new_password", expected="another password", found="(not shown)")
            raise Problem(422, "weak-password", "new_password must be another one", errors=[fault])
        self._throttle.succeeded(user["email"], address)
        hashed = self.passwords.hash(new)
        with self._database.change() as connection:
            values = {"password_hash": hashed, "must_change_password": False}
            connection.execute(update(USERS).where(USERS.c.user_id == user_id).values(**values))
            end_logins(connection, user_id, self._database.now_us(), but=login_id)
            audit(connection, "password.changed", user_id, organisation_id="")

    def sign_up(
        self,
        *,
        email: str,
        name: str,
        password: str,
        organisation: str,
        invitation: str | None,
        address: str,
        kind: Kind = "token",
    ) -> Signed:
        """Make a user: of an invitation, or, where sign-up is open, with an organisation of their own.

        Raises:
            Problem: 403 without an invitation where one is needed, 404 for one that is not good, 409 for an address
                that somebody has, 422 for a weak password, 429 after too many attempts.
        """
        # Each invitation by itself: who tries many does not keep others from taking theirs.
        self._throttle.attempt(f"sign-up of {email or invitation}", address)
        if invitation is None and self._settings.signup != "open":
            raise Problem(403, "invitation-needed", "whoever signs up here needs an invitation of an organisation")
        with self._database.read() as connection:
            invited = None if invitation is None else invitation_of(connection, invitation, self._database.now_us())
        email = plain_email(email) if invited is None else invited["email"]
        require_good(password, email)
        hashed = self.passwords.hash(password)
        now = self._database.now_us()
        with self._database.change() as connection:
            user_id = add_user(connection, email=email, name=name, password_hash=hashed, now_us=now)
            if invited is None:
                add_organisation(connection, organisation or email, now, admin=user_id, actor=f"user/{user_id}")
            else:
                take(connection, invited, user_id, now)
            return self.start(connection, user_id, kind)


def invitation_of(connection: Connection, token: str, now_us: int) -> RowMapping:
    """Return the invitation of a token.

    Raises:
        Problem: 404; there is none, it was taken, withdrawn, or has run out.
    """
    is_good = (
        (INVITATIONS.c.token_hash == hash_of(token))
        & INVITATIONS.c.accepted_us.is_(None)
        & (INVITATIONS.c.expires_us > now_us)
    )
    found = connection.execute(select(INVITATIONS).where(is_good)).mappings().first()
    if found is None:
        raise _unknown_invitation()
    return found


def take(connection: Connection, invited: RowMapping, user_id: str, now_us: int) -> None:
    """Make somebody a member by an invitation, which can be taken once.

    Raises:
        Problem: 404; somebody else took it meanwhile. 409; they are a member already.
    """
    is_open = (INVITATIONS.c.invitation_id == invited["invitation_id"]) & INVITATIONS.c.accepted_us.is_(None)
    taken = connection.execute(update(INVITATIONS).where(is_open).values(accepted_us=now_us)).rowcount
    if taken != 1:
        raise _unknown_invitation()
    same = (MEMBERSHIPS.c.organisation_id == invited["organisation_id"]) & (MEMBERSHIPS.c.user_id == user_id)
    if connection.execute(select(MEMBERSHIPS.c.role).where(same)).first() is not None:
        raise Problem(409, "already-member", "the organisation has this member already; an admin can change the role")
    actor = f"user/{user_id}"
    add_member(connection, invited["organisation_id"], user_id, Role(invited["role"]), now_us, actor=actor)


def _unknown_invitation() -> Problem:
    return Problem(
        404,
        "unknown-invitation",
        "the invitation is unknown, was taken or withdrawn, or has run out; ask for another",
        errors=[FieldFault(field="invitation", expected="an invitation that is open", found="(not shown)")],
    )


def _wrong() -> Problem:
    return Problem(
        401,
        "wrong-credentials",
        "email and password do not go together, or the account is closed",
        headers={"WWW-Authenticate": CHALLENGE},
    )
