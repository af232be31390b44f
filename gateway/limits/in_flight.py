"""Requests that are worked on at once: of each caller, and of all."""

from __future__ import annotations

import threading
from collections import Counter

from gateway.access import Principal
from gateway.limits.addresses import network_of
from gateway.problems import Problem, unavailable

_RETRY_AFTER_SECONDS = 1


class InFlight:
    """Counts the requests inside.

    Args:
        most: How many may be inside at once.
        most_a_caller: How many of one caller; who runs a machine of their own has no such limit. Of one organisation,
            whose keys are callers of their own, at most half of ``most``.
    """

    def __init__(self, *, most: int, most_a_caller: int) -> None:
        self._most = most
        self._most_a_caller = most_a_caller
        self._most_an_organisation = max(1, most // 2)
        self._lock = threading.Lock()
        self._inside = 0
        self._of_caller: Counter[str] = Counter()

    def enter(self) -> None:
        """Let a request in, before it is known whose it is.

        Raises:
            Problem: 503; there are too many.
        """
        with self._lock:
            if self._inside >= self._most:
                detail = f"at most {self._most} requests are worked on at once; come again"
                raise unavailable("busy", detail, retry_after_seconds=_RETRY_AFTER_SECONDS)
            self._inside += 1

    def enter_as(self, principal: Principal, address: str) -> tuple[str, ...]:
        """Let a request of a caller in; return the names under which it `leave`s.

        Raises:
            Problem: 429; the caller, or its organisation, has too many.
        """
        name = principal.name or (network_of(address) if principal.is_anonymous else "")
        limits = {name: (self._most_a_caller, "one caller")} if name else {}
        if name and principal.organisation_id:
            limits[principal.organisation_id] = (self._most_an_organisation, "one organisation")
        with self._lock:
            for counted, (limit, whose) in limits.items():
                if self._of_caller[counted] >= limit:
                    detail = f"at most {limit} requests of {whose} are worked on at once; come again"
                    raise Problem(429, "too-many-at-once", detail, headers={"Retry-After": str(_RETRY_AFTER_SECONDS)})
            self._of_caller.update(limits.keys())
        return tuple(limits)

    def leave(self, names: tuple[str, ...]) -> None:
        """Let a request out; ``names`` are those of `enter_as`, if it came so far."""
        with self._lock:
            self._inside -= 1
            self._of_caller.subtract(names)
            for name in names:
                if not self._of_caller[name]:
                    del self._of_caller[name]
