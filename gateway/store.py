"""The SQL store: rows and positions in one transaction, so that a killed gateway neither loses nor doubles a row."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, RowMapping, Table, bindparam, create_engine, event, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from gateway import tables
from gateway.folding import Observed, fold
from gateway.history import Row
from gateway.history_writer import write_history
from gateway.rows import Rows
from runtime.broker import TopicPartition
from runtime.errors import RuntimeFault, TransientError

_CHUNK = 5_000
_PATIENCE_SECONDS, _PAUSE_SECONDS = 10, 0.01
_TAKEN = "another gateway writes this database; give each gateway its own by its database URL"
_INSERTS: dict[str, Callable[[Table], Any]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


class StoreUnavailable(TransientError):
    """Say that the database cannot be reached or is locked."""


class StoreTaken(RuntimeFault):
    """Say that another gateway writes the same database; each needs its own."""


@dataclass(frozen=True)
class Position:
    """How far a partition is projected, and the broker's time of its last record (ms; 0: none)."""

    next_offset: int
    last_record_ms: int


@dataclass(frozen=True)
class Alarm:
    """One id over two contents: something that must never happen."""

    topic: str
    partition: int
    log_offset: int
    kind: str
    subject: str


def open_engine(url: str) -> Engine:
    """Return the engine for a database URL; SQLite with write-ahead log, PostgreSQL through psycopg."""
    parsed = make_url(url)
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    engine = create_engine(parsed, pool_pre_ping=parsed.get_backend_name() != "sqlite")
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def on_connect(connection: Any, _record: Any) -> None:
            connection.execute(f"PRAGMA busy_timeout={_PATIENCE_SECONDS * 1000}")
            write_ahead(connection)
            # NORMAL loses no consistency in WAL mode: after a power cut the last transactions, positions included,
            # may be gone, and are read from the log again.
            connection.execute("PRAGMA synchronous=NORMAL")

    return engine


def write_ahead(connection: Any) -> None:
    """Let a connection of SQLite write ahead.

    Of connections that are the first of a new file at the same moment SQLite refuses one at once, whatever its
    patience: each holds what the other waits for.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_SECONDS)
        else:
            return


@contextmanager
def translated() -> Iterator[None]:
    """Raise `StoreUnavailable` for what may work later."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        raise StoreUnavailable(f"the database does not take this now: {error.orig}") from error
    except PoolTimeout as error:
        raise StoreUnavailable("every connection to the database is in use") from error


