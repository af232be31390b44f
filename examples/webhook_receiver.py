"""Take webhooks: check the signature, pass over what came before, answer at once.

Start it with the secret that `POST /api/v1/projects/{project_id}/webhooks` answered with, and the port to listen on:

    WEBHOOK_SECRET=whsec_... python examples/webhook_receiver.py 8080
"""

import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

SEEN: set[str] = set()


def take(body: bytes, headers: dict[str, str]) -> int:
    """Return the HTTP status for a delivery."""
    try:
        event = Webhook(os.environ["WEBHOOK_SECRET"]).verify(body, headers)
    except WebhookVerificationError:
        return 401
    if headers["webhook-id"] not in SEEN:  # a delivery may come more than once, with the same id
        SEEN.add(headers["webhook-id"])
        print(event["type"], event["data"].get("series_id"))
    return 204


class Handler(BaseHTTPRequestHandler):
    """Reads a delivery and answers it."""

    def do_POST(self) -> None:
        """Take one delivery."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(take(body, {name.lower(): value for name, value in self.headers.items()}))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""


if __name__ == "__main__":
    with HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler) as server:
        print(f"listening on http://127.0.0.1:{server.server_port}/")
        server.serve_forever()
