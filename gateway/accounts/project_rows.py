"""What is kept of a project beside its id and owner: name, mapping, quotas, what was used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from sqlalchemy import delete, func, select, update

from gateway.accounts.audit import audit
from gateway.accounts.database import AccountsDatabase
from gateway.accounts.tables import API_KEYS, ORGANISATIONS, PROJECTS, USED, WEBHOOKS
from gateway.uploads.jobs import ColumnMapping


class ProjectFile(msgspec.Struct, frozen=True, kw_only=True):
    """How the columns of the file that a project was made from were read."""

    upload_id: str
    filename: str
    mapping: ColumnMapping
    #: Every column of the file, also those that were not loaded.
    columns: tuple[str, ...]


class Quotas(msgspec.Struct, frozen=True, kw_only=True):
    """What a project may use; null: as the settings of the installation say."""

    requests_a_minute: int | None = None
    forecasts_a_day: int | None = None
    trainings_a_day: int | None = None
    rows_a_day: int | None = None
    #: What it may have at once.
    series: int | None = None
    schedules: int | None = None


class ProjectRow(msgspec.Struct, frozen=True, kw_only=True):
    """A registered project."""

    project_id: str
    organisation_id: str
    name: str
    description: str
    created_by: str
    created_us: int
    file: ProjectFile | None
    quotas: Quotas


class ProjectRows:
    """Reads and changes registered projects; who may is asked before."""

    def __init__(self, database: AccountsDatabase) -> None:
        self._database = database

    def get(self, project_id: str) -> ProjectRow | None:
        """Return one project, ``None`` where it is not registered."""
        found = self.of([project_id])
        return found[0] if found else None

    def of(self, project_ids: Iterable[str] | None) -> list[ProjectRow]:
        """Return those of these projects that are registered, or all, by id."""
        query = select(PROJECTS).order_by(PROJECTS.c.project_id)
        if project_ids is not None:
            query = query.where(PROJECTS.c.project_id.in_(sorted(project_ids)))
        with self._database.read() as connection:
            return [_row(found) for found in connection.execute(query).mappings()]

    def has_organisation(self, organisation_id: str) -> bool:
        """Return whether there is such an organisation."""
        query = select(ORGANISATIONS.c.organisation_id).where(ORGANISATIONS.c.organisation_id == organisation_id)
        with self._database.read() as connection:
            return connection.scalar(query) is not None

    def change(self, project: ProjectRow, *, name: str | None, description: str | None) -> None:
        """Give a project another name or description; ``None`` leaves it."""
        given = {"name": name, "description": description}
        changed = {key: value for key, value in given.items() if value is not None}
        if not changed:
            return
        with self._database.change() as connection:
            connection.execute(update(PROJECTS).where(PROJECTS.c.project_id == project.project_id).values(**changed))
            audit(connection, "project.changed", project.project_id, organisation_id=project.organisation_id, **changed)

    def set_quotas(self, project: ProjectRow, given: Mapping[str, int | None]) -> None:
        """Give a project other quotas, by the names of `Quotas`; what is not given stays."""
        if not given:
            return
        with self._database.change() as connection:
            connection.execute(update(PROJECTS).where(PROJECTS.c.project_id == project.project_id).values(**given))
            details: dict[str, Any] = dict(given)
            audit(connection, "project.quotas", project.project_id, organisation_id=project.organisation_id, **details)

    def remove(self, project: ProjectRow) -> None:
        """Forget a project, with the keys and webhooks that are for it alone; its id is never given again."""
        with self._database.change() as connection:
            for table in (API_KEYS, WEBHOOKS, PROJECTS):
                connection.execute(delete(table).where(table.c.project_id == project.project_id))
            audit(connection, "project.removed", project.project_id, organisation_id=project.organisation_id)

    def used(self, project_id: str, *, days: int, organisation_id: str | None) -> dict[str, int]:
        """Return kind -> how much was used on the last ``days`` days (UTC), today among them.

        Args:
            project_id: Of which project.
            days: How many.
            organisation_id: Only by this organisation; ``None``: by all.
        """
        today = self._database.today()
        query = select(USED.c.kind, func.sum(USED.c.count)).where(
            USED.c.project_id == project_id, USED.c.day > today - days
        )
        if organisation_id is not None:
            query = query.where(USED.c.organisation_id == organisation_id)
        with self._database.read() as connection:
            return {kind: int(count) for kind, count in connection.execute(query.group_by(USED.c.kind))}


def _row(found: Mapping[Any, Any]) -> ProjectRow:
    mapping = found["mapping"]
    return ProjectRow(
        project_id=found["project_id"],
        organisation_id=found["organisation_id"],
        name=found["name"],
        description=found["description"],
        created_by=found["created_by"],
        created_us=found["created_us"],
        file=None if mapping is None else msgspec.json.decode(mapping, type=ProjectFile),
        quotas=Quotas(**{name: found[name] for name in Quotas.__struct_fields__}),
    )
