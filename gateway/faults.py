"""What is wrong with JSON that is not what is asked for: each fault by the path of its field.

A path is that of the JSON: `levels[1]`, `future.columns.promo[0]`, `hyperparameters.learning_rate`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from itertools import islice
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from gateway.problems import FieldFault
from schemas.models import Version
from schemas.record import Freq, ModelName, ModelReference, SeriesId

#: A body of a megabyte can have a hundred thousand faults, and each of them is told in hundreds of bytes.
MAX_FAULTS = 20
_MAX_SHOWN = 120
Shown = Callable[[Any], str]


def _in_words(kind: object) -> tuple[str, str]:
    """Return the pattern of a kind of text as msgspec tells it, and what it is called by."""
    (meta,) = get_args(kind)[1:]
    words: str = meta.description
    return f"`str` matching regex {meta.pattern!r}", words[0].lower() + words[1:]


#: Messages of msgspec that say what is wrong, and what is expected instead.
_SAID_OTHERWISE = (
    *(_in_words(kind) for kind in (SeriesId, Freq, ModelName, ModelReference, Version)),
    ("Invalid RFC3339 encoded datetime", "a time such as `2025-01-02T00:00:00Z`"),
    ("Number out of range", "a number that a float of 64 bits holds"),
)
#: A field in the sentence of a rule: `time`, `future.time`, `columns['promo']`.
_NAMED = re.compile(r"[A-Za-z_]\w*(?:\.\w+|\['[^']*'\])*")
_STEP = re.compile(r"\w+|(?<=\[')[^']*(?='\])")


def shown(value: Any) -> str:
    """Return a value as JSON, cut."""
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}… ({len(text)} characters)"


def not_shown(value: Any) -> str:
    """Return what kind of value it is, and nothing of it."""
    return f"{type(value).__name__} (not shown)"


def faults_of(raw: Any, type_: Any, show: Shown = shown, path: str = "") -> list[FieldFault]:
    """Return the faults of decoded JSON that ``type_`` cannot take, each field judged on its own.

    Args:
        raw: What came.
        type_: What was asked for.
        show: Says what was found.
        path: Where ``raw`` stands.

    Returns:
        The first `MAX_FAULTS`; none where it can be taken.
    """
    return list(islice(_faults(raw, type_, path, show), MAX_FAULTS))


def rule_fault(text: str, values: Mapping[str, Any], show: Shown = shown, path: str = "") -> FieldFault | None:
    """Return the fault of the first field of an object that a sentence names; ``None``: it names none."""
    own = re.split(r"[.\[]", path)[-1] if path.endswith("]") else path.rpartition(".")[2]
    for named in _NAMED.finditer(text):
        steps = _STEP.findall(named[0])
        if len(steps) > 1 and steps[0] == own:
            steps = steps[1:]
        if steps[0] in values:
            found: Any = values
            for step in steps:
                found = found[step] if isinstance(found, Mapping) and step in found else found
                path = _below(path, step)
            return FieldFault(field=path, expected=text, found=show(found))
    return None


def _faults(value: Any, type_: Any, path: str, show: Shown) -> Iterator[FieldFault]:
    try:
        msgspec.convert(value, type_, strict=True)
    except msgspec.ValidationError as error:
        within = _within(value, type_, path, show)
        if (first := next(within, None)) is not None:
            yield first
            yield from within
            return
        expected = _expected(str(error), type_)
        # What is wrong with an object whose fields may each be as they are is the rule over them.
        has_rule = isinstance(value, dict) and any(hasattr(kind, "__struct_fields__") for kind in _kinds(type_))
        by_rule = rule_fault(expected, value, show, path) if has_rule else None
        yield by_rule or FieldFault(field=path, expected=expected, found=show(value))


def _within(value: Any, type_: Any, path: str, show: Shown) -> Iterator[FieldFault]:
    """Yield the faults of what stands in an object or an array."""
    for kind in _kinds(type_):
        if isinstance(value, dict) and hasattr(kind, "__struct_fields__"):
            yield from _of_fields(value, kind, path, show)
        elif isinstance(value, dict) and get_origin(kind) is dict:
            for key, part in value.items():
                yield from _faults(part, get_args(kind)[1], _below(path, key), show)
        elif isinstance(value, list) and get_origin(kind) is tuple:
            for index, part in enumerate(value):
                yield from _faults(part, get_args(kind)[0], f"{path}[{index}]", show)


def _of_fields(value: dict[str, Any], kind: Any, path: str, show: Shown) -> Iterator[FieldFault]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    if kind.__struct_config__.forbid_unknown_fields:
        expected = f"one of the fields {', '.join(fields)}"
        for name, found in value.items():
            if name not in fields:
                yield FieldFault(field=_below(path, name), expected=expected, found=show(found))
    for name, field in fields.items():
        if name in value:
            yield from _faults(value[name], field.type, _below(path, name), show)
        elif field.required:
            yield FieldFault(field=_below(path, name), expected="a value", found="nothing")


def _below(path: str, name: str) -> str:
    name = name if len(name) <= _MAX_SHOWN else f"{name[:_MAX_SHOWN]}…"
    return f"{path}.{name}" if path else name


def _kinds(type_: Any) -> Iterator[Any]:
    """Yield what a type may be, without what is noted of it."""
    origin = get_origin(type_)
    if origin is Annotated:
        yield from _kinds(get_args(type_)[0])
    elif origin in (Union, UnionType):
        for part in get_args(type_):
            yield from _kinds(part)
    else:
        yield type_


def _expected(message: str, type_: object) -> str:
    """Return the rule in a msgspec message such as ``Expected `int` <= 1000 - at `$.horizon` ``."""
    rule = message.split(" - at `", maxsplit=1)[0].partition(", got `")[0]
    if rule.startswith("Invalid enum value") and (choices := list(_choices(type_))):
        return f"one of {', '.join(choices)}"
    for found, expected in _SAID_OTHERWISE:
        rule = rule.replace(found, expected)
    return rule.removeprefix("Expected ")


def _choices(type_: object) -> Iterator[str]:
    """Yield what the literals and the enumerations in a type may be."""
    if get_origin(type_) is Literal:
        yield from (str(choice) for choice in get_args(type_))
        return
    if isinstance(type_, type) and issubclass(type_, Enum):
        yield from (str(choice.value) for choice in type_)
    for part in get_args(type_):
        yield from _choices(part)
