"""Messages of aiokafka and Faust as `runtime` knows them."""

from __future__ import annotations

from typing import Any

from runtime.broker import Message


def message_of(record: Any) -> Message:
    """Return an aiokafka record as a message; a header without a value has an empty one, as with kafka-python."""
    return Message(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        value=record.value,
        headers=tuple((name, b"" if value is None else value) for name, value in record.headers or ()),
        timestamp_ms=record.timestamp or 0,
    )
