"""An application on a real socket of this machine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server


class _Answer:
    """What an application answers, closed once and always."""

    def __init__(self, answer: Iterable[bytes]) -> None:
        self._answer = answer
        self._is_closed = False

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._answer)

    def close(self) -> None:
        if not self._is_closed and hasattr(self._answer, "close"):
            self._is_closed = True
            self._answer.close()


class _Handler(WSGIRequestHandler):
    """Closes the answer too when the client resets the connection, e.g. a browser whose page is left.

    werkzeug 3.1 does not when the reset shows while it reads what else the client sent: the file of a static answer
    stays open then, and a warning about it ends whatever test is next.
    """

    def connection_dropped(self, error: BaseException, environ: dict[str, Any] | None = None) -> None:
        if environ is not None and "tests.answer" in environ:
            environ["tests.answer"].close()
        super().connection_dropped(error, environ)


@contextmanager
def listening(app: Callable[..., Iterable[bytes]], port: int = 0) -> Iterator[str]:
    """Yield the address at which a WSGI application answers."""

    def closing(environ: dict[str, Any], start_response: Any) -> _Answer:
        answer = environ["tests.answer"] = _Answer(app(environ, start_response))
        return answer

    server = make_server("127.0.0.1", port, closing, threaded=True, request_handler=_Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
