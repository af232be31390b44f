"""Rows as they travel, column by column: the rule that live rows and observation batches share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import isfinite

from schemas.record import require_ascending, require_finite, require_utc


def require_rows(time: Sequence[datetime], columns: Mapping[str, Sequence[float | None]]) -> None:
    """Refuse times that are not UTC or do not strictly ascend, and columns without one finite value a time.

    Asked of every row that travels, by each who reads it: words are only made where something is wrong.
    """
    for each in time:
        require_utc("time", each)
    require_ascending("time", time)
    for name, values in columns.items():
        if len(values) != len(time):
            raise ValueError(f"columns[{name!r}] must have {len(time)} values, one a time, had {len(values)}")
        if not _are_finite(values):
            require_finite(f"columns[{name!r}]", values)


def _are_finite(values: Sequence[float | None]) -> bool:
    """Return whether all are there and finite, as far as their sum tells."""
    try:
        return isfinite(sum(values))  # type: ignore[arg-type]  # a missing value is a `TypeError`
    except (TypeError, OverflowError):
        return False
