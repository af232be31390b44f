"""Forecasts and trainings a day of each project, counted by all gateways together.

Counts are kept in memory and written to the accounts database about once a second: a request waits for no write, a
restart keeps what was written, a crash forgets at most the last second. Each gateway then reads what the others wrote,
so several of them together can let through a second's worth more than a quota.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import structlog
from sqlalchemy import Connection, func, select
from sqlalchemy.dialects import postgresql, sqlite

from gateway.access import PUBLIC_PROJECTS, Principal
from gateway.accounts.database import AccountsDatabase
from gateway.accounts.fresh import Fresh
from gateway.accounts.project_rows import Quotas
from gateway.accounts.tables import PROJECTS, USED
from gateway.limits.told import Standing, exceeded, note
from runtime.errors import TransientError

FORECAST = "forecast"
TRAINING = "training"
_DAY_SECONDS = 86_400
_DAY_US = _DAY_SECONDS * 1_000_000
_FLUSH_SECONDS = 1.0
_LOG = structlog.get_logger("gateway")
_INSERTS: Mapping[str, Callable[..., Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class Scope(NamedTuple):
    """What has one quota: a project, or what one organisation does with a public project."""

    project_id: str
    #: Empty for a project that belongs to somebody.
    organisation_id: str
    kind: str
    day: int


class Use(NamedTuple):
    """What one row of the table counts."""

    scope: Scope
    requester: str


class Usage:
    """Counts what is used, and turns away who is over a quota; 0 is no limit.

    Args:
        database: Where the counts are kept.
        forecasts_a_day: Of a project that has no quota of its own.
        trainings_a_day: Likewise.
    """

    def __init__(self, database: AccountsDatabase, *, forecasts_a_day: int, trainings_a_day: int) -> None:
        self._database = database
        self._defaults = {FORECAST: forecasts_a_day, TRAINING: trainings_a_day}
        self._quotas = Fresh(database, _quotas)
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        #: What the database had when it was last looked at, and what it does not have yet.
        self._stored: dict[Scope, int] = {}
        self._pending: Counter[Use] = Counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="usage", daemon=True)

    def start(self) -> None:
        """Begin to write the counts as they grow."""
        self._thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """Write what is counted, and end."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)
        self._try_flush()

    def quotas(self, project_id: str) -> Quotas:
        """Return the quotas that a project has of its own."""
        return self._quotas.get(project_id) or Quotas()

    def limit(self, project_id: str, kind: str) -> int:
        """Return how much of a kind a project may use in a day; 0 is no limit."""
        own = self.quotas(project_id)
        found = own.forecasts_a_day if kind == FORECAST else own.trainings_a_day
        return self._defaults[kind] if found is None else found

    def used(self, principal: Principal, project_id: str, kind: str) -> int:
        """Return how much of a kind was used today, also what is not written yet."""
        scope = self._scope(principal, project_id, kind)
        self._load([scope])
        with self._lock:
            return self._known(scope)

    def reset_seconds(self) -> int:
        """Return how long it is until the day (UTC) ends."""
        return _DAY_SECONDS - (self._database.now_us() % _DAY_US) // 1_000_000

    def take(self, principal: Principal, kind: str, amounts: Mapping[str, int]) -> None:
        """Count what a request uses, of each project, all of it or nothing.

        Raises:
            Problem: 429; a project has not so much left today.
        """
        scopes = {self._scope(principal, project_id, kind): amount for project_id, amount in amounts.items()}
        limits = {scope: self.limit(scope.project_id, kind) for scope in scopes}
        self._load(scope for scope, limit in limits.items() if limit)
        with self._lock:
            for scope, amount in scopes.items():
                if limits[scope] and self._known(scope) + amount > limits[scope]:
                    detail = f"{scope.project_id} may use {limits[scope]} {kind}s a day, {amount} more were asked for"
                    raise exceeded("quota-exceeded", detail, self._standing(scope, limits[scope]))
            for scope, amount in scopes.items():
                self._pending[Use(scope, principal.requester)] += amount
            for scope in scopes:
                if limits[scope]:
                    note(self._standing(scope, limits[scope]))

    def flush(self) -> None:
        """Write what was counted, and read what other gateways wrote.

        Raises:
            TransientError: The database does not take it; it stays counted here.
        """
        with self._flushing:
            today = self._today()
            with self._lock:
                written = dict(self._pending)
                watched = {scope for scope in self._stored if scope.day == today} | {use.scope for use in written}
            if not watched:
                return
            with self._database.write() as connection:
                for use, count in sorted(written.items()):
                    _add(connection, use, count)
                stored = {scope: _sum(connection, scope) for scope in watched}
            with self._lock:
                self._stored = {scope: count for scope, count in stored.items() if scope.day == today}
                self._pending.subtract(written)
                self._pending += Counter()  # drops what is 0

    def _run(self) -> None:
        while not self._stop.wait(_FLUSH_SECONDS):
            self._try_flush()

    def _try_flush(self) -> None:
        try:
            self.flush()
        except TransientError as error:
            _LOG.warning("usage-not-written", reason=str(error))

    def _scope(self, principal: Principal, project_id: str, kind: str) -> Scope:
        # One tenant must not use up what all others may ask of public series.
        owner = principal.organisation_id if project_id in PUBLIC_PROJECTS else ""
        return Scope(project_id, owner, kind, self._today())

    def _today(self) -> int:
        return self._database.now_us() // _DAY_US

    def _load(self, scopes: Any) -> None:
        missing = [scope for scope in scopes if scope not in self._stored]
        if not missing:
            return
        # A flush in between would write what this has not seen.
        with self._flushing:
            with self._database.read() as connection:
                found = {scope: _sum(connection, scope) for scope in missing}
            with self._lock:
                self._stored.update(found)

    def _known(self, scope: Scope) -> int:
        waiting = sum(count for use, count in self._pending.items() if use.scope == scope)
        return self._stored.get(scope, 0) + waiting

    def _standing(self, scope: Scope, limit: int) -> Standing:
        remaining = max(0, limit - self._known(scope))
        return Standing(f"{scope.kind}s", limit, _DAY_SECONDS, remaining, self.reset_seconds())


def _quotas(connection: Connection, project_id: str) -> Quotas:
    columns = [PROJECTS.c[name] for name in Quotas.__struct_fields__]
    row = connection.execute(select(*columns).where(PROJECTS.c.project_id == project_id)).mappings().first()
    return Quotas() if row is None else Quotas(**row)


def _sum(connection: Connection, scope: Scope) -> int:
    query = select(func.coalesce(func.sum(USED.c.count), 0)).where(
        USED.c.project_id == scope.project_id, USED.c.kind == scope.kind, USED.c.day == scope.day
    )
    if scope.organisation_id:
        query = query.where(USED.c.requester.startswith(f"{scope.organisation_id}/", autoescape=True))
    return int(connection.scalar(query) or 0)


def _add(connection: Connection, use: Use, count: int) -> None:
    row = {
        "project_id": use.scope.project_id,
        "requester": use.requester,
        "kind": use.scope.kind,
        "day": use.scope.day,
        "count": count,
    }
    statement = _INSERTS[connection.dialect.name](USED).values(row)
    keys = ["project_id", "requester", "kind", "day"]
    added = {"count": USED.c.count + statement.excluded.count}
    connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=added))
