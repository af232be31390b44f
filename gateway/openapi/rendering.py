"""The document, made from the records, the request bodies and the operations."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.access import Permission
from gateway.openapi import examples, headers
from gateway.openapi.answers import AnyObject, ProblemDocument
from gateway.openapi.headers import HEADERS
from gateway.openapi.operation import KEY, JsonObject, Operation, Sent, reference
from gateway.openapi.operations import OPERATIONS, TAGS
from gateway.openapi.parameters import PARAMETERS
from gateway.openapi.problem_kinds import PROBLEMS
from gateway.openapi.refusals import refused
from gateway.openapi.webhook_events import EVENT_TYPES, webhooks
from runtime.version import CODE_VERSION
from schemas.jsonschema import components
from schemas.trainings import TrainingEvent

_REF = "#/components/schemas/{name}"
_SECURITY: JsonObject = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An access token (`POST /api/v1/auth/login`) or an API key (`POST /api/v1/keys`).",
    },
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": "foretopic",
        "description": "Of a browser that has signed in at `/login`; what changes something also needs the token of a "
        "page in `X-CSRF-Token`. With an https address the name is `__Host-foretopic`.",
    },
}
_DESCRIPTION = """Forecasts as a stream, over HTTP.

**Who asks.** Send `Authorization: Bearer …` with an access token or an API key. On a machine of one's own nobody signs
in. Each operation says which permission it needs; a role, or the scopes of a key, give it.

**What is sent.** JSON in UTF-8. Times are UTC, numbers are JSON numbers. A field or a query parameter that is not known
is refused, so that a misspelt one does not pass in silence. Answers may get new fields: ignore those you do not know.

**What is refused.** Every error is a problem document (RFC 9457): its `type` names its kind, its `errors` the fields at
fault, its `x_request_id` the place in the log. After 429 and 503 the same request may be sent again, when `Retry-After`
says.

**What is sent twice.** A request with an `Idempotency-Key` can be sent again without doing it twice.

**What is long.** Lists come page by page: `next` is the path of the next page, null on the last one. What takes time
answers 202, and `Location` says where the outcome will be.

The topics behind this are described at [/asyncapi.json](/asyncapi.json)."""


def _sent(operation: Operation, sent: Sent) -> JsonObject:
    schema: JsonObject = {"type": "string"} if sent.type is None else reference("schemas", sent.type.__name__)
    content: JsonObject = {"schema": schema}
    if sent.example is not None:
        content["example"] = sent.example
    more = ["IdempotentReplayed"] if operation.is_stored else ["ETag"] if operation.is_cached else []
    described: JsonObject = {
        "description": sent.description,
        "headers": headers.described((*sent.headers, *more)),
    }
    if sent.media_type:
        described["content"] = {sent.media_type: content} | {one: _file(one) for one in sent.files}
    return described


def _file(media_type: str) -> JsonObject:
    """Return an answer as a file; a Parquet file has no text that could be an example."""
    if media_type not in examples.FILES:
        return {"schema": {"type": "string", "contentMediaType": media_type}}
    return {"schema": {"type": "string"}, "example": examples.FILES[media_type]}


def _body(operation: Operation) -> JsonObject | None:
    """Return what a request may carry by media type, ``None`` for nothing."""
    content: JsonObject = {}
    if operation.body is not None:
        examples_ = {name: {"value": value} for name, value in operation.examples.items()}
        content["application/json"] = {"schema": reference("schemas", operation.body.__name__), "examples": examples_}
    if operation.takes_file:
        file = {"type": "string", "format": "binary"}
        fields = {name: {"type": "string", "description": told} for name, told in operation.form_fields.items()}
        form = {"type": "object", "required": ["file"], "properties": {"file": file, **fields}}
        content |= {
            "multipart/form-data": {"schema": form, "examples": {"csv": {"value": {"file": examples.CSV}}}},
            "application/octet-stream": {"schema": file, "examples": {"csv": {"value": examples.CSV}}},
        }
    return content or None


def _operation(operation: Operation) -> JsonObject:
    more = [KEY] if operation.is_stored else ["IfNoneMatch"] if operation.is_cached else []
    parameters = [*operation.parameters, *more, "XRequestID", "traceparent"]
    described: JsonObject = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "parameters": [reference("parameters", name) for name in parameters],
    }
    if operation.tag == "compatible":
        described["deprecated"] = True
    if (content := _body(operation)) is not None:
        described["requestBody"] = {"required": not operation.is_body_optional, "content": content}
    responses = {str(status): _sent(operation, sent) for status, sent in operation.answers.items()}
    if operation.is_cached:
        responses["304"] = {"description": "What you have is still right.", "headers": headers.described(("ETag",))}
    if operation.is_open:
        described["security"] = []
    for status, kinds in operation.every_problem().items():
        refusal = refused(operation, status, kinds)
        # A page may answer with itself where a program gets a problem document.
        refusal["content"] |= responses.get(str(status), {}).get("content", {})
        responses[str(status)] = refusal
    described["responses"] = dict(sorted(responses.items()))
    return described


def _types() -> list[type[msgspec.Struct]]:
    """Return every type that a body or an answer has, each once."""
    found: dict[str, type[msgspec.Struct]] = {"ProblemDocument": ProblemDocument, "TrainingEvent": TrainingEvent}
    for operation in OPERATIONS:
        for type_ in (operation.body, *(sent.type for sent in operation.answers.values())):
            if type_ is not None:
                found[type_.__name__] = type_
    found |= {type_.__name__: type_ for type_ in EVENT_TYPES}
    return list(found.values())


def document(needed: Mapping[tuple[str, str], Permission | None] | None = None) -> JsonObject:
    """Return the document; it has every route of the gateway but the files that the pages load.

    Args:
        needed: Method and path -> the permission that callers of a running gateway need for it, in its `x-permission`;
            ``None`` as a permission: the operation is open to all.
    """
    paths: JsonObject = {}
    for operation in OPERATIONS:
        described = paths.setdefault(operation.path, {})[operation.method] = _operation(operation)
        if needed is not None:
            permission = needed[operation.method, operation.path]
            if permission is None:
                described["security"] = []
            else:
                described.pop("security", None)
                described["x-permission"] = str(permission)
                described["description"] += f"\n\nNeeds the permission `{permission}`."
    schemas = components(_types(), _REF)
    schemas[AnyObject.__name__]["additionalProperties"] = True
    schemas[ProblemDocument.__name__]["properties"]["type"]["description"] = f"`/problems/` and the kind:\n\n{_kinds()}"
    described = {
        "openapi": "3.1.0",
        "info": {
            "title": "Foretopic",
            "version": CODE_VERSION,
            "summary": "Event-driven forecasting on Apache Kafka",
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "This gateway"}],
        "tags": [{"name": name, "description": description} for name, description in TAGS.items()],
        "paths": paths,
        "webhooks": webhooks(),
        "security": [{"bearer": []}, {"cookie": []}],
        "components": {
            "schemas": schemas,
            "parameters": PARAMETERS,
            "headers": HEADERS,
            "securitySchemes": _SECURITY,
        },
    }
    # As it will be read: a default that is a tuple here is an array there.
    plain: JsonObject = msgspec.json.decode(msgspec.json.encode(described))
    return plain


def _kinds() -> str:
    return "\n".join(f"- `{kind}`: {meaning}" for kind, meaning in PROBLEMS.items())
