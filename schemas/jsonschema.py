"""JSON Schema (2020-12) of every record, made from the structs.

The descriptions are the docstrings of the records and the ``#:`` comments above their fields, so the
published contract says what the source says.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from functools import cache
from typing import Any

import msgspec

from schemas.codec import record_type_name
from schemas.record import Record
from schemas.topics import TOPICS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
JsonObject = dict[str, Any]

_COMMENT = re.compile(r"^\s*#: ?(?P<text>.*)$")
_FIELD = re.compile(r"^\s*(?P<name>[a-z_][a-z0-9_]*): ")


def record_types() -> dict[str, type[Record]]:
    """Return every record type that travels, by its ``ce_type``, in the order of the topics."""
    return {record_type_name(record, version): record for topic in TOPICS for record, version in topic.records.items()}


@cache
def field_comments(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Return field name -> the ``#:`` comment above it, of the fields that have one."""
    comments: dict[str, str] = {}
    pending: list[str] = []
    for line in inspect.getsource(struct).splitlines():
        comment = _COMMENT.match(line)
        if comment:
            pending.append(comment["text"].strip())
            continue
        field = _FIELD.match(line)
        if field and pending:
            comments[field["name"]] = " ".join(pending)
        pending = []
    return comments


def _structs(root: type[msgspec.Struct]) -> dict[str, type[msgspec.Struct]]:
    """Return ``root`` and every struct below it, by class name."""
    found: dict[str, type[msgspec.Struct]] = {}
    waiting: list[Any] = [msgspec.inspect.type_info(root)]
    while waiting:
        info = waiting.pop()
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls.__name__ in found:
                continue
            found[info.cls.__name__] = info.cls
            waiting.extend(field.type for field in info.fields)
            continue
        for name in ("type", "item_type", "key_type", "value_type"):
            waiting.extend([getattr(info, name)] if hasattr(info, name) else [])
        for name in ("types", "item_types"):
            waiting.extend(getattr(info, name, ()))
    return found


def _with_field_comment(schema: JsonObject, comment: str) -> JsonObject:
    """Return the schema of a field described by its comment; what described its type stays behind it."""
    of_type = schema.get("description")
    return {**schema, "description": f"{comment} ({of_type})" if of_type else comment}


def components(records: Iterable[type[msgspec.Struct]], ref_template: str) -> dict[str, JsonObject]:
    """Return class name -> schema of ``records`` and of every struct that they hold.

    Args:
        records: The records to describe.
        ref_template: Where a reference points, e.g. ``#/$defs/{name}``.
    """
    records = list(records)
    _, schemas = msgspec.json.schema_components(records, ref_template=ref_template)
    structs = {name: struct for record in records for name, struct in _structs(record).items()}
    for name, struct in structs.items():
        schema = schemas[name]
        for field, comment in field_comments(struct).items():
            schema["properties"][field] = _with_field_comment(schema["properties"][field], comment)
    return dict(sorted(schemas.items()))


def document() -> JsonObject:
    """Return one JSON Schema with every record: a value is valid when it is the value of one of them."""
    types = record_types()
    return {
        "$schema": DIALECT,
        "title": "Foretopic records",
        "description": "The values of all messages. The header ce_type of a message names its record.",
        "anyOf": [{"title": name, "$ref": f"#/$defs/{record.__name__}"} for name, record in types.items()],
        "$defs": components(types.values(), "#/$defs/{name}"),
    }
