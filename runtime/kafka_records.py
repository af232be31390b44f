"""A repair of kafka-python 3.0.12: a header name that is no UTF-8 must not stop its readers.

Kafka takes any bytes as the name of a header. kafka-python raises `UnicodeDecodeError` out of ``poll`` for it, and the
next ``poll`` never returns: one message by anyone would hang every consumer of the topic for good. Here such a name
reads with ``?`` in the place of each wrong byte; the message comes, and its reader decides what it is.
"""

from __future__ import annotations

from typing import Any

from kafka.record import memory_records
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.util import decode_varint


class TolerantRecordBatch(DefaultRecordBatch):  # type: ignore[misc]  # untyped library
    """A record batch of Kafka's format 2 whose header names may be any bytes."""

    _pos: int
    _buffer: bytearray

    def _read_msg(self, *arguments: Any) -> Any:
        start = self._pos
        try:
            return super()._read_msg(*arguments)
        except UnicodeDecodeError:
            self._pos = start
            make_names_readable(self._buffer, start)
            return super()._read_msg(*arguments)


def make_names_readable(buffer: bytearray, position: int) -> None:
    """Put ``?`` in the place of each wrong byte in the header names of the record at ``position``, lengths unchanged.

    A record of format 2: length, attributes, timestamp delta, offset delta, key, value, count of headers, and each
    header's name and value; numbers are zigzag varints, bytes come after their length, -1 stands for null.
    """
    for _ in range(4):
        _, position = decode_varint(buffer, position)
    for _ in ("key", "value"):
        length, position = decode_varint(buffer, position)
        position += max(0, length)
    count, position = decode_varint(buffer, position)
    for _ in range(count):
        length, position = decode_varint(buffer, position)
        name = bytes(buffer[position : position + length])
        buffer[position : position + length] = _readable(name)
        position += length
        length, position = decode_varint(buffer, position)
        position += max(0, length)


def _readable(name: bytes) -> bytes:
    try:
        name.decode()
    except UnicodeDecodeError:
        return bytes(byte if byte < 0x80 else ord("?") for byte in name)  # noqa: PLR2004  # ASCII
    return name


def install() -> None:
    """Let every consumer of this process read with it."""
    memory_records.DefaultRecordBatch = TolerantRecordBatch
