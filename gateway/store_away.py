"""What is answered while a database of the gateway cannot be reached."""

from __future__ import annotations

import structlog
from flask import Flask, Response, g, request

from gateway.problems import response_of, unavailable
from gateway.store import StoreUnavailable

_LOG = structlog.get_logger("gateway")


def install(app: Flask) -> None:
    """Say that it is the database, and not the event log, that does not answer."""

    @app.errorhandler(StoreUnavailable)
    def on_unavailable(error: StoreUnavailable) -> Response:
        # What the database says may name its address, so it stays in the log.
        _LOG.warning("database-unavailable", path=request.path, reason=str(error), x_request_id=g.get("x_request_id"))
        detail = "a database of the gateway cannot be reached now; send the same request again later"
        return response_of(unavailable("database-unavailable", detail))
