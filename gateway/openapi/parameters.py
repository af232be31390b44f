"""The parameters of the operations, by the names under which operations refer to them."""

from __future__ import annotations

from typing import Any

from gateway.openapi.operation import JsonObject

TEXT: JsonObject = {"type": "string"}
ID: JsonObject = {"type": "string", "pattern": "^[A-Za-z0-9._~-]{1,128}$"}
_TIME: JsonObject = {"type": "string", "format": "date-time"}
_DAY: JsonObject = {"type": "string", "format": "date"}
_KEY = (
    'A key of the caller, e.g. a UUID, bare or as a string in double quotes (`"key"`). A repeat with the same key and '
    "body is the same request; with another body it is refused with 422 `idempotency-key-reused`. While the first is "
    "worked on, a repeat is answered 409 `request-in-progress`. An answer that was kept comes again with the header "
    "`Idempotent-Replayed: true`."
)


def _parameter(name: str, where: str, description: str, schema: JsonObject, example: Any = None) -> JsonObject:
    parameter: JsonObject = {"name": name, "in": where, "description": description, "schema": schema}
    if where == "path":
        return {**parameter, "required": True, "example": example}
    if example is not None:
        # Swagger UI would send an `example` of its own accord, and so every filter at once, or a key a second time.
        parameter["schema"] = {**schema, "examples": [example]}
    return parameter


