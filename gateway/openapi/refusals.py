"""The answers that refuse: for each kind of problem an example, made as the gateway makes it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus

import msgspec

from gateway import parameters
from gateway.bodies import field_faults
from gateway.openapi import headers
from gateway.openapi.examples import problem
from gateway.openapi.operation import JsonObject, Operation, reference
from gateway.openapi.parameters import PARAMETERS
from gateway.openapi.problem_kinds import PROBLEMS
from gateway.problems import PROBLEM_TYPE, FieldFault

_HEADERS: dict[int, tuple[str, ...]] = {
    HTTPStatus.UNAUTHORIZED: ("WWWAuthenticate",),
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: ("Accept",),
    HTTPStatus.TOO_MANY_REQUESTS: ("RetryAfter",),
    HTTPStatus.SERVICE_UNAVAILABLE: ("RetryAfter",),
}
#: A field and a parameter that nothing has.
_STRANGER = "colour"


def refused(operation: Operation, status: int, kinds: Iterable[str]) -> JsonObject:
    """Return the answer with this status, and an example of each kind of problem that it may have."""
    described = {
        kind: {"summary": PROBLEMS[kind], "value": _example(operation, status, kind, list(_faults(operation, kind)))}
        for kind in kinds
    }
    listed = "\n".join(f"- `{kind}`: {PROBLEMS[kind]}" for kind in described)
    deprecated = ("Deprecation", "Link") if operation.tag == "compatible" else ()
    return {
        "description": f"{HTTPStatus(status).phrase}:\n\n{listed}",
        "headers": headers.described((*_HEADERS.get(status, ()), *deprecated)),
        "content": {PROBLEM_TYPE: {"schema": reference("schemas", "ProblemDocument"), "examples": described}},
    }


def _example(operation: Operation, status: int, kind: str, faults: list[FieldFault]) -> JsonObject:
    told = "; ".join(f"{fault.field}: expected {fault.expected}, found {fault.found}" for fault in faults)
    found = problem(status, kind, told or PROBLEMS[kind])
    return {**found, "instance": _place(operation), "errors": [msgspec.structs.asdict(fault) for fault in faults]}


def _place(operation: Operation) -> str:
    """Return the path with an example in the place of each variable."""
    known = {PARAMETERS[name]["name"]: PARAMETERS[name] for name in operation.parameters}
    return re.sub(r"{(\w+)}", lambda found: str(known[found[1]]["example"]), operation.path)


def _faults(operation: Operation, kind: str) -> Iterable[FieldFault]:
    """Return what a field, or a parameter, that nothing has would be told."""
    if kind == "invalid-body" and operation.body is not None:
        first = next(iter(operation.examples.values()))
        return field_faults({**first, _STRANGER: "red"}, operation.body)
    if kind == "invalid-parameter":
        queries = [PARAMETERS[name]["name"] for name in operation.parameters if PARAMETERS[name]["in"] == "query"]
        known = ", ".join(sorted((*queries, *operation.form_fields))) or "none"
        return parameters.invalid(_STRANGER, f"one of {known}", "red").errors
    return ()
