"""The source `sql` on SQLite and PostgreSQL: named queries, read-only, limited in rows and time."""

from __future__ import annotations

import gc
import pickle
import sqlite3
import threading
import time
from datetime import UTC, date, datetime

import pytest

from ingestor.errors import BadSourceData, SourceUnreachable, UnknownSymbol
from ingestor.sql import SqlSource
from tests.integration.gateway_process import postgres_server
from tests.unit.ingestor.frames import wanted

TABLE = """
CREATE TABLE sales (store INTEGER, day DATE, amount NUMERIC(10, 2), promo INTEGER);
INSERT INTO sales VALUES (1, '2024-03-01', 10.50, 0), (1, '2024-03-02', 11, 1), (1, '2024-03-03', 12, NULL),
    (2, '2024-03-01', 99, 0);
"""
QUERIES = """
[sales]
sql = "SELECT day AS date, amount AS sales, promo FROM sales WHERE store = :store"
unit = "EUR"
parameters = { store = "int" }

[ranged]
sql = "SELECT day AS date, amount AS sales FROM sales WHERE store = 1 AND day BETWEEN :start AND :end"

[all]
sql = "SELECT day AS date, amount AS sales FROM sales"

[named]
sql = "SELECT day AS date, amount AS sales FROM sales WHERE CAST(store AS TEXT) = :name"
parameters = { name = "text" }

[writes]
sql = "INSERT INTO sales VALUES (3, '2024-03-01', 1, 1) RETURNING day AS date, amount AS sales"

[function]
sql = "SELECT DATE '2024-03-01' AS date, nextval('counter') AS sales"

[absent]
sql = "SELECT day AS date, amount FROM no_such_table"

[endless]
sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000000) SELECT '2024-01-01' AS date, count(*) AS c FROM n"

[sleeps]
sql = "SELECT DATE '2024-03-01' AS date, 1 AS sales FROM pg_sleep(60)"

[sleeps_a_little_each_row]
sql = "SELECT DATE '2024-03-01' + i AS date, length(pg_sleep(0.1)::text) AS sales FROM generate_series(1, 600) AS i"

[timeout]
sql = "SELECT day AS date, timeout AS sales FROM sales"

[timeless]
sql = "SELECT amount FROM sales"
"""


@pytest.fixture(scope="module")
def queries(tmp_path_factory):
    path = tmp_path_factory.mktemp("queries") / "queries.toml"
    path.write_text(QUERIES)
    return path


@pytest.fixture(scope="module")
def sqlite_url(tmp_path_factory):
    path = tmp_path_factory.mktemp("sqlite") / "sales of us.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(TABLE)
    connection.close()
    return f"sqlite:///{path}"


@pytest.fixture(scope="module")
def postgres_url():
    import psycopg

    connect = psycopg.connect
    with postgres_server() as url, pytest.MonkeyPatch.context() as patched:
        # The two seconds that a short limit leaves for connecting may not do on a busy machine.
        patched.setattr(psycopg, "connect", lambda *at, **options: connect(*at, **options | {"connect_timeout": 60}))
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(TABLE)
            connection.execute("CREATE SEQUENCE counter")
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def fetch(request, queries):
    """Fetch from either database."""
    url = request.getfixturevalue(f"{request.param}_url")

    def fetch(symbol, *, source=None, **asked):
        options = {"url": url, "queries": queries, "timeout_seconds": 60.0} | (source or {})
        return SqlSource(**options).fetch(wanted(symbol=symbol, **asked))

    return fetch


def days(frame):
    return [datetime.fromtimestamp(int(time), UTC).day for time in frame.time]


def test_a_named_query_with_a_parameter(fetch):
    frame = fetch("sales?store=1")

    assert (frame.source, frame.unit, days(frame)) == ("sql", "EUR", [1, 2, 3])
    assert frame.columns["sales"].tolist() == [10.5, 11, 12]
    assert frame.columns["promo"].tolist()[:2] == [0, 1]
    assert fetch("sales?store=2").columns["sales"].tolist() == [99]


def test_the_days_of_the_request_reach_a_query_that_names_them(fetch):
    assert days(fetch("ranged")) == [1, 2, 3]
    assert days(fetch("ranged", start=date(2024, 3, 2), end=date(2024, 3, 2))) == [2]


