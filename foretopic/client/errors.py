"""What calls of the gateway end with, besides answers.

ClientError                    anything below
├── Problem                    the gateway answered with an error status
├── Unreachable                no answer: no connection, a connection that broke, or too late
├── UnexpectedAnswer           an answer that is none of a gateway of this version
├── WaitedTooLong              what was waited for had not ended in time; it goes on
└── Unsuccessful               what was waited for has ended, and not well
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class ClientError(Exception):
    """Anything that the client raises on purpose."""


class Fault(msgspec.Struct, frozen=True):
    """A field that is not what is asked for."""

    field: str = ""
    expected: str = ""
    found: str = ""


class _Document(msgspec.Struct, frozen=True):
    type: str = ""
    title: str = ""
    detail: str = ""
    x_request_id: str = ""
    errors: tuple[Fault, ...] = ()


class Problem(ClientError):
    """The gateway answered with an error status (RFC 9457).

    Attributes:
        status: The HTTP status.
        code: The kind of problem, e.g. ``unknown-series``; empty where something else than the gateway answered.
        detail: A sentence on what is wrong.
        errors: The fields at fault.
        request_id: Under which the log of the gateway has it.
        headers: Of the answer.
        is_described: Whether a problem document came; otherwise ``detail`` is the beginning of what did.
        told: The sentence, and a line for each field at fault that it leaves out.
    """

    def __init__(self, status: int, document: bytes, headers: Mapping[str, str]) -> None:
        try:
            read = msgspec.json.decode(document, type=_Document)
            self.is_described = True
        except msgspec.MsgspecError:
            read = _Document(detail=document[:200].decode(errors="replace"))
            self.is_described = False
        self.status = status
        self.code = read.type.removeprefix("/problems/")
        self.detail = read.detail or read.title
        self.errors = read.errors
        self.request_id = read.x_request_id
        self.headers = headers
        left_out = (fault for fault in self.errors if fault.expected not in self.detail)
        lines = (f"  {fault.field or 'body'}: {fault.expected} expected, found {fault.found}" for fault in left_out)
        self.told = "\n".join([self.detail, *lines])
        super().__init__(f"{status} {self.code}: {self.told}")


class Unreachable(ClientError):
    """No answer came.

    Attributes:
        kind: Why, e.g. ``ConnectError``.
    """

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class UnexpectedAnswer(ClientError):
    """What answered is no gateway, or one of another version."""


class WaitedTooLong(ClientError):
    """The time that was given is over; what was asked for goes on.

    Attributes:
        newest: How it stood when it was last looked at.
    """

    def __init__(self, message: str, newest: Any) -> None:
        super().__init__(message)
        self.newest = newest


class Unsuccessful(ClientError):
    """What was waited for has ended, and not well.

    Attributes:
        outcome: How it ended.
    """

    def __init__(self, message: str, outcome: Any) -> None:
        super().__init__(message)
        self.outcome = outcome
