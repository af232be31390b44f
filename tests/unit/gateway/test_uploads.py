"""Uploads over HTTP: what a file seems to hold, and what becomes of its series."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from foretopic.services import service_environment
from foretopic.stack_settings import StackSettings
from gateway.tables import INGESTS
from gateway.uploads.jobs import column_name
from ingestor.compose import build
from ingestor.errors import BadSourceData, UnknownSymbol
from ingestor.files import _column_name
from ingestor.jobs import InProcessRunner
from ingestor.settings import IngestorSettings
from ingestor.uploads import UploadSource
from tests.fakes import ManualClock
from tests.unit.gateway.uploaded import left, send, shops, uploading
from tests.unit.gateway.world import DEADLINE_SECONDS, World, running, wait_until
from tests.unit.ingestor.frames import wanted


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with uploading(tmp_path) as started:
        started.settle()
        yield started


def inspected(world: World, content: bytes, name: str):
    answer = send(world, content, name)
    assert answer.status_code == 201, answer.text
    return answer.get_json()


@pytest.mark.parametrize(
    ("file", "mapping"),
    [
        ("sales/rossmann_400_stores.parquet", ("Date", "Store", "Sales", "1d", "24/7", 400)),
        ("sales/monthly-airline-passengers.csv", ("Month", None, "Passengers", "1mo", "24/7", 1)),
        ("sales/monthly-car-sales.csv", ("Month", None, "Sales", "1mo", "24/7", 1)),
        ("sales/monthly_champagne_sales.csv", ("Month", None, "Sales", "1mo", "24/7", 1)),
        ("sales/walmart_store1_weekly.csv.gz", ("Date", "id", "Weekly_Sales", "1w", "24/7", 7)),
        ("stocks/AAPL.csv.gz", ("Date", None, "Close", "1d", "XNYS", 1)),
        ("stocks/PETR4.SA_2018_2025.csv.gz", ("Date", None, "Close", "1d", "24/5", 1)),
        ("benchmarks/M3_monthly.csv.gz", ("ds", "unique_id", "y", "1mo", "24/7", 1428)),
        ("crypto/hourly/BTC_USDT-1h.parquet", (None, None, "close", "1h", "24/7", 1)),
    ],
)
def test_columns_of_real_files_are_guessed(world: World, shared_data: Path, file: str, mapping) -> None:
    found = inspected(world, (shared_data / file).read_bytes(), file)["inspection"]

    column, series, target, freq, calendar, count = mapping
    guessed = found["mapping"]
    assert column in (None, guessed["time"])
    assert (guessed["series"], guessed["target"], guessed["freq"], guessed["calendar"]) == (
        series,
        target,
        freq,
        calendar,
    )
    assert found["series_count"] == count
    assert len(found["preview"]) == 5


def test_long_file_is_shown_and_loaded_series_by_series(world: World) -> None:
    found = inspected(world, shops(), "../../etc/shops 1.csv")

    assert found["filename"] == "shops 1.csv"
    assert found["mapping"] == {
        "time": "date",
        "series": "shop",
        "target": "sales",
        "columns": ["sales", "promo"],
        "known_future": ["promo"],
        "freq": "1d",
        "calendar": "24/7",
    }
    assert (found["inspection"]["first_time"], found["inspection"]["last_time"]) == (
        "2024-01-01T00:00:00Z",
        "2024-01-20T00:00:00Z",
    )
    assert found["inspection"]["notes"] == ["left out: remark"]

    path = f"/api/v1/uploads/{found['upload_id']}"
    loaded = world.client.post(f"{path}/load", json={"project": "shops"})
    assert loaded.status_code == 202, loaded.text
    assert [line["ingest"]["series_id"] for line in loaded.get_json()["series"]] == [
        "shops/Berlin@1d",
        "shops/Hamburg@1d",
    ]
    assert sorted(item.name for item in (world.folder / "files/uploads" / found["upload_id"]).iterdir()) == [
        "series",
        "upload.json",
    ]

    again = world.client.post(f"{path}/load", json={"project": "shops"})
    assert again.get_json() == loaded.get_json()
    other = world.client.post(f"{path}/load", json={"project": "others"})
    assert (other.status_code, other.get_json()["type"]) == (409, "/problems/upload-loaded")
    assert len(requests_of(world)) == 2

    ingest_all(world)
    series = wait_until(lambda: ended(world, path), "the end of every ingest")
    assert [(line["ingest"]["state"], line["ingest"]["rows_published"]) for line in series] == [("succeeded", 20)] * 2
    rows = world.client.get("/api/v1/series/shops/Berlin@1d/observations").get_json()
    columns = rows["observations"]["columns"]
    assert (columns["sales"][0], columns["promo"][0]) == (100.0, 0.0)
    assert (columns["sales"][-1], columns["promo"][-1]) == (None, 1.0)


def requests_of(world: World) -> list[Any]:
    world.settle()
    with world.store.engine.connect() as connection:
        found = connection.execute(select(INGESTS).where(INGESTS.c.request.is_not(None))).mappings()
        return [dict(row) for row in found]


def ingest_all(world: World) -> None:
    """Let an ingestor that shares the directory do what is asked."""
    clock = ManualClock(datetime(2024, 1, 17, 12, tzinfo=UTC))
    settings = IngestorSettings(files_directory=world.folder / "files")
    worker = build(settings, broker=world.broker, clock=clock, runner=InProcessRunner)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not all(row["event"] is not None and b'"running"' not in row["event"] for row in requests_of(world)):
        assert time.monotonic() < deadline
        for _ in worker.steps():
            pass


def ended(world: World, path: str) -> list[dict[str, Any]] | None:
    series = world.client.get(path).get_json()["series"]
    return series if all(line["ingest"]["state"] in ("succeeded", "failed") for line in series) else None


def test_numbers_of_rows_are_neither_series_nor_loaded(world: World) -> None:
    days = [f"2024-01-0{day}" for day in range(1, 6)]
    cells = [(day, branch) for branch in ("north", "south") for day in days]
    rows = "".join(f"{row},{row},{day},{branch},{row + 7}\n" for row, (day, branch) in enumerate(cells))

    found = inspected(world, f"id,Unnamed: 0,date,branch,takings\n{rows}".encode(), "shops.csv")

    mapping = found["mapping"]
    # `id` without the rank of numbers of rows: ten series of one row.
    assert (mapping["series"], found["inspection"]["series_count"]) == ("branch", 2)
    # With `Unnamed: 0` unless what pandas calls its index is left out.
    assert mapping["columns"] == ["id", "takings"]


def test_load_at_once(world: World) -> None:
    answer = send(world, gzip.compress(shops()), "shops.csv.gz", "?load=true")

    assert answer.status_code == 201
    assert [line["ingest"]["state"] for line in answer.get_json()["series"]] == ["queued", "queued"]
    assert len(requests_of(world)) == 2


def test_raw_body_with_a_name_is_a_file_too(world: World) -> None:
    answer = world.client.post("/api/v1/uploads?filename=shops.csv", data=shops(), content_type="text/csv")
    assert answer.status_code == 201
    nameless = world.client.post("/api/v1/uploads", data=shops(), content_type="text/csv")
    assert (nameless.status_code, nameless.get_json()["errors"][0]["field"]) == (422, "filename")


def test_removed_upload_is_gone(world: World) -> None:
    path = f"/api/v1/uploads/{inspected(world, shops(), 'shops.csv')['upload_id']}"
    assert world.client.delete(path).get_json()["state"] == "removed"
    assert left(world) == []
    assert world.client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"time": "when"}, "time"),
        ({"series": "city"}, "series"),
        ({"target": "remark"}, "target"),
        ({"columns": ["remark"]}, "columns"),
        ({"known_future": ["sales"]}, "known_future"),
        ({"freq": "fortnight"}, "freq"),
        ({"project": "a/b"}, "project"),
    ],
)
def test_mapping_that_does_not_fit_is_refused_by_field(world: World, body, field: str) -> None:
    upload_id = inspected(world, shops(), "shops.csv")["upload_id"]
    answer = world.client.post(f"/api/v1/uploads/{upload_id}/load", json=body)

    assert answer.status_code == 422, answer.text
    assert answer.get_json()["errors"][0]["field"] == field
    assert requests_of(world) == []
    assert world.client.get(f"/api/v1/uploads/{upload_id}").get_json()["state"] == "inspected"


def test_without_a_directory_uploads_are_off(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        answer = send(world, shops())
    assert (answer.status_code, answer.get_json()["type"]) == (409, "/problems/uploads-off")


def test_gateway_and_ingestor_of_one_machine_share_the_directory(tmp_path: Path) -> None:
    environment = service_environment(StackSettings(FORETOPIC_HOME=tmp_path), {})
    assert environment["FORETOPIC_GATEWAY_FILES_DIRECTORY"] == environment["FORETOPIC_INGESTOR_FILES_DIRECTORY"]


@pytest.mark.parametrize("name", ["Adj Close", "Stock Splits", "Weekly_Sales", "  two   words ", "y"])
def test_columns_have_the_names_that_the_source_file_gives(name: str) -> None:
    assert column_name(name) == _column_name(name)


@pytest.mark.parametrize(
    "symbol", ["../../etc/passwd", "/etc/passwd", "a" * 32, f"{'a' * 32}/../x", f"{'a' * 32}/00000/", "x\0y"]
)
def test_ingestor_reads_no_other_files(tmp_path: Path, symbol: str) -> None:
    source = UploadSource(directory=tmp_path, max_bytes=1000)
    with pytest.raises(UnknownSymbol, match="made by the gateway"):
        source.fetch(wanted(symbol=symbol))


def test_ingestor_refuses_a_series_that_is_not_whole(tmp_path: Path) -> None:
    folder = tmp_path / "uploads" / ("a" * 32) / "series"
    folder.mkdir(parents=True)
    source = UploadSource(directory=tmp_path, max_bytes=1000)
    with (folder / "00000.npy").open("wb") as file:
        for array in (np.array(["sales"]), np.arange(3) * 86_400, np.ones((1, 3))):
            np.lib.format.write_array(file, array)
    with (folder / "pickled").open("wb") as file:
        np.lib.format.write_array(file, np.array(["sales"], dtype=object), allow_pickle=True)
    whole, pickled = ((folder / name).read_bytes() for name in ("00000.npy", "pickled"))
    assert len(source.fetch(wanted(symbol=f"{'a' * 32}/00000"))) == 3
    # Red with pickles allowed (`allow_pickle`), or without the look at the size.
    said = {b"": "not whole", b"PK\x03\x04 half": "not whole", whole[:200]: "not whole", whole[:-8]: "not whole"}
    said |= {pickled + whole[128:]: "allow_pickle", whole + bytes(1000): "at most 1000 bytes"}
    for content, why in said.items():
        (folder / "00000.npy").write_bytes(content)
        with pytest.raises(BadSourceData, match=why):
            source.fetch(wanted(symbol=f"{'a' * 32}/00000"))
    with pytest.raises(UnknownSymbol, match="no series"):
        source.fetch(wanted(symbol=f"{'a' * 32}/00001"))
