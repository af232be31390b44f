"""What lets forecast requests in, or turns them away before any work is done for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.dispatcher import Dispatcher
from gateway.meters import Meters
from gateway.problems import Problem, unavailable


class Door:
    """Counts the requests inside.

    Args:
        limit: How many may be inside at once; of one organisation, at most half of them.
        dispatcher: Knows whether the log takes anything.
        require_caught_up: Raises as long as answers would come from a stale view of the log.
        meters: Count who was turned away, and show how many are inside.
    """

    def __init__(
        self, limit: int, *, dispatcher: Dispatcher, require_caught_up: Callable[[], None], meters: Meters
    ) -> None:
        self._limit = limit
        self._dispatcher = dispatcher
        self._require_caught_up = require_caught_up
        self._meters = meters
        self._inside = 0
        self._of_organisation: Counter[str] = Counter()
        meters.waiting.set_function(lambda: self._inside)

    @contextmanager
    def admits(self, places: int, organisation_id: str) -> Iterator[None]:
        """Let in what takes so many of the places; what takes more than there are waits for an empty room.

        Args:
            places: How many.
            organisation_id: Of the caller; empty where nobody signs in.

        Raises:
            Problem: 429 the organisation has its part of the places; 503 they are taken, or the log takes
                or gives nothing now.
        """
        part = max(1, self._limit // 2)
        if organisation_id and self._of_organisation[organisation_id] + min(places, part) > part:
            raise Problem(
                429,
                "too-many-at-once",
                f"at most {part} requests of one organisation may wait at once; come again",
                headers={"Retry-After": "1"},
            )
        if self._inside + min(places, self._limit) > self._limit:
            self._meters.turned_away.labels("busy").inc()
            raise unavailable(
                "busy", f"at most {self._limit} requests may wait at once; come again", retry_after_seconds=1
            )
        if self._dispatcher.is_stuck():
            self._meters.turned_away.labels("broker").inc()
            raise unavailable("broker-unavailable", "the event log acknowledges nothing now; come again later")
        self._require_caught_up()
        self._inside += places
        self._of_organisation[organisation_id] += places
        try:
            yield
        finally:
            self._inside -= places
            self._of_organisation -= Counter({organisation_id: places})  # drops who has none
