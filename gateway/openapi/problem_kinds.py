"""The kinds of problem that a request may be refused with, and those that come together."""

from __future__ import annotations

#: Status -> kinds of problem.
Problems = dict[int, tuple[str, ...]]
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
    "upload-share-full": "Uploads of the organisation take all the room that its quota gives them.",
    "limit-reached": "There are as many of these as there may be; `errors` names the limit.",
    "precondition-failed": "What holds now is not what `If-Match` or `If-None-Match` speaks of; read it again.",
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
    "quota-exceeded": "The project, or its organisation over all its projects, has used what it may use in a day.",
    "too-many-at-once": "The caller, or its organisation, has too many requests that are being worked on.",
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
#: What any operation may be refused with, before it begins, and at any time.
ANYWHERE: Problems = {
    401: ("unauthenticated",),
    403: ("forbidden", "password-change-required", "cross-site-request", "csrf-token", "foreign-host"),
    429: ("rate-limited", "too-many-at-once"),
    500: ("internal-server-error",),
    503: ("busy",),
}
#: What may be refused for want of room on the disk.
NO_ROOM = ("uploads-full", "upload-share-full")
#: What whoever carries a body, and one of JSON, may be refused with.
ANY_BODY: Problems = {408: ("request-timeout",), 413: ("body-too-large",)}
JSON_BODY: Problems = {
    400: ("empty-body", "malformed-json"),
    415: ("unsupported-media-type",),
    422: ("invalid-body",),
}
#: What may become of a key: of any, and of one under which an answer is stored.
KEYED: Problems = {400: ("invalid-idempotency-key",)}
STORED: Problems = {409: ("request-in-progress", "outcome-unknown"), 422: ("idempotency-key-reused",)}
#: What counts against the quotas of a project and of its organisation.
COUNTED: Problems = {429: ("quota-exceeded",)}
#: The event log or a database does not answer; so says any operation below `/api/`.
AWAY: Problems = {503: ("broker-unavailable", "database-unavailable")}
#: What reads or writes the log waits for it.
STARTING: Problems = {503: ("starting",)}
#: What query parameters may be refused with.
QUERY: Problems = {422: ("invalid-parameter",)}
#: What the operations on accounts have in common.
NO_ORGANISATION: Problems = {404: ("unknown-organisation",)}
NO_PERSON: Problems = {403: ("person-needed",)}
