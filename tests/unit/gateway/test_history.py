"""The history: filters, pages, files and sums, on SQLite and on PostgreSQL; and what nobody else may see of it."""

from __future__ import annotations

import csv
import io
import itertools
import random
from collections.abc import Callable, Generator, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pyarrow import parquet
from sqlalchemy import QueuePool

from gateway import history_queries, usage
from gateway.history import join
from gateway.history_queries import FORECASTS, Filter, HistoryQueries, Place, tenants_of
from gateway.rows import rows_of
from gateway.store import Store, open_engine
from schemas import topics
from schemas.forecasts import default_model_name
from tests import factories
from tests.unit.gateway.conftest import BOTH
from tests.unit.gateway.test_gateway_projection import log_of, write
from tests.unit.gateway.world import World, running

SERIES = ("market/gold@1d", "market/tin@1d", "shop/apples@1d", "shop/plums@1d", "den/ore@1h")
REQUESTERS = ("", "org-1/key/k1", "org-1/user/u1", "org-2/key/k2")
VERSIONS = ("0123456789abcdef", "fedcba9876543210")
COUNT = 240


def log_of_forecasts() -> list[Any]:
    """Return requests of many kinds with their answers, most of them; several in the same millisecond."""
    rng = random.Random(5)
    records: list[tuple[Any, Any]] = []
    # Ids are in another order than the rows are written in: of one time, an index would give these in theirs.
    for number, name in enumerate(random.Random(5).sample(range(COUNT), COUNT)):
        series_id = rng.choice(SERIES)
        request = factories.forecast_request(
            f"r-{name:04d}",
            series_id=series_id,
            requester=rng.choice(REQUESTERS),
            cause=rng.choice(("caller", "observation")),
            batch_id=rng.choice((None, None, "batch-1")),
        )
        records.append((topics.FORECAST_REQUESTS, request))
        outcome = rng.random()
        if outcome < 0.7:
            model = factories.forecast_issued().model
            used = msgspec.structs.replace(model, name=default_model_name(series_id), version=rng.choice(VERSIONS))
            answer: Any = factories.forecast_issued(
                f"r-{name:04d}", series_id=series_id, model=used, cause=request.cause, forecast_id=f"f-{number}"
            )
            records.append((topics.FORECASTS, answer))
        elif outcome < 0.9:
            records.append((topics.FORECASTS, factories.forecast_refused(f"r-{name:04d}", series_id=series_id)))
    messages = log_of(records)
    for number, incoming in enumerate(messages):
        time_ms = 1_750_000_000_000 + number // 7 * 3_600_000
        object.__setattr__(incoming.message, "timestamp_ms", time_ms)
    return messages


@pytest.fixture(scope="module", params=BOTH)
def database(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[], str]) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("gateway"), database_url=new_database())
    # Not started: the log that these rows stand for is not in its broker.
    write(made.store, log_of_forecasts())
    yield made
    made.close()


@pytest.fixture(scope="module")
def every(world: World) -> list[dict[str, Any]]:
    """Return all rows, read plainly, the newest first."""
    with world.store.engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(FORECASTS.table.select()).mappings()]
    assert len(rows) == COUNT
    return sorted(rows, key=lambda row: (row["time_ms"], row["request_id"]), reverse=True)


def pages(world: World, path: str) -> list[dict[str, Any]]:
    """Return the lines of all pages."""
    found: list[dict[str, Any]] = []
    asked: str | None = path
    while asked is not None:
        answer = world.client.get(asked)
        assert answer.status_code == 200, answer.text
        assert answer.headers.get("Link") == (answer.json["next"] and f'<{answer.json["next"]}>; rel="next"')
        found += answer.json["forecasts"]
        asked = answer.json["next"]
    return found


FILTERS: dict[str, tuple[str, ...]] = {
    "series_id": ("market/gold@1d", "shop/apples@1d", "no/such@1d"),
    "model": ("market/gold-1d", "shop/plums-1d"),
    "version": VERSIONS[:1],
    "status": ("pending", "issued", "refused"),
    "requester": ("org-1/key/k1",),
    "cause": ("observation",),
    "project": ("market", "shop"),
    "batch_id": ("batch-1",),
}
SEEN = (None, frozenset({"shop", "market/org-1"}), frozenset({"den"}), frozenset[str]())


