"""Parquet judged by its footer, before a page is read.

A Parquet file packs equal values to almost nothing: a hundred bytes can be rows without end. What its footer counts is
held against limits, and against itself; how much the rows take when they are decoded is computed from the width of the
columns, since pages may hold less than they decode to (dictionaries, runs, nulls) and sizes may lie. What lies in
the pages alone is left to the limits of the process (`runtime.process_limits`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import IO, Any

import pyarrow as pa
from pyarrow import parquet

#: Of the part of the file that describes it: 2,000 columns in some row groups take less.
MAX_FOOTER_BYTES = 16 * 1024 * 1024
_MAGIC = b"PAR1"
#: Length and magic at the end, magic at the beginning.
_FRAME_BYTES = 12
#: Bytes of one decoded value, by physical type; of a text its place alone.
_WIDTHS = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 12, "BYTE_ARRAY": 4}
_FIXED = "FIXED_LEN_BYTE_ARRAY"


class ParquetFault(ValueError):
    """A file cannot be read, or holds more than it may: what was expected, what was found."""

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(f"{expected} expected, found {found}")
        self.expected = expected
        self.found = found


@dataclass(frozen=True, kw_only=True)
class ParquetLimits:
    """What a file may hold.

    Attributes:
        rows: Most rows.
        columns: Most columns, those within nested ones counted.
        unpacked_bytes: Of all columns, both as the footer counts them and as the rows are when decoded.
    """

    rows: int
    columns: int
    unpacked_bytes: int


def open_parquet(raw: IO[bytes], limits: ParquetLimits) -> parquet.ParquetFile:
    """Return a file whose footer keeps to ``limits``; nothing but the footer has been read.

    Raises:
        ParquetFault: It does not, or is no whole Parquet file.
        OSError: It cannot be read.
    """
    _require_frame(raw)
    try:
        file = parquet.ParquetFile(raw)
        _judge(file.metadata, limits)
    except pa.ArrowMemoryError:
        raise
    except (pa.ArrowException, OSError) as error:  # Arrow says "corrupt" by an OSError
        raise ParquetFault("a whole Parquet file", f"one that cannot be read: {first_line(error)}") from error
    return file


def first_line(error: BaseException) -> str:
    """Return the beginning of what Arrow says, without its trace."""
    return str(error).partition("\n")[0][:150]


def _require_frame(raw: IO[bytes]) -> None:
    size = raw.seek(0, os.SEEK_END)
    raw.seek(max(size - 8, 0))
    tail = raw.read(8)
    raw.seek(0)
    if raw.read(4) != _MAGIC:
        raise ParquetFault("a Parquet file, which begins with PAR1", "another kind of file")
    raw.seek(0)
    if tail[4:] != _MAGIC or size < _FRAME_BYTES:
        raise ParquetFault("a whole Parquet file, which ends in PAR1", "half a file")
    footer = int.from_bytes(tail[:4], "little")
    if footer + _FRAME_BYTES > size:
        raise ParquetFault(f"a Parquet footer within the {size} bytes of the file", f"one of {footer} bytes")
    if footer > MAX_FOOTER_BYTES:
        raise ParquetFault(f"a Parquet footer of at most {MAX_FOOTER_BYTES} bytes", f"one of {footer} bytes")


def _judge(metadata: Any, limits: ParquetLimits) -> None:
    if metadata.num_columns > limits.columns:
        raise ParquetFault(f"at most {limits.columns} columns", str(metadata.num_columns))
    if not 0 <= metadata.num_rows <= limits.rows:
        raise ParquetFault(f"at most {limits.rows} rows", str(metadata.num_rows))
    widths = [_width(metadata.schema.column(number)) for number in range(metadata.num_columns)]
    rows = told = decoded = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        if group.num_rows < 0:
            raise ParquetFault("row groups that count their rows", f"one of {group.num_rows} rows")
        rows += group.num_rows
        for index, width in enumerate(widths):
            column = group.column(index)
            if column.total_uncompressed_size < 0 or column.num_values < 0:
                raise ParquetFault("columns that count their values", "one of less than none")
            told += column.total_uncompressed_size
            decoded += max(column.num_values, group.num_rows) * width
    if rows != metadata.num_rows:
        raise ParquetFault(f"the {metadata.num_rows} rows of the footer in the row groups", str(rows))
    if told > limits.unpacked_bytes:
        raise ParquetFault(f"at most {limits.unpacked_bytes} bytes unpacked", f"{told} by its footer")
    if decoded > limits.unpacked_bytes:
        raise ParquetFault(f"at most {limits.unpacked_bytes} bytes unpacked", f"{decoded} by its rows and columns")


def _width(column: Any) -> int:
    return max(int(column.length), 1) if column.physical_type == _FIXED else _WIDTHS[column.physical_type]
