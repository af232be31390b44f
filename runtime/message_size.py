"""How many bytes a message takes in Kafka's log, to refuse one that is too large before it is sent."""

from __future__ import annotations

from runtime.broker import OutgoingMessage

#: Header of a record batch (magic 2), and the most that the varints of one record take.
BATCH_OVERHEAD = 61
RECORD_OVERHEAD = 21 + 5
_VARINT = 5


def message_size(message: OutgoingMessage) -> int:
    """Return the most bytes that ``message`` takes as a batch of its own: what ``max.message.bytes`` limits."""
    size = BATCH_OVERHEAD + RECORD_OVERHEAD + len(message.key or b"") + len(message.value or b"")
    for name, value in message.headers:
        size += 2 * _VARINT + len(name.encode()) + len(value)
    return size


def require_size(message: OutgoingMessage, limit: int) -> None:
    """Refuse a message that a topic with this ``max.message.bytes`` does not take.

    Raises:
        ValueError: It is larger.
    """
    size = message_size(message)
    if size > limit:
        raise ValueError(
            f"a message to {message.topic} may have {limit} bytes, this one has up to {size}; make it smaller"
        )
