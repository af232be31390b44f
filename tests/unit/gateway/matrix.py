"""What the matrix of access knows: which parameters and fields name a thing of a tenant, and who calls.

Whoever adds an operation adds here what its new parameters and fields name; the tests say which are missing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway import openapi
from gateway.access import EVERYTHING, Permission, Role
from gateway.openapi.operation import Operation
from runtime.broker import TopicPartition
from schemas.topics import TOPIC_BY_NAME
from tests.unit.gateway.possessions import mark_of
from tests.unit.gateway.tenants import Tenants
from tests.unit.gateway.world import World

DOCUMENT = openapi.document()
#: Path parameters that name what is nobody's.
PUBLIC_PARAMETERS = {"name", "symbol"}
#: Query parameters, by their names in `gateway.openapi.parameters`, that name a thing of a tenant -> its path parameter.
QUERY_REFERENCES = {
    "of_series": "series_id",
    "of_model": "model",
    "of_batch": "batch_id",
    "of_requester": "requester",
    "after_quarantined": "quarantine_id",
    "upload_project": "project_id",
    "of_project": "project_id",
    "of_organisation": "organisation_id",
    "after_user": "user_id",
    "after_series": "series_id",
}
#: Those that name none.
PLAIN_QUERIES = {
    "filename",
    "load",
    "quarantine_state",
    "limit",
    "observation_limit",
    "after",
    "before",
    "order",
    "known_at",
    "known_at_offset",
    "versions",
    "input_limit",
    "restatement_cursor",
    "batch_limit",
    "batch_cursor",
    "before_sequence",
    "event_types",
    "last_event_id",
    "delivery_cursor",
    "delivery_state",
    "since",
    # Of what only operators see.
    "of_topic",
    "of_service",
    "letter_state",
    "after_letter",
    "training_status",
    "to_day",
    "from_day",
    "sum_by",
    "to_time",
    "history_cursor",
    "file_format",
    "from_time",
    "of_cause",
    "forecast_status",
    "ingest_status",
    "next_page",
    "of_version",
}
#: Fields of bodies, wherever they stand, that name a thing of a tenant -> its path parameter.
BODY_REFERENCES = {
    "series_id": "series_id",
    "series_ids": "series_id",
    "model": "model",
    "project": "project_id",
    "project_id": "project_id",
    "organisation_id": "organisation_id",
    "user_id": "user_id",
}
#: Fields that only look as if they did.
PLAIN_FIELDS = {"projects"}
LOOKS_LIKE_A_NAME = re.compile(r"(_ids?|^models?|^projects?|^series_ids?)$")
#: What is new in every answer.
_HEADERS_THAT_DIFFER = re.compile(
    r"x-request-id|traceparent|date|content-length|ratelimit.*|age|location", re.IGNORECASE
)


def variables(operation: Operation) -> list[str]:
    return [name for name in re.findall(r"{(\w+)}", operation.path) if name not in PUBLIC_PARAMETERS]


def is_stream(operation: Operation) -> bool:
    return any(sent.media_type == "text/event-stream" for sent in operation.answers.values())


def is_page(operation: Operation) -> bool:
    """Return whether it is a page for people, the same for everybody; its scripts ask for what it shows."""
    return all(sent.media_type == "text/html" for sent in operation.answers.values())


@dataclass
class Matrix:
    """Two tenants with their things, and callers of every kind."""

    both: Tenants
    ids: dict[str, str]
    #: Of the other tenant.
    own: dict[str, str]
    needed: dict[tuple[str, str], Permission | None]
    other_project: dict[str, str]
    guests: dict[Role, dict[str, str]]
    keys: dict[Permission, dict[str, str]] = field(default_factory=dict)

    @property
    def world(self) -> World:
        return self.both.world

    @property
    def missing(self) -> dict[str, str]:
        """Return ids of things that do not exist, as long as those that do."""
        own = self.both.apples.project_id
        return {
            name: value.replace(own, f"{own[:-6]}zzzzzz") if own in value else f"{value[:-6]}zzzzzz"
            for name, value in self.ids.items()
        }

    @property
    def markers(self) -> tuple[str, ...]:
        """Return texts that stand in everything of the first tenant and nowhere else."""
        apples = self.both.apples
        people = (text for one in apples.members.values() for text in (one.user_id, one.email, one.key_id))
        return (
            apples.project_id,
            apples.organisation_id,
            mark_of(apples),
            "@apples.example",
            self.ids["upload_id"],
            *people,
        )

    def marks_in(self, text: str) -> list[str]:
        """Return what of the first tenant stands in a text."""
        return [marker for marker in self.markers if marker in text]

    def permission(self, operation: Operation) -> Permission | None:
        return self.needed[operation.method, operation.path]

    def without(self, permission: Permission) -> dict[str, str]:
        """Return the header of an admin's key that may do everything but this."""
        if permission not in self.keys:
            scopes = set(EVERYTHING) - {permission, Permission.OPERATE}
            self.keys[permission] = self.both.key(self.both.apples, Role.ADMIN, scopes=scopes)
        return self.keys[permission]

    def call(self, operation: Operation, headers: Mapping[str, str], ids: Mapping[str, str], **changes: Any) -> Any:
        """Send the first example of an operation, its path filled in from ``ids``."""
        path = re.sub(r"{(\w+)}", lambda found: ids.get(found[1], "market"), operation.path)
        sent: dict[str, Any] = {"headers": dict(headers)}
        if operation.body is not None:
            sent["json"] = next(iter(operation.examples.values()), {})
        elif operation.takes_file:
            sent |= {"data": b"date,y\n2024-01-01,1\n", "content_type": "application/octet-stream"}
            sent["query_string"] = {"filename": "any.csv"}
        answer = self.world.client.open(path, method=operation.method.upper(), **(sent | changes))
        require_documented(operation, answer)
        return answer

    def ends(self) -> dict[TopicPartition, int]:
        places = [TopicPartition(t.name, n) for t in TOPIC_BY_NAME.values() for n in range(t.partitions)]
        return dict(self.world.broker.end_offsets(places))


