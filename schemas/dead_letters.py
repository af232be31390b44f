"""Messages that can never be handled, kept with the reason."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from schemas.record import Offset, Record


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
