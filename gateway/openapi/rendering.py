"""The document, made from the records, the request bodies and the operations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus

import msgspec

from gateway.access import Permission
from gateway.openapi import examples
from gateway.openapi.answers import AnyObject, ProblemDocument
from gateway.openapi.headers import HEADER_NAMES, HEADERS
from gateway.openapi.operation import KEY, JsonObject, Operation, Sent
from gateway.openapi.operations import OPERATIONS, TAGS
from gateway.openapi.parameters import PARAMETERS
from gateway.openapi.problem_kinds import PROBLEMS
from gateway.openapi.webhook_events import EVENT_TYPES, webhooks
from gateway.problems import PROBLEM_TYPE
from runtime.version import CODE_VERSION
from schemas.jsonschema import components
from schemas.trainings import TrainingEvent

_REF = "#/components/schemas/{name}"
_LATER = (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS)
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
_EVERYWHERE = ("XRequestID", "traceparent")
_DESCRIPTION = """Forecasts as a stream, over HTTP.

Times are UTC, numbers are JSON numbers, every error is a problem document (RFC 9457) whose `type` names its kind and
whose `errors` name the fields at fault. A request with an `Idempotency-Key` can be sent again without doing it twice.
The topics behind this are described at [/asyncapi.json](/asyncapi.json)."""


def _ref(kind: str, name: str) -> JsonObject:
    return {"$ref": f"#/components/{kind}/{name}"}


def _headers(names: Iterable[str]) -> JsonObject:
    return {HEADER_NAMES.get(name, name): _ref("headers", name) for name in names}


def _sent(sent: Sent) -> JsonObject:
    schema: JsonObject = {"type": "string"} if sent.type is None else _ref("schemas", sent.type.__name__)
    content: JsonObject = {"schema": schema}
    if sent.example is not None:
        content["example"] = sent.example
    described: JsonObject = {
        "description": sent.description,
        "headers": _headers((*sent.headers, *_EVERYWHERE)),
    }
    if sent.media_type:
        described["content"] = {sent.media_type: content} | {one: _file(one) for one in sent.files}
    return described


def _file(media_type: str) -> JsonObject:
    """Return an answer as a file; a Parquet file has no text that could be an example."""
    if media_type not in examples.FILES:
        return {"schema": {"type": "string", "contentMediaType": media_type}}
    return {"schema": {"type": "string"}, "example": examples.FILES[media_type]}


def _refused(status: int, kinds: Iterable[str]) -> JsonObject:
    described = {
        kind: {"summary": PROBLEMS[kind], "value": examples.problem(status, kind, PROBLEMS[kind])} for kind in kinds
    }
    listed = "\n".join(f"- `{kind}`: {PROBLEMS[kind]}" for kind in described)
    headers: tuple[str, ...] = ("RetryAfter",) if status in _LATER else ()
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        headers = (*headers, "RateLimitPolicy", "RateLimit")
    return {
        "description": f"{HTTPStatus(status).phrase}:\n\n{listed}",
        "headers": _headers((*headers, *_EVERYWHERE)),
        "content": {PROBLEM_TYPE: {"schema": _ref("schemas", "ProblemDocument"), "examples": described}},
    }


def _body(operation: Operation) -> JsonObject | None:
    """Return what a request may carry by media type, ``None`` for nothing."""
    content: JsonObject = {}
    if operation.body is not None:
        examples_ = {name: {"value": value} for name, value in operation.examples.items()}
        content["application/json"] = {"schema": _ref("schemas", operation.body.__name__), "examples": examples_}
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
    parameters = [*operation.parameters, *more, *_EVERYWHERE]
    described: JsonObject = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": [_ref("parameters", name) for name in parameters],
    }
    if operation.description:
        described["description"] = operation.description
    if operation.tag == "compatible":
        described["deprecated"] = True
    if (content := _body(operation)) is not None:
        described["requestBody"] = {"required": not operation.is_body_optional, "content": content}
    responses = {str(status): _sent(sent) for status, sent in operation.answers.items()}
    if operation.is_cached:
        responses["304"] = {"description": "What you have is still right.", "headers": _headers(("ETag", *_EVERYWHERE))}
    if operation.is_open:
        described["security"] = []
    for status, kinds in operation.every_problem().items():
        refused = _refused(status, kinds)
        # A page may answer with itself where a program gets a problem document.
        refused["content"] |= responses.get(str(status), {}).get("content", {})
        responses[str(status)] = refused
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
