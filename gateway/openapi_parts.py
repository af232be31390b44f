"""The pieces of which the operations are made: parameters, response headers, problems."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec

JsonObject = dict[str, Any]
TEXT: JsonObject = {"type": "string"}


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A successful answer: a JSON type, or text of another media type."""

    description: str
    type: type[msgspec.Struct] | None = None
    media_type: str = "application/json"
    example: Any = None
    headers: tuple[str, ...] = ()
    #: Media types of the same answer as a file.
    files: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    id: str
    tag: str
    summary: str
    description: str = ""
    parameters: tuple[str, ...] = ()
    body: type[msgspec.Struct] | None = None
    #: Whether the body is a file, bare or in a form.
    takes_file: bool = False
    #: Text fields beside the file of a form, each also a query parameter beside a bare file: name -> what it says.
    form_fields: dict[str, str] = field(default_factory=dict)
    is_body_optional: bool = False
    #: Name -> example body.
    examples: dict[str, JsonObject] = field(default_factory=dict)
    answers: dict[int, Sent]
    #: Status -> kinds of problem.
    problems: dict[int, tuple[str, ...]] = field(default_factory=dict)


def _parameter(name: str, where: str, description: str, schema: JsonObject, example: Any = None) -> JsonObject:
    parameter: JsonObject = {"name": name, "in": where, "description": description, "schema": schema}
    if where == "path":
        parameter["required"] = True
    if example is not None:
        parameter["example"] = example
    return parameter


_ID: JsonObject = {"type": "string", "pattern": "^[A-Za-z0-9._~-]{1,128}$"}
_KEY = (
    'A key of the caller, e.g. a UUID, bare or as a string in double quotes (`"key"`). A repeat with the same key and '
)
_KEY += "body is the same request; with another body it is refused with 422 `idempotency-key-reused`."
_KEY += " While the first is worked on, a repeat is answered 409 `request-in-progress`."
_TIME: JsonObject = {"type": "string", "format": "date-time"}
_DAY: JsonObject = {"type": "string", "format": "date"}

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
        "If-None-Match", "header", "The `ETag` of what you have: 304 where it is still right.", TEXT
    ),
    "LastEventID": _parameter(
        "Last-Event-ID", "header", "The last event that was received: the stream goes on behind it.", TEXT, "17"
    ),
    "series_id": _parameter(
        "series_id", "path", "`project/name@freq`; the slash stands as it is.", TEXT, "market/AAPL@1d"
    ),
    "model": _parameter("model", "path", "`project/name`; the slash stands as it is.", TEXT, "market/AAPL-1d"),
    "training_id": _parameter("training_id", "path", "The id that the request for it was answered with.", _ID, "first"),
    "ingest_id": _parameter("ingest_id", "path", "The id that the request for it was answered with.", _ID, "first"),
    "upload_id": _parameter(
        "upload_id", "path", "The id that the upload was answered with.", _ID, "5f2b1c9e0d7a46338b1f0a9c2e4d6b70"
    ),
    "filename": _parameter("filename", "query", "Name of a file that is the body itself; a label.", TEXT, "sales.csv"),
    "of_project": _parameter(
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
        "quarantine_id", "path", "The id of held rows, from the list.", _ID, "5f2b1c9e0d7a46338b1f0a9c2e4d6b70"
    ),
    "dead_letter_id": _parameter(
        "dead_letter_id", "path", "The id of a dead letter, from the list.", _ID, "1b368969ba10bc381ea10623373b8d72"
    ),
    "of_topic": _parameter("topic", "query", "Only messages of this topic.", TEXT, "forecast-requests"),
    "of_service": _parameter("service", "query", "Only those that this service gave up on.", TEXT, "predictor"),
    "letter_state": _parameter(
        "state",
        "query",
        "Only what was decided so, or not yet.",
        {"type": "string", "enum": ["any", "waiting", "replayed", "dropped"], "default": "any"},
    ),
    "after_letter": _parameter("after", "query", "Only what comes behind this one in the list.", _ID),
    "of_series": _parameter("series_id", "query", "Only of this series.", TEXT, "market/AAPL@1d"),
    "state": _parameter(
        "state",
        "query",
        "Only what was decided so, or not yet.",
        {"type": "string", "enum": ["any", "held", "released", "rejected"], "default": "any"},
    ),
    "after_id": _parameter("after", "query", "Only what comes behind this one in the list.", _ID),
    "forecast_or_request_id": _parameter(
        "forecast_or_request_id", "path", "A request id or a forecast id.", _ID, "request-1"
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
    "page": _parameter("cursor", "query", "Where the page begins; it comes in `next` of the page before.", TEXT),
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
    "rows": _parameter(
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
    "window_rows": _parameter(
        "limit",
        "query",
        "Most observations that are returned; the `window_size` of the model unless given.",
        {"type": "integer", "minimum": 1, "maximum": 10_000},
    ),
    "cursor": _parameter(
        "cursor",
        "query",
        "Only restatements beyond this place; it comes in the path of the next page.",
        {"type": "string", "pattern": r"^[0-9]{1,18}\.-?[0-9]{1,12}$"},
        "12.1735776000",
    ),
    "of_model": _parameter("model", "query", "Only of this model.", TEXT, "market/AAPL-1d"),
    "events_project": _parameter("project", "query", "Only of this project.", TEXT, "market"),
    "event_types": _parameter(
        "types", "query", "Only these types, with commas between; all unless given.", TEXT, "forecast.issued"
    ),
    "last_event_id": _parameter(
        "last_event_id", "query", "As the header Last-Event-ID, for readers that cannot set one.", TEXT
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
    ),
    "since": _parameter("since", "query", "Only what is not older than this.", _TIME, "2025-01-02T00:00:00Z"),
    "batch_id": _parameter("batch_id", "path", "The id that the batch was answered with.", _ID, "batch-1"),
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
    ),
    "organisation_id": _parameter(
        "organisation_id", "path", "An organisation, from the list.", _ID, "org_5f2b1c9e0d7a46338b1f0a9c"
    ),
    "of_organisation": _parameter(
        "organisation_id", "query", "Of this organisation.", TEXT, "org_5f2b1c9e0d7a46338b1f0a9c"
    ),
    "user_id": _parameter("user_id", "path", "A user, from a list.", _ID, "user_0d7a46338b1f0a9c5f2b1c9e"),
    "after_user": _parameter(
        "after", "query", "Only users behind this one; it comes in the path of the next page.", TEXT
    ),
    "invitation_id": _parameter("invitation_id", "path", "From the list.", _ID, "inv_1c9e0d7a46338b1f0a9c5f2b"),
    "key_id": _parameter("key_id", "path", "From the list.", _ID, "key_338b1f0a9c5f2b1c9e0d7a46"),
    "before_sequence": _parameter(
        "before",
        "query",
        "Only what came before this one; it comes in the path of the next page.",
        {"type": "integer", "minimum": 1},
    ),
    "next_page": _parameter("next", "query", "Where to go after signing in, a path of this site.", TEXT, "/docs"),
    "schema_name": _parameter("name", "path", "A record type, e.g. `ForecastIssued`.", TEXT, "ForecastIssued"),
}

