"""What was published of each record type, and whether today's records still keep to it.

``published.json`` holds every revision of every record type as JSON Schema, oldest first. Readers of all revisions
live beside each other for ever, so each pair must agree (full-transitive compatibility): a field that is optional
in the revision that has it may come and go; any other difference is a new major version of the record.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from schemas.jsonschema import JsonObject, components, record_types
from schemas.record import Record

PUBLISHED_PATH = Path(__file__).parent / "published.json"
#: `ce_type` -> its revisions, oldest first.
Published = dict[str, list[JsonObject]]
_PROSE = ("title", "description")


def _without_prose(schema: Any) -> Any:
    """Return ``schema`` without titles and descriptions: words may change at any time."""
    if isinstance(schema, (list, tuple)):  # a default may be a tuple; JSON knows arrays
        return [_without_prose(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _without_prose(value)
        for key, value in schema.items()
        if not (key in _PROSE and isinstance(value, str))  # a field may well be called `title`: then it is an object
    }


def revision_of(record: type[Record]) -> JsonObject:
    """Return what readers of ``record`` rely on: names, types, bounds and defaults of its fields."""
    schemas: JsonObject = _without_prose(components([record], "#/$defs/{name}"))
    return {"$ref": f"#/$defs/{record.__name__}", "$defs": schemas}


def read_published() -> Published:
    """Return the revisions that stand in the repository."""
    published: Published = json.loads(PUBLISHED_PATH.read_text(encoding="utf-8"))
    return published


def current() -> dict[str, JsonObject]:
    """Return `ce_type` -> today's revision."""
    return {name: revision_of(record) for name, record in record_types().items()}


def _differences(path: str, old: Any, new: Any, old_defs: JsonObject, new_defs: JsonObject) -> Iterator[str]:
    """Yield each difference between two revisions that one of their readers would stumble over."""
    old, new = _resolve(old, old_defs), _resolve(new, new_defs)
    if not (isinstance(old, dict) and isinstance(new, dict)):
        if old != new:
            yield f"{path} was {json.dumps(old)}, is {json.dumps(new)}"
        return
    for key in sorted({*old, *new} - {"properties", "required"}):
        if key in ("items", "additionalProperties") and key in old and key in new:
            yield from _differences(f"{path}[]", old[key], new[key], old_defs, new_defs)
        elif key == "anyOf" and len(old.get(key, ())) == len(new.get(key, ())):
            for old_option, new_option in zip(old[key], new[key], strict=True):
                yield from _differences(path, old_option, new_option, old_defs, new_defs)
        elif old.get(key) != new.get(key):
            yield f"{path}: {key} was {json.dumps(old.get(key))}, is {json.dumps(new.get(key))}"
    yield from _field_differences(path, old, new, old_defs, new_defs)


def _resolve(schema: Any, defs: JsonObject) -> Any:
    """Follow a reference; what stands beside it (a default) stays."""
    if isinstance(schema, dict) and "$ref" in schema:
        rest = {key: value for key, value in schema.items() if key not in ("$ref", "$defs")}
        return {**defs[schema["$ref"].rpartition("/")[2]], **rest}
    return schema


def _field_differences(
    path: str, old: JsonObject, new: JsonObject, old_defs: JsonObject, new_defs: JsonObject
) -> Iterator[str]:
    old_fields, new_fields = old.get("properties", {}), new.get("properties", {})
    old_required, new_required = set(old.get("required", ())), set(new.get("required", ()))
    for name in sorted({*old_fields, *new_fields}):
        field = f"{path}.{name}"
        if name not in new_fields:
            if name in old_required:
                yield f"{field} is gone, and it was required"
        elif name not in old_fields:
            if name in new_required:
                yield f"{field} is new and has no default"
        else:
            if (name in old_required) != (name in new_required):
                yield f"{field} was {'required' if name in old_required else 'optional'}, now it is not"
            yield from _differences(field, old_fields[name], new_fields[name], old_defs, new_defs)


def incompatibilities(old: JsonObject, new: JsonObject) -> list[str]:
    """Return what a reader of one revision could not read as the writer of the other meant it; empty when nothing."""
    return list(_differences("$", old, new, old["$defs"], new["$defs"]))


def faults(published: Published, today: Mapping[str, JsonObject]) -> list[str]:
    """Return every way in which today's records break what was published, as sentences; empty when none does."""
    found: list[str] = []
    for name, revisions in published.items():
        if name not in today:
            found.append(
                f"{name} is gone: its messages stand in logs, so its reader stays; a new major version comes beside it"
            )
            continue
        for number, revision in enumerate(revisions, start=1):
            found += [
                f"{name}: {difference} (against revision {number}): this is a new major version, "
                f"keep {name} and add the next beside it"
                for difference in incompatibilities(revision, today[name])
            ]
    return found


def unpublished(published: Published, today: Mapping[str, JsonObject]) -> list[str]:
    """Return the record types whose newest revision is not in ``published``."""
    return [name for name, revision in today.items() if published.get(name, [])[-1:] != [revision]]


def with_today(published: Published, today: Mapping[str, JsonObject]) -> Published:
    """Return ``published`` with the new revisions appended.

    Raises:
        ValueError: A revision breaks the published ones; the message names each fault.
    """
    broken = faults(published, today)
    if broken:
        raise ValueError("\n".join(broken))
    new = unpublished(published, today)
    result = {name: list(revisions) for name, revisions in published.items()}
    for name in new:
        result.setdefault(name, []).append(today[name])
    return dict(sorted(result.items()))
