"""Passwords: argon2id, the rules for new ones, and the same time for a wrong one and for nobody's."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import TypeVar

import gevent
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from gevent import monkey

from gateway.problems import FieldFault, Problem, unavailable

SHORTEST = 12
LONGEST = 500
#: The commonest ones that are long enough; shorter ones are refused anyway.
_COMMONEST = frozenset(
    {
        "123456789012",
        "1234567890123",
        "12345678901234",
        "123456789123",
        "111111111111",
        "000000000000",
        "121212121212",
        "123123123123",
        "112233445566",
        "987654321098",
        "qwertyuiop12",
        "qwertyuiop123",
        "qwertyuiopas",
        "qwertyuiopasdf",
        "1qaz2wsx3edc",
        "1q2w3e4r5t6y",
        "q1w2e3r4t5y6",
        "asdfghjkl123",
        "zxcvbnm12345",
        "abcdefghijkl",
        "abcdefghijklm",
        "abcdef123456",
        "abc123abc123",
        "password1234",
        "password12345",
        "password123456",
        "passwordpassword",
        "password123!",
        "password2024",
        "password2025",
        "password2026",
        "mypassword123",
        "p@ssw0rd1234",
        "passw0rd1234",
        "adminadminadmin",
        "administrator",
        "administrator1",
        "admin1234567",
        "admin123admin123",
        "letmeinletmein",
        "letmein12345",
        "welcome12345",
        "welcome123456",
        "iloveyou1234",
        "iloveyouiloveyou",
        "changeme1234",
        "changemechangeme",
        "foretopic123",
        "foretopic1234",
        "foretopicforetopic",
        "correcthorsebatterystaple",
    }
)
#: Each takes the memory of the settings; more at once would take it from everything else.
_AT_ONCE = 2
_LONGEST_WAIT_SECONDS = 10.0

T = TypeVar("T")


class Passwords:
    """Hashes passwords and checks them, without keeping other requests waiting.

    Args:
        memory_kibibytes: Memory that one hash takes.
        rounds: Passes over it.
    """

    def __init__(self, *, memory_kibibytes: int, rounds: int) -> None:
        self._hasher = PasswordHasher(memory_cost=memory_kibibytes, time_cost=rounds, parallelism=1)
        self._room = threading.BoundedSemaphore(_AT_ONCE)
        #: Of nobody: checked where there is no password, so that the time says nothing about who exists.
        self._nobodys = self._hasher.hash(secrets.token_urlsafe(32))

    def hash(self, password: str) -> str:
        """Return what is kept of a password."""
        return self._aside(lambda: self._hasher.hash(password))

    def is_right(self, password: str, password_hash: str | None) -> bool:
        """Return whether a password is the one of a hash; it takes the same time where there is no hash."""
        is_right = self._aside(lambda: self._verify(password[:LONGEST], password_hash or self._nobodys))
        return is_right and password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """Return whether a hash was made with other parameters than those of today."""
        return self._hasher.check_needs_rehash(password_hash)

    def _verify(self, password: str, password_hash: str) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    def _aside(self, work: Callable[[], T]) -> T:
        if not self._room.acquire(timeout=_LONGEST_WAIT_SECONDS):
            raise unavailable("busy", "many sign in at this moment; come again")
        try:
            if monkey.is_module_patched("threading"):
                # In the one thread of the server it would stop every other request for as long as it takes.
                found: T = gevent.get_hub().threadpool.apply(work)
                return found
            return work()
        finally:
            self._room.release()


def require_good(password: str, email: str, *, field: str = "password") -> None:
    """Let a new password through.

    Raises:
        Problem: 422, which does not repeat it.
    """
    plain = password.casefold()
    expected = ""
    if not SHORTEST <= len(password) <= LONGEST:
        expected = f"{SHORTEST} to {LONGEST} characters"
    elif plain in {email.casefold(), email.partition("@")[0].casefold()}:
        expected = "something else than the email address"
    elif plain in _COMMONEST or len(set(plain)) <= len("ab"):
        expected = "something that is not among the commonest passwords"
    if expected:
        fault = FieldFault(field=field, expected=expected, found="(not shown)")
        raise Problem(422, "weak-password", f"{field} must be {expected}", errors=[fault])


def one_time_password() -> str:
    """Return a password for one sign-in."""
    return secrets.token_urlsafe(15)
