"""Answers that are kept for who sends a request again: what the log does not remember, a table does.

A row stands from the moment a request begins. Once the request has changed something its answer is put there, and who
sends the same again gets that answer. A request that was refused changed nothing: its row goes, and the next one is
judged anew. A gateway that dies in between leaves a row without an answer. Whether it had changed something is then
known to nobody, so nothing is done under that key again: who repeats it is told so, and looks for themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from sqlalchemy import ColumnElement, and_, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from gateway.accounts.database import AccountsDatabase
from gateway.accounts.tables import STORED_ANSWERS
from gateway.problems import FieldFault, Problem

KEEP_US = 86_400_000_000
#: No request takes so long: what began before that ended without an answer.
LONGEST_US = 600_000_000
_PURGE_US = 600_000_000
_RETRY_AFTER_SECONDS = 1


@dataclass(frozen=True)
class Answer:
    """What is sent again."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Claim:
    """A request that is being worked on under its key."""

    owner: str
    key: str
    created_us: int


class StoredAnswers:
    """Keeps answers for 24 hours, for all gateways that share the accounts database."""

    def __init__(self, database: AccountsDatabase) -> None:
        self._database = database
        self._purged_us = 0

    def begin(self, owner: str, key: str, wish: bytes) -> Answer | Claim:
        """Return the answer that a key has, or begin the first request under it.

        Args:
            owner: Whose the key is.
            key: What the caller calls the request.
            wish: Digest of what is asked for.

        Raises:
            Problem: 409 while the first request is worked on, or ended without an answer; 422 it asked for something
                else.
        """
        now = self._database.now_us()
        self._purge(now)
        claim = Claim(owner, key, now)
        row = {"owner": owner, "idempotency_key": key, "wish": wish, "created_us": now}
        try:
            with self._database.write() as connection:
                # One that is older is forgotten, also where the purge has not come by yet.
                connection.execute(
                    delete(STORED_ANSWERS).where(_named(claim), STORED_ANSWERS.c.created_us <= now - KEEP_US)
                )
                connection.execute(insert(STORED_ANSWERS), row)
        except IntegrityError:
            return self._before(claim, wish)
        return claim

    def end(self, claim: Claim, answer: Answer) -> None:
        """Keep the answer of a request that has changed something."""
        values = {
            "status": answer.status,
            "headers": msgspec.json.encode(answer.headers).decode(),
            "body": answer.body,
        }
        with self._database.write() as connection:
            connection.execute(update(STORED_ANSWERS).where(_of(claim)).values(**values))

    def drop(self, claim: Claim) -> None:
        """Forget a request that was refused: the next one under its key is the first."""
        with self._database.write() as connection:
            connection.execute(delete(STORED_ANSWERS).where(_of(claim)))

    def _before(self, claim: Claim, wish: bytes) -> Answer:
        with self._database.read() as connection:
            row = connection.execute(select(STORED_ANSWERS).where(_named(claim))).mappings().first()
        if row is None:
            raise _in_progress()  # the first one was refused at this very moment
        if row["wish"] != wish:
            expected = "a key that is new, or the request that first came with it"
            raise Problem(
                422,
                "idempotency-key-reused",
                f"the Idempotency-Key {claim.key!r} came before with another request; a new request needs a new key",
                errors=[FieldFault(field="Idempotency-Key", expected=expected, found=claim.key)],
            )
        if row["status"] is not None:
            return Answer(row["status"], msgspec.json.decode(row["headers"]), bytes(row["body"]))
        if claim.created_us - row["created_us"] <= LONGEST_US:
            raise _in_progress()
        raise Problem(
            409,
            "outcome-unknown",
            "the first request with this Idempotency-Key ended without an answer, and may have changed something or "
            "not; look whether it has, and send it with a new key if not",
        )

    def _purge(self, now: int) -> None:
        if now - self._purged_us < _PURGE_US:
            return
        self._purged_us = now
        with self._database.write() as connection:
            connection.execute(delete(STORED_ANSWERS).where(STORED_ANSWERS.c.created_us <= now - KEEP_US))


def _in_progress() -> Problem:
    return request_in_progress("the first request with this Idempotency-Key is still being worked on")


def request_in_progress(detail: str) -> Problem:
    """Return the 409 for a repeat that comes too early."""
    return Problem(
        409,
        "request-in-progress",
        f"{detail}; send it again in a moment",
        headers={"Retry-After": str(_RETRY_AFTER_SECONDS)},
    )


def _named(claim: Claim) -> ColumnElement[bool]:
    return and_(STORED_ANSWERS.c.owner == claim.owner, STORED_ANSWERS.c.idempotency_key == claim.key)


def _of(claim: Claim) -> ColumnElement[bool]:
    # Not that of somebody who came a day later.
    return and_(
        STORED_ANSWERS.c.owner == claim.owner,
        STORED_ANSWERS.c.idempotency_key == claim.key,
        STORED_ANSWERS.c.created_us == claim.created_us,
    )
