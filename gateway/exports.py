"""All rows of a filter as CSV, Parquet or lines of JSON: made piece by piece, so that a million take no more memory."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

CSV, PARQUET, NDJSON = "csv", "parquet", "ndjson"
MEDIA_TYPES: Mapping[str, str] = {
    CSV: "text/csv",
    PARQUET: "application/vnd.apache.parquet",
    NDJSON: "application/x-ndjson",
}
#: A Parquet file of many small row groups is slow to read, one of few large ones takes memory here.
_ROWS_A_GROUP = 10_000
#: A spreadsheet takes a text that begins so for a formula, and runs it.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_PAUSE_SECONDS = 0.001
Line = Mapping[str, Any]
#: Name of a column -> the type of its values.
Columns = Mapping[str, type]


def stream(format_: str, columns: Columns, pieces: Iterable[Sequence[Line]]) -> Iterator[bytes]:
    """Yield the bytes of a file with these lines.

    Args:
        format_: One of `MEDIA_TYPES`.
        columns: Those of the file; every line has all of them.
        pieces: The lines, some at a time.
    """
    yield from _WRITERS[format_](columns, _by_turns(pieces))


def _by_turns(pieces: Iterable[Sequence[Line]]) -> Iterator[Sequence[Line]]:
    for lines in pieces:
        yield lines
        # In a gevent worker nobody else runs while a fast reader takes all that we write. A sleep of nothing lets those
        # go on who are ready, and looks for new requests only after fifty of them: it must be a real one.
        time.sleep(_PAUSE_SECONDS)


def _csv(columns: Columns, pieces: Iterable[Sequence[Line]]) -> Iterator[bytes]:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    for lines in pieces:
        writer.writerows([_cell(line[name]) for name in columns] for line in lines)
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()
    if rest := text.getvalue():
        yield rest.encode()


def _cell(value: object) -> object:
    if isinstance(value, datetime):
        return _time_text(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value


def _time_text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _ndjson(columns: Columns, pieces: Iterable[Sequence[Line]]) -> Iterator[bytes]:
    encoder = msgspec.json.Encoder()
    for lines in pieces:
        yield encoder.encode_lines([{name: line[name] for name in columns} for line in lines])


def _parquet(columns: Columns, pieces: Iterable[Sequence[Line]]) -> Iterator[bytes]:
    # Only who asks for Parquet pays for loading it.
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    types = {str: pa.string(), int: pa.int64(), bool: pa.bool_(), datetime: pa.timestamp("ms", tz="UTC")}
    schema = pa.schema([(name, types[type_]) for name, type_ in columns.items()])
    sink = _Drain()
    with parquet.ParquetWriter(sink, schema, compression="zstd") as writer:
        for lines in _grouped(pieces, _ROWS_A_GROUP):
            arrays = {name: [line[name] for line in lines] for name in columns}
            writer.write_table(pa.table(arrays, schema=schema))
            yield sink.take()
    yield sink.take()


def _grouped(pieces: Iterable[Sequence[Line]], rows: int) -> Iterator[list[Line]]:
    group: list[Line] = []
    for lines in pieces:
        group += lines
        if len(group) >= rows:
            yield group
            group = []
    if group:
        yield group


class _Drain(io.RawIOBase):
    """A file to write to, of which what was written can be taken."""

    def __init__(self) -> None:
        super().__init__()
        self._taken = 0
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._taken + sum(map(len, self._parts))

    def write(self, content: Any) -> int:
        self._parts.append(bytes(content))
        return len(self._parts[-1])

    def take(self) -> bytes:
        """Return what was written since this was last asked for."""
        content = b"".join(self._parts)
        self._taken += len(content)
        self._parts.clear()
        return content


_WRITERS: Mapping[str, Callable[[Columns, Iterable[Sequence[Line]]], Iterator[bytes]]] = {
    CSV: _csv,
    PARQUET: _parquet,
    NDJSON: _ndjson,
}
