"""A repair of aiokafka 0.14.0: a header name that is no UTF-8 must not stop its readers.

Kafka takes any bytes as the name of a header. aiokafka raises `UnicodeDecodeError` for it at every fetch, so one such
message by anyone would stop its partition for good, in Faust and in the reader of the log. Here such a name reads as in
`runtime.kafka_records`, so that all services see the same message; its reader decides what it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy

from runtime.kafka_records import make_names_readable


class TolerantRecords(_MemoryRecordsPy):  # type: ignore[misc]  # final to type checkers only
    """What a fetch has brought of a partition; the names of headers may be any bytes."""

    def next_batch(self, *arguments: Any) -> Any:
        """Return the next batch, or ``None`` after the last one."""
        content = self._next_slice
        batch = super().next_batch(*arguments)
        return _TolerantBatch(batch, content) if isinstance(batch, DefaultRecordBatch) else batch


class _TolerantBatch:
    """Reads with aiokafka's fast reader, and from the first record that it cannot read on with a patient one."""

    def __init__(self, batch: Any, content: Any) -> None:
        self._batch = batch
        self._content = content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        count = 0
        try:
            for record in self._batch:
                yield record
                count += 1
        except UnicodeDecodeError:
            yield from islice(_PatientBatch(self._content), count, None)


class _PatientBatch(_DefaultRecordBatchPy):  # type: ignore[misc]  # final to type checkers only
    """A record batch of Kafka's format 2 whose header names may be any bytes."""

    def _read_msg(self, *arguments: Any) -> Any:
        start = self._pos
        try:
            return super()._read_msg(*arguments)
        except UnicodeDecodeError:
            make_names_readable(self._buffer, start)
            return super()._read_msg(*arguments)


def install() -> None:
    """Let every aiokafka consumer of this process read with it."""
    fetcher.MemoryRecords = TolerantRecords