HEADERS: dict[str, JsonObject] = {
    "XRequestID": {"description": "The caller's id, or a new one.", "schema": _ID},
    "traceparent": {"description": "The trace context under which this was done.", "schema": TEXT},
    "Location": {"description": "Where the outcome will be.", "schema": TEXT},
    "RetryAfter": {"description": "Seconds after which to ask again.", "schema": TEXT},
    "Deprecation": {"description": "Since when the door is deprecated (RFC 9745).", "schema": TEXT},
    "Link": {"description": "What takes its place: `rel=successor-version`.", "schema": TEXT},
    "Sunset": {"description": "From when on the path may be gone (RFC 8594).", "schema": TEXT},
    "ETag": {"description": "Names this content; send it as `If-None-Match` to be told 304 instead.", "schema": TEXT},
    "RateLimitPolicy": {
        "description": 'The limits that count: `"requests";q=600;w=60` is 600 in 60 seconds.',
        "schema": TEXT,
    },
    "RateLimit": {
        "description": 'What is left of each: `"requests";r=12;t=34` is 12, and more in 34 seconds.',
        "schema": TEXT,
    },
    "IdempotentReplayed": {"description": "`true`: the stored answer of an earlier request.", "schema": TEXT},
    "Allow": {"description": "The methods that the path knows.", "schema": TEXT},
}
HEADER_NAMES = {
    "XRequestID": "X-Request-ID",
    "RetryAfter": "Retry-After",
    "RateLimitPolicy": "RateLimit-Policy",
    "IdempotentReplayed": "Idempotent-Replayed",
}

