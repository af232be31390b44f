"""Server-sent events out of their lines, as the HTML standard says."""

from __future__ import annotations

from typing import Any

import msgspec


class Event(msgspec.Struct, frozen=True):
    """Something that happened.

    Attributes:
        id: Where a reader that was cut off goes on.
        type: E.g. ``forecast.issued``.
        data: The document of it.
    """

    id: str
    type: str
    data: Any


class EventText:
    """Takes lines and gives events.

    Args:
        last_id: Of the event that was received before.
    """

    def __init__(self, last_id: str = "") -> None:
        #: Of the last event that came whole: behind it a stream goes on.
        self.last_id = last_id
        self._id = last_id
        #: How long a reader waits before it comes again.
        self.retry_seconds = 1.0
        self._type = ""
        self._data: list[str] = []

    def take(self, line: str) -> Event | None:
        """Take a line without its end; return the event that it ends, if it ends one."""
        if not line:
            return self._ended()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._type = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isdecimal():
            self.retry_seconds = int(value) / 1000
        return None

    def cut(self) -> None:
        """Forget an event that had begun when the connection ended."""
        self._id, self._type, self._data = self.last_id, "", []

    def _ended(self) -> Event | None:
        kind, data = self._type, "\n".join(self._data)
        self.last_id = self._id
        self.cut()
        return Event(self.last_id, kind or "message", msgspec.json.decode(data)) if data else None
