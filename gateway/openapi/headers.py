"""The headers of the answers."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.openapi.operation import JsonObject, reference
from gateway.openapi.parameters import ID, TEXT

HEADERS: dict[str, JsonObject] = {
    "XRequestID": {"description": "The caller's id, or a new one.", "schema": ID},
    "traceparent": {"description": "The trace context under which this was done.", "schema": TEXT},
    "Location": {"description": "Where the outcome will be.", "schema": TEXT},
    "RetryAfter": {"description": "Seconds after which to ask again.", "schema": TEXT},
    "Deprecation": {"description": "Since when the door is deprecated (RFC 9745).", "schema": TEXT},
    "Link": {"description": "What takes its place: `rel=successor-version`.", "schema": TEXT},
    "NextPage": {"description": "The path of the next page, where there is one: `rel=next`.", "schema": TEXT},
    "ContentDisposition": {"description": "The name of the file, where it is one.", "schema": TEXT},
    "ETag": {"description": "Names this content; send it as `If-None-Match` to be told 304 instead.", "schema": TEXT},
    "ScheduleTag": {
        "description": "Names the schedule, not how it goes; send it as `If-Match` with a change.",
        "schema": TEXT,
    },
    "IdempotentReplayed": {
        "description": "`true`: the stored answer to an earlier request with the same Idempotency-Key.",
        "schema": TEXT,
    },
    "Accept": {"description": "What the body may be.", "schema": TEXT},
    "WWWAuthenticate": {"description": "That a bearer token is wanted (RFC 6750).", "schema": TEXT},
    "RateLimitPolicy": {
        "description": 'The limits that count: `"requests";q=600;w=60` is 600 in 60 seconds.',
        "schema": TEXT,
    },
    "RateLimit": {
        "description": 'What is left of each: `"requests";r=12;t=34` is 12, and more in 34 seconds.',
        "schema": TEXT,
    },
}
_NAMES = {
    "NextPage": "Link",
    "ContentDisposition": "Content-Disposition",
    "ScheduleTag": "ETag",
    "XRequestID": "X-Request-ID",
    "RetryAfter": "Retry-After",
    "IdempotentReplayed": "Idempotent-Replayed",
    "WWWAuthenticate": "WWW-Authenticate",
    "RateLimitPolicy": "RateLimit-Policy",
}
_ON_EVERY_ANSWER = ("XRequestID", "traceparent", "RateLimitPolicy", "RateLimit")


def described(names: Iterable[str]) -> JsonObject:
    """Return the headers of an answer, by the names under which they are sent."""
    return {_NAMES.get(name, name): reference("headers", name) for name in (*names, *_ON_EVERY_ANSWER)}
