"""Which events are told, and to whom: decided by the projection, so that every gateway decides alike, now and later.

The log may have a record twice. The one that the projection has is told, the others never: a stream that was cut off
and goes on elsewhere neither loses nor repeats one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Engine, Select, select

from gateway import tables
from gateway.access import PUBLIC_PROJECTS
from gateway.events import Event
from gateway.store import translated
from runtime.errors import TransientError

_CHUNK = 500


class NotRead(TransientError):
    """Say that what was asked has not been read yet, so that nobody knows whose the answer is."""


@dataclass(frozen=True)
class Wish:
    """What a subscriber wants to be told of, and may.

    Attributes:
        types: Event types.
        series_id: Only about this series, where given.
        model: Only about this model, where given.
        project: Only of this project, where given.
        projects: What the subscriber may read; ``None``: everything, whoever asked.
        organisation_ids: For whom it asks.
    """

    types: frozenset[str]
    series_id: str | None = None
    model: str | None = None
    project: str | None = None
    projects: frozenset[str] | None = None
    organisation_ids: frozenset[str] = frozenset()

    def covers(self, event: Event) -> bool:
        """Return whether it is wanted, and of a project that may be read."""
        return (
            event.type in self.types
            and (self.series_id is None or self.series_id in event.series_ids)
            and (self.model is None or self.model == event.model)
            and (self.project is None or self.project == event.project)
            and (self.projects is None or event.projects <= self.projects)
        )

    def may_know(self, event: Event, asker: Asker | None) -> bool:
        """Return whether who asked for a forecast allows it: of a public project, the own organisation, or nobody."""
        if self.projects is None or asker is None or not event.projects <= PUBLIC_PROJECTS:
            return True
        if not asker.is_read:
            raise NotRead(f"the request {event.row_key[0]} has not been read yet")
        return asker.organisation_id in self.organisation_ids or not asker.organisation_id


@dataclass(frozen=True)
class Asker:
    """For which organisation a forecast was asked for; empty: for none. ``is_read``: whether that is known already."""

    organisation_id: str
    is_read: bool


class _Row(NamedTuple):
    offset: int
    partition: int | None = None
    asker: Asker | None = None


class Told:
    """Asks the projection about events. Every method may raise `gateway.store.StoreUnavailable`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def first(self, events: Sequence[Event]) -> list[tuple[Event, Asker | None]]:
        """Return those of ``events`` that the projection has from just there, in order; forecasts with who asked."""
        by_kind: dict[str, list[str]] = {"forecast": [], "training": [], "model": []}
        for event in events:
            by_kind[event.type.partition(".")[0]].append(event.row_key[0])
        rows = {**self._trainings(by_kind["training"]), **self._releases(by_kind["model"])}
        rows |= self._forecasts(by_kind["forecast"])
        told = []
        for event in events:
            row = rows.get(event.row_key)
            if row is not None and row.offset == event.offset and row.partition in (None, event.place.partition):
                told.append((event, row.asker))
        return told

    def _forecasts(self, request_ids: Sequence[str]) -> dict[tuple[str, ...], _Row]:
        table, asked = tables.FORECASTS, tables.FORECAST_REQUESTS
        query = select(
            table.c.request_id, table.c.log_offset, table.c.log_partition, asked.c.organisation_id, asked.c.wish
        ).select_from(table.outerjoin(asked, asked.c.request_id == table.c.request_id))
        return {
            (row.request_id,): _Row(
                row.log_offset, row.log_partition, Asker(row.organisation_id or "", is_read=row.wish is not None)
            )
            for row in self._all(query, table.c.request_id, request_ids)
        }

    def _trainings(self, event_ids: Sequence[str]) -> dict[tuple[str, ...], _Row]:
        table = tables.TRAINING_EVENTS
        query = select(table.c.event_id, table.c.log_offset)
        return {(row.event_id,): _Row(row.log_offset) for row in self._all(query, table.c.event_id, event_ids)}

    def _releases(self, models: Sequence[str]) -> dict[tuple[str, ...], _Row]:
        table = tables.MODEL_VERSIONS
        query = select(table.c.model, table.c.version, table.c.log_offset)
        return {(row.model, row.version): _Row(row.log_offset) for row in self._all(query, table.c.model, models)}

    def _all(self, query: Select[Any], column: ColumnElement[str], ids: Sequence[str]) -> Iterator[Any]:
        for start in range(0, len(ids), _CHUNK):
            with translated(), self._engine.connect() as connection:
                yield from connection.execute(query.where(column.in_(ids[start : start + _CHUNK]))).all()
