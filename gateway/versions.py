"""Reads of what was known when: the rows of a series as they stood at a time or offset, and what was restated."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Engine,
    FromClause,
    Select,
    Table,
    and_,
    exists,
    func,
    or_,
    select,
    true,
    union_all,
)

from gateway import tables
from gateway.store import translated

Mapped = Mapping[str, Any]
_CHUNK = 5_000


@dataclass(frozen=True, kw_only=True)
class KnownAt:
    """A point at which something was known; ``None`` sets no limit.

    Attributes:
        before_offset: Only batches before this offset.
        received_us: Only batches that were received at or before this time (microseconds since the epoch).
    """

    before_offset: int | None = None
    received_us: int | None = None

    @property
    def is_now(self) -> bool:
        """Return whether everything counts."""
        return self.before_offset is None and self.received_us is None

    def holds(self, rows: FromClause) -> ColumnElement[bool]:
        """Return the condition under which a version counts."""
        condition: ColumnElement[bool] = true()
        if self.before_offset is not None:
            condition = and_(condition, rows.c.log_offset < self.before_offset)
        if self.received_us is not None:
            condition = and_(condition, rows.c.received_us <= self.received_us)
        return condition


class Versions:
    """Answers questions about versions from the store. Every method may raise `StoreUnavailable`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def _all(self, query: Select[Any] | CompoundSelect[Any]) -> list[Mapped]:
        with translated(), self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def observations(
        self,
        series_id: str,
        known: KnownAt,
        *,
        after: int | None,
        before: int | None,
        limit: int,
        is_newest_first: bool,
    ) -> list[Mapped]:
        """Return rows as they were known: ``time`` (s), ``columns`` (JSON text), ``log_offset``, ``received_us``.

        Only times strictly between ``after`` and ``before``. Of a time the last version that counts is the latest one
        where that counts; else it is the last of the replaced ones that do.
        """
        latest, replaced = tables.OBSERVATIONS, tables.OBSERVATION_VERSIONS
        queries = [select(*_named(latest)).where(known.holds(latest))]
        if not known.is_now:
            later, now = replaced.alias("later"), latest.alias("now")
            is_superseded = or_(
                exists().where(
                    _same_row(later, replaced), later.c.log_offset > replaced.c.log_offset, known.holds(later)
                ),
                exists().where(_same_row(now, replaced), known.holds(now)),
            )
            queries.append(select(*_named(replaced)).where(known.holds(replaced), ~is_superseded))
        # One statement: between two of them a row could go from one table to the other.
        parts = []
        for table, query in zip((latest, replaced), queries, strict=False):
            asked = query.where(table.c.series_id == series_id)
            if after is not None:
                asked = asked.where(table.c.time > after)
            if before is not None:
                asked = asked.where(table.c.time < before)
            order = table.c.time.desc() if is_newest_first else table.c.time
            parts.append(select(asked.order_by(order).limit(limit).subquery()))
        whole = union_all(*parts)
        time = whole.selected_columns["time"]
        return self._all(whole.order_by(time.desc() if is_newest_first else time).limit(limit))

    def batches(self, series_id: str, offsets: Collection[int]) -> dict[int, Mapped]:
        """Return the batches of a series by offset, with their ``kind``, ``reason`` and ``source``."""
        table, wanted = tables.OBSERVATION_BATCHES, sorted(set(offsets))
        found: dict[int, Mapped] = {}
        for start in range(0, len(wanted), _CHUNK):
            chunk = wanted[start : start + _CHUNK]
            rows = self._all(select(table).where(table.c.series_id == series_id, table.c.log_offset.in_(chunk)))
            found |= {row["log_offset"]: row for row in rows}
        return found

    def restatements(
        self, series_id: str, *, beyond: tuple[int, int] | None, limit: int, is_newest_first: bool
    ) -> list[Mapped]:
        """Return replaced rows that differ from what replaced them, by log order, then time.

        Each has ``log_offset`` of the replacement, ``time`` (s), and the JSON texts ``before`` and ``after``.

        Args:
            series_id: Of which series.
            beyond: Only those beyond this offset and time, in the order asked for.
            limit: At most so many.
            is_newest_first: The order.
        """
        old, latest = tables.OBSERVATION_VERSIONS, tables.OBSERVATIONS
        new = old.alias("new")
        after = func.coalesce(new.c.columns, latest.c.columns)
        query = (
            select(
                old.c.replaced_by.label("log_offset"), old.c.time, old.c.columns.label("before"), after.label("after")
            )
            .outerjoin(new, and_(_same_row(new, old), new.c.log_offset == old.c.replaced_by))
            .outerjoin(latest, and_(_same_row(latest, old), latest.c.log_offset == old.c.replaced_by))
            .where(old.c.series_id == series_id, old.c.columns != after)
        )
        place = (old.c.replaced_by, old.c.time)
        if beyond is not None:
            offset, time = beyond
            sides = (place[0] < offset, place[1] < time) if is_newest_first else (place[0] > offset, place[1] > time)
            query = query.where(or_(sides[0], and_(place[0] == offset, sides[1])))
        return self._all(query.order_by(*(each.desc() if is_newest_first else each for each in place)).limit(limit))

    def first_offset(self, series_id: str) -> int | None:
        """Return the offset of the first batch of a series."""
        table = tables.OBSERVATION_BATCHES
        (row,) = self._all(select(func.min(table.c.log_offset).label("first")).where(table.c.series_id == series_id))
        return None if row["first"] is None else int(row["first"])

    def first_offset_after(self, series_ids: Sequence[str], received_us: int) -> int | None:
        """Return the offset of the first batch of these series of one partition that was received after a time."""
        table = tables.OBSERVATION_BATCHES
        firsts = []
        for start in range(0, len(series_ids), _CHUNK):
            query = select(func.min(table.c.log_offset).label("first")).where(
                table.c.series_id.in_(series_ids[start : start + _CHUNK]), table.c.received_us > received_us
            )
            firsts += [row["first"] for row in self._all(query) if row["first"] is not None]
        return min(firsts, default=None)


def _named(rows: Table) -> list[ColumnElement[Any]]:
    return [rows.c.time, rows.c.columns, rows.c.log_offset, rows.c.received_us]


def _same_row(one: FromClause, other: FromClause) -> ColumnElement[bool]:
    return and_(one.c.series_id == other.c.series_id, one.c.time == other.c.time)
