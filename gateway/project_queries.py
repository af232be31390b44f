"""Reads of the SQL store that are about one project."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Select, func, select

from gateway import tables
from gateway.projects_of import ProjectOf, of_projects
from gateway.store import Store, translated

Mapped = Mapping[str, Any]
_CHUNK = 5_000


class ProjectQueries:
    """Answers questions about a project from the store. Every method may raise `StoreUnavailable`."""

    def __init__(self, store: Store) -> None:
        self._engine = store.engine

    def _all(self, query: Select[Any]) -> list[Mapped]:
        with translated(), self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def names(self) -> list[str]:
        """Return every project of which there is a series."""
        return [
            row["project"]
            for row in self._all(select(ProjectOf(tables.SERIES.c.series_id).label("project")).distinct())
        ]

    def summary(self, project_id: str) -> Mapped:
        """Return how many series a project has, of how many rows, from when to when (s)."""
        table = tables.SERIES
        query = select(
            func.count().label("count"),
            func.coalesce(func.sum(table.c.rows), 0).label("rows"),
            func.min(table.c.first_time).label("first_time"),
            func.max(table.c.last_time).label("last_time"),
        )
        return self._all(_of(query.select_from(table), table.c.series_id, project_id))[0]

    def series(self, project_id: str, *, after: str | None, limit: int) -> list[Mapped]:
        """Return series by name, those behind ``after``."""
        table = tables.SERIES
        query = _of(select(table), table.c.series_id, project_id).order_by(table.c.series_id).limit(limit)
        return self._all(query if after is None else query.where(table.c.series_id > after))

    def named(self, project_id: str, name: str) -> list[str]:
        """Return the series of a project that are called so, whatever their freq."""
        column = tables.SERIES.c.series_id
        begin = f"{project_id}/{name}@"
        query = select(column).where(column.startswith(begin, autoescape=True)).order_by(column)
        # SQLite takes letters of either case for the same.
        return [row["series_id"] for row in self._all(query) if row["series_id"].startswith(begin)]

    def series_ids(self, project_id: str) -> list[str]:
        """Return the ids of all series of a project."""
        column = tables.SERIES.c.series_id
        return [row["series_id"] for row in self._all(_of(select(column), column, project_id).order_by(column))]

    def median_rows(self, project_id: str) -> int:
        """Return how many rows the middle one of the series has, by their number; 0 without series."""
        column = tables.SERIES.c.rows
        rows = [
            row["rows"]
            for row in self._all(_of(select(column), tables.SERIES.c.series_id, project_id).order_by(column))
        ]
        return int(rows[len(rows) // 2]) if rows else 0

    def newest_ingests(self, project_id: str) -> list[Mapped]:
        """Return the newest ingest of each series, with its newest event."""
        table = tables.INGESTS
        newest = (table.c.requested_ms.desc().nulls_last(), table.c.ingest_id)
        place = func.row_number().over(partition_by=table.c.series_id, order_by=newest)
        columns = (table.c.ingest_id, table.c.series_id, table.c.event, place.label("place"))
        ranked = _of(select(*columns), table.c.series_id, project_id).subquery()
        return self._all(select(ranked).where(ranked.c.place == 1).order_by(ranked.c.series_id))

    def trainings(self, project_id: str, limit: int) -> list[Mapped]:
        """Return the newest trainings first."""
        table = tables.TRAININGS
        query = _of(select(table), table.c.model, project_id)
        return self._all(query.order_by(table.c.requested_ms.desc().nulls_last(), table.c.training_id).limit(limit))

    def releases(self, project_id: str) -> list[Mapped]:
        """Return every model version without its graph, in log order."""
        table = tables.MODEL_VERSIONS
        return self._all(_of(select(table), table.c.model, project_id).order_by(table.c.log_offset))

    def requested(self, training_ids: Collection[str]) -> dict[str, int]:
        """Return when trainings were asked for (ms), by id; those that the log says nothing of are left out."""
        table, wanted = tables.TRAININGS, sorted(training_ids)
        found: dict[str, int] = {}
        for start in range(0, len(wanted), _CHUNK):
            query = select(table.c.training_id, table.c.time_ms)
            rows = self._all(query.where(table.c.training_id.in_(wanted[start : start + _CHUNK])))
            found |= {row["training_id"]: row["time_ms"] for row in rows}
        return found

    def deployments(self, project_id: str) -> list[Mapped]:
        """Return the deployments in log order."""
        table = tables.DEPLOYMENTS
        return self._all(_of(select(table), table.c.model, project_id).order_by(table.c.log_offset))

    def schedules(self, project_id: str) -> list[Mapped]:
        """Return the newest schedule of each series that has one."""
        table = tables.SCHEDULES
        return self._all(_of(select(table), table.c.series_id, project_id).order_by(table.c.series_id))


def _of(query: Select[Any], name: ColumnElement[str], project_id: str) -> Select[Any]:
    return of_projects(query, name, frozenset({project_id}))
