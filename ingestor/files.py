"""Source `file`: CSV or Parquet files below one directory, plain or gzipped.

The columns of a Yahoo Finance export are recognised (``Date``, ``Adj Close``, ``Stock Splits``, ...); other names are
kept in lower case with ``_`` for spaces. Dates keep their own day for daily and longer freqs, whatever offset they
carry, since exports of New York prices change between -05:00 and -04:00; within a day the offset counts, and a time
without one is UTC.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import IO

import numpy as np

from forecasting.calendars import parse_freq, season_length
from forecasting.errors import CalendarError
from ingestor.errors import BadSourceData, SourceUnreachable, UnknownSymbol
from ingestor.sources import FloatArray, SourceFrame, Wanted, within_days

NAME = "file"
MAX_BYTES = 256 * 1024 * 1024
#: Of Parquet, whose few bytes may hold very many equal rows; a row of CSV has bytes of its own.
MAX_ROWS = 5_000_000
MAX_COLUMNS = 2000
_TIME_NAMES = ("date", "datetime", "time", "timestamp", "month", "ds")
_YAHOO_NAMES = {"stock splits": "splits"}
_MISSING = frozenset({"", "null", "nan", "na", "n/a", "none", "-"})
_MONTH_LENGTH = len("1949-01")

Cell = str | float | datetime | date | None
Rows = Iterator[tuple[int, Sequence[Cell]]]


class FileSource:
    """Files below ``directory``; without one, nothing is read."""

    name = NAME

    def __init__(self, directory: Path | None, max_bytes: int = MAX_BYTES) -> None:
        self._directory = directory
        self._max_bytes = max_bytes

    def fetch(self, wanted: Wanted) -> SourceFrame:
        path = self._path(wanted.symbol)
        try:
            season_length(wanted.freq, wanted.calendar)
        except CalendarError as error:
            raise BadSourceData(NAME, str(error)) from error
        try:
            with path.open("rb") as raw:
                frame = read_table(raw, wanted.symbol, wanted.freq, self._max_bytes)
        except OSError as error:
            raise SourceUnreachable(NAME, f"{wanted.symbol} cannot be read: {error.strerror or error}") from error
        return within_days(frame, wanted)

    def _path(self, symbol: str) -> Path:
        """Return the file that ``symbol`` names, which lies below the directory whatever links say."""
        if self._directory is None:
            raise BadSourceData(NAME, "files are not served: set FORETOPIC_INGESTOR_FILES_DIRECTORY to their directory")
        root = self._directory.resolve()
        try:
            path = (root / symbol).resolve()
            is_file = path.is_file()
        except (OSError, ValueError) as error:  # a name too long, a loop of links, a NUL
            raise UnknownSymbol(
                NAME, f"{symbol[:100]!r} is no path: {getattr(error, 'strerror', None) or error}"
            ) from error
        if not path.is_relative_to(root):
            raise UnknownSymbol(NAME, f"the path must lie below the directory of files, was {symbol!r}")
        if not is_file:
            raise UnknownSymbol(NAME, f"there is no file {symbol!r} below the directory of files")
        if path.stat().st_size > self._max_bytes:
            raise BadSourceData(NAME, f"{symbol} must have at most {self._max_bytes} bytes, has {path.stat().st_size}")
        return path


def read_table(raw: IO[bytes], name: str, freq: str, max_bytes: int = MAX_BYTES) -> SourceFrame:
    """Return the rows of a CSV or Parquet file, as the end of its name says; ``.gz`` at the end is unpacked.

    Args:
        raw: The file, seekable.
        name: Its path or name, for the kind and for errors.
        freq: Length of one observation: whether a time is a day.
        max_bytes: Of the unpacked text.

    Raises:
        BadSourceData: It cannot be used; the source is called `file`.
        OSError: It cannot be read.
    """
    try:
        suffixes = Path(name).suffixes
        names, rows = _parquet(raw) if ".parquet" in suffixes else _csv(raw, suffixes[-1:], max_bytes)
        return frame_of(names, rows, freq)
    except UnicodeDecodeError as error:
        raise BadSourceData(NAME, f"{name} must be UTF-8 text, {error}") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadSourceData(NAME, f"{name} is no whole gzip file: {error}") from error


def _csv(raw: IO[bytes], suffix: Sequence[str], max_bytes: int) -> tuple[list[str], Rows]:
    binary = _Limited(gzip.GzipFile(fileobj=raw) if ".gz" in suffix else raw, max_bytes)
    reader = csv.reader(io.TextIOWrapper(io.BufferedReader(binary), encoding="utf-8-sig", newline=""))
    parsed = _parsed(reader)
    names = next(parsed, [])
    if len(names) > MAX_COLUMNS:
        raise BadSourceData(NAME, f"at most {MAX_COLUMNS} columns expected, found {len(names)}")
    return names, ((reader.line_num, row) for row in parsed if row)


def _parsed(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise BadSourceData(NAME, f"no CSV: {error}") from error


class _Limited(io.RawIOBase):
    """Reads at most so many bytes: a small gzip file may hold a very large text."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile, max_bytes: int) -> None:
        self._stream = stream
        self._left = max_bytes
        self._max_bytes = max_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # the buffers that we are given
        data = self._stream.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise BadSourceData(NAME, f"the text must have at most {self._max_bytes} bytes")
        buffer[: len(data)] = data
        return len(data)


