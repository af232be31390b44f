"""Reads of the SQL store, one function a question."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Select, func, select

from gateway import tables
from gateway.access import PUBLIC_PROJECTS, project_of
from gateway.projects_of import ProjectOf, Projects, of_projects
from gateway.store import Store, translated

Mapped = Mapping[str, Any]


#: Among so many of the last ingests of a source its last error is looked for.
_SHOWN_INGESTS = 20
_DECISION_OF = {"released": "release", "rejected": "reject"}


class Reader(Protocol):
    """What somebody may read of forecasts, see `gateway.forecast_access`."""

    @property
    def projects(self) -> Projects:
        """Return the projects of series and models."""
        ...

    @property
    def organisation_ids(self) -> frozenset[str]:
        """Return for whom they ask."""
        ...


def _with_models_of(query: Select[Any], projects: frozenset[str]) -> Select[Any]:
    """Return forecasts joined with what was asked, without those of series or models of other projects."""
    table, asked = tables.FORECASTS, tables.FORECAST_REQUESTS
    joined = query.join_from(table, asked, asked.c.request_id == table.c.request_id)
    of_series = table.c.series_id.is_(None) | ProjectOf(table.c.series_id).in_(sorted(projects))
    return of_projects(joined.where(of_series), asked.c.model, projects)


@dataclass(frozen=True)
class StoredRequest:
    """What the store knows about a forecast request; ``None`` where it does not have that part."""

    wish: str | None
    answer: bytes | None
    is_refused: bool
    series_id: str | None
    #: That answered; before, the one that was asked for.
    model: str
    #: For whom it was asked; empty: for nobody, or not known yet.
    organisation_id: str


class Queries:
    """Answers questions from the store. Every method may raise `StoreUnavailable`."""

    def __init__(self, store: Store) -> None:
        self._engine = store.engine

    def _all(self, query: Select[Any]) -> list[Mapped]:
        with translated(), self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def _one(self, query: Select[Any]) -> Mapped | None:
        rows = self._all(query.limit(1))
        return rows[0] if rows else None

    def request(self, request_id: str) -> StoredRequest | None:
        """Return what is known about a request, or ``None``."""
        requests, answers = tables.FORECAST_REQUESTS, tables.FORECASTS
        with translated(), self._engine.connect() as connection:
            columns = (requests.c.wish, requests.c.series_id, requests.c.model, requests.c.organisation_id)
            asked = connection.execute(select(*columns).where(requests.c.request_id == request_id)).first()
            if asked is None:
                return None
            answered = select(answers.c.forecast_id, answers.c.answer).where(answers.c.request_id == request_id)
            answer = connection.execute(answered).first()
        return StoredRequest(
            wish=asked.wish,
            answer=None if answer is None else answer.answer,
            is_refused=answer is not None and answer.forecast_id is None,
            series_id=asked.series_id,
            model=asked.model,
            organisation_id=asked.organisation_id,
        )

    def forecast(self, forecast_id: str, reader: Reader) -> bytes | None:
        """Return the first record that issued a forecast id among those that ``reader`` asked for, else of all."""
        table, asked = tables.FORECASTS, tables.FORECAST_REQUESTS
        query = select(table.c.answer).where(table.c.forecast_id == forecast_id)
        if reader.projects is not None:
            query = _with_models_of(query, reader.projects)
            query = query.order_by(asked.c.organisation_id.in_(reader.organisation_ids).desc())
        row = self._one(query.order_by(table.c.log_partition, table.c.log_offset))
        return None if row is None else row["answer"]

    def latest_forecast(self, series_id: str, reader: Reader) -> bytes | None:
        """Return the newest forecast of a series in the log that ``reader`` may know of."""
        table, asked = tables.FORECASTS, tables.FORECAST_REQUESTS
        query = select(table.c.answer).where(table.c.series_id == series_id, table.c.forecast_id.is_not(None))
        if reader.projects is not None:
            query = _with_models_of(query, reader.projects)
        if reader.projects is not None and project_of(series_id) in PUBLIC_PROJECTS:
            # Until the request has been read, nobody knows for whom it was.
            for_nobody = (asked.c.organisation_id == "") & (asked.c.wish.is_not(None) | (asked.c.cause != "caller"))
            query = query.where(asked.c.organisation_id.in_(reader.organisation_ids) | for_nobody)
        row = self._one(query.order_by(table.c.log_offset.desc()))
        return None if row is None else row["answer"]

    def series(self, projects: Projects) -> list[Mapped]:
        """Return every series of these projects, by name."""
        table = tables.SERIES
        return self._all(of_projects(select(table), table.c.series_id, projects).order_by(table.c.series_id))

    def one_series(self, series_id: str) -> Mapped | None:
        """Return one series."""
        return self._one(select(tables.SERIES).where(tables.SERIES.c.series_id == series_id))

    def has_column(self, series_id: str, name: str) -> bool:
        """Return whether some row of a series has a column; where one does, mostly the first row tells."""
        table = tables.OBSERVATIONS
        key = f"{json.dumps(name, ensure_ascii=False)}:"
        row = self._one(
            select(table.c.time)
            .where(table.c.series_id == series_id, table.c.columns.contains(key, autoescape=True))
            .order_by(table.c.time)
        )
        return row is not None

    def columns_of_newest(self, series_id: str) -> list[str]:
        """Return the names of the columns of the newest row of a series."""
        rows = self.observations(series_id, after=None, before=None, limit=1, is_newest_first=True)
        return list(json.loads(rows[0]["columns"])) if rows else []

    def observations(
        self, series_id: str, *, after: int | None, before: int | None, limit: int, is_newest_first: bool
    ) -> list[Mapped]:
        """Return rows with ``time`` (s) and ``columns`` (JSON text), strictly between ``after`` and ``before``."""
        table = tables.OBSERVATIONS
        query = select(table.c.time, table.c.columns).where(table.c.series_id == series_id)
        if after is not None:
            query = query.where(table.c.time > after)
        if before is not None:
            query = query.where(table.c.time < before)
        order = table.c.time.desc() if is_newest_first else table.c.time
        return self._all(query.order_by(order).limit(limit))

    def ingest(self, ingest_id: str) -> Mapped | None:
        """Return one ingest."""
        return self._one(select(tables.INGESTS).where(tables.INGESTS.c.ingest_id == ingest_id))

    def ingest_events(self, ingest_ids: Sequence[str]) -> dict[str, bytes]:
        """Return the newest event of each of these ingests that has one, by id."""
        table = tables.INGESTS
        query = select(table.c.ingest_id, table.c.event).where(
            table.c.ingest_id.in_(ingest_ids), table.c.event.is_not(None)
        )
        return {row["ingest_id"]: row["event"] for row in self._all(query)}

    def sources(self, projects: Projects) -> list[Mapped]:
        """Return every schedule with what the ingestor plans and the newest row of the series, by series id."""
        series_id = tables.SCHEDULES.c.series_id
        return self._all(of_projects(self._sources(), series_id, projects).order_by(series_id))

    def source(self, series_id: str) -> Mapped | None:
        """Return one of them."""
        return self._one(self._sources().where(tables.SCHEDULES.c.series_id == series_id))

    def _sources(self) -> Select[Any]:
        schedules, plans, series = tables.SCHEDULES, tables.RUN_PLANS, tables.SERIES
        joined = schedules.outerjoin(plans, plans.c.series_id == schedules.c.series_id)
        joined = joined.outerjoin(series, series.c.series_id == schedules.c.series_id)
        columns = (schedules.c.series_id, schedules.c.schedule, plans.c.plan, series.c.last_time)
        return select(*columns).select_from(joined)

    def ingests_of_sources(self, projects: Projects, series_id: str | None = None) -> list[Mapped]:
        """Return the last ingests of each scheduled series of these projects, or of one, the newest first."""
        table = tables.INGESTS
        newest = table.c.requested_ms.desc().nulls_last()
        place = func.row_number().over(partition_by=table.c.series_id, order_by=(newest, table.c.ingest_id))
        of_sources = table.c.series_id.in_(select(tables.SCHEDULES.c.series_id))
        wanted = of_sources if series_id is None else table.c.series_id == series_id
        ranked = of_projects(select(table, place.label("place")), table.c.series_id, projects).where(wanted).subquery()
        query = select(ranked).where(ranked.c.place <= _SHOWN_INGESTS)
        return self._all(query.order_by(ranked.c.series_id, ranked.c.place))

    def quarantine(
        self, *, projects: Projects, series_id: str | None, state: str | None, after: str | None, limit: int
    ) -> list[Mapped]:
        """Return held batches without their rows, the newest first.

        Args:
            projects: Only of these.
            series_id: Only of this series.
            state: Only those that are ``held``, ``released`` or ``rejected``.
            after: Only those behind this one.
            limit: At most so many.
        """
        held, decided = tables.QUARANTINE, tables.QUARANTINE_DECISIONS
        query = of_projects(self._quarantine(with_rows=False), held.c.series_id, projects)
        if series_id is not None:
            query = query.where(held.c.series_id == series_id)
        if state is not None:
            query = query.where(
                decided.c.decision.is_(None) if state == "held" else decided.c.decision == _DECISION_OF[state]
            )
        if after is not None:
            edge = select(held.c.held_ms, held.c.quarantine_id).where(held.c.quarantine_id == after).subquery()
            query = query.where(
                (held.c.held_ms < edge.c.held_ms)
                | ((held.c.held_ms == edge.c.held_ms) & (held.c.quarantine_id > edge.c.quarantine_id))
            )
        return self._all(query.order_by(held.c.held_ms.desc(), held.c.quarantine_id).limit(limit))

    def quarantined(self, quarantine_id: str) -> Mapped | None:
        """Return one held batch with its rows and the decision about it."""
        return self._one(self._quarantine(with_rows=True).where(tables.QUARANTINE.c.quarantine_id == quarantine_id))

    def _quarantine(self, *, with_rows: bool) -> Select[Any]:
        held, decided = tables.QUARANTINE, tables.QUARANTINE_DECISIONS
        columns = [column for column in held.columns if with_rows or column.name != "record"]
        return select(*columns, decided.c.record.label("decision")).select_from(
            held.outerjoin(decided, decided.c.quarantine_id == held.c.quarantine_id)
        )

    def trainings(self, limit: int, projects: Projects) -> list[Mapped]:
        """Return the newest trainings of models of these projects first."""
        table = tables.TRAININGS
        query = of_projects(select(table), table.c.model, projects)
        return self._all(query.order_by(table.c.requested_ms.desc().nulls_last(), table.c.training_id).limit(limit))

    def training(self, training_id: str) -> Mapped | None:
        """Return one training."""
        return self._one(select(tables.TRAININGS).where(tables.TRAININGS.c.training_id == training_id))

    def training_events(self, training_id: str, after_offset: int) -> list[Mapped]:
        """Return the events of a training behind an offset, in order."""
        table = tables.TRAINING_EVENTS
        return self._all(
            select(table.c.log_offset, table.c.event)
            .where(table.c.training_id == training_id, table.c.log_offset > after_offset)
            .order_by(table.c.log_offset)
        )

    def releases(self, projects: Projects, model: str | None = None) -> list[Mapped]:
        """Return the versions of every model of these projects, or of one, without graphs, by model and log order."""
        table = tables.MODEL_VERSIONS
        query = of_projects(select(table), table.c.model, projects).order_by(table.c.model, table.c.log_offset)
        return self._all(query if model is None else query.where(table.c.model == model))

    def release(self, model: str, version: str) -> Mapped | None:
        """Return one model version without its graph."""
        table = tables.MODEL_VERSIONS
        return self._one(select(table).where(table.c.model == model, table.c.version == version))

    def versions(self, model: str) -> list[str]:
        """Return the versions of a model in log order."""
        table = tables.MODEL_VERSIONS
        rows = self._all(select(table.c.version).where(table.c.model == model).order_by(table.c.log_offset))
        return [row["version"] for row in rows]

    def deployments(self, model: str | None = None) -> list[Mapped]:
        """Return the deployments, of one model or of all, in log order."""
        table = tables.DEPLOYMENTS
        query = select(table).order_by(table.c.log_offset)
        return self._all(query if model is None else query.where(table.c.model == model))

    def deployment(self, deployment_id: str) -> Mapped | None:
        """Return one deployment."""
        return self._one(select(tables.DEPLOYMENTS).where(tables.DEPLOYMENTS.c.deployment_id == deployment_id))

    def alarms(self, limit: int) -> list[Mapped]:
        """Return broken invariants."""
        table = tables.ALARMS
        return self._all(select(table).order_by(table.c.topic, table.c.partition, table.c.log_offset).limit(limit))
