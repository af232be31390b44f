"""Which final events may be told: those whose consequences the store has."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from gateway.projection import Projection
from runtime.broker import TopicPartition

_MAX_REMEMBERED = 10_000


class Settled:
    """Holds back an event such as "ingest succeeded" until the store has what was written before it.

    What an event speaks of was acknowledged by the log before the event was. So once the store has reached the ends
    that those partitions had at any moment after the event was read, it has everything: whoever is told then finds
    the observations or the model, and a forecast asked for afterwards is pinned behind them. The reader could not
    promise this by itself, since it reads partitions in no order among each other.
    """

    def __init__(
        self,
        projection: Projection,
        end_offsets: Callable[[Iterable[TopicPartition]], dict[TopicPartition, int]],
    ) -> None:
        self._projection = projection
        self._end_offsets = end_offsets
        self._goals: OrderedDict[str, dict[TopicPartition, int]] = OrderedDict()

    def holds(self, event_id: str, places: Callable[[], Iterable[TopicPartition]]) -> bool:
        """Return whether the store has everything that ``places`` held when this was first asked about an event.

        Raises:
            TransientError: The log cannot say now.
        """
        goal = self._goals.get(event_id)
        if goal is None:
            goal = self._goals[event_id] = self._end_offsets(places())
            if len(self._goals) > _MAX_REMEMBERED:
                self._goals.popitem(last=False)
        return self._projection.has_written(goal)
