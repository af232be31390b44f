"""Answers that go on: server-sent events, limited in number and in time."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextvars import Context, copy_context

import structlog
from flask import Response, request

from gateway.access import Principal
from gateway.guard import principal
from gateway.problems import Problem
from gateway.store import StoreUnavailable

_LOG = structlog.get_logger("gateway")
MEDIA_TYPE = "text/event-stream"
#: Proxies and browsers give up on a silent stream.
HEARTBEAT_SECONDS = 15.0
#: Then the reader comes again, and what it may see is looked at anew.
LIFETIME_SECONDS = 600.0
#: Of a reader that takes nothing.
_SEND_SECONDS = 30.0
BEGIN = b"retry: 1000\n\n"
BEAT = b": still here\n\n"


def block(name: str, event_id: str, data: bytes) -> bytes:
    """Return one event; ``data`` is JSON without line breaks."""
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (event_id.encode(), name.encode(), data)


class Streams:
    """Counts the open streams, and turns away before any work is done for another one."""

    def __init__(self, limit: int, limit_a_caller: int) -> None:
        self._limit = limit
        self._limit_a_caller = limit_a_caller
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()

    def admit(self, caller: Principal) -> Callable[[], None]:
        """Count a stream of ``caller``; return what ends it, however often it is called.

        Raises:
            Problem: 429; too many are open.
        """
        name = caller.user_id or caller.name
        with self._lock:
            if self._open[name] >= self._limit_a_caller or self._open.total() >= self._limit:
                detail = f"at most {self._limit_a_caller} streams of one caller may be open, {self._limit} of all"
                raise Problem(429, "too-many-streams", detail, headers={"Retry-After": "5"})
            self._open[name] += 1
        is_open = [True]

        def end() -> None:
            with self._lock:
                if is_open:
                    is_open.clear()
                    self._open[name] -= 1
                    self._open += Counter()  # drops the callers without one

        return end


def stream(chunks: Iterator[bytes], on_close: Callable[[], None]) -> Response:
    """Return an answer that sends ``chunks`` as they come; ``on_close`` is called however it ends.

    It ends when the caller has signed out, or may do something else than at the start: the next one is looked at anew.
    ``chunks`` runs outside of the request: what it needs of that, it must have.
    """
    connection = request.environ.get("gunicorn.socket")
    if connection is not None:
        # Who takes nothing for so long is cut off, instead of holding a connection for ever.
        connection.settimeout(_SEND_SECONDS)
    # `X-Accel-Buffering`: no proxy may hold events back.
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    # What it logs is still about this request.
    sent = _within(copy_context(), chunks, principal().is_current)
    response = Response(sent, 200, headers, content_type=MEDIA_TYPE)
    response.call_on_close(on_close)
    return response


def _within(context: Context, chunks: Iterator[bytes], may_go_on: Callable[[], bool]) -> Iterator[bytes]:
    try:
        while (chunk := context.run(next, chunks, None)) is not None and may_go_on():
            yield chunk
    except StoreUnavailable as error:
        # Whether the caller may go on is not known now; they come again.
        context.run(_LOG.warning, "stream-ended", reason=str(error))
    finally:
        if isinstance(chunks, Generator):
            context.run(chunks.close)