def require_documented(operation: Operation, answer: Any) -> None:
    """Refuse a problem that the document does not tell of this operation."""
    if answer.mimetype == "application/problem+json":
        kind = answer.get_json()["type"].removeprefix("/problems/")
        told = operation.every_problem().get(answer.status_code, ())
        assert kind in told, f"{operation.id} answered {answer.status_code} {kind}; add it to its `problems`"


def plain(answer: Any, ids: Mapping[str, str]) -> tuple[int, dict[str, str], str]:
    """Return an answer without the ids that were sent and what is new in every answer."""
    text = answer.get_data(as_text=True)
    for value in sorted(ids.values(), key=len, reverse=True):
        text = text.replace(value, "ID")
    text = re.sub(r'"(x_request_id|batch_id)":"[^"]*"', r'"\1":""', text)
    headers = {name: value for name, value in answer.headers.items() if not _HEADERS_THAT_DIFFER.fullmatch(name)}
    return answer.status_code, headers, text


def fields_of(schema: Any) -> Iterator[str]:
    """Yield the name of every property below a schema."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield from fields_of(DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
        yield from schema.get("properties", {})
        for below in (*schema.get("properties", {}).values(), *(v for k, v in schema.items() if k != "properties")):
            yield from fields_of(below)
    elif isinstance(schema, list):
        for below in schema:
            yield from fields_of(below)


def body_fields(operation: Operation) -> set[str]:
    if operation.body is None:
        return set()
    return set(fields_of({"$ref": f"#/components/schemas/{operation.body.__name__}"}))


def example_naming(value: Any, field_name: str, found: str) -> Any:
    """Return ``value`` with ``found`` wherever the field stands."""
    if isinstance(value, list):
        return [example_naming(one, field_name, found) for one in value]
    if isinstance(value, dict):
        changed = {key: example_naming(one, field_name, found) for key, one in value.items()}
        if field_name in changed:
            changed[field_name] = [found] if isinstance(changed[field_name], list) else found
        return changed
    return value


def examples_with(operation: Operation, field_name: str) -> list[Any]:
    """Return the example bodies that have a field; where none has, the first with the field added."""
    found = [example for example in operation.examples.values() if f'"{field_name}"' in json.dumps(example)]
    return found or [{**next(iter(operation.examples.values()), {}), field_name: ""}]
