"""What a client does, as steps that whoever does I/O carries out: one description for blocking and for asyncio.

A flow is a generator: it yields what is to be done, is sent what came of it, and returns its result.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from foretopic.client.event_text import Event

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """Send this; the answer is sent back, or `Unreachable` is thrown in."""

    method: str
    #: Path and query.
    target: str
    headers: Mapping[str, str]
    content: bytes | None = None
    #: What is sent instead of `content`, piece by piece.
    file: Path | None = None
    #: Where the content of a good answer is written, piece by piece; it stands there once it is whole.
    into: Path | None = None
    #: How long an answer may take; ``None``: as the client was told.
    timeout_seconds: float | None = None


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    content: bytes


@dataclass(frozen=True)
class Pause:
    """Do nothing for a while."""

    seconds: float


@dataclass(frozen=True)
class Renew:
    """Exchange the refresh token, unless somebody else did: one at a time, for each is good once."""

    #: The access token that is no longer good.
    spent: str


Step: TypeAlias = Request | Pause | Renew
Flow: TypeAlias = Generator[Step, Any, T]


class Asker(Protocol):
    """Makes calls within a flow."""

    def flow(self, call: Call[T]) -> Flow[T]:
        """Make a call: its answer, decoded, and what follows from it."""


@dataclass(frozen=True, kw_only=True)
class Call(Generic[T]):
    """A call of one operation, and what becomes of its answer."""

    method: str
    path: str
    #: What an answer is decoded as, by status; of any other success: the first.
    answers: Mapping[int, Any] = field(default_factory=dict)
    #: Those that are ``None`` are left out.
    query: Mapping[str, object] = field(default_factory=dict)
    #: Fields of the body; those that are ``None`` are left out. ``None``: there is no body.
    body: Mapping[str, object] | None = None
    #: Whether ``None`` is sent in a body: it says that there is to be nothing.
    sends_none: bool = False
    file: Path | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Whether a repeat is no use, since the answer has a secret that is shown once: where it was lost, so it is told.
    #: What else changes something has an Idempotency-Key, a new one unless `headers` has one.
    is_once: bool = False
    #: Whether the caller's credentials are sent.
    is_signed: bool = True
    into: Path | None = None
    timeout_seconds: float | None = None
    #: What follows: a flow from the decoded answer to the result.
    then: Callable[[Asker, Any], Flow[T]] | None = None


@dataclass(frozen=True)
class Pages(Generic[T]):
    """A list that comes in pages, each with the path of the next one."""

    call: Call[Any]
    #: Field of a page with its items.
    items: str
    kind: type[T]

    def behind(self, following: str) -> Call[Any]:
        """Return the call of the page at this path."""
        return dataclasses.replace(self.call, path=following, query={})


@dataclass(frozen=True, kw_only=True)
class Started(Generic[S, T]):
    """Work that begins with a call and goes on by itself."""

    call: Call[S]
    #: Looks once how it stands.
    look: Callable[[Asker, S], Flow[T]]
    has_ended: Callable[[T], bool]
    #: Says what went wrong of work that has ended; empty: nothing.
    fault: Callable[[T], str]


@dataclass(frozen=True)
class Events:
    """Server-sent events that go on where they were cut off."""

    call: Call[Any]
    #: Where to begin: behind this event.
    after: str = ""
    #: Says whether an event is the last one; ``None``: it goes on for ever.
    is_last: Callable[[Event], bool] | None = None

    def at(self, last_id: str) -> Call[Any]:
        """Return the call that goes on behind an event; empty: from now on."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
        return dataclasses.replace(self.call, headers={**self.call.headers, **headers})
