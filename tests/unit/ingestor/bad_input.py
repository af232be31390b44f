"""What people and providers send instead of a series: name -> what is asked, and what is said of it."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from ingestor.sources import SourceFrame
from tests.unit.ingestor.answers import Said, said
from tests.unit.ingestor.frames import frame
from tests.unit.runtime import parquet_lies as lies
from tests.unit.runtime.parquet_lies import lying, parquet_of

MIB = 1024 * 1024
GOOD_CSV = b"Date,Close\n2024-03-08,1\n2024-03-11,2\n"


@dataclass(frozen=True, kw_only=True)
class Bad:
    """One bad input.

    Attributes:
        source: Which source is asked.
        symbol: For what; ``{address}`` is that of the server on the loopback address.
        said: Pattern of the reason that is told.
        file: Content of ``x.csv`` or of the file of the symbol's name below the directory of files.
        answer: What the server says.
        frame: What the source in memory gives.
        asked: Further fields of the request.
    """

    source: str
    symbol: str
    said: str
    file: bytes | None = None
    answer: Said | None = None
    frame: SourceFrame | None = None
    asked: dict[str, Any] = field(default_factory=dict)


def a_file(content: bytes, said: str, name: str = "x.csv", **asked: Any) -> Bad:
    return Bad(source="file", symbol=name, said=said, file=content, asked=asked)


def a_path(path: str, said: str) -> Bad:
    return Bad(source="file", symbol=path, said=said)


def a_page(answer: Said, said: str) -> Bad:
    return Bad(source="url", symbol="{address}/data", said=said, answer=answer)


def a_url(url: str, said: str) -> Bad:
    return Bad(source="public-url", symbol=url, said=said)


def coins(answer: Said, said: str) -> Bad:
    return Bad(source="cryptocompare", symbol="BTC-USD", said=said, answer=answer)


def given(said: str, **columns: Any) -> Bad:
    """What the gate is to refuse; the log has two rows of close in USD."""
    days, unit = columns.pop("days", None), columns.pop("unit", "USD")
    return Bad(source="one", symbol="X", said=said, frame=frame(days, unit=unit, **columns))


def rows(*lines: str) -> bytes:
    return "\n".join(("Date,Close", "2024-01-01,1", *lines)).encode() + b"\n"


def table(**columns: Any) -> bytes:
    return parquet_of(pa.table({"date": np.arange(100).astype("datetime64[s]"), **columns}), store_schema=False)


def four_gigabytes(footer: lies.Struct) -> None:
    footer[lies.SCHEMA][1][1][2] |= {lies.TYPE: (5, 7), lies.TYPE_LENGTH: (5, 2**31 - 1)}
    lies.put(lies.chunks(lies.groups(footer)[0])[0], lies.TYPE, 7)


def small(lie: Any) -> bytes:
    return lying(table(close=np.arange(100.0)), lie)


def packed() -> bytes:
    zeros = {f"c{number}": np.zeros(500_000) for number in range(80)}
    return parquet_of(
        pa.table({"date": np.zeros(500_000, "datetime64[s]"), **zeros}), compression="zstd", use_dictionary=False
    )


FILES = {
    "parquet whose footer claims 4 GB": a_file(
        table(close=np.arange(100.0))[:-8] + b"\xf0\xff\xff\xffPAR1", "a Parquet footer within", "x.parquet"
    ),
    "300 bytes of parquet that hold 2 GiB a value": a_file(small(four_gigabytes), "bytes unpacked", "x.parquet"),
    "parquet with fewer rows than its groups": a_file(
        small(lambda f: lies.put(lies.groups(f)[0], lies.GROUP_ROWS, 10**9)), "the 100 rows of the footer", "x.parquet"
    ),
    "parquet of very many rows": a_file(
        small(lambda f: lies.put(f, lies.NUM_ROWS, 2**40)), "at most 5000000 rows", "x.parquet"
    ),
    "zstd pages of 1000:1": a_file(packed(), "at most 268435456 bytes unpacked", "x.parquet"),
    "parquet of 3000 columns": a_file(
        parquet_of(pa.table({f"c{n}": [1.0] for n in range(3000)})), "at most 2000 columns", "x.parquet"
    ),
    "half a parquet": a_file(table(close=np.arange(100.0))[:200], "half a file", "x.parquet"),
    "parquet without numbers": a_file(table(name=["x"] * 100), "one column of numbers", "x.parquet"),
    "a csv of a million columns": a_file(
        b"Date," + b",".join(b"c%d" % n for n in range(1_000_000)) + b"\n", "at most 2000 columns"
    ),
    "an endless line": a_file(b"Date,Close\n2024-01-01," + b"1" * MIB, "no CSV: field larger"),
    "a gzip bomb": a_file(gzip.compress(b"Date,Close\n" + b"2024-01-01,1\n" * (2 * MIB)), "at most 16777216 bytes", "x.csv.gz"),
    "half a gzip": a_file(gzip.compress(rows("2024-01-02,1"))[:-9], "no whole gzip", "x.csv.gz"),
    "a gzip that is none": a_file(rows(), "no whole gzip", "x.csv.gz"),
    "utf-16": a_file(rows().decode().encode("utf-16"), "must be UTF-8"),
    "latin-1": a_file(rows().replace(b"Close", "Schluß".encode("latin-1")), "must be UTF-8"),
    "nul bytes": a_file(rows("2024-01-02,\x002"), "a number is expected"),
    "a formula": a_file(rows("2024-01-02,=1+1"), "a number is expected, was '=1"),
    "a formula that starts a program": a_file(rows("2024-01-02,=cmd|' /C calc'!A0"), "row 3, column Close"),
    "empty file": a_file(b"", "one column must be called"),
    "names alone": a_file(b"Date,Close\n", "at least one row"),
    "no times": a_file(b"Name,Close\nx,1\n", "one column must be called date"),
    "a column twice": a_file(b"Date,Close,close\n2024-01-01,1,1\n", "two columns are called close"),
    "rows of other lengths": a_file(rows("2024-01-02,1,7"), "row 3 must have 2 cells, has 3"),
    "a word for a number": a_file(rows("2024-01-02,much"), "a number is expected, was 'much'"),
    "days before months": a_file(rows("13/02/2024,1"), "a time such as 2025-01-02 is expected"),
    "a future date": a_file(b"Date,Close\n2031-01-01,1\n2031-01-02,1\n", "future-date"),
    "two values for one time": a_file(rows("2024-01-01,2"), "one series only|twice|duplicate"),
    "json": a_file(b'{"Date": "2024-01-01", "Close": 1}', "one column must be called"),
    "html": a_file(b"<!doctype html><p>Date, Close</p>", "one column must be called"),
    "a workbook": a_file(b"PK\x03\x04" + b"\xff" * 50, "UTF-8|one column must be called"),
    "a calendar that is none": a_file(GOOD_CSV, "calendar must be", calendar="NOPE"),
}  # fmt: skip

PATHS = {
    "a path with ..": a_path("../secret.csv", "must lie below the directory"),
    "a path that comes back by ..": a_path("up/../../secret.csv", "must lie below the directory"),
    "a path from the root": a_path("/etc/passwd", "must lie below the directory"),
    "a link that leads out": a_path("link.csv", "must lie below the directory"),
    "a path with a nul": a_path("a\0b", "is no path"),
    "a path without end": a_path("x" * 190, "there is no file"),
    "a folder": a_path(".", "there is no file"),
    "no such file": a_path("none.csv", "there is no file 'none.csv'"),
    "an upload's path": Bad(source="upload", symbol="../../etc/passwd", said="made by the gateway"),
    "an upload that is gone": Bad(source="upload", symbol="a" * 32 + "/00000", said="may have been removed"),
    "a query that brings sql": Bad(source="sql", symbol="sales?store=1 OR 1=1", said="must be of kind int"),
    "a query that is none": Bad(source="sql", symbol="DROP TABLE sales", said="a query must be one of sales"),
    "a source that is none": Bad(source="nowhere", symbol="X", said="source must be one of"),
}

ADDRESSES = {
    "a private address": a_url("http://10.0.0.1/x.csv", "not public"),
    "this machine": a_url("http://127.0.0.1:8080/x.csv", "not public"),
    "a metadata service": a_url("http://169.254.169.254/latest/meta-data/iam", "not public"),
    "this machine in ipv6": a_url("https://[::1]:9092/", "not public"),
    "this machine as a number": a_url("http://2130706433/", "not public"),
    "a mapped address": a_url("http://[::ffff:10.0.0.1]/", "not public"),
    "another scheme": a_url("gopher://127.0.0.1:6379/_FLUSHALL", "http, https, s3 or file is expected"),
    "a file of another host": a_url("file://host/etc/passwd", "file:sales.csv is expected"),
    "a file above": a_url("file:../secret.csv", "must lie below the directory"),
    "a password in an address": a_url("https://me:secret@example.test/x.csv", "must not have a user or password"),
    "half an address": a_url("http://[::1", "no address"),
    "a bucket that is not ours to read": a_url("s3://other/x.csv", "bucket other may not be read"),
}

ANSWERS = {
    "a page in html": a_page(said(b"<html>login</html>", content_type="text/html"), "an HTML page"),
    "a page in html that says csv": a_page(said(b"\n<!doctype html>", content_type="text/csv"), "an HTML page"),
    "an empty body": a_page(said(b"", content_type="text/csv"), "the file is empty"),
    "404": a_page(said(b"", 404), "no such file"),
    "403": a_page(said(b"", 403), "HTTP status 403"),
    "429": a_page(said(b"", 429), "HTTP status 429"),
    "500": a_page(said(b"", 500), "HTTP status 500"),
    "half a body": a_page(said(GOOD_CSV, Content_Length="1000"), "no whole answer"),
    "too large a body": a_page(said(b"x" * (MIB + 1)), "at most 1048576 bytes"),
    "a bomb in transit": a_page(said(gzip.compress(bytes(4 * MIB)), Content_Encoding="gzip"), "at most 1048576 bytes"),
    "an encoding that is none": a_page(said(GOOD_CSV, Content_Encoding="br"), "Content-Encoding must be gzip"),
    "redirects without end": a_page((302, {"Location": "/data"}, b""), "at most 5 redirects"),
    "a redirect into our network": a_page((302, {"Location": "http://10.0.0.1/"}, b""), "not public"),
    "a redirect to a file": a_page((302, {"Location": "file:///etc/passwd"}, b""), "a redirect must lead to https"),
    "a provider in html": coins(said(b"<html></html>", content_type="text/html"), "an HTML page"),
    "a provider that is empty": coins(said(b""), "empty body"),
    "half a json": coins(said(json.dumps({"Data": [{"time": 1}]}).encode()[:12]), "no whole JSON"),
    "a json of another form": coins(said({"Data": "soon"}), "bars were expected below Data"),
    "a json without end": coins(said(b"[" * 100_000), "no whole JSON"),
    "a provider's 429": coins(said({}, 429), "HTTP status 429"),
    "a provider's 404": coins(said({"Data": [], "Err": {"type": 1, "message": "Not found"}}, 404), "Not found"),
}

GATED = {
    "a change of currency": given("currency-change", close=[1.0, 2.0, 3.0], unit="EUR"),
    "a year ahead": given("future-date", close=[1.0, 2.0, 3.0], days=[0, 1, 800]),
}

CASES: dict[str, Bad] = {**FILES, **PATHS, **ADDRESSES, **ANSWERS, **GATED}
