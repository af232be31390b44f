"""Pages of the history, the newest first, each from an index and never from more than so many of its entries.

One filter leads: it has an index that ends in the time, so a page is read where it begins. The others are looked at
row by row, and where few rows pass, a page would read for ever; it ends after `MAX_LOOKED_AT` rows instead, with what
it has found and the place where it stopped. So a page may hold fewer rows than were asked for, even none, and the
last one is the one behind which there is no next.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Select, Table, and_, or_, select, text, true

from gateway import tables
from gateway.access import PUBLIC_PROJECTS, project_of
from gateway.store import Store, translated

Mapped = Mapping[str, Any]
#: Rows that a page looks at for filters without an index of their own: they lie apart, each may be a read of the disk.
MAX_LOOKED_AT = 2_000
#: So many projects are merged from their own indexes; whoever sees more of them pages through all rows.
_MAX_TENANTS = 20
#: Pages are merged here too, so the database must order ids as we do, whatever its language.
_COLLATIONS = {"sqlite": "BINARY", "postgresql": "C"}


@dataclass(frozen=True)
class Kind:
    """A table of the history.

    Attributes:
        key: The id that breaks a tie of time.
        tenant: The column that says who may see a row.
        filters: Name of a filter -> column.
        leading: Filters with an index, the one that leaves the fewest rows first.
        partial: Filter -> what its index says that the query must say too.
        hidden: Columns that nobody is shown.
    """

    table: Table
    key: str
    tenant: str
    filters: Mapping[str, str]
    leading: tuple[str, ...]
    partial: Mapping[str, str] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()


_SHARED = {"series_id": "series_id", "project": "project", "requester": "requester", "cause": "cause"}
FORECASTS = Kind(
    table=tables.FORECAST_REQUESTS,
    key="request_id",
    tenant="tenant",
    filters={**_SHARED, "model": "model", "version": "version", "status": "status", "batch_id": "batch_id"},
    leading=("batch_id", "requester", "series_id", "version", "model", "status"),
    partial={"batch_id": "batch_id IS NOT NULL", "requester": "requester <> ''", "status": "status <> 'issued'"},
    hidden=frozenset({"tenant", "wish", "is_pinned", "log_partition", "log_offset", "organisation_id"}),
)
TRAININGS = Kind(
    table=tables.TRAININGS,
    key="training_id",
    tenant="project",
    filters={**_SHARED, "model": "model", "version": "version", "status": "state"},
    leading=("project",),
)
INGESTS = Kind(
    table=tables.INGESTS,
    key="ingest_id",
    tenant="project",
    filters={**_SHARED, "status": "state"},
    leading=("project",),
)


@dataclass(frozen=True)
class Place:
    """A place in the order of the history: behind this row, or, without a key, behind all of its time."""

    time_ms: int
    key: str


@dataclass(frozen=True)
class Filter:
    """Which rows.

    Attributes:
        equal: Name of a filter -> value.
        from_ms: Asked for at this time or later.
        to_ms: Asked for earlier than this.
        tenants: Only what these may see; ``None``: all.
    """

    equal: Mapping[str, str] = field(default_factory=dict)
    from_ms: int | None = None
    to_ms: int | None = None
    tenants: frozenset[str] | None = None


@dataclass(frozen=True)
class Page:
    """Rows, and where the next page begins; ``None``: nothing comes behind."""

    rows: list[Mapped]
    next: Place | None


@dataclass(frozen=True)
class _Plan:
    """How a page is read: once a leg, each from an index."""

    legs: Sequence[ColumnElement[bool]]
    rest: Sequence[ColumnElement[bool]]


class HistoryQueries:
    """Reads the history. Every method may raise `StoreUnavailable`."""

    def __init__(self, store: Store) -> None:
        self.engine: Engine = store.engine
        self._collation = _COLLATIONS[store.engine.dialect.name]

    def page(self, kind: Kind, wanted: Filter, *, after: Place | None, limit: int) -> Page:
        """Return at most ``limit`` rows behind ``after``, the newest first."""
        if wanted.tenants is not None and not wanted.tenants:
            return Page([], None)
        plan = _plan(kind, wanted)
        key = kind.table.c[kind.key].collate(self._collation)
        bounds = _bounds(kind, key, wanted, after)
        with translated(), self.engine.connect() as connection:
            stop = self._stop(connection, kind, plan, bounds) if plan.rest else None
            until = [] if stop is None else [kind.table.c.time_ms >= stop]
            shown = select(*(column for column in kind.table.columns if column.name not in kind.hidden))
            newest = shown.order_by(kind.table.c.time_ms.desc(), key.desc()).limit(limit + 1)
            queries = [newest.where(leg, *bounds, *until, *plan.rest) for leg in plan.legs]
            rows = _merged(connection, kind, queries, limit + 1)
        if len(rows) > limit:
            last = rows[limit - 1]
            return Page(rows[:limit], Place(last["time_ms"], last[kind.key]))
        return Page(rows, None if stop is None else Place(stop, ""))

    def every(self, kind: Kind, wanted: Filter, *, rows_at_once: int) -> Iterator[list[Mapped]]:
        """Yield all rows, in pieces; between two of them nothing is held."""
        after: Place | None = None
        while True:
            page = self.page(kind, wanted, after=after, limit=rows_at_once)
            if page.rows:
                yield page.rows
            after = page.next
            if after is None:
                return

    def _stop(
        self, connection: Connection, kind: Kind, plan: _Plan, bounds: Sequence[ColumnElement[bool]]
    ) -> int | None:
        """Return the time at which the page has looked at enough, or ``None`` where less than that is left."""
        time = kind.table.c.time_ms
        each = max(1, MAX_LOOKED_AT // len(plan.legs))
        found = []
        for leg in plan.legs:
            query = select(time).where(leg, *bounds).order_by(time.desc()).limit(1).offset(each)
            found.append(connection.scalar(query))
        return max((each for each in found if each is not None), default=None)


def tenants_of(projects: frozenset[str] | None, organisation_ids: frozenset[str]) -> frozenset[str] | None:
    """Return what the column `tenant` says of forecasts that somebody may see.

    Args:
        projects: Those that they may see; ``None``: all.
        organisation_ids: Those to which they belong.
    """
    if projects is None:
        return None
    own = {f"{public}/{of}" for public in PUBLIC_PROJECTS & projects for of in organisation_ids if of}
    return frozenset(projects - PUBLIC_PROJECTS | own)


def _plan(kind: Kind, wanted: Filter) -> _Plan:
    columns = kind.table.c
    equal = {name: value for name, value in wanted.equal.items() if not _is_unindexed_status(name, value)}
    leading = next((name for name in kind.leading if name in equal), None)
    tenant = columns[kind.tenant]
    tenants = wanted.tenants
    if tenants is None and kind.tenant == "tenant" and equal.get("project", "market") not in PUBLIC_PROJECTS:
        tenants = frozenset({equal["project"]})
    if tenants is not None and len(tenants) <= _MAX_TENANTS and _is_public(leading, equal):
        legs: list[ColumnElement[bool]] = [tenant == one for one in sorted(tenants)]
        leading, tenants = None, None
    elif leading is not None:
        said = kind.partial.get(leading)
        led = columns[kind.filters[leading]] == equal[leading]
        legs = [led if said is None else and_(led, text(said))]
    else:
        legs = [true()]  # the index of the time alone
    rest = [_looked_at(columns[kind.filters[name]]) == value for name, value in wanted.equal.items() if name != leading]
    if tenants is not None:
        rest.append(_looked_at(tenant).in_(sorted(tenants)))
    return _Plan(legs, rest)


def _is_unindexed_status(name: str, value: str) -> bool:
    # Most rows are issued: an index of them would be one of all rows.
    return name == "status" and value == "issued"


def _is_public(leading: str | None, equal: Mapping[str, str]) -> bool:
    """Return whether the rows of the leading filter are mostly those of others, where one's own are to be found."""
    if leading in ("series_id", "model"):
        return project_of(equal[leading]) in PUBLIC_PROJECTS
    return leading in (None, "status", "project")


def _looked_at(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return the column as no index has it: a planner must not prefer an index that does not lead here."""
    return column.concat("")


def _bounds(kind: Kind, key: ColumnElement[str], wanted: Filter, after: Place | None) -> list[ColumnElement[bool]]:
    time = kind.table.c.time_ms
    bounds: list[ColumnElement[bool]] = []
    if wanted.from_ms is not None:
        bounds.append(time >= wanted.from_ms)
    if wanted.to_ms is not None:
        bounds.append(time < wanted.to_ms)
    if after is not None and after.key:
        # The first part is for the index, which knows no key.
        bounds += [time <= after.time_ms, or_(time < after.time_ms, key < after.key)]
    elif after is not None:
        bounds.append(time < after.time_ms)
    return bounds


def _merged(connection: Connection, kind: Kind, queries: Sequence[Select[Any]], limit: int) -> list[Mapped]:
    found: list[list[Mapped]] = [[dict(row) for row in connection.execute(query).mappings()] for query in queries]
    if len(found) == 1:
        return found[0]
    # One statement with a union would be another one for each number of projects, and compiling it takes longer.
    merged = heapq.merge(*found, key=lambda row: (row["time_ms"], row[kind.key]), reverse=True)
    return list(itertools.islice(merged, limit))
