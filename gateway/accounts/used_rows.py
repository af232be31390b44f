"""The rows that count what is used: of each project, by whom, on which day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects import postgresql, sqlite

from gateway.access import PUBLIC_PROJECTS
from gateway.accounts.tables import USED

_INSERTS: Mapping[str, Callable[..., Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_KEY = ("project_id", "requester", "kind", "day")


class Scope(NamedTuple):
    """What has one quota: a project, what an organisation asks of a public project, or all that one uses."""

    #: Empty: all projects of the organisation, and what it asks of public ones.
    project_id: str
    #: Empty for a project that belongs to somebody.
    organisation_id: str
    kind: str
    day: int


class Use(NamedTuple):
    """What one row of the table counts."""

    project_id: str
    #: The owner of the project; of a public one who asks. Empty: nobody's.
    organisation_id: str
    requester: str
    kind: str
    day: int

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """Return what it counts for; that of the project comes first."""
        # One tenant must not use up what all others may ask of public series.
        asking = self.organisation_id if self.project_id in PUBLIC_PROJECTS else ""
        of_project = Scope(self.project_id, asking, self.kind, self.day)
        if not self.organisation_id:
            return (of_project,)
        return (of_project, Scope("", self.organisation_id, self.kind, self.day))


def add(connection: Connection, use: Use, count: int) -> None:
    """Add to what a row counts; it is made where it is missing."""
    statement = _INSERTS[connection.dialect.name](USED).values(**use._asdict(), count=count)
    added = {"count": USED.c.count + statement.excluded.count}
    connection.execute(statement.on_conflict_do_update(index_elements=_KEY, set_=added))


def of_day(connection: Connection, day: int) -> Counter[Scope]:
    """Return how much was used on a day (UTC)."""
    names = (USED.c.project_id, USED.c.organisation_id, USED.c.kind)
    query = select(*names, func.sum(USED.c.count)).where(USED.c.day == day).group_by(*names)
    found: Counter[Scope] = Counter()
    for project_id, organisation_id, kind, count in connection.execute(query):
        for scope in Use(project_id, organisation_id, "", kind, day).scopes:
            # PostgreSQL sums whole numbers to decimals.
            found[scope] += int(count)
    return found
