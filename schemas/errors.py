"""What can be wrong with a message.

InvalidRecord            these bytes are not a record that this topic may carry
├── MalformedRecord      not JSON, a missing field, a wrong type, a broken rule
├── UnknownRecordType    no `ce_type`, one that this topic does not carry, or a version we do not read
└── IdentityMismatch     `ce_id` is not the id that the content has
"""

from __future__ import annotations


class InvalidRecord(ValueError):
    """Say that bytes are not a record which the topic may carry.

    Attributes:
        topic: Name of the topic without its prefix.
        reason: What was expected and what was found, in one sentence.
    """

    def __init__(self, topic: str, reason: str) -> None:
        super().__init__(f"{topic}: {reason}")
        self.topic = topic
        self.reason = reason


class MalformedRecord(InvalidRecord):
    """Say that the value is not the JSON form of its record type."""


class UnknownRecordType(InvalidRecord):
    """Say that no reader here knows the record type or its major version."""


class IdentityMismatch(InvalidRecord):
    """Say that the `ce_id` header is not the id computed from the content."""