#: Ids of the operations that need no sign-in; a test holds them against the marks of the views.
OPEN = frozenset(
    {
        "logIn",
        "refreshTokens",
        "signUp",
        "getSigningKeys",
        "getHealth",
        "getReadiness",
        "getMetrics",
        "getOpenApi",
        "getAsyncApi",
        "getSchemas",
        "getSchema",
        "getPage",
        "getLoginPage",
        "submitLogin",
        "getJoinPage",
        "submitJoin",
        "getSwaggerUi",
        "getReDoc",
    }
)
#: What any operation may be refused with, before it begins.
ANYWHERE: dict[int, tuple[str, ...]] = {
    401: ("unauthenticated",),
    403: ("forbidden", "password-change-required", "cross-site-request", "csrf-token", "foreign-host"),
    429: ("rate-limited", "too-many-at-once"),
    503: ("busy",),
}
#: What any operation that takes a body may be refused with.
ANY_BODY: dict[int, tuple[str, ...]] = {408: ("request-timeout",), 413: ("body-too-large",)}
#: What may become of a key with which an answer is stored.
STORED: dict[int, tuple[str, ...]] = {
    400: ("invalid-idempotency-key",),
    409: ("request-in-progress", "outcome-unknown"),
    422: ("idempotency-key-reused",),
}
#: Ids of operations whose answers can be kept and asked for again.
CACHED = frozenset(
    {"getAsyncApi", "getForecast", "getOpenApi", "getSchema", "getSchemas", "getSigningKeys", "listObservations"}
)
#: Ids of operations that count against the quotas of a project.
FORECASTING = frozenset({"askForecast", "askForecasts", "predictProject", "predictLast60Days", "getSymbol"})
TRAINING = frozenset({"startTraining", "trainProject"})
#: Ids of operations that may be sent again without a key, or are about signing in: nothing of them is stored.
REPEATABLE = frozenset(
    {
        "acceptInvitation",
        "cancelTraining",
        "changePassword",
        "loadUpload",
        "logIn",
        "logOut",
        "pauseSource",
        "refreshTokens",
        "rejectQuarantined",
        "releaseQuarantined",
        "resumeSource",
        "setSource",
        "signUp",
    }
)
#: Kind of problem -> what it says; the last part of the `type` of a problem document.
PROBLEMS: dict[str, str] = {
    "empty-body": "The body is empty.",
    "malformed-json": "The body is not JSON in UTF-8.",
    "invalid-idempotency-key": "The header Idempotency-Key has other characters or more than it may.",
    "unknown-project": "No project has this id.",
    "unknown-series": "No observations of the series are known.",
    "unknown-forecast": "Neither a request nor a forecast has this id.",
    "unknown-batch": "No request of the batch is known.",
    "unknown-webhook": "The project has no webhook with this id.",
    "unknown-delivery": "The webhook has no delivery with this id.",
    "too-many-webhooks": "The project has as many webhooks as it may.",
    "webhook-disabled": "The webhook is disabled; enable it first.",
    "too-many-streams": "The caller, or all together, have as many event streams open as may be.",
    "unknown-training": "No training has this id.",
    "unknown-source": "The series has no schedule.",
    "unknown-ingest": "No ingest has this id.",
    "unknown-upload": "No upload has this id.",
    "project-busy": "Data of the project are being loaded, a model is being trained, or a schedule is active.",
    "project-empty": "The project has no series yet.",
    "project-not-registered": "The project was not made by a request: there is nothing to change or remove.",
    "not-trained": "The project has no model for the series yet.",
    "model-mismatch": "The model reads other columns or another number of rows than the door gives.",
    "unknown-symbol": "No series of the market is known by this symbol.",
    "invalid-upload": "The file, or what is said of its columns, cannot be used; `errors` says why.",
    "upload-loaded": "The upload was loaded with another mapping before.",
    "uploads-off": "The gateway has no directory for uploads.",
    "uploads-full": "Uploads take all the room that they may.",
    "unknown-quarantine": "No held rows have this id.",
    "already-decided": "The held rows, or the dead letter, were decided about before, and otherwise.",
    "unknown-dead-letter": "No dead letter has this id.",
    "not-replayable": "The message cannot go to its topic again: there is no such topic, or it takes none so large.",
    "unknown-model": "No version of the model is released.",
    "unknown-version": "The model has no such version.",
    "unknown-schema": "No record type has this name.",
    "no-forecast-yet": "The series has no forecast yet.",
    "no-inputs": "The forecast was made from a window that came with its request, not from a series.",
    "no-such-path": "There is no such path.",
    "method-not-allowed": "The path knows other methods only.",
    "training-ended": "The training has ended and cannot be cancelled.",
    "no-champion": "The model has no champion yet.",
    "body-too-large": "The body has more bytes than the gateway takes.",
    "request-too-large": "The request does not fit into a message.",
    "unsupported-media-type": "The body must be application/json.",
    "invalid-body": "A field, or how fields go together, is not what is asked for; `errors` names each.",
    "invalid-parameter": "A query parameter is unknown or not what is asked for.",
    "idempotency-key-reused": "The key came before with another body.",
    "request-in-progress": "The first request with this key is still being worked on.",
    "outcome-unknown": "The first request with this key ended without an answer; whether it was done is not known.",
    "rate-limited": "The caller, the address or the project sent too many requests within a minute.",
    "quota-exceeded": "The project has used what it may use in a day.",
    "too-many-at-once": "The caller has too many requests that are being worked on.",
    "request-timeout": "The body came too slowly.",
    "as-of-beyond-log": "The request may read further than the log goes.",
    "beyond-calendar": "The exchange calendar does not reach that far.",
    "forecast-too-large": "The forecast does not fit into a message.",
    "freq-mismatch": "The series has another frequency than the model was trained for.",
    "horizon-too-long": "The model does not forecast that many steps.",
    "level-not-calibrated": "The model has not been calibrated for one of the levels.",
    "missing-observations": "The series lacks observations, and the model was trained to refuse that.",
    "too-many-gaps": "More rows would have to be made up than there are: the model fills gaps.",
    "not-finite": "The model gave a number that is not finite.",
    "too-little-history": "The series has fewer observations than the model reads.",
    "unknown-column": "The series lacks a column that the model reads.",
    "cutoff-missing": "The model looks at the calendar, and the window came without a cutoff.",
    "future-missing": "The model needs values of columns that are known in the future, and has too few of them.",
    "window-not-finite": "The window has a number that is not finite.",
    "window-shape": "The window has another shape than the model reads.",
    "window-not-positive": "The window has a number that must be above 0 and is not.",
    "cutoff-off-calendar": "The cutoff is no session of the model's exchange calendar.",
    "unknown-calendar": "The exchange calendar has a code that is not known.",
    "unknown-freq": "The freq is not one of the grammar.",
    "no-observations": "The series has no observations as far as the request may read.",
    "invalid-recipe": "The model version has a recipe that this code cannot serve; train it again.",
    "unknown-feature": "The model version reads a feature that this code does not know; deploy another or upgrade.",
    "invalid-feature": "The model version has a feature that this code cannot compute; train it again.",
    "artefact-digest": "The model version is not what its digest says; train it again.",
    "invalid-graph": "The model version has a graph that this code cannot serve; train it again.",
    "internal-server-error": "An error of ours; the log has it under the x_request_id.",
    "broker-unavailable": "The event log does not answer or does not acknowledge; the same request can be sent again.",
    "database-unavailable": "A database of the gateway does not answer; the same request can be sent again.",
    "unauthenticated": "Nobody has signed in, or the credentials are not, or no longer, good.",
    "wrong-credentials": "Email and password do not go together, or the account is closed.",
    "forbidden": "The role, or the scope of the key, is too low.",
    "password-change-required": "The password was given for one sign-in; another must be chosen first.",
    "cross-site-request": "A page of another site sent this.",
    "csrf-token": "A request with a cookie lacks the token of its page.",
    "foreign-host": "The gateway is asked under a name that is not its own.",
    "person-needed": "This needs somebody who has signed in with a password, not an API key.",
    "operator-needed": "Only operators may do this here.",
    "too-many-attempts": "Too many attempts to sign in or up; come again later.",
    "weak-password": "The password is too short, or one of the commonest.",
    "email-taken": "Somebody has signed up with this email address.",
    "invitation-needed": "Whoever signs up here needs an invitation.",
    "invitation-of-another": "The invitation is for another email address.",
    "unknown-invitation": "The invitation is unknown, was taken or withdrawn, or has run out.",
    "already-member": "They are a member already.",
    "provider-failed": "The OpenID provider cannot be reached, or its answer cannot be used.",
    "sign-in-refused": "The OpenID provider says who this is, and they may not sign in here.",
    "last-admin": "An organisation needs an admin.",
    "last-operator": "The gateway needs an operator.",
    "unknown-organisation": "No organisation has this id.",
    "unknown-member": "The organisation has no such member.",
    "unknown-user": "No user has this id.",
    "unknown-key": "No API key has this id.",
    "busy": "More requests wait than may; come again.",
    "starting": "The gateway still reads the log.",
}
#: What the predictor may say of a request that the gateway let through.
REFUSALS = (
    "artefact-digest",
    "as-of-beyond-log",
    "beyond-calendar",
    "cutoff-missing",
    "cutoff-off-calendar",
    "forecast-too-large",
    "freq-mismatch",
    "future-missing",
    "horizon-too-long",
    "invalid-feature",
    "invalid-graph",
    "invalid-recipe",
    "level-not-calibrated",
    "missing-observations",
    "no-observations",
    "not-finite",
    "too-little-history",
    "too-many-gaps",
    "unknown-calendar",
    "unknown-column",
    "unknown-feature",
    "unknown-freq",
    "window-not-finite",
    "window-not-positive",
    "window-shape",
)