def test_a_value_is_never_a_part_of_the_statement(fetch):
    """Red when values are written into the text."""
    with pytest.raises(BadSourceData, match="at least one row"):
        fetch("named?name=1' OR '1'='1")
    assert len(fetch("named?name=1")) == 3


def test_nothing_can_be_written(fetch):
    """Red without mode=ro of SQLite."""
    with pytest.raises(BadSourceData, match="the query failed: "):
        fetch("writes")
    assert len(fetch("ranged")) == 3


@pytest.mark.postgres
def test_the_transaction_is_read_only(postgres_url, queries):
    """A query that is a SELECT may write through a function: red without postgresql_readonly."""
    source = SqlSource(url=postgres_url, queries=queries)
    with pytest.raises(BadSourceData, match=r"cannot execute nextval\(\) in a read-only transaction"):
        source.fetch(wanted(symbol="function"))


def test_a_query_that_does_not_end_is_ended(fetch):
    """It would count for seconds: red without SqlSource._limit."""
    with pytest.raises(SourceUnreachable, match=r"the query took longer than 0\.3 s"):
        fetch("endless", source={"timeout_seconds": 0.3})


@pytest.mark.postgres
@pytest.mark.parametrize("symbol", ["sleeps", "sleeps_a_little_each_row"])
def test_a_query_that_waits_is_ended_too(postgres_url, queries, symbol):
    """Both would take a minute; PostgreSQL counts for each piece of an answer: red without statement_timeout."""
    source = SqlSource(url=postgres_url, queries=queries, timeout_seconds=0.3)
    begun = time.monotonic()
    with pytest.raises(SourceUnreachable, match=r"the query took longer than 0\.3 s"):
        source.fetch(wanted(symbol=symbol))
    assert time.monotonic() - begun < 40


@pytest.mark.postgres
def test_a_table_that_somebody_has_locked_is_waited_for_no_longer(postgres_url, queries):
    import psycopg

    with psycopg.connect(postgres_url) as other:
        other.execute("LOCK TABLE sales IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(SourceUnreachable, match=r"the query took longer than 0\.3 s"):
            SqlSource(url=postgres_url, queries=queries, timeout_seconds=0.3).fetch(wanted(symbol="all"))
        other.rollback()


# A cursor of the server cannot be closed over a connection that is gone, and psycopg says so.
@pytest.mark.filterwarnings("ignore:.*was deleted while still open:ResourceWarning")
@pytest.mark.postgres
def test_a_connection_that_is_cut_is_no_fault_of_the_query(postgres_url, queries):
    import psycopg

    source = SqlSource(url=postgres_url, queries=queries, timeout_seconds=60)
    found: list[str] = []

    def fetch() -> None:
        try:
            source.fetch(wanted(symbol="sleeps"))
        except SourceUnreachable as error:
            found.append(str(error))

    thread = threading.Thread(target=fetch)
    thread.start()
    with psycopg.connect(postgres_url, autocommit=True) as other:
        deadline = time.monotonic() + 60
        # It sleeps when the first rows are fetched from its cursor.
        cut = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ '^FETCH' AND pid <> pg_backend_pid()"
        )
        while not other.execute(cut).fetchall():
            assert time.monotonic() < deadline
    thread.join(60)
    gc.collect()
    assert [error[:39] for error in found] == ["sql: the database does not answer now: "]


def test_a_database_that_somebody_writes_is_waited_for_no_longer(tmp_path, queries, monkeypatch):
    """Red without the timeout of the connection: SQLite would wait for five seconds."""
    path = tmp_path / "locked.db"
    waits: list[float] = []
    connect = sqlite3.connect

    def connecting(*place, **options):
        waits.append(options.get("timeout", 5.0))
        return connect(*place, **options)

    with connect(path) as other:
        other.executescript(TABLE)
        other.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr(sqlite3, "connect", connecting)
        with pytest.raises(SourceUnreachable, match="the database does not answer now: database is locked"):
            SqlSource(url=f"sqlite:///{path}", queries=queries, timeout_seconds=0.3).fetch(wanted(symbol="all"))
        assert waits == [0.3]
    other.close()


