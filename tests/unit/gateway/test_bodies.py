"""What a body lets through must be what its record may be: a record is made, not decoded, so that nothing else looks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from gateway.bodies import Body, DecisionBody, ForecastBody, IngestBody, SourceBody, TrainingBody
from gateway.project_training import ProjectTrainingBody
from schemas.dead_letters import DeadLetterDecided
from schemas.forecasts import ForecastRequested
from schemas.ingests import IngestRequested
from schemas.quarantine import QuarantineDecided
from schemas.record import Record
from schemas.schedules import SeriesScheduled
from schemas.trainings import TrainingRequested

MADE_FROM = [
    (ForecastBody, ForecastRequested),
    (TrainingBody, TrainingRequested),
    (ProjectTrainingBody, TrainingRequested),
    (IngestBody, IngestRequested),
    (SourceBody, SeriesScheduled),
    (DecisionBody, QuarantineDecided),
    (DecisionBody, DeadLetterDecided),
]
_LEAST, _MOST = ("minimum", "exclusiveMinimum", "minLength", "minItems"), ("maximum", "maxLength", "maxItems")
#: Times are held against UTC by the records themselves.
_SAME = ("pattern", "type")


def rules(kind: type, name: str) -> dict[str, Any]:
    """Return the rules of JSON Schema for a field and what stands in it, without ``null``: path and keyword -> value."""
    schema = msgspec.json.schema(kind)
    properties = schema["$defs"][kind.__name__]["properties"]
    return dict(_rules(properties[name], schema["$defs"], "")) if name in properties else {}


def _rules(part: dict[str, Any], defs: dict[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    if "$ref" in part:
        part = defs[part["$ref"].rpartition("/")[2]]
    kinds = [one for one in part.get("anyOf", ()) if one.get("type") != "null"]
    if len(kinds) == 1:
        yield from _rules(kinds[0], defs, path)
    for keyword in (*_LEAST, *_MOST, *_SAME):
        if keyword in part:
            yield f"{path}{keyword}", part[keyword]
    for name, below in part.get("properties", {}).items():
        yield from _rules(below, defs, f"{path}{name}.")
    for keyword in ("items", "additionalProperties"):
        if isinstance(part.get(keyword), dict):
            yield from _rules(part[keyword], defs, f"{path}{keyword}.")


def is_within(keyword: str, given: Any, limit: Any) -> bool:
    """Tell whether a rule is as strict as another one."""
    if keyword in _LEAST:
        return bool(given >= limit)
    if keyword in _MOST:
        return bool(given <= limit)
    return bool(given == limit)


@pytest.mark.parametrize(("body", "record"), MADE_FROM)
def test_a_body_lets_nothing_through_that_no_reader_takes(body: type[Body], record: type[Record]) -> None:
    """Red e.g. where `seed` of a body is any whole number: the record would be a dead letter, and the trainer stop."""
    compared = 0
    for name in set(body.__struct_fields__) & set(record.__struct_fields__):
        given = rules(body, name)
        for place, limit in rules(record, name).items():
            assert place in given, f"{name}: {place} of {record.__name__} is {limit}, {body.__name__} has none"
            assert is_within(place.rpartition(".")[2], given[place], limit), (
                f"{name}: {place} of {record.__name__} is {limit}, of {body.__name__} {given[place]}"
            )
            compared += 1
    assert compared
