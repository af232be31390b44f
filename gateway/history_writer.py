"""Writes the history of forecast requests, inside the transaction of `gateway.store`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Table, bindparam, select, update

from gateway import tables
from gateway.history import USAGE_COUNTS, USAGE_KEYS, Row, Usage, join

#: As many ids as one query names: enough for a full buffer in a few, and far below the limits of both databases.
_CHUNK = 5_000


def write_history(
    connection: Connection, insert: Callable[[Table], Any], requests: Sequence[Row], answers: Sequence[Row]
) -> None:
    """Join ``requests`` and ``answers`` to what the store has, and count them.

    Args:
        connection: In the transaction that also moves the positions.
        insert: The insert of the dialect, which knows `ON CONFLICT`.
        requests: See `gateway.history.join`.
        answers: Likewise.
    """
    keys = list({row["request_id"] for row in (*requests, *answers)})
    known = _known(connection, keys)
    joined = join(known, requests, answers)
    table = tables.FORECAST_REQUESTS
    new = [row for row in joined.changed if row["request_id"] not in known]
    if new:
        connection.execute(insert(table), new)
    changed = [_as_update(row) for row in joined.changed if row["request_id"] in known]
    if changed:
        connection.execute(update(table).where(table.c.request_id == bindparam("of_request_id")), changed)
    _count(connection, insert, joined.usage)


def _known(connection: Connection, keys: Sequence[str]) -> dict[str, Row]:
    table, found = tables.FORECAST_REQUESTS, {}
    for start in range(0, len(keys), _CHUNK):
        rows = connection.execute(select(table).where(table.c.request_id.in_(keys[start : start + _CHUNK])))
        found.update({row["request_id"]: dict(row) for row in rows.mappings()})
    return found


def _as_update(row: Row) -> Row:
    return {"of_request_id" if name == "request_id" else name: value for name, value in row.items()}


def _count(connection: Connection, insert: Callable[[Table], Any], usage: Usage) -> None:
    if not usage:
        return
    table = tables.USAGE
    statement = insert(table)
    added = {name: table.c[name] + statement.excluded[name] for name in USAGE_COUNTS}
    rows = [
        dict(zip((*USAGE_KEYS, *USAGE_COUNTS), (*key, *counts), strict=True)) for key, counts in sorted(usage.items())
    ]
    connection.execute(statement.on_conflict_do_update(index_elements=list(USAGE_KEYS), set_=added), rows)
    # A row that moved to another day or model leaves none behind: where a transaction ended must not be seen.
    connection.execute(table.delete().where(table.c.forecasts == 0))