class Store:
    """Writes the projection; `gateway.queries` reads it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        #: Both dialects have the same `ON CONFLICT`, and no type in common that says so.
        self._insert: Callable[[Table], Any] = _INSERTS[engine.dialect.name]

    def positions(self) -> dict[TopicPartition, Position]:
        """Return how far each partition is projected."""
        with translated(), self.engine.connect() as connection:
            rows = connection.execute(select(tables.POSITIONS)).mappings()
            return {
                TopicPartition(row["topic"], row["partition"]): Position(row["next_offset"], row["last_record_ms"])
                for row in rows
            }

    def series_ids(self) -> list[str]:
        """Return every series that the store has observations of."""
        with translated(), self.engine.connect() as connection:
            return list(connection.scalars(select(tables.SERIES.c.series_id)))

    def apply(
        self,
        rows: Rows,
        before: Mapping[TopicPartition, Position],
        after: Mapping[TopicPartition, Position],
        topics: Mapping[str, str],
    ) -> list[Alarm]:
        """Write ``rows`` and the positions ``after`` them in one transaction; return the broken invariants found.

        Args:
            rows: What was read.
            before: The positions that the store has, of the partitions that moved.
            after: The positions behind ``rows``.
            topics: Name without prefix -> name in the broker, for alarms.

        Raises:
            StoreUnavailable: Nothing was written.
            StoreTaken: The positions are not ``before``: somebody else writes them.
        """
        with translated(), self.engine.begin() as connection:
            self._move(connection, before, after)
            alarms, answers = self._forecasts(connection, rows.forecasts, topics["forecasts"])
            alarms += self._models(connection, rows, topics)
            self._observations(connection, rows.observation_batches)
            self._ingests(connection, rows)
            self._first_wins(connection, tables.QUARANTINE, rows.quarantine)
            self._first_wins(connection, tables.QUARANTINE_DECISIONS, rows.quarantine_decisions)
            self._first_wins(connection, tables.DEAD_LETTERS, rows.dead_letters)
            self._first_wins(connection, tables.DEAD_LETTER_DECISIONS, rows.dead_letter_decisions)
            self._trainings(connection, rows)
            self._history(connection, rows.forecast_requests, answers)
            self._first_wins(connection, tables.ALARMS, [vars(alarm) for alarm in alarms])
            return alarms

    def _move(
        self,
        connection: Connection,
        before: Mapping[TopicPartition, Position],
        after: Mapping[TopicPartition, Position],
    ) -> None:
        table = tables.POSITIONS
        moved, added = [], []
        for place, position in after.items():
            row = {"to_offset": position.next_offset, "to_ms": position.last_record_ms}
            known = before.get(place)
            if known is None:
                added.append({"topic": place.topic, "partition": place.partition, **vars(position)})
            else:
                moved.append(
                    {"of_topic": place.topic, "of_partition": place.partition, "seen": known.next_offset} | row
                )
        if added:
            try:
                connection.execute(self._insert(table), added)
            except IntegrityError as error:
                raise StoreTaken(_TAKEN) from error
        if moved:
            statement = (
                update(table)
                .where(
                    table.c.topic == bindparam("of_topic"),
                    table.c.partition == bindparam("of_partition"),
                    table.c.next_offset == bindparam("seen"),
                )
                .values(next_offset=bindparam("to_offset"), last_record_ms=bindparam("to_ms"))
            )
            if connection.execute(statement, moved).rowcount != len(moved):
                raise StoreTaken(_TAKEN)

    def _first_wins(self, connection: Connection, table: Table, rows: list[Row]) -> None:
        if rows:
            connection.execute(self._insert(table).on_conflict_do_nothing(), rows)

    def _last_wins(self, connection: Connection, table: Table, rows: list[Row]) -> None:
        """Write rows over those that have their keys."""
        if rows:
            connection.execute(self._over(table, rows[0]), rows)

    def _over(self, table: Table, names: Iterable[str]) -> Any:
        """Return an insert of these columns that writes over the row that has the keys."""
        statement = self._insert(table)
        keys = [column.name for column in table.primary_key]
        changed = {name: statement.excluded[name] for name in names if name not in keys}
        return statement.on_conflict_do_update(index_elements=keys, set_=changed)

    def _newest_wins(self, connection: Connection, table: Table, rows: list[Row]) -> None:
        """Write rows that stand in one partition each: what is read again is not the newest."""
        if rows:
            statement = self._insert(table)
            (key,) = table.primary_key.columns
            changed = {name: statement.excluded[name] for name in rows[0] if name != key.name}
            newer = table.c.log_offset <= statement.excluded["log_offset"]
            upsert = statement.on_conflict_do_update(index_elements=[key.name], set_=changed, where=newer)
            connection.execute(upsert, rows)

    def _new(self, connection: Connection, table: Table, rows: list[Row]) -> list[Row]:
        """Note the ids of ``rows`` in ``table``; return those that were not known: the others are repeats."""
        (key,) = table.primary_key.columns
        known = set(_known(connection, key, key, [row[key.name] for row in rows]))
        new = []
        for row in rows:
            if row[key.name] not in known:
                known.add(row[key.name])
                new.append(row)
        self._first_wins(connection, table, [_only(table, row) for row in new])
        return new

    def _observations(self, connection: Connection, batches: list[Row]) -> None:
        new = self._new(connection, tables.OBSERVATION_BATCHES, batches)
        folded = fold(new, lines=_lines(connection, new), known=partial(_rows_between, connection))
        self._first_wins(connection, tables.OBSERVATION_VERSIONS, folded.replaced)
        names = [column.name for column in tables.OBSERVATIONS.columns]
        _write_many(connection, self._over(tables.OBSERVATIONS, names), names, folded.latest)
        self._last_wins(connection, tables.SERIES, [_only(tables.SERIES, line) for line in folded.lines])

    def _ingests(self, connection: Connection, rows: Rows) -> None:
        self._requested(connection, tables.INGESTS, rows.ingest_requests)
        events = self._new(connection, tables.INGEST_EVENTS, rows.ingest_events)
        self._told(connection, tables.INGESTS, events)
        self._newest_wins(connection, tables.SCHEDULES, rows.schedules)
        self._newest_wins(connection, tables.RUN_PLANS, rows.run_plans)

    def _trainings(self, connection: Connection, rows: Rows) -> None:
        table = tables.TRAININGS
        self._requested(connection, table, rows.training_requests)
        events = self._new(connection, tables.TRAINING_EVENTS, rows.training_events)
        self._told(connection, table, [row | {"is_cancel_requested": False} for row in events])
        if rows.training_cancellations:
            cancel = update(table).where(table.c.training_id == bindparam("of_training_id"))
            connection.execute(cancel.values(is_cancel_requested=True), rows.training_cancellations)

    def _requested(self, connection: Connection, table: Table, rows: list[Row]) -> None:
        """Write what was asked for: the first request of an id counts; an event may have been projected before it."""
        if rows:
            statement = self._insert(table)
            (key,) = table.primary_key.columns
            kept = (key.name, "state", "is_cancel_requested")
            changed = {name: statement.excluded[name] for name in rows[0] if name not in kept}
            first = statement.on_conflict_do_update(
                index_elements=[key.name], set_=changed, where=table.c.requested_ms.is_(None)
            )
            connection.execute(first, rows)

    def _told(self, connection: Connection, table: Table, events: list[Row]) -> None:
        """Write how it goes; of what was asked, an event says only what the request has not said."""
        if events:
            statement = self._insert(table)
            (key,) = table.primary_key.columns
            told = ("event", "event_ms", "state", "version")
            changed = {name: statement.excluded[name] for name in told if name in table.columns}
            rows = [_only(table, row) for row in events]
            connection.execute(statement.on_conflict_do_update(index_elements=[key.name], set_=changed), rows)

    def _history(self, connection: Connection, requests: list[Row], answers: list[Row]) -> None:
        if requests or answers:
            write_history(connection, self._insert, requests, answers)

    def _models(self, connection: Connection, rows: Rows, topics: Mapping[str, str]) -> list[Alarm]:
        releases, deployments = tables.MODEL_VERSIONS, tables.DEPLOYMENTS
        alarms = []
        for row in rows.model_versions:
            same = (releases.c.model == row["model"]) & (releases.c.version == row["version"])
            known = connection.execute(select(releases.c.release, releases.c.log_offset).where(same)).first()
            # The newest counts, since compaction leaves only that; what is read again is not the newest.
            if known is None or known.log_offset <= row["log_offset"]:
                release = row["release"] if known is None else _telling_more(known.release, row["release"])
                self._last_wins(connection, releases, [_only(releases, {**row, "release": release})])
            # The version names the artefact; another training that found the same one may release it again.
            if known is not None and known.release != row["release"] and _is_by(known.release, row["training_id"]):
                subject = f"{row['model']}:{row['version']}"
                alarms.append(Alarm(topics["models"], 0, row["log_offset"], "one-release-two-contents", subject))
        for row in rows.deployments:
            key = row["deployment_id"]
            known = connection.scalar(select(deployments.c.deployment).where(deployments.c.deployment_id == key))
            if known is None:
                self._first_wins(connection, deployments, [row])
            elif known != row["deployment"]:
                place = (topics["deployments"], 0, row["log_offset"])
                alarms.append(Alarm(*place, "one-deployment-two-contents", key))
        return alarms

    def _forecasts(self, connection: Connection, rows: list[Row], topic: str) -> tuple[list[Alarm], list[Row]]:
        """Write the answers; return the broken invariants and the rows that say what counts, repeats among them."""
        if not rows:
            return [], []
        answers, contents = tables.FORECASTS, tables.FORECAST_CONTENTS
        known_answers = _known(connection, answers.c.request_id, answers.c.answer, [r["request_id"] for r in rows])
        issued = [row for row in rows if row["forecast_id"] is not None]
        known_digests = _known(
            connection, contents.c.forecast_id, contents.c.digest, [r["forecast_id"] for r in issued]
        )
        alarms: list[Alarm] = []
        new_answers, new_contents, counting = [], [], []
        for row in rows:
            place = (topic, row["log_partition"], row["log_offset"])
            answer = known_answers.setdefault(row["request_id"], row["answer"])
            if answer is row["answer"]:
                new_answers.append(_only(answers, row))
            if answer == row["answer"]:
                counting.append(row)
            else:
                alarms.append(Alarm(*place, "one-request-two-answers", row["request_id"]))
            if row["forecast_id"] is None:
                continue
            digest = known_digests.get(row["forecast_id"])
            if digest is None:
                known_digests[row["forecast_id"]] = row["digest"]
                new_contents.append({"forecast_id": row["forecast_id"], "digest": row["digest"]})
            elif digest != row["digest"]:
                alarms.append(Alarm(*place, "one-forecast-id-two-contents", row["forecast_id"]))
        self._first_wins(connection, answers, new_answers)
        self._first_wins(connection, contents, new_contents)
        return alarms, counting


def _write_many(connection: Connection, statement: Any, names: list[str], rows: Sequence[tuple[Any, ...]]) -> None:
    """Execute a statement for each row by the driver itself: SQLAlchemy's own way takes twice as long a row."""
    if not rows:
        return
    compiled = statement.compile(dialect=connection.dialect, column_keys=names)
    if compiled.positiontup is None:
        connection.exec_driver_sql(str(compiled), [dict(zip(names, row, strict=True)) for row in rows])
    elif compiled.positiontup == names:
        connection.exec_driver_sql(str(compiled), rows)
    else:
        raise TypeError(f"values were to be bound in the order {names}, found {compiled.positiontup}")


