"""Decoded messages on their way in, and records on their way out."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.broker import Message
from schemas.codec import Envelope, decode
from schemas.record import Record
from schemas.topics import Topic


@dataclass(frozen=True, kw_only=True, slots=True)
class Incoming:
    """A message with the record that it holds."""

    message: Message
    topic: Topic
    record: Record
    envelope: Envelope


@dataclass(frozen=True, kw_only=True, slots=True)
class Outgoing:
    """A record that is to be published; ``partition`` ``None`` lets the key decide.

    With ``after_acknowledged`` it is sent only once everything before it is acknowledged: whoever reads it may rely on
    that, also when it stands in another topic.
    """

    topic: Topic
    record: Record
    traceparent: str | None = None
    partition: int | None = None
    after_acknowledged: bool = False


def decode_message(topic: Topic, message: Message) -> Incoming:
    """Return the message with its record.

    Raises:
        InvalidRecord: The bytes are no record that ``topic`` may carry.
    """
    decoded = decode(topic, message.value, message.headers)
    return Incoming(message=message, topic=topic, record=decoded.record, envelope=decoded.envelope)
