"""Source `sql`: named queries of an operator, run read-only in a database.

A request names a query and gives values for its parameters; it never brings SQL. The symbol is ``NAME`` or
``NAME?PARAMETER=VALUE&...``. The queries stand in a TOML file::

    [sales]
    sql = "SELECT day AS date, amount AS sales FROM sales WHERE store = :store AND day BETWEEN :start AND :end"
    unit = "EUR"
    parameters = { store = "int" }

``:start`` and ``:end`` are the days of the request, where a query names them. Columns mean what those of files mean.
"""

from __future__ import annotations

import sqlite3
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, quote

import msgspec

from forecasting.calendars import season_length
from forecasting.errors import CalendarError
from ingestor.errors import BadSourceData, SourceFault, SourceUnreachable, UnknownSymbol
from ingestor.files import Cell, frame_of
from ingestor.sources import SourceFrame, Wanted, within_days

NAME = "sql"
MAX_ROWS = 1_000_000
DIALECTS = ("postgresql", "sqlite")
_FIRST_DAY, _LAST_DAY = date(1700, 1, 1), date(2199, 12, 31)
_PARSERS: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "text": str, "date": date.fromisoformat}
_RANGE = ("start", "end")
#: Codes of PostgreSQL and SQLite: the limit of time was reached.
_TOO_LONG = ("57014", "SQLITE_INTERRUPT")
#: Beginnings of codes: the connection was lost or the server stops; a table is locked.
_AWAY = ("08", "57P", "53", "55P03", "SQLITE_BUSY", "SQLITE_LOCKED")
#: Instructions of SQLite between two looks at the clock.
_SQLITE_STEPS = 10_000


class Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One query of the operator's file.

    Attributes:
        sql: A statement that reads; parameters stand as ``:name``.
        unit: Unit of the price or amount columns.
        parameters: Name -> kind of its value.
    """

    sql: str
    unit: str = ""
    parameters: dict[str, Literal["int", "float", "text", "date"]] = {}


@dataclass(frozen=True, kw_only=True)
class SqlSource:
    """Rows of a database.

    Attributes:
        url: SQLAlchemy's address of the database; empty: none is asked.
        queries: The file of queries.
        timeout_seconds: For connecting, and again for the query.
        max_rows: Most rows of one answer.
    """

    name = NAME
    url: str = field(default="", repr=False)
    queries: Path | None = None
    timeout_seconds: float = 30.0
    max_rows: int = MAX_ROWS

    def fetch(self, wanted: Wanted) -> SourceFrame:
        query, values = self._asked(wanted)
        try:
            season_length(wanted.freq, wanted.calendar)
        except CalendarError as error:
            raise BadSourceData(NAME, str(error)) from error
        names, rows = self._rows(query, values)
        try:
            frame = frame_of(names, enumerate(rows, start=1), wanted.freq)
        except SourceFault as fault:
            raise type(fault)(NAME, fault.reason) from fault
        return within_days(replace(frame, source=NAME, unit=query.unit), wanted)

    def _asked(self, wanted: Wanted) -> tuple[Query, dict[str, Any]]:
        """Return the query that a symbol names, and the values of its parameters."""
        known = self._queries()
        name, _, given = wanted.symbol.partition("?")
        query = known.get(name)
        if query is None:
            raise UnknownSymbol(NAME, f"a query must be one of {', '.join(known) or 'none'}, was {name[:50]!r}")
        try:
            pairs = parse_qsl(given, keep_blank_values=True, strict_parsing=bool(given))
        except ValueError as error:
            raise UnknownSymbol(NAME, f"parameters such as {name}?store=12 are expected, {error}") from error
        texts = dict(pairs)
        if texts.keys() != query.parameters.keys() or len(pairs) != len(texts):
            expected = ", ".join(query.parameters) or "no parameters"
            raise UnknownSymbol(NAME, f"{name} takes {expected}, each once; given: {', '.join(texts) or 'none'}")
        values: dict[str, Any] = {}
        for parameter, kind in query.parameters.items():
            try:
                values[parameter] = _PARSERS[kind](texts[parameter])
            except ValueError as error:
                raise UnknownSymbol(
                    NAME, f"{parameter} of {name} must be of kind {kind}, was {texts[parameter][:50]!r}"
                ) from error
        return query, values | {"start": wanted.start or _FIRST_DAY, "end": wanted.end or _LAST_DAY}

    def _queries(self) -> dict[str, Query]:
        if not self.url or self.queries is None:
            raise BadSourceData(
                NAME, "no database is asked: set FORETOPIC_INGESTOR_SQL_URL and FORETOPIC_INGESTOR_SQL_QUERIES_FILE"
            )
        try:
            found = msgspec.convert(tomllib.loads(self.queries.read_text(encoding="utf-8")), dict[str, Query])
        except (OSError, ValueError) as error:
            raise BadSourceData(NAME, f"the file of queries cannot be used: {error}") from error
        for name, query in found.items():
            if reserved := query.parameters.keys() & set(_RANGE):
                raise BadSourceData(NAME, f"{name}: {', '.join(sorted(reserved))} are the days of the request")
        return found

    def _rows(self, query: Query, values: Mapping[str, Any]) -> tuple[list[str], list[list[Cell]]]:
        """Run a query; nothing that it does is kept."""
        import sqlalchemy  # noqa: PLC0415  # only for those who have a database
        from sqlalchemy import exc  # noqa: PLC0415

        try:
            url = sqlalchemy.make_url(self.url)
        except exc.ArgumentError as error:
            raise BadSourceData(NAME, "FORETOPIC_INGESTOR_SQL_URL is no address of a database") from error
        if url.get_backend_name() not in DIALECTS:
            raise BadSourceData(NAME, f"databases of {', '.join(DIALECTS)} are read, not {url.get_backend_name()}")
        statement = sqlalchemy.text(query.sql)
        # Those that a query does not name must not be given to it.
        bound = {name: value for name, value in values.items() if name in statement.compile().params}
        try:
            engine = self._engine(sqlalchemy, url)
            connection = engine.connect()
        except (exc.SQLAlchemyError, ImportError) as error:
            raise SourceUnreachable(NAME, f"the database cannot be reached: {_why(error)}") from error
        try:
            with connection:
                self._limit(sqlalchemy, connection)
                with connection.execution_options(stream_results=True).execute(statement, bound) as result:
                    names, rows = list(result.keys()), result.fetchmany(self.max_rows + 1)
                connection.rollback()
        except exc.SQLAlchemyError as error:
            raise self._fault(error) from error
        finally:
            engine.dispose()
        if len(rows) > self.max_rows:
            raise BadSourceData(NAME, f"at most {self.max_rows} rows are expected, the query gives more")
        return names, [[_cell(value) for value in row] for row in rows]

    def _fault(self, error: BaseException) -> SourceFault:
        """Return what a query that failed means: only what another try may mend is unreachable."""
        origin = getattr(error, "orig", None)
        code = getattr(origin, "sqlstate", None) or getattr(origin, "sqlite_errorname", None) or ""
        if code in _TOO_LONG:
            return SourceUnreachable(NAME, f"the query took longer than {self.timeout_seconds:g} s")
        if code.startswith(_AWAY) or getattr(error, "connection_invalidated", False):
            return SourceUnreachable(NAME, f"the database does not answer now: {_why(error)}")
        return BadSourceData(NAME, f"the query failed: {_why(error)}")

    def _engine(self, sqlalchemy: Any, url: Any) -> Any:
        if url.get_backend_name() == "sqlite":
            # Only so is a file that is not there not made, and nothing written whatever the query says.
            place = f"file:{quote(url.database or '')}?mode=ro"
            return sqlalchemy.create_engine(
                "sqlite://",
                creator=lambda: sqlite3.connect(place, uri=True, timeout=self.timeout_seconds),
                poolclass=sqlalchemy.NullPool,
            )
        return sqlalchemy.create_engine(
            url,
            poolclass=sqlalchemy.NullPool,
            connect_args={"connect_timeout": max(2, round(self.timeout_seconds))},
            execution_options={"postgresql_readonly": True},
        )

    def _limit(self, sqlalchemy: Any, connection: Any) -> None:
        """Let the database itself end a query that takes too long."""
        if connection.dialect.name == "sqlite":
            deadline = time.monotonic() + self.timeout_seconds
            raw = connection.connection.driver_connection
            raw.set_progress_handler(lambda: time.monotonic() > deadline, _SQLITE_STEPS)
        else:
            limit = {"limit": str(round(self.timeout_seconds * 1000))}
            connection.execute(sqlalchemy.text("SELECT set_config('statement_timeout', :limit, true)"), limit)


def _cell(value: Any) -> Cell:
    return float(value) if isinstance(value, Decimal) else value


def _why(error: BaseException) -> str:
    """Return what the database said, without the address and the values that SQLAlchemy adds."""
    return " ".join(str(getattr(error, "orig", None) or error).split())[:300]
