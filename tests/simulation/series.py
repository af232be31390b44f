"""The two series of the simulation, one in each partition."""

from __future__ import annotations

from runtime.broker import partition_for
from schemas.forecasts import ForecastRequested

#: Fewer partitions than in production, so that requests meet each other.
PARTITIONS = 2


def home(key: str) -> int:
    """Return the partition of a key."""
    return partition_for(key.encode(), PARTITIONS)


def home_of(request: ForecastRequested) -> int:
    """Return the partition of a request."""
    return home(request.series_id or request.request_id)


def _first_in(partition: int) -> str:
    return next(f"sim/S{number}@1d" for number in range(100) if home(f"sim/S{number}@1d") == partition)


SERIES = (_first_in(0), _first_in(1))
