"""Files as people have them: real exports with their quirks, and errors that name the place."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from ingestor.cleaning import clean
from ingestor.errors import BadSourceData, UnknownSymbol
from ingestor.files import FileSource
from tests.unit.ingestor.frames import wanted

NOW = datetime(2025, 12, 1, tzinfo=UTC)


@pytest.fixture
def load(tmp_path):
    """Write a text into a file and fetch it."""

    def load(text: str | bytes, name: str = "series.csv", **changes):
        raw = text if isinstance(text, bytes) else text.encode()
        (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return FileSource(tmp_path).fetch(wanted(symbol=name, now=NOW, **changes))

    return load


def days(frame):
    return [f"{datetime.fromtimestamp(int(time), UTC):%Y-%m-%d}" for time in frame.time]


def test_a_yahoo_export_is_recognised_through_the_change_of_the_clocks(load):
    frame = load(
        "Date,Open,High,Low,Close,Adj Close,Volume,Dividends,Stock Splits\n"
        "2024-03-08 00:00:00-05:00,1,4,1,2,1.5,100,0.0,0.0\n"
        "2024-03-11 00:00:00-04:00,2,5,2,3,2.5,200,0.24,4.0\n"
    )

    assert days(frame) == ["2024-03-08", "2024-03-11"]
    assert (frame.time % 86_400 == 0).all()
    assert list(frame.columns) == ["open", "high", "low", "close", "adj_close", "volume", "dividends", "splits"]
    assert frame.columns["adj_close"].tolist() == [1.5, 2.5]


def test_daily_bars_east_of_greenwich_keep_their_day(load):
    assert days(load("Date,Close\n2024-03-08 00:00:00+01:00,1\n")) == ["2024-03-08"]


def test_bars_within_a_day_are_converted_to_utc(load):
    frame = load("Datetime,Close\n2024-10-21 10:00:00+01:00,1\n2024-10-21 11:00:00,2\n", freq="1h")

    assert (frame.time % 86_400 // 3600).tolist() == [9, 11]


@pytest.mark.parametrize("name", ["series.csv.gz", "série ü.csv"])
def test_other_forms_and_names(load, name):
    frame = load('\ufeff"Month","Passengers (thousands)"\n"1949-01",112\n"1949-02",118\n\n', name, freq="1mo")

    assert days(frame) == ["1949-01-01", "1949-02-01"]
    assert frame.columns["passengers_(thousands)"].tolist() == [112, 118]


def test_empty_cells_are_missing_values_and_columns_without_numbers_are_left_out(load):
    frame = load("Date,Store,Open,Close\n2024-01-02,A,1,null\n2024-01-03,A,,2\n")

    assert list(frame.columns) == ["open", "close"]
    assert np.isnan(frame.columns["close"][0])
    assert np.isnan(frame.columns["open"][1])
    assert frame.notes == ("columns without numbers left out: Store",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Date,Close\n2024-01-02,1\n2024-01-03,1.2.3\n", r"row 3, column Close: a number is expected, was '1\.2\.3'"),
        ("Date,Close\n2024-01-02,1\n02/01/2024,1\n", "row 3, column Date: a time such as 2025-01-02 is expected"),
        ("Date,Close\n,1\n", "row 2, column Date"),
        ("Date,Close\n2024-01-02,1\n2024-01-03,1,7\n", "row 3 must have 2 cells, has 3"),
        ("Day,Close\n2024-01-02,1\n", "one column must be called date, .*; found Day, Close"),
        ("Date,Close,close\n2024-01-02,1,1\n", "two columns are called close"),
        ("Date,Name\n2024-01-02,x\n", "at least one row and one column of numbers are expected; found Date, Name"),
        ("Date,Close\n", "at least one row"),
        ("", "one column must be called"),
        (b"Date,Close\n2024-01-02,\xff\n", "must be UTF-8"),
        (b"PK\x03\x04\x00\x00", "one column must be called"),
    ],
)
def test_what_cannot_be_read_is_named_by_row_and_column(load, text, message):
    with pytest.raises(BadSourceData, match=message):
        load(text)


def test_broken_gzip_and_parquet_are_refused(load, tmp_path):
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"Date,Close\n2024-01-02,1\n" * 50)[:-10])
    (tmp_path / "plain.csv.gz").write_bytes(b"Date,Close\n2024-01-02,1\n")
    for name in ("cut.csv.gz", "plain.csv.gz"):
        with pytest.raises(BadSourceData, match="no whole gzip file"):
            FileSource(tmp_path).fetch(wanted(symbol=name, now=NOW))
    with pytest.raises(BadSourceData, match="no Parquet"):
        load("PAR1 it is not", "x.parquet")


def test_large_files_are_refused_also_when_they_are_small_as_gzip(load, tmp_path):
    (tmp_path / "bomb.csv.gz").write_bytes(gzip.compress(b"Date,Close\n" + b"2024-01-02,1\n" * 10_000))
    source = FileSource(tmp_path, max_bytes=100_000)
    with pytest.raises(BadSourceData, match="the text must have at most 100000 bytes"):
        source.fetch(wanted(symbol="bomb.csv.gz"))
    (tmp_path / "large.csv").write_bytes(b"x" * 100_001)
    with pytest.raises(BadSourceData, match="must have at most 100000 bytes, has 100001"):
        source.fetch(wanted(symbol="large.csv"))


@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_parquet_times_of_each_kind(tmp_path, zone):
    times = [datetime(2024, 1, 2, 9, tzinfo=UTC), datetime(2024, 1, 2, 10, tzinfo=UTC)]
    table = pa.table(
        {
            "date": pa.array(
                [t.replace(tzinfo=None) for t in times] if zone is None else times, pa.timestamp("ms", zone)
            ),
            "Close": [1, None],
        }
    )
    parquet.write_table(table, tmp_path / "x.parquet")

    frame = FileSource(tmp_path).fetch(wanted(symbol="x.parquet", freq="1h", now=NOW))

    assert frame.time.tolist() == [int(time.timestamp()) for time in times]
    assert frame.columns["close"][0] == 1
    assert np.isnan(frame.columns["close"][1])


@pytest.mark.parametrize(
    "symbol",
    ["../secret.csv", "/etc/passwd", "link.csv", "up/../../secret.csv", "a\0b", "x" * 5000, "none.csv", "", "."],
)
def test_only_files_below_the_directory_are_read(tmp_path, symbol):
    """Red without `is_relative_to` in FileSource._path."""
    root = tmp_path / "files"
    root.mkdir()
    (tmp_path / "secret.csv").write_text("Date,Close\n2024-01-02,1\n")
    (root / "link.csv").symlink_to(tmp_path / "secret.csv")

    with pytest.raises(UnknownSymbol):
        FileSource(root).fetch(wanted(symbol=symbol))


def test_without_a_directory_nothing_is_read():
    with pytest.raises(BadSourceData, match="FORETOPIC_INGESTOR_FILES_DIRECTORY"):
        FileSource(None).fetch(wanted(symbol="series.csv"))


def test_an_unknown_calendar_is_refused(load):
    with pytest.raises(BadSourceData, match="calendar must be 24/7 or a code"):
        load("Date,Close\n2024-01-02,1\n", calendar="NOPE")


REAL = [
    ("stocks/AAPL.csv.gz", "1d", "XNYS", 1883, 0),
    ("stocks/PETR4.SA.csv.gz", "1d", "BVMF", 5435, 5),
    ("stocks/VALE3.SA_2018_2025.csv.gz", "1d", "BVMF", 1860, 0),
    ("index/GSPC.csv.gz", "1d", "XNYS", 3896, 0),
    ("index/BVSP.csv.gz", "1d", "BVMF", 7561, 178),
    ("crypto/daily/BTC-USD.csv.gz", "1d", "24/7", 2738, 0),
    ("crypto/hourly/BTC_USDT-1h.parquet", "1h", "24/7", 65_590, 0),
    ("sales/monthly-airline-passengers.csv", "1mo", "24/7", 144, 0),
    ("quality/AET-L-1d-100x-error.csv", "1d", "XLON", 23, 0),
    ("quality/ASAI-L-1h-bad-unit.csv", "1h", "XLON", 20, 0),
]


@pytest.mark.parametrize("case", REAL, ids=[case[0] for case in REAL])
def test_real_files(shared_data, case):
    symbol, freq, calendar, rows, dropped = case
    asked = wanted(symbol=symbol, freq=freq, calendar=calendar, now=NOW)
    found = clean(FileSource(shared_data).fetch(asked), asked)

    assert len(found) == rows
    assert (f"{dropped} rows dropped, without any value" in " ".join(found.notes)) == (dropped > 0)


def test_real_prices_through_a_split(shared_data):
    frame = FileSource(shared_data).fetch(wanted(symbol="stocks/AAPL.csv.gz", calendar="XNYS", now=NOW))
    row = days(frame).index("2020-08-31")

    assert frame.columns["close"][row] == pytest.approx(129.04, abs=1e-4)
    assert frame.columns["splits"][row] == 4.0
    assert frame.columns["close"][row - 1] == pytest.approx(124.81, abs=3e-3)


def test_a_file_of_many_series_is_refused(shared_data):
    asked = wanted(symbol="sales/walmart_store1_weekly.csv.gz", freq="1w", now=NOW)
    with pytest.raises(BadSourceData, match="give one series only"):
        clean(FileSource(shared_data).fetch(asked), asked)
