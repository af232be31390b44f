"""An error tracker on the loopback address: takes what Sentry's protocol sends, and keeps it."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "0123456789abcdef0123456789abcdef"
#: Only there to end a broken run.
PATIENCE_SECONDS = 60


class Tracker:
    """What came in, as text and as events."""

    def __init__(self, port: int) -> None:
        self.dsn = f"http://{KEY}@127.0.0.1:{port}/7"
        #: A server that hangs answers nobody until this is set.
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.envelopes: list[str] = []
        self._came = threading.Condition()

    def take(self, envelope: str) -> None:
        with self._came:
            self.envelopes.append(envelope)
            self._came.notify_all()
        self.may_answer.wait(PATIENCE_SECONDS)

    def events(self, count: int) -> list[dict[str, Any]]:
        """Wait for as many events, and return all of them."""
        with self._came:
            assert self._came.wait_for(lambda: len(self.envelopes) >= count, PATIENCE_SECONDS)
            return [json.loads(envelope.splitlines()[2]) for envelope in self.envelopes]


@contextmanager
def tracker_server() -> Iterator[Tracker]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/api/7/envelope/"
            assert f"sentry_key={KEY}" in self.headers["X-Sentry-Auth"]
            body = self.rfile.read(int(self.headers["Content-Length"]))
            tracker.take(gzip.decompress(body).decode())
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    tracker = Tracker(server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield tracker
    finally:
        tracker.may_answer.set()
        server.shutdown()
        thread.join()
        server.server_close()