PARAMETERS: dict[str, JsonObject] = {
    "IdempotencyKey": _parameter(
        "Idempotency-Key",
        "header",
        _KEY,
        {"type": "string", "pattern": '^("[A-Za-z0-9._~-]{1,128}"|[A-Za-z0-9._~-]{1,128})$'},
        "0d0a2f3c-6a0f-4f3e-9a3b-3f1f6a1c2b4d",
    ),
    "Prefer": _parameter(
        "Prefer",
        "header",
        "`wait=SECONDS` (RFC 7240): how long to wait before 202 is answered; what is not understood is ignored.",
        TEXT,
        "wait=5",
    ),
    "XRequestID": _parameter(
        "X-Request-ID",
        "header",
        "An id of the caller that comes back and stands in the logs; one with other characters than "
        "`A-Z a-z 0-9 . _ ~ -`, or more than 128, is replaced.",
        TEXT,
        "caller-17",
    ),
    "traceparent": _parameter(
        "traceparent",
        "header",
        "W3C trace context; it travels on through the topics.",
        TEXT,
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ),
    "IfNoneMatch": _parameter(
        "If-None-Match",
        "header",
        "The `ETag` of what you have: 304 where it is still right.",
        TEXT,
        '"5f2b1c9e0d7a4633"',
    ),
    "IfMatch": _parameter(
        "If-Match",
        "header",
        "The `ETag` of what you have seen: 412 where something else holds now.",
        TEXT,
        '"5f2b1c9e0d7a4633"',
    ),
    "IfNoneMatchAny": _parameter("If-None-Match", "header", "`*`: 412 where there is one already.", TEXT, "*"),
    "LastEventID": _parameter(
        "Last-Event-ID", "header", "The last event that was received: the stream goes on behind it.", TEXT, "17"
    ),
    "series_id": _parameter(
        "series_id", "path", "`project/name@freq`; the slash stands as it is.", TEXT, "market/AAPL@1d"
    ),
    "model": _parameter("model", "path", "`project/name`; the slash stands as it is.", TEXT, "market/AAPL-1d"),
    "training_id": _parameter("training_id", "path", "The id that the request for it was answered with.", ID, "first"),
    "ingest_id": _parameter("ingest_id", "path", "The id that the request for it was answered with.", ID, "first"),
    "upload_id": _parameter(
        "upload_id", "path", "The id that the upload was answered with.", ID, "5f2b1c9e0d7a46338b1f0a9c2e4d6b70"
    ),
    "filename": _parameter("filename", "query", "Name of a file that is the body itself; a label.", TEXT, "sales.csv"),
    "upload_project": _parameter(
        "project",
        "query",
        "Whose the upload is: the id of a project. A key that is limited to one project means that one, and where "
        "nobody signs in it is `uploads`.",
        TEXT,
        "loja-sao-joao-k3v9qd",
    ),
    "load": _parameter(
        "load", "query", "Whether it is loaded at once, as guessed.", {"type": "string", "enum": ["false", "true"]}
    ),
    "project_id": _parameter("project_id", "path", "The id that the project was made with.", TEXT, "shops-k3m9wz"),
    "after_series": _parameter(
        "after_series", "query", "Only series behind this one, by name.", TEXT, "shops-k3m9wz/1@1d"
    ),
    "symbol": _parameter("symbol", "path", "A symbol of the market, in letters of either case.", TEXT, "BTC"),
    "quarantine_id": _parameter(
        "quarantine_id", "path", "The id of held rows, from the list.", ID, "5f2b1c9e0d7a46338b1f0a9c2e4d6b70"
    ),
    "dead_letter_id": _parameter(
        "dead_letter_id", "path", "The id of a dead letter, from the list.", ID, "1b368969ba10bc381ea10623373b8d72"
    ),
    "of_topic": _parameter("topic", "query", "Only messages of this topic.", TEXT, "forecast-requests"),
    "of_service": _parameter("service", "query", "Only those that this service gave up on.", TEXT, "predictor"),
    "letter_state": _parameter(
        "state",
        "query",
        "Only what was decided so, or not yet.",
        {"type": "string", "enum": ["any", "waiting", "replayed", "dropped"], "default": "any"},
    ),
    "after_letter": _parameter(
        "after", "query", "Only what comes behind this one in the list.", ID, "1b368969ba10bc381ea10623373b8d72"
    ),
    "of_series": _parameter("series_id", "query", "Only of this series.", TEXT, "market/AAPL@1d"),
    "quarantine_state": _parameter(
        "state",
        "query",
        "Only what was decided so, or not yet.",
        {"type": "string", "enum": ["any", "held", "released", "rejected"], "default": "any"},
    ),
    "after_quarantined": _parameter(
        "after", "query", "Only what comes behind this one in the list.", ID, "5f2b1c9e0d7a46338b1f0a9c2e4d6b70"
    ),
    "forecast_or_request_id": _parameter(
        "forecast_or_request_id", "path", "A request id or a forecast id.", ID, "request-1"
    ),
    "of_version": _parameter("version", "query", "Only of this model version.", TEXT, "0123456789abcdef"),
    "of_requester": _parameter(
        "requester", "query", "Only what this user or key asked for, as records name it.", TEXT, "2f6b1c9e/key/7d1e"
    ),
    "of_cause": _parameter("cause", "query", "Only what was asked for this reason.", TEXT, "caller"),
    "of_batch": _parameter("batch_id", "query", "Only what one call asked for together.", TEXT, "batch-1"),
    "from_time": _parameter("from", "query", "Asked for at this time or later.", _TIME, "2025-01-02T00:00:00Z"),
    "to_time": _parameter("to", "query", "Asked for earlier than this.", _TIME, "2026-01-02T00:00:00Z"),
    "from_day": _parameter("from", "query", "This day (UTC) and later.", _DAY, "2025-01-02"),
    "to_day": _parameter("to", "query", "Earlier than this day (UTC).", _DAY, "2026-01-02"),
    "forecast_status": _parameter(
        "status", "query", "Only those.", {"type": "string", "enum": ["pending", "issued", "refused"]}
    ),
    "training_status": _parameter(
        "status",
        "query",
        "Only those.",
        {"type": "string", "enum": ["queued", "running", "progress", "succeeded", "failed", "cancelled"]},
    ),
    "ingest_status": _parameter(
        "status", "query", "Only those.", {"type": "string", "enum": ["queued", "running", "succeeded", "failed"]}
    ),
    "sum_by": _parameter(
        "by",
        "query",
        "What is summed by: some of `day`, `project`, `model`, `requester`, with commas between.",
        {"type": "string", "default": "day,project,model,requester"},
        "project,model",
    ),
    "history_cursor": _parameter(
        "cursor",
        "query",
        "Where the page begins; it comes in `next` of the page before.",
        TEXT,
        "WzE3MzU4MTAyMDAxMjUsInJlcXVlc3QtMSJd",
    ),
    "file_format": _parameter(
        "format",
        "query",
        "`json` is a page; the others are files of all rows, without `limit` and `cursor`.",
        {"type": "string", "enum": ["json", "csv", "parquet", "ndjson"]},
    ),
    "limit": _parameter(
        "limit",
        "query",
        "Most lines that are returned.",
        {"type": "integer", "minimum": 1, "maximum": 1000, "default": 50},
    ),
    "observation_limit": _parameter(
        "limit",
        "query",
        "Most observations that are returned.",
        {"type": "integer", "minimum": 1, "maximum": 10_000, "default": 1000},
    ),
    "after": _parameter("after", "query", "Only observations later than this.", _TIME, "2025-01-02T00:00:00Z"),
    "before": _parameter("before", "query", "Only observations earlier than this.", _TIME, "2026-01-02T00:00:00Z"),
    "order": _parameter(
        "order",
        "query",
        "Which observations come first.",
        {"type": "string", "enum": ["oldest", "newest"], "default": "oldest"},
    ),
    "known_at": _parameter(
        "known_at",
        "query",
        "As the series was known at this time, which has passed: only batches that were received until then count.",
        _TIME,
        "2025-01-02T21:00:00Z",
    ),
    "known_at_offset": _parameter(
        "known_at_offset",
        "query",
        "As the series was known at this end offset (exclusive) of its partition of `observations`.",
        {"type": "integer", "minimum": 0},
        12,
    ),
    "versions": _parameter(
        "versions",
        "query",
        "Whether each row says when its version was received, of which kind it is, and why.",
        {"type": "string", "enum": ["false", "true"], "default": "false"},
    ),
    "input_limit": _parameter(
        "limit",
        "query",
        "Most observations that are returned; the `window_size` of the model unless given.",
        {"type": "integer", "minimum": 1, "maximum": 10_000},
        60,
    ),
    "restatement_cursor": _parameter(
        "cursor",
        "query",
        "Only restatements beyond this place; it comes in the path of the next page.",
        {"type": "string", "pattern": r"^[0-9]{1,18}\.-?[0-9]{1,12}$"},
        "12.1735776000",
    ),
    "of_model": _parameter("model", "query", "Only of this model.", TEXT, "market/AAPL-1d"),
    "of_project": _parameter("project", "query", "Only of this project.", TEXT, "market"),
    "event_types": _parameter(
        "types", "query", "Only these types, with commas between; all unless given.", TEXT, "forecast.issued"
    ),
    "last_event_id": _parameter(
        "last_event_id", "query", "As the header Last-Event-ID, for readers that cannot set one.", TEXT, "AQwAAAAAEQ"
    ),
    "webhook_id": _parameter("webhook_id", "path", "The id that the webhook was made with.", TEXT, "wh_5f2b1c9e0d7a"),
    "delivery_id": _parameter("delivery_id", "path", "The id of a delivery, its `webhook-id`.", TEXT, "msg_8d1f0c7e"),
    "delivery_state": _parameter(
        "state",
        "query",
        "Only deliveries that are so.",
        {"type": "string", "enum": ["any", "waiting", "delivered", "failed"], "default": "any"},
    ),
    "delivery_cursor": _parameter(
        "cursor",
        "query",
        "Only deliveries behind this one; it comes in the path of the next page.",
        {"type": "string", "pattern": r"^[0-9]{1,18}\.msg_[0-9a-f]{32}$"},
        "1735853404000000.msg_8d1f0c7e5b2a4936a0c1d2e3f4a5b6c7",
    ),
    "since": _parameter("since", "query", "Only what is not older than this.", _TIME, "2025-01-02T00:00:00Z"),
    "batch_id": _parameter("batch_id", "path", "The id that the batch was answered with.", ID, "batch-1"),
    "batch_limit": _parameter(
        "limit",
        "query",
        "Most entries that are returned.",
        {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
    ),
    "batch_cursor": _parameter(
        "cursor",
        "query",
        "Only entries behind this one; it comes in the path of the next page.",
        {"type": "string", "pattern": "^[0-9a-f]{32}-[0-9]{4}$"},
        "8d1f0c7e5b2a4936a0c1d2e3f4a5b6c7-0001",
    ),
    "organisation_id": _parameter(
        "organisation_id", "path", "An organisation, from the list.", ID, "org_5f2b1c9e0d7a46338b1f0a9c"
    ),
    "of_organisation": _parameter(
        "organisation_id", "query", "Of this organisation.", TEXT, "org_5f2b1c9e0d7a46338b1f0a9c"
    ),
    "user_id": _parameter("user_id", "path", "A user, from a list.", ID, "user_0d7a46338b1f0a9c5f2b1c9e"),
    "after_user": _parameter(
        "after",
        "query",
        "Only users behind this one; it comes in the path of the next page.",
        TEXT,
        "user_0d7a46338b1f0a9c5f2b1c9e",
    ),
    "invitation_id": _parameter("invitation_id", "path", "From the list.", ID, "inv_1c9e0d7a46338b1f0a9c5f2b"),
    "key_id": _parameter("key_id", "path", "From the list.", ID, "key_338b1f0a9c5f2b1c9e0d7a46"),
    "before_sequence": _parameter(
        "before",
        "query",
        "Only what came before this one; it comes in the path of the next page.",
        {"type": "integer", "minimum": 1},
        41,
    ),
    "next_page": _parameter("next", "query", "Where to go after signing in, a path of this site.", TEXT, "/docs"),
    "schema_name": _parameter("name", "path", "A record type, e.g. `ForecastIssued`.", TEXT, "ForecastIssued"),
}
