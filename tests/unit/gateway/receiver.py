"""A receiver of webhooks on the loopback address."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

Said = tuple[int, dict[str, str], bytes]


@dataclass
class Receiver:
    """What came, and what is answered."""

    url: str = ""
    answer: Callable[[int], Said] = lambda _count: (200, {}, b"ok")
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        # Of what is there whole: bodies come last.
        return [headers["webhook-id"] for headers in self.headers[: len(self.bodies)]]

    def verified(self, secret: str, number: int = -1) -> Any:
        """Return the document of a delivery, its signature checked as a receiver would."""
        # Counted from the end of one list: another delivery may just be coming, and stand in the other one only.
        at = range(len(self.bodies))[number]
        return Webhook(secret).verify(self.bodies[at], self.headers[at])


@contextmanager
def receiver(answer: Callable[[int], Said] | None = None, tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """Yield a receiver; ``answer`` gets how many came before."""
    found = Receiver()
    if answer is not None:
        found.answer = answer
    # Several may come at once, and what belongs together stands at the same place of each list.
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                count = len(found.bodies)
                found.paths.append(self.path)
                found.headers.append({name.lower(): value for name, value in self.headers.items()})
                found.bodies.append(body)
            status, headers, content = found.answer(count)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(content)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """Say nothing of who hangs up: that is what is tested."""

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        found.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}/hook"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join(5)
