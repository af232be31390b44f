"""Requests a minute: of each user and key, of each address that does not sign in, of each project.

Each gateway counts for itself: what must hold over all of them are the quotas of `gateway.limits.quotas`.
"""

from __future__ import annotations

import math
import time

from flask import Request
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from gateway.access import Principal
from gateway.guard import Authenticator
from gateway.limits.addresses import network_of
from gateway.limits.told import Standing, exceeded, note
from gateway.problems import Problem

_MINUTE = 60
#: What looks after the gateway asks often, and files of the pages come by the dozen.
FREE = frozenset({"system.health", "system.ready", "pages.static", "pages.plotly", "docs.static", "docs.packaged_file"})


class RequestRates:
    """Counts requests; 0 is no limit.

    Args:
        caller: Requests a minute of a user, or of a key that has no lower limit of its own.
        address: Requests a minute of an address that does not, or not rightly, sign in.
    """

    def __init__(self, *, caller: int, address: int) -> None:
        self._caller = caller
        self._address = address
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def count(self, principal: Principal, address: str) -> None:
        """Count a request of a caller.

        Raises:
            Problem: 429; there were too many within a minute.
        """
        if principal.is_anonymous:
            self._count("requests", self._address, f"address {network_of(address)}")
            return
        # A key can be given less, and nobody gives themselves more.
        limits = [limit for limit in (self._caller, principal.requests_a_minute) if limit]
        self._count("requests", min(limits, default=0), f"caller {principal.name}")

    def count_project(self, project_id: str, limit: int) -> None:
        """Count a request that touches a project.

        Raises:
            Problem: 429; all its callers together sent too many within a minute.
        """
        self._count("project-requests", limit, f"project {project_id}")

    def _count(self, name: str, limit: int, subject: str) -> None:
        if not limit:
            return
        item = RateLimitItemPerMinute(limit)
        is_let_in = self._limiter.hit(item, subject)
        stats = self._limiter.get_window_stats(item, subject)
        seconds = min(_MINUTE, max(1, math.ceil(stats.reset_time - time.time())))
        standing = Standing(name, limit, _MINUTE, max(0, stats.remaining), seconds)
        if not is_let_in:
            raise exceeded("rate-limited", f"at most {limit} requests a minute are answered", standing)
        note(standing)


class CountingAuthenticator:
    """Counts the requests of everybody whom another authenticator knows or turns away."""

    def __init__(self, inner: Authenticator, rates: RequestRates) -> None:
        self._inner = inner
        self._rates = rates

    def authenticate(self, request: Request) -> Principal:
        """Return who sends it.

        Raises:
            Problem: That of the other authenticator, or 429.
        """
        if request.endpoint in FREE:
            return self._inner.authenticate(request)
        address = request.remote_addr or ""
        try:
            principal = self._inner.authenticate(request)
        except Problem:
            # Who tries credentials that are not good is nobody.
            self._rates.count(Principal(), address)
            raise
        self._rates.count(principal, address)
        return principal
