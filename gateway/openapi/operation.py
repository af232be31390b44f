"""What the document says of one operation, as it is written down."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from gateway.bodies import Body
from gateway.openapi.problem_kinds import ANY_BODY, ANYWHERE, AWAY, COUNTED, JSON_BODY, KEYED, STORED, Problems

JsonObject = dict[str, Any]
#: Name of the parameter for a key of the caller.
KEY = "IdempotencyKey"


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A successful answer: a JSON type, or text of another media type."""

    description: str
    type: type[msgspec.Struct] | None = None
    media_type: str = "application/json"
    example: Any = None
    headers: tuple[str, ...] = ()
    #: Media types of the same answer as a file.
    files: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    id: str
    tag: str
    summary: str
    description: str
    parameters: tuple[str, ...] = ()
    body: type[Body] | None = None
    #: Whether the body is a file, bare or in a form.
    takes_file: bool = False
    #: Text fields beside the file of a form, each also a query parameter beside a bare file: name -> what it says.
    form_fields: dict[str, str] = field(default_factory=dict)
    is_body_optional: bool = False
    #: Name -> example body.
    examples: dict[str, JsonObject] = field(default_factory=dict)
    answers: dict[int, Sent]
    #: Status -> kinds of problem.
    problems: Problems = field(default_factory=dict)
    #: Whether it needs no sign-in; a test holds it against the mark of the view.
    is_open: bool = False
    #: Whether the answer can be kept and asked for again.
    is_cached: bool = False
    #: What it counts as against the quotas of a project and of its organisation.
    counts_as: Literal["forecast", "training", "row"] | None = None
    #: Whether it may be sent again without a key, or is about signing in: nothing of it is stored.
    is_repeatable: bool = False

    @property
    def takes_key(self) -> bool:
        """Whether it reads an Idempotency-Key."""
        return KEY in self.parameters or (self.method != "get" and self.is_of_api)

    @property
    def is_stored(self) -> bool:
        """Whether the answer under an Idempotency-Key is kept for a day; the log remembers the others."""
        return self.takes_key and KEY not in self.parameters and not self.is_repeatable

    @property
    def is_of_api(self) -> bool:
        """Whether it is for programs, and not a page or a door that stands elsewhere."""
        return self.path.startswith("/api/")

    def every_problem(self) -> Problems:
        """Return what it may be refused with: what it says itself, and what any of its kind may be."""
        shared = (
            (self.body is not None, JSON_BODY),
            (self.body is not None or self.takes_file, ANY_BODY),
            (self.takes_key, KEYED),
            (self.is_stored, STORED),
            (self.counts_as is not None, COUNTED),
            (self.counts_as == "forecast", {409: ("request-in-progress",)}),
            (self.is_of_api, AWAY),
            (True, ANYWHERE),
        )
        found: Problems = {}
        for one in (self.problems, *(problems for holds, problems in shared if holds)):
            for status, kinds in one.items():
                found[status] = tuple(dict.fromkeys((*found.get(status, ()), *kinds)))
        return found


def json_answer(description: str, type_: type, example: object, *headers: str) -> Sent:
    """Return a JSON answer with its example."""
    return Sent(description=description, type=type_, example=example, headers=headers)


DONE = Sent(description="Done; there is nothing to say.", media_type="")


def reference(kind: str, name: str) -> JsonObject:
    """Return a reference to a component of the document."""
    return {"$ref": f"#/components/{kind}/{name}"}
