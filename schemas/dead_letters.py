"""Messages that can never be handled, kept with the reason."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from schemas.identity import content_id
from schemas.record import Id, Offset, Record, require

#: A header of a message that was sent again: the id of the dead letter that it was. One that dies again names it so.
REPLAY_OF = "foretopic-replay-of"


def dead_letter_id(topic: str, partition: int, offset: int) -> str:
    """Return the id of the dead letter of a message, by where that stood: the `ce_id` of the letter."""
    return content_id("DeadLetter", (topic, partition, offset))


class DeadLetter(Record, frozen=True, kw_only=True):
    """The original bytes of a message that no reader can handle, and where it stood."""

    topic: str
    partition: Annotated[int, Meta(ge=0)]
    offset: Offset
    key: bytes | None = None
    value: bytes | None = None
    #: Header name -> value; a repeated name keeps its last value.
    headers: dict[str, bytes] = {}
    reason: str
    #: The service that gave up, after how many attempts, and the version of its code.
    service: str
    attempts: Annotated[int, Meta(ge=1)] = 1
    code_version: str

    def identity(self) -> tuple[object, ...]:
        return (self.topic, self.partition, self.offset)


class DeadLetterDecided(Record, frozen=True, kw_only=True):
    """A person sent the message of a dead letter again, or let it go. The first decision in log order counts."""

    decision_id: Id
    #: Where the message stood that died.
    topic: str
    partition: Annotated[int, Meta(ge=0)]
    offset: Offset
    decision: Literal["replay", "drop"]
    #: Who decided, and why.
    decided_by: str = ""
    reason: str = ""
    #: Of a replay: where in its topic the message stands now.
    replayed_partition: Annotated[int, Meta(ge=0)] | None = None
    replayed_offset: Offset | None = None

    def __post_init__(self) -> None:
        for name in ("replayed_partition", "replayed_offset"):
            given = getattr(self, name) is not None
            require(given == (self.decision == "replay"), f"{name} must be given for a replay, and for nothing else")

    def identity(self) -> tuple[object, ...]:
        return (self.decision_id,)
