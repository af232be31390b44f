"""Bodies: how large they may be is judged before any work, how slow while they are read."""

from __future__ import annotations

from typing import Any

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout

#: These read a file piece by piece, and judge its length themselves.
_TAKES_FILE = frozenset({"uploads.post", "projects.post"})


def require_small(request: Request) -> None:
    """Refuse a body that says that it is too large; one that does not say is cut off where it is read.

    Raises:
        RequestEntityTooLarge: It has more bytes than the gateway takes.
    """
    limit = request.max_content_length
    said = request.content_length
    if limit is not None and said is not None and said > limit and request.endpoint not in _TAKES_FILE:
        raise RequestEntityTooLarge


def limit_time(request: Request, seconds: float) -> None:
    """Give each read of the body so many seconds; only a server with green threads can end one that takes longer."""
    environ = request.environ
    if "gunicorn.socket" in environ:
        environ["wsgi.input"] = _TimedBody(environ["wsgi.input"], seconds)


class _TimedBody:
    """A body whose sender must keep going: a JSON document is one read, a file many."""

    def __init__(self, body: Any, seconds: float) -> None:
        # Imported under the server only, which has patched the libraries with it.
        from gevent import Timeout  # noqa: PLC0415

        self._body = body
        self._seconds = seconds
        self._timeout = Timeout

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, as the body of the server does.

        Raises:
            RequestTimeout: They did not come in time.
        """
        with self._timeout(self._seconds, RequestTimeout(_DETAIL.format(self._seconds))):
            return bytes(self._body.read(size))

    def readline(self, size: int = -1) -> bytes:
        """Return the next line, likewise."""
        with self._timeout(self._seconds, RequestTimeout(_DETAIL.format(self._seconds))):
            return bytes(self._body.readline(size))


_DETAIL = "the body, or a piece of a file, was expected within {} seconds"
