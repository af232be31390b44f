"""Parquet files whose footers lie: Thrift's compact protocol, read and written field by field."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from pyarrow import parquet

_BINARY, _LIST, _SET, _STRUCT = 8, 9, 10, 12
_INTEGERS = (4, 5, 6)
#: Field id -> (type, value); a list is (type of its items, items).
Struct = dict[int, tuple[int, Any]]

# Fields of FileMetaData, SchemaElement, RowGroup, ColumnChunk and ColumnMetaData that tests lie about.
SCHEMA, NUM_ROWS, ROW_GROUPS = 2, 3, 4
TYPE, TYPE_LENGTH, NUM_CHILDREN = 1, 2, 5
COLUMNS, GROUP_ROWS = 1, 3
METADATA = 3
NUM_VALUES, UNCOMPRESSED, COMPRESSED, DATA_PAGE_OFFSET = 5, 6, 7, 9


def parquet_of(table: pa.Table, **options: Any) -> bytes:
    buffer = io.BytesIO()
    parquet.write_table(table, buffer, **options)
    return buffer.getvalue()


def lying(good: bytes, lie: Callable[[Struct], None]) -> bytes:
    """Return a Parquet file with the pages of ``good`` and a footer that ``lie`` has changed."""
    size = int.from_bytes(good[-8:-4], "little")
    footer = _struct(io.BytesIO(good[-8 - size : -8]))
    lie(footer)
    changed = _write_struct(footer)
    return good[: -8 - size] + changed + len(changed).to_bytes(4, "little") + b"PAR1"


def groups(footer: Struct) -> list[Struct]:
    return footer[ROW_GROUPS][1][1]


def chunks(group: Struct) -> list[Struct]:
    """Return the ColumnMetaData of each column of a row group."""
    return [chunk[METADATA][1] for chunk in group[COLUMNS][1][1]]


def put(struct: Struct, field: int, value: Any) -> None:
    """Set a field that is there."""
    struct[field] = (struct[field][0], value)


def _varint(raw: io.BytesIO) -> int:
    value = shift = 0
    while True:
        byte = raw.read(1)[0]
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value


def _struct(raw: io.BytesIO) -> Struct:
    found: Struct = {}
    field = 0
    while (head := raw.read(1)[0]) != 0:
        kind, delta = head & 0x0F, head >> 4
        field = field + delta if delta else _zigzag(_varint(raw))
        found[field] = (kind, _value(raw, kind))
    return found


def _value(raw: io.BytesIO, kind: int) -> Any:
    if kind in (1, 2):
        return None  # a boolean stands in its type
    if kind == 3:
        return raw.read(1)
    if kind in _INTEGERS:
        return _zigzag(_varint(raw))
    if kind == _BINARY:
        return raw.read(_varint(raw))
    if kind in (_LIST, _SET):
        head = raw.read(1)[0]
        count = _varint(raw) if head >> 4 == 15 else head >> 4
        # A boolean in a list is a byte of its own.
        return head & 0x0F, [raw.read(1) if head & 0x0F in (1, 2) else _value(raw, head & 0x0F) for _ in range(count)]
    if kind == _STRUCT:
        return _struct(raw)
    raise AssertionError(f"type {kind} is not in a footer")


def _write_varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])


def _write_struct(struct: Struct) -> bytes:
    written = bytearray()
    before = 0
    for field, (kind, value) in sorted(struct.items()):
        delta = field - before
        written += bytes([delta << 4 | kind]) if delta <= 15 else bytes([kind]) + _write_varint(field << 1)
        written += _write_value(kind, value)
        before = field
    return bytes([*written, 0])


def _write_value(kind: int, value: Any) -> bytes:
    if kind in (1, 2):
        return b""
    if kind in _INTEGERS:
        return _write_varint((value << 1 ^ value >> 63) & 0xFFFFFFFFFFFFFFFF)
    if kind == _BINARY:
        return _write_varint(len(value)) + value
    if kind in (_LIST, _SET):
        of, items = value
        head = bytes([len(items) << 4 | of]) if len(items) < 15 else bytes([0xF0 | of]) + _write_varint(len(items))
        return head + b"".join(item if of in (1, 2) else _write_value(of, item) for item in items)
    if kind == _STRUCT:
        return _write_struct(value)
    assert kind == 3
    return bytes(value)


def _zigzag(value: int) -> int:
    return value >> 1 ^ -(value & 1)