def test_a_word_in_an_error_is_no_limit_of_time(fetch):
    """A column called timeout that is not there: red when the words of the error decide."""
    with pytest.raises(BadSourceData, match=r"the query failed: .*timeout"):
        fetch("timeout")


def test_more_rows_than_allowed(fetch):
    with pytest.raises(BadSourceData, match="at most 2 rows are expected"):
        fetch("all", source={"max_rows": 2})


@pytest.mark.parametrize(
    ("symbol", "fault", "words"),
    [
        ("nothing", UnknownSymbol, "a query must be one of sales, ranged, all"),
        ("SELECT * FROM sales", UnknownSymbol, "a query must be one of"),
        ("sales", UnknownSymbol, "sales takes store, each once; given: none"),
        ("sales?store=1&store=2", UnknownSymbol, "each once"),
        ("sales?shop=1", UnknownSymbol, "sales takes store"),
        ("sales?store", UnknownSymbol, "parameters such as sales"),
        ("sales?store=one", UnknownSymbol, "store of sales must be of kind int, was 'one'"),
        ("all?store=1", UnknownSymbol, "all takes no parameters"),
        ("absent", BadSourceData, "the query failed: .*no_such_table"),
        ("timeless", BadSourceData, "one column must be called"),
    ],
)
def test_what_cannot_be_asked(fetch, symbol, fault, words):
    with pytest.raises(fault, match=words) as told:
        fetch(symbol)
    assert told.value.source == "sql"


@pytest.mark.parametrize(
    ("options", "fault", "words"),
    [
        ({}, BadSourceData, "set FORETOPIC_INGESTOR_SQL_URL"),
        ({"url": "sqlite:///x.db"}, BadSourceData, "set FORETOPIC_INGESTOR_SQL_URL"),
        ({"url": "top secret"}, BadSourceData, "SQL_URL is no address of a database"),
        ({"url": "mysql://me:secret@h/x"}, BadSourceData, "databases of postgresql, sqlite are read, not mysql"),
        ({"url": "sqlite:////no/such/folder/x.db"}, SourceUnreachable, "unable to open database file"),
    ],
)
def test_a_database_that_is_none(queries, options, fault, words):
    source = SqlSource(**({"queries": queries} if "url" in options and words.count("set") == 0 else {}), **options)
    with pytest.raises(fault, match=words) as told:
        source.fetch(wanted(symbol="all"))
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[sales", "the file of queries cannot be used"),
        ("[sales]\nsql = 1", r"Expected `str`, got `int` - at `\$\[...\].sql`"),
        ("[sales]\nquery = 'SELECT 1'", "unknown field `query`|missing required field `sql`"),
        ("[sales]\nsql = 'SELECT 1'\nparameters = { x = 'json' }", "Invalid enum value 'json'"),
        ("[sales]\nsql = 'SELECT :end'\nparameters = { end = 'date' }", "end are the days of the request"),
    ],
)
def test_a_file_of_queries_that_is_none(tmp_path, text, words):
    path = tmp_path / "queries.toml"
    path.write_text(text)
    with pytest.raises(BadSourceData, match=words):
        SqlSource(url="sqlite://", queries=path).fetch(wanted(symbol="sales"))


def test_a_database_that_is_not_there_is_not_made(tmp_path, queries):
    """Red without mode=ro: SQLite makes a file for every name."""
    with pytest.raises(SourceUnreachable):
        SqlSource(url=f"sqlite:///{tmp_path}/new.db", queries=queries).fetch(wanted(symbol="all"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.loopback
def test_a_server_that_does_not_answer(queries):
    source = SqlSource(url="postgresql://me:secret@127.0.0.1:9/x", queries=queries, timeout_seconds=2)
    with pytest.raises(SourceUnreachable, match="the database cannot be reached") as told:
        source.fetch(wanted(symbol="all"))
    assert "secret" not in str(told.value)


def test_it_travels_to_a_child_process_and_tells_no_secret(queries):
    source = SqlSource(url="postgresql://me:secret@h/x", queries=queries)

    assert pickle.loads(pickle.dumps(source)) == source
    assert "secret" not in repr(source)
