"""What a day brings of each project and of each organisation over all its projects, counted by all gateways together.

Counts are kept in memory and written to the accounts database about once a second: a request waits for no write, a
restart keeps what was written, a crash forgets at most the last second. Each gateway then reads what the others wrote,
so several of them together can let through a second's worth more than a quota.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import structlog
from sqlalchemy import Connection, select

from gateway.access import PUBLIC_PROJECTS, Principal
from gateway.accounts import used_rows
from gateway.accounts.database import AccountsDatabase
from gateway.accounts.fresh import Fresh
from gateway.accounts.project_rows import Quotas
from gateway.accounts.tables import PROJECTS
from gateway.accounts.used_rows import Scope, Use
from gateway.limits.shares import OrganisationQuotas, own_quotas
from gateway.limits.told import Standing, exceeded, note
from runtime.errors import TransientError

FORECAST = "forecast"
TRAINING = "training"
#: Of observations, that are brought in live or in a file.
ROW = "row"
_DAY_SECONDS = 86_400
_DAY_US = _DAY_SECONDS * 1_000_000
_FLUSH_SECONDS = 1.0
_LOG = structlog.get_logger("gateway")


class Usage:
    """Counts what is used, and turns away who is over a quota; 0 is no limit.

    Args:
        database: Where the counts are kept.
        default: Gives the limit of who has no quota of their own, by the name of its setting.
        organisation_of: Gives the owner of a project; ``None``: it has none.
    """

    def __init__(
        self, database: AccountsDatabase, default: Callable[[str], int], organisation_of: Callable[[str], str | None]
    ) -> None:
        self._database = database
        self._default = default
        self._organisation_of = organisation_of
        self._of_projects = Fresh(database, _quotas)
        self._of_organisations = Fresh(database, own_quotas)
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        #: What was used on the day that was last read, also what the database does not have yet, which is beside it.
        self._used: Counter[Scope] = Counter()
        self._day: int | None = None
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
        return self._of_projects.get(project_id) or Quotas()

    def limit(self, project_id: str, kind: str) -> int:
        """Return how much of a kind a project may use in a day; 0 is no limit."""
        own: int | None = getattr(self.quotas(project_id), f"{kind}s_a_day")
        return self._default(f"{kind}s_a_day") if own is None else own

    def used(self, principal: Principal, project_id: str, kind: str) -> int:
        """Return how much of a kind was used today, also what is not written yet."""
        return self._used_of(self._use(principal, project_id, kind, self._database.today()).scopes[0])

    def used_by_organisation(self, organisation_id: str, kind: str) -> int:
        """Return how much of a kind an organisation used today over all its projects."""
        return self._used_of(Scope("", organisation_id, kind, self._database.today()))

    def reset_seconds(self) -> int:
        """Return how long it is until the day (UTC) ends."""
        return _DAY_SECONDS - (self._database.now_us() % _DAY_US) // 1_000_000

    def require(
        self, principal: Principal, kind: str, project_id: str, amount: int, *, owner: str | None = None
    ) -> None:
        """Let through whose project has so much left today; nothing is counted.

        Args:
            principal: Who asks.
            kind: Of what.
            project_id: For which project.
            amount: How much.
            owner: Whose the project will be that is not registered yet.

        Raises:
            Problem: 429; the project, or its organisation, has not so much left.
        """
        use = self._use(principal, project_id, kind, self._database.today())
        asked, limits = self._judged({use if owner is None else use._replace(organisation_id=owner): amount})
        with self._lock:
            self._require(asked, limits)

    def take(self, principal: Principal, kind: str, amounts: Mapping[str, int]) -> Mapping[Use, int]:
        """Count what a request uses, of each project, all of it or nothing; return what was counted.

        Raises:
            Problem: 429; a project, or its organisation, has not so much left today.
        """
        uses = self._uses(principal, kind, amounts)
        asked, limits = self._judged(uses)
        with self._lock:
            self._require(asked, limits)
            self._pending.update(uses)
            self._used.update(asked)
            for scope, limit in limits.items():
                note(self._standing(scope, limit))
        return uses

    @contextmanager
    def taking(self, principal: Principal, kind: str, amounts: Mapping[str, int]) -> Iterator[None]:
        """Count as `take` does what is then done; what fails was not used.

        Raises:
            Problem: 429.
        """
        uses = self.take(principal, kind, amounts)
        try:
            yield
        except BaseException:
            with self._lock:
                self._pending.subtract(uses)
                self._used.subtract(_scopes(uses))
            raise

    def flush(self) -> None:
        """Write what was counted, and read what other gateways wrote.

        Raises:
            TransientError: The database does not take it; it stays counted here.
        """
        with self._flushing:
            today = self._database.today()
            with self._lock:
                written = {use: count for use, count in self._pending.items() if count}
            if not written and self._day != today:
                return
            with self._database.write() as connection:
                for use, count in sorted(written.items()):
                    used_rows.add(connection, use, count)
                stored = used_rows.of_day(connection, today)
            with self._lock:
                self._pending.subtract(written)
                # What is given back while it is written is below 0, and not forgotten.
                self._pending = Counter({use: count for use, count in self._pending.items() if count})
                self._take_over(stored, today)

    def _run(self) -> None:
        while not self._stop.wait(_FLUSH_SECONDS):
            self._try_flush()

    def _try_flush(self) -> None:
        try:
            self.flush()
        except TransientError as error:
            _LOG.warning("usage-not-written", reason=str(error))

    def _uses(self, principal: Principal, kind: str, amounts: Mapping[str, int]) -> dict[Use, int]:
        today = self._database.today()
        return {self._use(principal, project_id, kind, today): amount for project_id, amount in amounts.items()}

    def _use(self, principal: Principal, project_id: str, kind: str, day: int) -> Use:
        is_public = project_id in PUBLIC_PROJECTS
        owner = principal.organisation_id if is_public else self._organisation_of(project_id)
        return Use(project_id, owner or "", principal.requester, kind, day)

    def _judged(self, uses: Mapping[Use, int]) -> tuple[Counter[Scope], dict[Scope, int]]:
        """Return how much is asked of what, and the limits that there are."""
        asked = _scopes(uses)
        limits = {scope: limit for scope in asked if (limit := self._limit(scope))}
        for day in {scope.day for scope in limits}:
            self._load(day)
        return asked, limits

    def _limit(self, scope: Scope) -> int:
        if scope.project_id:
            return self.limit(scope.project_id, scope.kind)
        quotas = self._of_organisations.get(scope.organisation_id) or OrganisationQuotas()
        own: int | None = getattr(quotas, f"{scope.kind}s_a_day")
        return self._default(f"{scope.kind}s_a_day_an_organisation") if own is None else own

    def _load(self, day: int) -> None:
        if self._day == day:
            return
        # A flush in between would write what this has not seen.
        with self._flushing:
            if self._day == day:
                return
            with self._database.read() as connection:
                stored = used_rows.of_day(connection, day)
            with self._lock:
                self._take_over(stored, day)

    def _take_over(self, stored: Counter[Scope], day: int) -> None:
        self._used = stored
        self._used.update(_scopes(self._pending))
        self._day = day

    def _used_of(self, scope: Scope) -> int:
        self._load(scope.day)
        with self._lock:
            return self._used[scope]

    def _require(self, asked: Mapping[Scope, int], limits: Mapping[Scope, int]) -> None:
        for scope, limit in limits.items():
            amount, standing = asked[scope], self._standing(scope, limit)
            if amount <= standing.remaining:
                continue
            whose = scope.project_id or f"{scope.organisation_id}, over all its projects,"
            detail = (
                f"{whose} may use {limit} {scope.kind}s a day, {standing.remaining} are left, "
                f"{amount} more were asked for"
            )
            advice = "ask for fewer at once, or an operator for a higher quota" if amount > limit else ""
            raise exceeded("quota-exceeded", detail, standing, advice)

    def _standing(self, scope: Scope, limit: int) -> Standing:
        remaining = max(0, limit - self._used[scope])
        name = f"{scope.kind}s" if scope.project_id else f"organisation-{scope.kind}s"
        return Standing(name, limit, _DAY_SECONDS, remaining, self.reset_seconds())


def _quotas(connection: Connection, project_id: str) -> Quotas:
    columns = [PROJECTS.c[name] for name in Quotas.__struct_fields__]
    row = connection.execute(select(*columns).where(PROJECTS.c.project_id == project_id)).mappings().first()
    return Quotas() if row is None else Quotas(**row)


def _scopes(uses: Mapping[Use, int]) -> Counter[Scope]:
    """Return how much is used of what has a quota."""
    found: Counter[Scope] = Counter()
    for use, amount in uses.items():
        for scope in use.scopes:
            found[scope] += amount
    return found
