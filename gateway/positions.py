"""How far a stream of events has been read, as one short text: the offsets of the log, so any gateway goes on there.

The text is base64url of a version, then for each topic of `gateway.events.EVENT_TOPICS` its number of partitions and
their next offsets, as variable-length integers.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence

from runtime.broker import TopicPartition

_VERSION = 1
_MAX_OFFSET = 2**62
_BITS, _MORE = 0x7F, 0x80


def encode(positions: Mapping[TopicPartition, int], places: Sequence[Sequence[TopicPartition]]) -> str:
    """Return the text for next offsets; ``places`` has the partitions of each topic."""
    found = bytearray([_VERSION])
    for of_topic in places:
        _append(found, len(of_topic))
        for place in of_topic:
            _append(found, positions.get(place, 0))
    return base64.urlsafe_b64encode(found).decode().rstrip("=")


def decode(text: str, places: Sequence[Sequence[TopicPartition]]) -> dict[TopicPartition, int]:
    """Return the next offsets that a text names.

    Raises:
        ValueError: The text is none of these, or of a log with other partitions.
    """
    content = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if content[:1] != bytes([_VERSION]):
        raise ValueError("another version")
    numbers = _numbers(content[1:])
    positions = {}
    for of_topic in places:
        if next(numbers, None) != len(of_topic):
            raise ValueError("other partitions")
        for place in of_topic:
            offset = next(numbers, None)
            if offset is None:
                raise ValueError("too short")
            positions[place] = offset
    if next(numbers, None) is not None:
        raise ValueError("too long")
    return positions


def _append(found: bytearray, number: int) -> None:
    while number > _BITS:
        found.append(number & _BITS | _MORE)
        number >>= 7
    found.append(number)


def _numbers(content: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in content:
        number |= (byte & _BITS) << shift
        shift += 7
        if number > _MAX_OFFSET:
            raise ValueError("an offset is too large")
        if not byte & _MORE:
            yield number
            number = shift = 0
    if shift:
        raise ValueError("it ends in the middle")