def _known(connection: Connection, key: Any, value: Any, keys: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for start in range(0, len(keys), _CHUNK):
        query = select(key, value).where(key.in_(set(keys[start : start + _CHUNK])))
        found.update({row[0]: row[1] for row in connection.execute(query)})
    return found


def _lines(connection: Connection, batches: list[Row]) -> dict[str, Row]:
    """Return what the store says of the series of ``batches``."""
    table, found = tables.SERIES, {}
    wanted = sorted({batch["series_id"] for batch in batches})
    for start in range(0, len(wanted), _CHUNK):
        rows = connection.execute(select(table).where(table.c.series_id.in_(wanted[start : start + _CHUNK])))
        found.update({row["series_id"]: dict(row) for row in rows.mappings()})
    return found


def _rows_between(connection: Connection, series_id: str, first: int, last: int) -> list[Observed]:
    table = tables.OBSERVATIONS
    query = select(table).where(table.c.series_id == series_id, table.c.time.between(first, last))
    return [tuple(row) for row in connection.execute(query)]


def _only(table: Table, row: Row | RowMapping) -> Row:
    """Return the part of ``row`` that ``table`` has columns for."""
    return {name: row[name] for name in (column.name for column in table.columns) if name in row}


def _telling_more(known: bytes, newer: bytes) -> bytes:
    """Return the newer release of a version, but the known one where that alone says what was compared.

    A training that names what another one has chosen finds the same artefact, and has compared nothing.
    """
    has_compared, compares = (bool(msgspec.json.decode(release).get("leaderboard")) for release in (known, newer))
    return known if has_compared and not compares else newer


def _is_by(release: bytes, training_id: str) -> bool:
    return bool(msgspec.json.decode(release)["training_id"] == training_id)
