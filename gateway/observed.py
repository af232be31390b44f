"""Observations as they stand in an answer: column by column, with their versions where asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from gateway.versions import Mapped, Versions

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COLUMNS = msgspec.json.Decoder(dict[str, float | None])


def utc(seconds: int | None) -> datetime | None:
    """Return seconds since the epoch as a UTC time."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def received_at(microseconds: int) -> datetime:
    """Return microseconds since the epoch as a UTC time, exactly."""
    return _EPOCH + timedelta(microseconds=microseconds)


def decoded(columns: str) -> dict[str, float | None]:
    """Return the values of a stored row by column."""
    return _COLUMNS.decode(columns)


def columnar(rows: Sequence[Mapped], names: Iterable[str] = ()) -> dict[str, Any]:
    """Return rows with ``time`` (s) and ``columns`` (JSON text) as arrays, of ``names`` or of all their columns."""
    values = [decoded(row["columns"]) for row in rows]
    wanted = tuple(names) or dict.fromkeys(name for columns in values for name in columns)
    return {
        "time": [utc(row["time"]) for row in rows],
        "columns": {name: [columns.get(name) for columns in values] for name in wanted},
    }


def versions_of(versions: Versions, series_id: str, rows: Sequence[Mapped]) -> dict[str, Any]:
    """Return where the versions in ``rows`` come from: an array each, as long as ``rows``."""
    batches = versions.batches(series_id, [row["log_offset"] for row in rows])
    found = [batches[row["log_offset"]] for row in rows]
    return {
        "log_offset": [row["log_offset"] for row in rows],
        "received_at": [received_at(row["received_us"]) for row in rows],
        **{name: [batch[name] for batch in found] for name in ("kind", "reason", "source")},
    }
