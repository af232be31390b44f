"""Bytes to a table, nothing decoded before its size is known; runs in the child alone.

| found | done |
|---|---|
| a gzip whose unpacked text passes the limit | refused while it is unpacked, 1 MiB a time |
| UTF-16, NUL bytes, text that is not UTF-8 | refused with the place and what it looks like |
| a CSV line longer than `MAX_LINE_BYTES` | refused: it may never end |
| rows of different lengths, half a file | refused |
| a Parquet footer that counts too many columns, rows or bytes, or contradicts itself | refused before a page is read |
| a Parquet file whose pages hold more than the footer says | ends at the limit of memory |
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import zlib
from pathlib import Path
from typing import IO, Any, Literal

import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from gateway.uploads.jobs import Limits, UploadFault, column_name
from runtime.parquet_footer import ParquetFault, ParquetLimits, first_line, open_parquet

Kind = Literal["csv", "csv.gz", "parquet"]
MAX_LINE_BYTES = 1024 * 1024
_CHUNK_BYTES = 1024 * 1024
_DELIMITERS = ",;\t|"
_PARQUET = b"PAR1"
_GZIP = b"\x1f\x8b"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
#: Beginnings of what is often sent instead of a table.
_OTHERS = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook; export it as CSV",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; export it as CSV",
    b"%PDF": "a PDF document",
    b"\x89PNG": "an image",
    b"(\xb5/\xfd": "a Zstandard archive; only gzip is unpacked",
    b"BZh": "a bzip2 archive; only gzip is unpacked",
    b"\xfd7zXZ": "an xz archive; only gzip is unpacked",
    b"\x7fELF": "a program",
    b"ARROW1": "an Arrow IPC file; write it as Parquet",
}


def read(path: Path, limits: Limits) -> tuple[Kind, pa.Table]:
    """Return what kind of file it is, and its table; the columns of a CSV are all text.

    Raises:
        UploadFault: It cannot be read, or holds more than it may.
    """
    with path.open("rb") as raw:
        start = raw.read(8)
        raw.seek(0)
        if not start:
            raise UploadFault("file", "a CSV or Parquet file", "an empty file")
        for magic, what in _OTHERS.items():
            if start.startswith(magic):
                raise UploadFault("file", "a CSV or Parquet file", what)
        if start.startswith(_PARQUET):
            return "parquet", _parquet(raw, limits)
        if start.startswith(_GZIP):
            return "csv.gz", _csv(_Unpacked(raw), limits)
        return "csv", _csv(raw, limits)


def _parquet(raw: IO[bytes], limits: Limits) -> pa.Table:
    footer = ParquetLimits(rows=limits.rows, columns=limits.columns, unpacked_bytes=limits.unpacked_bytes)
    try:
        file = open_parquet(raw, footer)
        wanted = _flat_columns(file)
        # Text stays as it mostly is in the file, each different cell once.
        texts = [field.name for field in file.schema_arrow if pa.types.is_string(field.type)]
        file = parquet.ParquetFile(raw, metadata=file.metadata, read_dictionary=texts)
        # One after another: together, what they are decoded from would be in memory for all of them.
        table = pa.table({name: file.read(columns=[name], use_threads=False)[name].combine_chunks() for name in wanted})
    except pa.ArrowMemoryError:
        raise
    except ParquetFault as fault:
        raise UploadFault("file", fault.expected, fault.found) from fault
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UploadFault("file", "a whole Parquet file", f"one that cannot be read: {first_line(error)}") from error
    if not len(table):
        raise UploadFault("file", "at least one row", "none")
    return table


def _flat_columns(file: parquet.ParquetFile) -> list[str]:
    """Return the columns that are no lists or structures."""
    schema = file.schema_arrow
    _require_names([field.name for field in schema])
    wanted = [field.name for field in schema if not pa.types.is_nested(field.type) and field.name]
    if not wanted:
        raise UploadFault("file", "columns of times and numbers", "none that is not nested")
    return wanted


def _csv(raw: IO[bytes] | io.RawIOBase, limits: Limits) -> pa.Table:
    text = _CheckedText(raw, limits.unpacked_bytes)
    names, delimiter = _header(text.head(), limits)
    options = {
        "read_options": arrow_csv.ReadOptions(use_threads=False, block_size=2 * MAX_LINE_BYTES, column_names=names),
        "parse_options": arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        "convert_options": arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, check_utf8=False
        ),
    }
    options["read_options"].skip_rows = 1
    batches: list[pa.RecordBatch] = []
    rows = 0
    try:
        with arrow_csv.open_csv(pa.PythonFile(text, mode="r"), **options) as reader:
            for batch in reader:
                rows += len(batch)
                if rows > limits.rows:
                    raise UploadFault("file", f"at most {limits.rows} rows", "more")
                batches.append(batch)
    except pa.ArrowMemoryError:
        raise
    except pa.ArrowException as error:
        if text.fault is not None:
            raise text.fault from error
        raise UploadFault("file", "a CSV whose rows all have as many cells as the first", first_line(error)) from error
    if not rows:
        raise UploadFault("file", "a line of column names and at least one row", "no row")
    return pa.Table.from_batches(batches)


def _header(head: bytes, limits: Limits) -> tuple[list[str], str]:
    """Return the column names and what stands between them."""
    line = head.split(b"\n", 1)[0].decode()
    if "\r" in line.rstrip("\r"):
        raise UploadFault("file", "lines that end in a line feed", "carriage returns alone")
    delimiter = max(_DELIMITERS, key=line.count)
    names = [name.strip() for name in next(csv.reader([line.rstrip("\r")], delimiter=delimiter), [])]
    if len(names) > limits.columns:
        raise UploadFault("file", f"at most {limits.columns} columns", str(len(names)))
    if len(names) < 2:  # noqa: PLR2004  # a time and a number
        raise UploadFault(
            "file", "a first line with at least two column names, separated by a comma, ;, | or a tab", repr(line[:80])
        )
    if re.match(r"\s*(<|\{|\[)", line):
        raise UploadFault("file", "a CSV or Parquet file", f"what looks like HTML or JSON: {line[:80]!r}")
    names = [name or f"column {number}" for number, name in enumerate(names, start=1)]
    _require_names(names)
    return names, delimiter


def _require_names(names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        ours = column_name(name)
        if ours in seen:
            raise UploadFault("columns", "every column once, upper and lower case alike", f"{ours!r} again")
        seen.add(ours)


class _Unpacked(io.RawIOBase):
    """Unpacks gzip a chunk a time, and knows a half file and rubbish behind it."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._gzip = zlib.decompressobj(zlib.MAX_WBITS | 16)

    def readable(self) -> bool:
        return True

    def read(self, size: int = _CHUNK_BYTES) -> bytes:
        try:
            while True:
                packed = self._gzip.unconsumed_tail or self._raw.read(64 * 1024)
                if self._gzip.eof:
                    packed = self._gzip.unused_data + packed
                    if not packed:
                        return b""
                    self._gzip = zlib.decompressobj(zlib.MAX_WBITS | 16)  # a further member
                elif not packed:
                    raise UploadFault("file", "a whole gzip file", "half of one")
                data = self._gzip.decompress(packed, size)
                if data:
                    return data
        except zlib.error as error:
            raise UploadFault("file", "a whole gzip file", f"one that is broken: {error}") from error


