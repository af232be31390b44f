"""The examples that many operations have; a test holds each example of the document against its schema."""

from __future__ import annotations

import json
from functools import cache

from gateway.openapi.operation import JsonObject
from schemas.golden import golden_messages

SERIES_ID = "market/AAPL@1d"
MODEL_NAME = "market/AAPL-1d"
VERSION = "0123456789abcdef"
TIME = "2026-01-02T09:00:00Z"
TOKEN = "k3v9_one-time-secret"  # noqa: S105  # an example
ORGANISATION_ID, USER_ID = "org_5f2b1c9e0d7a46338b1f0a9c", "user_0d7a46338b1f0a9c5f2b1c9e"
#: A file of a table, as it is uploaded.
CSV = "date,store,sales,promo\n2025-01-02,1,188,0\n2025-01-03,1,201,1\n"
#: Media type of a history as a file -> its beginning.
FILES = {
    "text/csv": "request_id,forecast_id,status\nrequest-1,4450ef90832a81f60168062bd890d5ae,issued\n",
    "application/x-ndjson": '{"request_id":"request-1","status":"issued"}\n',
}
HTML = "<!doctype html>\n<title>Foretopic</title>\n"


@cache
def forecast() -> JsonObject:
    """Return the forecast of the golden message `forecasts/v1/forecast-issued`."""
    golden = next(message for message in golden_messages() if message.case == "forecast-issued")
    found: JsonObject = json.loads(golden.value)
    return found


def problem(status: int, kind: str, detail: str) -> JsonObject:
    """Return the document of a problem of this kind."""
    return {
        "type": f"/problems/{kind}",
        "title": kind.replace("-", " ").capitalize(),
        "status": status,
        "detail": detail,
        "instance": "/api/v1/forecasts",
        "x_request_id": "caller-17",
        "errors": [],
    }
