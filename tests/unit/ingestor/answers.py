"""Servers for tests: one in memory that is put under a session, and a real one on the loopback address."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
from requests.adapters import BaseAdapter
from urllib3 import HTTPResponse

#: Status, headers, body.
Said = tuple[int, dict[str, str], bytes]


def said(body: Any, status: int = 200, content_type: str = "application/json", **headers: str) -> Said:
    """Return an answer; what is not bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return status, {"Content-Type": content_type, **{k.replace("_", "-"): v for k, v in headers.items()}}, content


class Fake(BaseAdapter):
    """Answers requests in memory; ``answer`` gets the prepared request and its query."""

    def __init__(self, answer: Callable[[requests.PreparedRequest, dict[str, str]], Said | Exception]) -> None:
        super().__init__()
        self.answer = answer
        self.asked: list[requests.PreparedRequest] = []
        self.queries: list[dict[str, str]] = []

    def session(self) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        session.mount("http://", self)
        session.mount("https://", self)
        return session

    def send(self, request, *_, **__):
        self.asked.append(request)
        self.queries.append(dict(parse_qsl(urlsplit(request.url).query)))
        found = self.answer(request, self.queries[-1])
        if isinstance(found, Exception):
            raise found
        status, headers, body = found
        response = requests.Response()
        response.status_code, response.url, response.request = status, request.url, request
        response.headers.update(headers)
        response.raw = HTTPResponse(io.BytesIO(body), headers=headers, status=status, preload_content=False)
        return response

    def close(self) -> None:
        pass


@contextmanager
def served(answer: Callable[[BaseHTTPRequestHandler], Said | None]) -> Iterator[str]:
    """Yield the address of a server on 127.0.0.1; an answer of ``None`` was written by the callable itself."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = answer(self)
            if found is None:
                return
            status, headers, body = found
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(5)