class _CheckedText(io.RawIOBase):
    """Passes UTF-8 text on, and refuses what is none, is too much, or has an endless line."""

    def __init__(self, raw: IO[bytes] | io.RawIOBase, max_bytes: int) -> None:
        self._raw = raw
        self._max_bytes = max_bytes
        self._read = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._line_bytes = 0
        self._ended = False
        self._waiting = b""
        #: What was found wrong: Arrow may tell it in words of its own.
        self.fault: UploadFault | None = None

    def readable(self) -> bool:
        return True

    def head(self) -> bytes:
        """Return the text up to the end of the first line at least, without consuming it."""
        while b"\n" not in self._waiting and (chunk := self._checked()):
            self._waiting += chunk
        return self._waiting

    def read(self, size: int = -1) -> bytes:
        data = self._waiting or self._checked()
        if 0 <= size < len(data):
            self._waiting = data[size:]
            return data[:size]
        self._waiting = b""
        return data

    def _checked(self) -> bytes:
        try:
            return self._next()
        except UploadFault as fault:
            self.fault = fault
            raise

    def _next(self) -> bytes:
        chunk: bytes = self._raw.read(_CHUNK_BYTES) or b""
        if self._read == 0:
            if chunk.startswith(_UTF_16):
                raise UploadFault("file", "text in UTF-8", "UTF-16 (it begins with its mark); save it as UTF-8")
            chunk = chunk.removeprefix(codecs.BOM_UTF8) if len(chunk) > len(codecs.BOM_UTF8) else chunk
        position = chunk.find(b"\0")
        if position >= 0:
            raise UploadFault(
                "file", "text without NUL bytes", f"one at byte {self._read + position}: binary data, or UTF-16"
            )
        try:
            self._decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            byte = f"0x{error.object[error.start]:02x}"
            found = f"the byte {byte} near byte {self._read + error.start}: Latin-1 or Windows-1252?"
            raise UploadFault("file", "text in UTF-8", found) from error
        self._read += len(chunk)
        if self._read > self._max_bytes:
            raise UploadFault("file", f"at most {self._max_bytes} bytes of text", "more")
        self._require_lines(chunk)
        return chunk

    def _require_lines(self, chunk: bytes) -> None:
        longest = 0
        for number, line in enumerate(chunk.split(b"\n")):
            self._line_bytes = len(line) + (self._line_bytes if number == 0 else 0)
            longest = max(longest, self._line_bytes)
        if longest > MAX_LINE_BYTES:
            raise UploadFault("file", f"lines of at most {MAX_LINE_BYTES} bytes", f"one of {longest} bytes or more")


def cell_of(value: Any) -> Any:
    """Return a cell as JSON can say it, text cut."""
    if isinstance(value, (bool, int)) or value is None:
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None  # noqa: PLR0124  # NaN
    return str(value)[:100]