def _parquet(raw: IO[bytes]) -> tuple[list[str], Rows]:
    from pyarrow import ArrowException  # noqa: PLC0415  # 30 MB that only Parquet needs

    from runtime.parquet_footer import ParquetFault, ParquetLimits, open_parquet  # noqa: PLC0415

    limits = ParquetLimits(rows=MAX_ROWS, columns=MAX_COLUMNS, unpacked_bytes=MAX_BYTES)
    try:
        table = open_parquet(raw, limits).read(use_threads=False)
    except ParquetFault as fault:
        raise BadSourceData(NAME, f"no Parquet that is read here: {fault}") from fault
    except (ArrowException, OSError) as error:  # Arrow says "corrupt" by an OSError
        raise BadSourceData(NAME, f"no Parquet: {error}") from error
    columns = [column.to_pylist() for column in table.columns]
    return list(table.column_names), enumerate(zip(*columns, strict=True), start=1)


def frame_of(names: Sequence[str], rows: Rows, freq: str) -> SourceFrame:
    """Return the frame of a table; errors name the line (of a CSV) or the row (of Parquet) and the column."""
    time_index = next((i for i, name in enumerate(names) if name.strip().lower() in _TIME_NAMES), None)
    if time_index is None:
        raise BadSourceData(NAME, f"one column must be called {', '.join(_TIME_NAMES)}; found {', '.join(names)}")
    is_daily = parse_freq(freq)[1] not in ("min", "h")
    lines: list[int] = []
    times: list[int] = []
    cells: list[list[Cell]] = [[] for _ in names]
    for line, row in rows:
        if len(row) != len(names):
            raise BadSourceData(NAME, f"row {line} must have {len(names)} cells, has {len(row)}")
        lines.append(line)
        times.append(_time(row[time_index], line, names[time_index], is_daily=is_daily))
        for index, cell in enumerate(row):
            cells[index].append(cell)
    columns: dict[str, FloatArray] = {}
    left_out: list[str] = []
    for index, name in enumerate(names):
        if index == time_index:
            continue
        values = _numbers(cells[index], lines, name)
        if values is None:
            left_out.append(name)
            continue
        ours = _column_name(name)
        if ours in columns:
            raise BadSourceData(NAME, f"two columns are called {ours}")
        columns[ours] = values
    if not columns or not times:
        raise BadSourceData(NAME, f"at least one row and one column of numbers are expected; found {', '.join(names)}")
    notes = (f"columns without numbers left out: {', '.join(left_out)}",) if left_out else ()
    return SourceFrame(source=NAME, unit="", time=np.array(times, dtype=np.int64), columns=columns, notes=notes)


def _column_name(name: str) -> str:
    """Return our name of a column.

    >>> _column_name("Adj Close"), _column_name("Stock Splits"), _column_name("Weekly_Sales")
    ('adj_close', 'splits', 'weekly_sales')
    """
    lower = " ".join(name.lower().split())
    return _YAHOO_NAMES.get(lower, lower.replace(" ", "_"))


def _time(cell: Cell, line: int, name: str, *, is_daily: bool) -> int:
    if isinstance(cell, str):
        text = cell.strip()
        try:
            cell = datetime.fromisoformat(f"{text}-01" if len(text) == _MONTH_LENGTH else text)
        except ValueError:
            cell = None
    elif isinstance(cell, date) and not isinstance(cell, datetime):
        cell = datetime(cell.year, cell.month, cell.day, tzinfo=UTC)
    if not isinstance(cell, datetime):
        raise BadSourceData(NAME, f"row {line}, column {name}: a time such as 2025-01-02 is expected")
    if is_daily or cell.tzinfo is None:
        cell = cell.replace(tzinfo=UTC)  # a daily bar belongs to the day that is written, at its own place
    try:
        seconds = cell.timestamp()
    except OverflowError:
        seconds = math.nan
    if not math.isfinite(seconds) or seconds != int(seconds):
        raise BadSourceData(NAME, f"row {line}, column {name}: a time of whole seconds is expected, was {cell}")
    return int(seconds) - (int(seconds) % 86_400 if is_daily else 0)


def _numbers(cells: Sequence[Cell], lines: Sequence[int], name: str) -> FloatArray | None:
    """Return the values of a column, or ``None`` for one that holds no number at all."""
    values = np.full(len(cells), np.nan)
    faulty: tuple[int, Cell] | None = None
    has_number = False
    for index, cell in enumerate(cells):
        if cell is None or (isinstance(cell, str) and cell.strip().lower() in _MISSING):
            continue
        try:
            if isinstance(cell, bool) or not isinstance(cell, (str, int, float)):
                raise TypeError  # noqa: TRY301  # no number, as a text that float() refuses
            values[index] = float(cell)
            has_number = True
        except (TypeError, ValueError):
            faulty = faulty or (lines[index], cell)
    if faulty is not None and has_number:
        raise BadSourceData(NAME, f"row {faulty[0]}, column {name}: a number is expected, was {str(faulty[1])[:50]!r}")
    is_empty = faulty is None and len(cells) > 0
    return values if has_number or is_empty else None