@pytest.mark.parametrize("looked_at", [7, 10_000])
def test_every_combination_of_filters_gives_what_a_plain_look_gives(
    world: World, every: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, looked_at: int
) -> None:
    # With few rows looked at, pages end early; goes red where such a page forgets or repeats a row.
    monkeypatch.setattr(history_queries, "MAX_LOOKED_AT", looked_at)
    queries, rng = HistoryQueries(world.store), random.Random(3)
    combined = [names for size in range(4) for names in itertools.combinations(FILTERS, size)]
    for names in combined:
        equal = {name: rng.choice(FILTERS[name]) for name in names}
        tenants = rng.choice(SEEN)
        since = rng.choice((None, every[COUNT * 3 // 4]["time_ms"]))
        until = rng.choice((None, every[COUNT // 4]["time_ms"]))
        wanted = Filter(equal, from_ms=since, to_ms=until, tenants=tenants)

        found = [row["request_id"] for rows in queries.every(FORECASTS, wanted, rows_at_once=11) for row in rows]

        expected = [row["request_id"] for row in every if passes(row, wanted)]
        assert found == expected, wanted
    assert FORECASTS.hidden.isdisjoint(queries.page(FORECASTS, Filter(), after=None, limit=1).rows[0])


def passes(row: dict[str, Any], wanted: Filter) -> bool:
    return (
        all(row[name] == value for name, value in wanted.equal.items())
        and (wanted.from_ms is None or row["time_ms"] >= wanted.from_ms)
        and (wanted.to_ms is None or row["time_ms"] < wanted.to_ms)
        and (wanted.tenants is None or row["tenant"] in wanted.tenants)
    )


def test_pages_over_http_hold_every_row_once(world: World, every: list[dict[str, Any]]) -> None:
    found = pages(world, "/api/v1/forecasts?limit=17")

    assert [line["request_id"] for line in found] == [row["request_id"] for row in every]
    assert {line["status"] for line in found} == {"pending", "issued", "refused"}
    # The filters stay in the path of the next page.
    refused = pages(world, "/api/v1/forecasts?limit=5&status=refused&from=2025-06-16T00:00:00Z")
    assert refused
    assert {line["status"] for line in refused} == {"refused"}


def test_pages_stay_as_they_are_while_new_forecasts_come(tmp_path: Path, new_database: Callable[[], str]) -> None:
    with running(tmp_path, database_url=new_database()) as world:
        for number in range(6):
            world.publish(topics.FORECAST_REQUESTS, factories.forecast_request(f"old-{number}"))
        world.settle()
        first = world.client.get("/api/v1/forecasts?limit=4").json
        for number in range(5):
            world.publish(topics.FORECAST_REQUESTS, factories.forecast_request(f"new-{number}"))
        world.settle()

        rest = pages(world, first["next"])

    ids = [line["request_id"] for line in (*first["forecasts"], *rest)]
    assert sorted(ids) == [f"old-{number}" for number in range(6)]


def test_files_hold_what_the_pages_hold(world: World) -> None:
    path = "/api/v1/forecasts?status=issued&project=shop"
    lines = pages(world, path)
    assert len(lines) > 20

    as_csv = world.client.get(f"{path}&format=csv")
    as_json = world.client.get(path, headers={"Accept": "application/x-ndjson"})
    as_parquet = world.client.get(f"{path}&format=parquet")

    assert as_csv.headers["Content-Type"].startswith("text/csv")
    assert as_csv.headers["Content-Disposition"] == 'attachment; filename="forecasts.csv"'
    rows = list(csv.DictReader(io.StringIO(as_csv.text)))
    assert [row["request_id"] for row in rows] == [line["request_id"] for line in lines]
    assert rows[0].keys() == lines[0].keys()
    assert [msgspec.json.decode(each) for each in as_json.data.splitlines()] == lines
    table = parquet.read_table(io.BytesIO(as_parquet.data)).to_pylist()
    assert [row["forecast_id"] for row in table] == [line["forecast_id"] for line in lines]
    assert [row["requested_at"].timestamp() for row in table] == [
        datetime.fromisoformat(line["requested_at"]).timestamp() for line in lines
    ]


def test_a_file_of_nothing_can_be_read(world: World) -> None:
    path = "/api/v1/forecasts?project=nobody"

    assert world.client.get(f"{path}&format=csv").text.count("\r\n") == 1
    assert world.client.get(f"{path}&format=ndjson").data == b""
    assert parquet.read_table(io.BytesIO(world.client.get(f"{path}&format=parquet").data)).num_rows == 0


def test_a_reader_that_goes_away_leaves_no_connection_behind(world: World) -> None:
    for format_ in ("csv", "ndjson", "parquet"):
        answer = world.client.get(f"/api/v1/forecasts?format={format_}", buffered=False)
        next(answer.response)
        answer.close()
    pool: Any = world.store.engine.pool

    # Goes red when a piece is yielded inside `HistoryQueries.page`, with its connection open.
    assert pool.checkedout() == 0


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("status=done", "status"),
        ("cursor=%00", "cursor"),
        ("cursor=WzEsMl0", "cursor"),
        ("cursor=W10", "cursor"),
        ("cursor=WzEs!!!!ImEiXQ", "cursor"),
        ("cursor=WzkyMjMzNzIwMzY4NTQ3NzU4MDcsICIiXQ", "cursor"),
        ("from=yesterday", "from"),
        ("to=2025-01-01", "to"),
        ("series_id=a%00b", "series_id"),
        ("model=", "model"),
        ("requester=" + "x" * 300, "requester"),
        ("format=xls", "format"),
        ("format=csv&limit=5", "limit"),
        ("serie=x", "serie"),
    ],
)
def test_a_parameter_that_is_not_what_is_asked_for_is_named(world: World, query: str, field: str) -> None:
    answer = world.client.get(f"/api/v1/forecasts?{query}")

    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, field)


def test_usage_is_the_count_of_the_rows(world: World, every: list[dict[str, Any]]) -> None:
    for by in ("day,project,model,requester", "project", "requester,day"):
        sums: dict[tuple[Any, ...], list[int]] = {}
        for row in every:
            named = {**row, "day": row["time_ms"] // 86_400_000}
            counts = sums.setdefault(tuple(named[name] for name in by.split(",")), [0, 0, 0])
            counts[0] += 1
            counts[1] += row["status"] == "issued"
            counts[2] += row["status"] == "refused"

        lines = world.client.get(f"/api/v1/usage?by={by}").json["usage"]

        found = sorted([line["forecasts"], line["issued"], line["refused"]] for line in lines)
        assert found == sorted(sums.values())
    (one,) = world.client.get("/api/v1/usage?by=project&project=shop&from=2025-06-16&to=2025-06-17").json["usage"]
    day = [row for row in every if row["project"] == "shop" and row["time_ms"] // 86_400_000 == 20_255]
    assert day
    assert one["forecasts"] == len(day)


@pytest.mark.parametrize("query", ["by=week", "by=day,day", "by=", "from=2025-13-01", "model=%0a", "limit=5"])
def test_usage_refuses_what_it_does_not_know(world: World, query: str) -> None:
    assert world.client.get(f"/api/v1/usage?{query}").status_code == 422


def test_sums_of_too_many_lines_are_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Red without `_MAX_LINES` in `gateway.usage`."""
    (one,) = world.client.get("/api/v1/usage?by=project&project=shop").json["usage"]
    monkeypatch.setattr(usage, "_MAX_LINES", 1)
    assert world.client.get("/api/v1/usage?by=project&project=shop").json["usage"] == [one]
    assert world.client.get("/api/v1/usage?by=project").json["errors"][0]["field"] == "by"


def test_a_tenant_sees_its_projects_and_what_it_asked_of_public_ones() -> None:
    assert tenants_of(None, frozenset({"org-1"})) is None
    seen = tenants_of(frozenset({"market", "shop"}), frozenset({"org-1", ""}))
    # The rows of a public project that nobody asked for by name have the tenant `market/`.
    assert seen == {"shop", "market/org-1"}


def orders() -> list[tuple[int, ...]]:
    return list(itertools.permutations(range(4)))


@pytest.mark.parametrize("order", orders())
def test_a_row_is_the_same_whichever_part_was_read_first(order: tuple[int, ...]) -> None:
    messages = log_of(
        [
            (topics.FORECAST_REQUESTS, factories.forecast_request("r", as_of=None, requester="org-1/key/k")),
            (topics.FORECAST_REQUESTS, factories.forecast_request("r", as_of=factories.as_of(), horizon=2)),
            (topics.FORECASTS, factories.forecast_issued("r")),
            (topics.FORECASTS, factories.forecast_issued("r")),
        ]
    )
    whole = rows_of(messages)
    expected = join({}, whole.forecast_requests, whole.forecasts)

    known: dict[str, Any] = {}
    usage: dict[Any, list[int]] = {}
    for index in order:
        rows = rows_of([messages[index]])
        joined = join(known, rows.forecast_requests, rows.forecasts)
        known |= {row["request_id"]: row for row in joined.changed}
        for key, counts in joined.usage.items():
            usage[key] = [a + b for a, b in zip(usage.get(key, [0, 0, 0]), counts, strict=True)]

    assert list(known.values()) == expected.changed
    assert {key: counts for key, counts in usage.items() if any(counts)} == expected.usage
    assert expected.changed[0]["horizon"] == 2


def test_free_text_that_a_column_cannot_hold_stops_nothing(world: World) -> None:
    # PostgreSQL takes no NUL; goes red without `word`.
    nasty = factories.forecast_request("nasty", cause="a\x00b" * 80, requester="org\x00/key/k")
    rows = rows_of(log_of([(topics.FORECAST_REQUESTS, nasty)]))
    with world.store.engine.connect() as connection:
        table = FORECASTS.table
        connection.execute(table.insert(), join({}, rows.forecast_requests, []).changed)
        cause = connection.scalar(table.select().with_only_columns(table.c.cause).where(table.c.request_id == "nasty"))
        connection.rollback()
    assert cause is not None
    assert (cause[:3], len(cause)) == ("a\ufffdb", 100)


def test_words_of_a_series_that_a_column_cannot_hold_stop_nothing(
    tmp_path: Path, new_database: Callable[[], str]
) -> None:
    """Red without `word` in `rows._observations`: PostgreSQL refused the batch, and the gateway ended for good."""
    count = "1" * 30
    nasty = factories.observation_batch(
        series_id=f"shop/nasty@{count}d",
        freq=f"{count}d",
        calendar="c" * 50,
        unit="\0" * 50,
        source="s" * 100,
        kind="restatement",
        reason="a\0b",
    )
    with running(tmp_path, database_url=new_database()) as world:
        world.publish(topics.OBSERVATIONS, nasty)
        world.publish(topics.OBSERVATIONS, factories.observation_batch())
        world.settle()
        series = {one["series_id"]: one for one in world.client.get("/api/v1/series").json["series"]}

    assert factories.SERIES in series
    found = series[nasty.series_id]
    assert [len(found[name]) for name in ("freq", "calendar", "unit", "source")] == [20, 40, 40, 80]


def test_a_cell_that_a_spreadsheet_would_run_is_text(tmp_path: Path, new_database: Callable[[], str]) -> None:
    with running(tmp_path, database_url=new_database()) as world:
        for number, cause in enumerate(('=HYPERLINK("x")', "+1", "-1", "@sum", "\tx", "plain")):
            world.publish(topics.FORECAST_REQUESTS, factories.forecast_request(f"r-{number}", cause=cause))
        world.settle()
        text = world.client.get("/api/v1/forecasts?format=csv").text

    causes = {row["cause"] for row in csv.DictReader(io.StringIO(text, newline=""))}
    # Goes red without the quote of `exports._cell`.
    assert causes == {'\'=HYPERLINK("x")', "'+1", "'-1", "'@sum", "'\tx", "plain"}


def test_trainings_and_ingests_are_filtered_and_told_as_files(tmp_path: Path, new_database: Callable[[], str]) -> None:
    with running(tmp_path, database_url=new_database()) as world:
        for number in range(3):
            world.publish(topics.TRAINING_REQUESTS, factories.training_request(f"t-{number}", requester="org-1/key/k1"))
            world.publish(topics.INGEST_REQUESTS, factories.ingest_request(f"i-{number}"))
        world.publish(topics.TRAINING_EVENTS, factories.training_event("t-1", state="failed", reason="=1+1"))
        world.publish(topics.INGEST_EVENTS, factories.ingest_event("i-2", state="failed"))
        world.settle()

        page = world.client.get("/api/v1/trainings?limit=2").json
        assert len(page["trainings"]) == 2
        assert page["next"].startswith("/api/v1/trainings?limit=2&cursor=")
        (failed,) = world.client.get("/api/v1/trainings?status=failed&requester=org-1/key/k1").json["trainings"]
        assert (failed["training_id"], failed["project"], failed["requester"]) == ("t-1", "shop", "org-1/key/k1")
        assert world.client.get("/api/v1/trainings?project=market").json["trainings"] == []
        (failed,) = world.client.get("/api/v1/ingests?status=failed").json["ingests"]
        assert failed["ingest_id"] == "i-2"
        rows = csv.DictReader(io.StringIO(world.client.get("/api/v1/trainings?status=failed&format=csv").text))
        assert [row["reason"] for row in rows] == ["'=1+1"]
        assert len(world.client.get("/api/v1/ingests?format=ndjson").data.splitlines()) == 3


def test_places_behind_a_whole_time_leave_out_its_rows(world: World, every: list[dict[str, Any]]) -> None:
    place = Place(every[0]["time_ms"], "")

    page = HistoryQueries(world.store).page(FORECASTS, Filter(), after=place, limit=1)

    assert page.rows[0]["time_ms"] < place.time_ms


def test_between_two_pieces_of_a_file_no_connection_is_held(world: World) -> None:
    """Red when `HistoryQueries.every` keeps its connection: whoever goes away in the middle would keep it too."""
    store = Store(open_engine(world.settings.url))
    try:
        pieces = HistoryQueries(store).every(FORECASTS, Filter(), rows_at_once=20)
        assert len(next(pieces)) == 20
        # A pool counts what is taken from it.
        assert isinstance(store.engine.pool, QueuePool)
        assert store.engine.pool.checkedout() == 0
        assert isinstance(pieces, Generator)
        pieces.close()
        assert store.engine.pool.checkedout() == 0
    finally:
        store.engine.dispose()
