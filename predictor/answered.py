"""The memory of which requests have been answered, bounded a partition."""

from __future__ import annotations

from collections import OrderedDict

#: Where a request stands: the offset of its message, and its index in a batch.
Place = tuple[int, int]


class AnsweredRequests:
    """Remember by request id, and by the place of the request that was answered.

    An answer counts as *given* (place known) when it was handed out to be published, and as *seen* once it was read
    back from `forecasts`. The same place may ask again while its answer is only given: its publication failed and is
    tried again, with the same bytes. Any other place with a known id is a repeat.

    Bounded: beyond ``limit`` ids a partition the oldest are forgotten. A forgotten request that is delivered again is
    answered again with the same bytes, since it is pinned; only a *different* pin under an id that old would find a
    second answer. The limit is therefore chosen far above what one caller repeats within its patience.
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"limit must be >= 1, was {limit}")
        self.limit = limit
        self._places: dict[int, OrderedDict[str, Place | None]] = {}

    def is_repeat(self, partition: int, request_id: str, place: Place) -> bool:
        """Return whether another place has been answered under this id, or the answer to this one was seen."""
        known = self._places.get(partition)
        if known is None or request_id not in known:
            return False
        return known[request_id] != place

    def give(self, partition: int, request_id: str, place: Place) -> None:
        """Note that the answer to the request at ``place`` is handed out to be published."""
        self._put(partition, request_id, place)

    def see(self, partition: int, request_id: str) -> None:
        """Note that an answer stands in the log."""
        self._put(partition, request_id, None)

    def forget(self, partition: int) -> None:
        """Drop the memory of a partition."""
        self._places.pop(partition, None)

    def count(self, partition: int) -> int:
        """Return how many ids are remembered for a partition."""
        return len(self._places.get(partition, ()))

    def _put(self, partition: int, request_id: str, place: Place | None) -> None:
        known = self._places.setdefault(partition, OrderedDict())
        known[request_id] = place
        if len(known) > self.limit:
            known.popitem(last=False)
