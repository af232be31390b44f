"""The answers that many operations have."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from gateway.answers import Answer
from gateway.problems import FieldFault


class ProblemDocument(Answer, frozen=True, kw_only=True):
    """Why a request was refused (RFC 9457): what was expected, what was found, what to do."""

    #: `/problems/` and the kind of problem.
    type: str
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: str
    #: Path of the request.
    instance: str
    #: Stands in the log of the gateway beside what happened.
    x_request_id: str
    #: The forecast request, where there is one already.
    request_id: str = ""
    violated_policies: Annotated[
        tuple[str, ...], Meta(description="With 429, the policies of `RateLimit-Policy` that were broken.")
    ] = msgspec.field(default=(), name="violated-policies")
    #: The fields at fault.
    errors: tuple[FieldFault, ...]


class AnyObject(Answer, frozen=True, kw_only=True):
    """A document that describes itself."""
