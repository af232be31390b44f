"""Sign-ins: a login lasts until it is ended or runs out; its refresh tokens are exchanged, each once."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from gateway.accounts.database import AccountsDatabase, new_row_id
from gateway.accounts.keys import hash_of
from gateway.accounts.tables import LOGINS, REFRESH_TOKENS, USERS

_RANDOM_BYTES = 32
_LONGEST = 100
#: What a user has at once; those that have ended are forgotten.
MOST_LOGINS = 100
#: Exchanged tokens of one login that are known: one that is older is refused as one that never was.
MOST_USED_TOKENS = 1000


@dataclass(frozen=True)
class Refreshed:
    """The login of a refresh token that was good, and the token that replaces it."""

    user_id: str
    login_id: str
    refresh_token: str
    expires_us: int


def start_login(connection: Connection, user_id: str, kind: str, *, now_us: int, expires_us: int) -> str:
    """Sign a user in; return the id of the login. Of more than `MOST_LOGINS` the oldest end."""
    newest = (
        select(LOGINS.c.login_id)
        .where(LOGINS.c.user_id == user_id, LOGINS.c.revoked_us.is_(None), LOGINS.c.expires_us > now_us)
        .order_by(LOGINS.c.created_us.desc(), LOGINS.c.login_id)
        .limit(MOST_LOGINS - 1)
    )
    connection.execute(delete(LOGINS).where(LOGINS.c.user_id == user_id, LOGINS.c.login_id.not_in(newest)))
    login_id = new_row_id("login")
    row = {"login_id": login_id, "user_id": user_id, "kind": kind, "created_us": now_us, "expires_us": expires_us}
    connection.execute(insert(LOGINS), row)
    connection.execute(update(USERS).where(USERS.c.user_id == user_id).values(last_login_us=now_us))
    return login_id


def end_login(connection: Connection, login_id: str, now_us: int) -> None:
    """Sign out: neither its access tokens nor its refresh tokens are good any more."""
    is_open = (LOGINS.c.login_id == login_id) & LOGINS.c.revoked_us.is_(None)
    connection.execute(update(LOGINS).where(is_open).values(revoked_us=now_us))


def end_logins(connection: Connection, user_id: str, now_us: int, *, but: str | None = None) -> None:
    """Sign a user out everywhere, but for one login."""
    theirs = (LOGINS.c.user_id == user_id) & LOGINS.c.revoked_us.is_(None)
    if but is not None:
        theirs &= LOGINS.c.login_id != but
    connection.execute(update(LOGINS).where(theirs).values(revoked_us=now_us))


def new_refresh_token(connection: Connection, login_id: str, *, now_us: int, expires_us: int) -> str:
    """Return a refresh token of a login; only its hash is kept."""
    token = secrets.token_urlsafe(_RANDOM_BYTES)
    row = {"token_hash": hash_of(token), "login_id": login_id, "created_us": now_us, "expires_us": expires_us}
    connection.execute(insert(REFRESH_TOKENS), row)
    return token


def exchange(database: AccountsDatabase, token: str) -> Refreshed | None:
    """Exchange a refresh token for the next one; ``None``: it is not good.

    One that was exchanged before was stolen, before or after: its whole login ends, whoever holds the newest.
    """
    if len(token) > _LONGEST:
        return None
    now, tokens = database.now_us(), REFRESH_TOKENS
    with database.change() as connection:
        # Of two that come at once, one finds it used: the condition is judged by the database.
        is_good = (tokens.c.token_hash == hash_of(token)) & tokens.c.used_us.is_(None) & (tokens.c.expires_us > now)
        is_first = connection.execute(update(tokens).where(is_good).values(used_us=now)).rowcount == 1
        query = select(tokens.c.login_id, tokens.c.used_us).where(tokens.c.token_hash == hash_of(token))
        found = connection.execute(query).first()
        if found is None:
            return None
        if not is_first:
            if found.used_us is not None:
                end_login(connection, found.login_id, now)
            return None
        login = connection.execute(
            select(LOGINS)
            .join(USERS, USERS.c.user_id == LOGINS.c.user_id)
            .where(
                LOGINS.c.login_id == found.login_id,
                LOGINS.c.revoked_us.is_(None),
                LOGINS.c.expires_us > now,
                USERS.c.is_disabled.is_(False),
            )
        ).first()
        if login is None:
            return None
        _forget_oldest(connection, login.login_id)
        fresh = new_refresh_token(connection, login.login_id, now_us=now, expires_us=login.expires_us)
        return Refreshed(login.user_id, login.login_id, fresh, login.expires_us)


def _forget_oldest(connection: Connection, login_id: str) -> None:
    tokens = REFRESH_TOKENS
    used = (tokens.c.login_id == login_id) & tokens.c.used_us.is_not(None)
    first_too_many = (
        select(tokens.c.used_us).where(used).order_by(tokens.c.used_us.desc()).limit(1).offset(MOST_USED_TOKENS)
    )
    connection.execute(delete(tokens).where(used, tokens.c.used_us <= first_too_many.scalar_subquery()))
