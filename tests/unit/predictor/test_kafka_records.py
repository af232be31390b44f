"""aiokafka reads messages whose header names are no UTF-8: red without `predictor.kafka_records.install`."""

from __future__ import annotations

import gzip
import struct
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder

from predictor import driver, log_reader
from runtime.kafka_records import make_names_readable

#: Where the records of a batch begin, and where its length and attributes stand.
_RECORDS_AT, _LENGTH_AT, _ATTRIBUTES_AT = 61, 8, 21


def batch(first: int, *headers: list[tuple[str, bytes | None]]) -> bytes:
    """Return a batch with a record for each list of headers; ``}`` in a name becomes a byte that is no UTF-8."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=100_000,
    )
    for offset, entries in enumerate(headers):
        builder.append(offset, offset, b"key", b"value", entries)
    raw = bytearray(bytes(builder.build()).replace(b"}", b"\xff"))
    struct.pack_into(">q", raw, 0, first)
    return bytes(raw)


def squeezed(raw: bytes) -> bytes:
    """Return a batch with its records compressed by gzip."""
    made = bytearray(raw[:_RECORDS_AT] + gzip.compress(raw[_RECORDS_AT:]))
    struct.pack_into(">i", made, _LENGTH_AT, len(made) - _LENGTH_AT - 4)
    struct.pack_into(">h", made, _ATTRIBUTES_AT, 1)
    return bytes(made)


def read(content: bytes) -> list[Any]:
    """Return what a consumer makes of a fetched partition."""
    records = fetcher.PartitionRecords(
        TopicPartition("t", 0), fetcher.MemoryRecords(content), [], 0, None, None, False, fetcher.READ_COMMITTED
    )
    return list(records)


def test_both_readers_of_the_predictor_read_with_it() -> None:
    assert driver.install is log_reader.install
    assert fetcher.MemoryRecords.__module__ == "predictor.kafka_records"


@pytest.mark.parametrize("form", [bytes, squeezed])
def test_a_header_name_that_is_no_utf8_stops_nothing(form: Any) -> None:
    first = batch(0, [("good", b"1")], [("a", b"1"), ("na}}me", None), ("ö}", b"3")], [], [("}", b"4")])
    records = read(form(first) + form(batch(4, [("after", b"5")])))

    assert [record.offset for record in records] == [0, 1, 2, 3, 4]
    assert {(record.key, record.value) for record in records} == {(b"key", b"value")}
    assert [record.headers for record in records] == [
        (("good", b"1"),),
        (("a", b"1"), ("na??me", None), ("???", b"3")),
        (),
        (("?", b"4"),),
        (("after", b"5"),),
    ]


def test_old_message_formats_are_read_as_before() -> None:
    builder = LegacyRecordBatchBuilder(1, 0, 10_000)
    builder.append(0, 1, b"key", b"old")

    assert [record.value for record in read(bytes(builder.build()))] == [b"old"]


def test_names_that_are_readable_stay_as_they_are() -> None:
    raw = bytearray(batch(0, [("naïve", b"\xff"), ("b", None)]).replace(b"key", b"k}y"))
    before = bytes(raw)
    make_names_readable(raw, _RECORDS_AT)

    assert bytes(raw) == before
