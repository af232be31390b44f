"""Guessing passwords takes long: attempts are counted by account and by address."""

from __future__ import annotations

import hashlib
import math
import time

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from gateway.limits.addresses import network_of
from gateway.problems import Problem

_MINUTES = 15
#: One who forgot theirs, from where they are; an account from anywhere; an address that many share.
_PAIR = RateLimitItemPerMinute(10, _MINUTES, "pair")
_ACCOUNT = RateLimitItemPerMinute(50, _MINUTES, "account")
_ADDRESS = RateLimitItemPerMinute(100, _MINUTES, "address")


class Throttle:
    """Counts attempts on this gateway; who exists makes no difference."""

    def __init__(self) -> None:
        self._storage = MemoryStorage()
        self._limiter = MovingWindowRateLimiter(self._storage)

    def attempt(self, email: str, address: str) -> None:
        """Count an attempt before it is judged: many at once count too.

        Raises:
            Problem: 429; there were too many.
        """
        account, network = _digest(email), network_of(address)
        # The address first: who is over that limit leaves nothing more in memory, whatever names they make up.
        for limit, key in ((_ADDRESS, network), (_PAIR, f"{account} {network}"), (_ACCOUNT, account)):
            if not self._limiter.hit(limit, key):
                raise self._too_many(limit, key)

    def succeeded(self, email: str, address: str) -> None:
        """Forget the attempts of somebody who knew the password."""
        account = _digest(email)
        self._limiter.clear(_PAIR, f"{account} {network_of(address)}")
        self._limiter.clear(_ACCOUNT, account)

    def _too_many(self, limit: RateLimitItem, key: str) -> Problem:
        reset = self._limiter.get_window_stats(limit, key).reset_time
        seconds = max(1, math.ceil(reset - time.time()))
        return Problem(
            429,
            "too-many-attempts",
            f"too many attempts; come again in {seconds} seconds",
            headers={"Retry-After": str(seconds)},
        )


def _digest(email: str) -> str:
    # What people type here may be a password.
    return hashlib.sha256(email.casefold().encode()).hexdigest()
