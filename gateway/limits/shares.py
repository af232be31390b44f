"""What one organisation, user or project may have at once, so that nobody uses up what others need.

What they may use in a day is judged in `gateway.limits.quotas`; of organisations both stand in `OrganisationQuotas`.

What the accounts database holds is counted in the transaction that adds to it, while nobody else adds to the same
owner: two requests at once do not get past a limit together. Series and schedules are counted where the gateway reads
them, so what is still on its way is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, NamedTuple

import msgspec
from sqlalchemy import Column, ColumnElement, Connection, func, or_, select, update

from gateway.access import Role
from gateway.accounts.audit import audit
from gateway.accounts.database import AccountsDatabase
from gateway.accounts.fresh import FRESH_SECONDS
from gateway.accounts.project_rows import Quotas
from gateway.accounts.tables import API_KEYS, INVITATIONS, MEMBERSHIPS, ORGANISATIONS, PROJECTS, USERS
from gateway.guard import principal
from gateway.problems import FieldFault, Problem
from gateway.project_queries import ProjectQueries
from gateway.settings import GatewaySettings

UPLOAD_BYTES = "upload_bytes"
Counted = Literal["projects", "api_keys", "members", "organisations"]
_DAY_US = 86_400_000_000


class OrganisationQuotas(msgspec.Struct, frozen=True, kw_only=True):
    """What an organisation may have and use; null: as the settings of the installation say."""

    projects: int | None = None
    #: On the disk; what is loaded goes once it is in the log.
    upload_bytes: int | None = None
    #: Those that are good, and all that were made within a day.
    api_keys: int | None = None
    #: With the open invitations.
    members: int | None = None
    #: In a day (UTC), over all its projects and what it asks of public ones.
    forecasts_a_day: int | None = None
    trainings_a_day: int | None = None
    rows_a_day: int | None = None


class _Rows(NamedTuple):
    """Rows that belong to somebody."""

    what: str
    #: The row of the owner; it is locked while another one is added.
    owner: Column[Any]
    #: How many there are, by the id of the owner and the time (us).
    number: Callable[[str, int], ColumnElement[int]]


def _number(*conditions: ColumnElement[bool]) -> ColumnElement[int]:
    return select(func.count()).where(*conditions).scalar_subquery()


_COUNTED: Mapping[Counted, _Rows] = {
    "projects": _Rows(
        "projects of an organisation",
        ORGANISATIONS.c.organisation_id,
        lambda owner, _: _number(PROJECTS.c.organisation_id == owner),
    ),
    "api_keys": _Rows(
        "API keys of an organisation, those of the last day among them,",
        ORGANISATIONS.c.organisation_id,
        # One that was revoked today still counts: who makes and revokes without end fills the table too.
        lambda owner, now: _number(
            API_KEYS.c.organisation_id == owner,
            or_(
                API_KEYS.c.created_us > now - _DAY_US,
                API_KEYS.c.revoked_us.is_(None) & func.coalesce(API_KEYS.c.expires_us > now, True),
            ),
        ),
    ),
    "members": _Rows(
        "members and open invitations of an organisation",
        ORGANISATIONS.c.organisation_id,
        lambda owner, now: (
            _number(MEMBERSHIPS.c.organisation_id == owner)
            + _number(
                INVITATIONS.c.organisation_id == owner,
                INVITATIONS.c.accepted_us.is_(None),
                INVITATIONS.c.expires_us > now,
            )
        ),
    ),
    "organisations": _Rows(
        "organisations of which one user is an admin",
        USERS.c.user_id,
        lambda owner, _: _number(MEMBERSHIPS.c.user_id == owner, MEMBERSHIPS.c.role == Role.ADMIN),
    ),
}


class Shares:
    """Judges whether there may be one more; operators, and who runs a machine of their own, have no limit.

    Args:
        database: Has the organisations and what is theirs.
        settings: What holds for who has no quota of their own.
        quotas_of: Gives the quotas of a project.
        project_queries: Counts what the log says of projects.
    """

    def __init__(
        self,
        database: AccountsDatabase,
        settings: GatewaySettings,
        quotas_of: Callable[[str], Quotas],
        project_queries: ProjectQueries,
    ) -> None:
        self._database = database
        self._settings = settings
        self._quotas_of = quotas_of
        self._project_queries = project_queries
        #: Of each project how many series it had, and when (s).
        self._series: dict[str, tuple[int, float]] = {}

    def quotas(self, organisation_id: str) -> OrganisationQuotas:
        """Return what an organisation has of its own."""
        with self._database.read() as connection:
            return own_quotas(connection, organisation_id)

    def set_quotas(self, organisation_id: str, given: Mapping[str, int | None]) -> None:
        """Give an organisation other quotas, by the names of `OrganisationQuotas`; what is not given stays."""
        if not given:
            return
        same = ORGANISATIONS.c.organisation_id == organisation_id
        with self._database.change() as connection:
            connection.execute(update(ORGANISATIONS).where(same).values(**given))
            details: dict[str, Any] = dict(given)
            audit(connection, "organisation.quotas", organisation_id, organisation_id=organisation_id, **details)

    def in_force(self, own: OrganisationQuotas) -> dict[str, int]:
        """Return what holds, by the names of `OrganisationQuotas`; 0: no limit."""
        return {
            name: self._settings.limit(f"{name}_an_organisation") if found is None else found
            for name, found in msgspec.structs.asdict(own).items()
        }

    def in_use(self, organisation_id: str) -> dict[str, int]:
        """Return how many rows there are of what an organisation has in the accounts database."""
        now = self._database.now_us()
        of_organisation: tuple[Counted, ...] = ("projects", "api_keys", "members")
        with self._database.read() as connection:
            return {name: _count(connection, name, organisation_id, now) for name in of_organisation}

    def upload_bytes(self, organisation_id: str) -> int:
        """Return how many bytes the uploads of an organisation may take that the caller makes; 0: no limit."""
        if principal().is_operator:
            return 0
        return self.in_force(self.quotas(organisation_id))[UPLOAD_BYTES]

    def require(self, connection: Connection, name: Counted, owner_id: str) -> None:
        """Let through who may add one more, in the transaction that adds it.

        Args:
            connection: The transaction.
            name: One more of what; a member is counted from the invitation on.
            owner_id: Of which organisation, or user.

        Raises:
            Problem: 409; there are as many as there may be.
        """
        if principal().is_operator:
            return
        counted = _COUNTED[name]
        # Nothing is changed; others that add to this owner wait until the transaction ends.
        is_owner = counted.owner == owner_id
        connection.execute(update(counted.owner.table).where(is_owner).values({counted.owner: counted.owner}))
        if name == "organisations":
            limit = self._settings.limit("organisations_a_user")
        else:
            limit = self.in_force(own_quotas(connection, owner_id))[name]
        if limit and (count := _count(connection, name, owner_id, self._database.now_us())) >= limit:
            raise _reached(name, counted.what, limit, str(count))

    def require_series(self, project_id: str, series_ids: Collection[str]) -> None:
        """Let through who may bring rows of these series into a project.

        Raises:
            Problem: 409; it would have more series than it may.
        """
        limit = self._limit_of_project(project_id, "series")
        if not limit:
            return
        now = self._database.clock.monotonic()
        count, counted_at = self._series.get(project_id, (0, -math.inf))
        if now - counted_at > FRESH_SECONDS:
            count = self._project_queries.summary(project_id)["count"]
            self._series[project_id] = (count, now)
        # Only near the limit is it worth while to look which of them are new.
        if count + len(series_ids) <= limit:
            return
        new = set(series_ids).difference(self._project_queries.series_ids(project_id))
        if new and count + len(new) > limit:
            raise _reached("series", "series of a project", limit, f"{count}, and {len(new)} new ones")

    def require_schedule(self, project_id: str) -> None:
        """Let through who may add a schedule to a project.

        Raises:
            Problem: 409.
        """
        limit = self._limit_of_project(project_id, "schedules")
        if limit and (count := len(self._project_queries.schedules(project_id))) >= limit:
            raise _reached("schedules", "schedules of a project", limit, str(count))

    def of_project(self, own: int | None, name: str) -> int:
        """Return what holds for a project that has ``own``; 0: no limit."""
        return self._settings.limit(f"{name}_a_project") if own is None else own

    def _limit_of_project(self, project_id: str, name: str) -> int:
        if principal().is_operator:
            return 0
        own: int | None = getattr(self._quotas_of(project_id), name)
        return self.of_project(own, name)


def own_quotas(connection: Connection, organisation_id: str) -> OrganisationQuotas:
    """Return what an organisation has of its own."""
    columns = [ORGANISATIONS.c[name] for name in OrganisationQuotas.__struct_fields__]
    query = select(*columns).where(ORGANISATIONS.c.organisation_id == organisation_id)
    row = connection.execute(query).mappings().first()
    return OrganisationQuotas() if row is None else OrganisationQuotas(**row)


def _count(connection: Connection, name: Counted, owner_id: str, now_us: int) -> int:
    return int(connection.scalar(select(_COUNTED[name].number(owner_id, now_us))) or 0)


def _reached(name: str, what: str, limit: int, found: str) -> Problem:
    return Problem(
        409,
        "limit-reached",
        f"at most {limit} {what} may be there, found {found}; remove some, or ask an operator for a higher quota",
        errors=[FieldFault(field=name, expected=f"at most {limit}", found=found)],
    )
