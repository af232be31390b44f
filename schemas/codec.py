"""Records to the bytes of a Kafka message and back.

The value is UTF-8 JSON; the headers are CloudEvents 1.0 in the Kafka protocol binding's binary mode
(https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from schemas.errors import IdentityMismatch, MalformedRecord, UnknownRecordType
from schemas.identity import content_id
from schemas.record import Record
from schemas.topics import TOPICS, Topic

Headers = tuple[tuple[str, bytes], ...]

_ENCODER = msgspec.json.Encoder()
_DECODERS = {record: msgspec.json.Decoder(record) for topic in TOPICS for record in topic.records}


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """The CloudEvents attributes of a message.

    Attributes:
        id: Computed from the identity of the content: a repeat has the same id.
        type: ``foretopic.<record>.v<major>``.
        source: The service that wrote it, e.g. ``/foretopic/predictor``.
        time: When it was written (UTC). Never part of a record's content.
        code_version: Version of the code that wrote it (extension attribute ``codeversion``).
        traceparent: W3C trace context, or ``None``.
    """

    id: str
    type: str
    source: str
    time: datetime
    code_version: str = ""
    traceparent: str | None = None


@dataclass(frozen=True, kw_only=True)
class EncodedRecord:
    """A record as it goes to a topic: key, value and headers, which say the envelope."""

    key: bytes
    value: bytes
    headers: Headers
    envelope: Envelope


@dataclass(frozen=True, kw_only=True)
class DecodedRecord:
    """A record as it came from a topic, with its envelope."""

    record: Record
    envelope: Envelope


def record_type_name(record_type: type[Record], version: int) -> str:
    """Return the ``ce_type`` of a record type, e.g. ``foretopic.ForecastIssued.v1``."""
    return f"foretopic.{record_type.__name__}.v{version}"


def record_id(record: Record) -> str:
    """Return the ``ce_id`` of a record, computed from its type and identity."""
    return content_id(type(record).__name__, record.identity())


def encode(
    topic: Topic,
    record: Record,
    *,
    source: str,
    time: datetime,
    code_version: str = "",
    traceparent: str | None = None,
) -> EncodedRecord:
    """Return the message form of ``record``.

    Raises:
        ValueError: ``topic`` does not carry this record type; that is a mistake in the caller.
    """
    version = topic.records.get(type(record))
    if version is None:
        raise ValueError(f"topic {topic.name} carries no {type(record).__name__}")
    envelope = Envelope(
        id=record_id(record),
        type=record_type_name(type(record), version),
        source=source,
        time=time,
        code_version=code_version,
        traceparent=traceparent,
    )
    headers = [
        ("content-type", b"application/json"),
        ("ce_specversion", b"1.0"),
        ("ce_id", envelope.id.encode()),
        ("ce_type", envelope.type.encode()),
        ("ce_source", source.encode()),
        ("ce_time", time.isoformat().replace("+00:00", "Z").encode()),
    ]
    if code_version:
        headers.append(("ce_codeversion", code_version.encode()))
    if traceparent is not None:
        headers.append(("traceparent", traceparent.encode()))
    return EncodedRecord(
        key=topic.key(record).encode(), value=_ENCODER.encode(record), headers=tuple(headers), envelope=envelope
    )


def _envelope_time(topic: Topic, text: str) -> datetime:
    """Return the UTC time that ``text`` names with its offset; a time without an offset names none."""
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is not None:
            return time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise MalformedRecord(topic.name, f"ce_time must be an RFC 3339 time, was {text!r}") from error
    raise MalformedRecord(topic.name, f"ce_time must say its offset from UTC, e.g. end in Z, was {text!r}")


def _envelope(topic: Topic, headers: Iterable[tuple[str, bytes]]) -> Envelope:
    try:
        found = {name: value.decode() for name, value in headers if value is not None}
    except UnicodeDecodeError as error:
        raise MalformedRecord(topic.name, f"headers must be UTF-8, {error}") from error
    missing = [name for name in ("ce_id", "ce_type", "ce_source", "ce_time") if name not in found]
    if missing:
        raise UnknownRecordType(
            topic.name, f"headers ce_id, ce_type, ce_source and ce_time are expected, missing: {', '.join(missing)}"
        )
    return Envelope(
        id=found["ce_id"],
        type=found["ce_type"],
        source=found["ce_source"],
        time=_envelope_time(topic, found["ce_time"]),
        code_version=found.get("ce_codeversion", ""),
        traceparent=found.get("traceparent"),
    )


def decode(topic: Topic, value: bytes | None, headers: Iterable[tuple[str, bytes]]) -> DecodedRecord:
    """Return the record in a message of ``topic``.

    Raises:
        UnknownRecordType: No ``ce_type``, or none that this topic carries in a version we read.
        MalformedRecord: The value is not that record.
        IdentityMismatch: ``ce_id`` is not the id of the content.
    """
    envelope = _envelope(topic, headers)
    known = {record_type_name(record, version): record for record, version in topic.records.items()}
    record_type = known.get(envelope.type)
    if record_type is None:
        raise UnknownRecordType(topic.name, f"ce_type must be one of {', '.join(sorted(known))}, was {envelope.type!r}")
    if value is None:
        raise MalformedRecord(topic.name, f"a {record_type.__name__} was expected, the value is empty")
    try:
        record = _DECODERS[record_type].decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedRecord(topic.name, f"not a {record_type.__name__}: {error}") from error
    except RecursionError as error:  # thousands of brackets; also inside a field that we ignore
        raise MalformedRecord(topic.name, f"not a {record_type.__name__}: nested too deeply") from error
    expected = record_id(record)
    if envelope.id != expected:
        raise IdentityMismatch(topic.name, f"ce_id must be {expected}, computed from the content, was {envelope.id!r}")
    return DecodedRecord(record=record, envelope=envelope)
