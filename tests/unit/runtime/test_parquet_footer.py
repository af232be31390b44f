"""Footers that claim too much, or something else than the file: refused before a page is read."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from runtime.parquet_footer import ParquetFault, ParquetLimits, open_parquet
from tests.unit.runtime import parquet_lies as lies
from tests.unit.runtime.parquet_lies import Struct, chunks, groups, lying, parquet_of, put

LIMITS = ParquetLimits(rows=500_000, columns=2000, unpacked_bytes=64 * 1024 * 1024)
TABLE = pa.table({"date": np.arange(100).astype("datetime64[s]"), "sales": np.arange(100.0)})
GOOD = parquet_of(TABLE, store_schema=False)


def opened(content: bytes, limits: ParquetLimits = LIMITS) -> parquet.ParquetFile:
    return open_parquet(io.BytesIO(content), limits)


def test_honest_file_is_opened() -> None:
    assert opened(lying(GOOD, lambda _: None)).read()["sales"].to_pylist() == TABLE["sales"].to_pylist()


def gigabytes_in_a_value(footer: Struct) -> None:
    """One value of a fixed length of 2 GiB: a decoder makes room for each, even for one that is null."""
    element = footer[lies.SCHEMA][1][1][2]
    element |= {lies.TYPE: (5, 7), lies.TYPE_LENGTH: (5, 2**31 - 1)}
    put(chunks(groups(footer)[0])[1], lies.TYPE, 7)


def same_group_again(footer: Struct) -> None:
    groups(footer).extend(groups(footer) * 9_999)
    put(footer, lies.NUM_ROWS, 1_000_000)


LIES: dict[str, tuple[Callable[[Struct], object], str]] = {
    "less than no rows": (lambda f: put(f, lies.NUM_ROWS, -5), "at most 500000 rows expected, found -5"),
    "rows by the thousand million": (lambda f: put(f, lies.NUM_ROWS, 2**40), "at most 500000 rows"),
    "few rows, and a group of many": (
        lambda f: put(groups(f)[0], lies.GROUP_ROWS, 10**9),
        "the 100 rows of the footer in the row groups expected, found 1000000000",
    ),
    "a group of less than no rows": (lambda f: put(groups(f)[0], lies.GROUP_ROWS, -1), "count their rows"),
    "one group ten thousand times": (same_group_again, "at most 500000 rows"),
    "one group ten thousand times, untold": (lambda f: groups(f).extend(groups(f) * 9_999), "100 rows of the footer"),
    "a column of very many values": (
        lambda f: put(chunks(groups(f)[0])[0], lies.NUM_VALUES, 10**9),
        "found 8000000800 by its rows and columns",
    ),
    "a column of exabytes": (lambda f: put(chunks(groups(f)[0])[0], lies.UNCOMPRESSED, 2**62), "by its footer"),
    "a column of less than no bytes": (
        lambda f: put(chunks(groups(f)[0])[0], lies.UNCOMPRESSED, -(2**62)),
        "count their values",
    ),
    "a value of 2 GiB": (gigabytes_in_a_value, "by its rows and columns"),
    "a schema of 2,147,483,647 columns": (
        lambda f: put(f[lies.SCHEMA][1][1][0], lies.NUM_CHILDREN, 2**31 - 1),
        "a whole Parquet file expected",
    ),
    "a type that is none": (lambda f: put(f[lies.SCHEMA][1][1][2], lies.TYPE, 99), "a whole Parquet file expected"),
}


@pytest.mark.parametrize("name", LIES)
def test_footer_that_lies_is_refused(name: str) -> None:
    """Each line of `_judge` has a lie here that goes through without it."""
    lie, said = LIES[name]
    with pytest.raises(ParquetFault, match=said):
        opened(lying(GOOD, lie))


def test_nulls_are_counted_as_what_they_decode_to() -> None:
    """1.2 MB on the disk, 4 GB in memory, and every number of the footer true: red without ``decoded``."""
    table = pa.table({f"c{number}": pa.nulls(500_000, pa.float64()) for number in range(100)})
    content = parquet_of(table, compression="zstd")
    assert len(content) < 200_000
    with pytest.raises(ParquetFault, match="found 400000000 by its rows and columns"):
        opened(content)


def test_runs_are_counted_as_what_they_decode_to() -> None:
    table = pa.table({f"c{number}": np.zeros(500_000) for number in range(20)})
    content = parquet_of(table)
    assert len(content) < 50_000
    with pytest.raises(ParquetFault, match="found 80000000 by its rows and columns"):
        opened(content)


def test_columns_within_others_count() -> None:
    table = pa.table({"nested": pa.array([{f"c{number}": 1 for number in range(3000)}])})
    with pytest.raises(ParquetFault, match="at most 2000 columns expected, found 3000"):
        opened(parquet_of(table))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "begins with PAR1"),
        (b"PK\x03\x04" + b"x" * 100, "begins with PAR1"),
        (b"PAR1", "half a file"),
        (b"PAR1PAR1", "half a file"),
        (GOOD[:-20], "half a file"),
        (GOOD[:-8] + (0xFFFFFFF0).to_bytes(4, "little") + b"PAR1", r"within the \d+ bytes of the file"),
        (GOOD[:-8] + bytes(4) + b"PAR1", "cannot be read"),
        (b"PAR1" + b"\xff" * 300 + (300).to_bytes(4, "little") + b"PAR1", "cannot be read"),
        (b"PAR1" + bytes(17 << 20) + (17 << 20).to_bytes(4, "little") + b"PAR1", "footer of at most 16777216 bytes"),
    ],
    ids=["empty", "zip", "magic", "two magics", "cut", "4 GB footer", "no footer", "noise", "17 MiB footer"],
)
def test_what_is_no_whole_parquet_file(content: bytes, said: str) -> None:
    with pytest.raises(ParquetFault, match=said):
        opened(content)


def test_what_is_just_as_much_as_may_be_is_opened_and_one_more_is_not() -> None:
    """Red where a comparison of `_judge` lets one more through, or refuses the most that may be."""
    footer = opened(GOOD).metadata
    told = sum(footer.row_group(0).column(index).total_uncompressed_size for index in range(footer.num_columns))
    decoded = 2 * 8 * len(TABLE)
    most = max(told, decoded)
    assert opened(GOOD, ParquetLimits(rows=100, columns=2, unpacked_bytes=most)).metadata.num_rows == 100

    for limits, said in (
        (ParquetLimits(rows=99, columns=2, unpacked_bytes=most), "at most 99 rows"),
        (ParquetLimits(rows=100, columns=1, unpacked_bytes=most), "at most 1 columns"),
        (ParquetLimits(rows=100, columns=2, unpacked_bytes=told - 1), f"found {told} by its footer"),
    ):
        with pytest.raises(ParquetFault, match=said):
            opened(GOOD, limits)

    # Equal values take less in the file than when they are decoded.
    equal = parquet_of(pa.table({"sales": np.zeros(1000)}), store_schema=False)
    assert opened(equal, ParquetLimits(rows=1000, columns=1, unpacked_bytes=8000))
    with pytest.raises(ParquetFault, match="found 8000 by its rows and columns"):
        opened(equal, ParquetLimits(rows=1000, columns=1, unpacked_bytes=7999))
    # Rows count where a column says that it has fewer values: they are nulls then, and decode to as much.
    few = lying(equal, lambda footer: put(chunks(groups(footer)[0])[0], lies.NUM_VALUES, 1))
    with pytest.raises(ParquetFault, match="found 8000 by its rows and columns"):
        opened(few, ParquetLimits(rows=1000, columns=1, unpacked_bytes=7999))
    # The frame around a footer is no part of it.
    with pytest.raises(ParquetFault, match="within the"):
        opened(GOOD[:-8] + (len(GOOD) - 11).to_bytes(4, "little") + b"PAR1")
