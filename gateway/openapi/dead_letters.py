"""The operations on dead letters."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from gateway.answers import Answer, Count
from gateway.bodies import DecisionBody
from gateway.openapi.operation import JsonObject, Operation, json_answer
from gateway.openapi.problem_kinds import QUERY, STARTING, Problems
from schemas.record import Id


class LetterPlace(Answer, frozen=True, kw_only=True):
    """Where a message stands."""

    topic: str
    partition: Count
    offset: Count


class DeadLetterLine(Answer, frozen=True, kw_only=True):
    """A message that no service could handle, without its bytes."""

    dead_letter_id: Id
    topic: str
    #: That gave up.
    service: str
    reason: str
    value_bytes: Count
    #: The dead letter whose message was sent again and died again as this one.
    replay_of: Id | None
    died_at: datetime
    state: Literal["waiting", "replayed", "dropped"]
    #: Who decided, and why.
    decided_by: str
    decision_reason: str
    #: Of a replayed one: where the message stands now.
    replayed_to: LetterPlace | None


class DeadLetterPage(Answer, frozen=True, kw_only=True):
    """Dead letters, the newest first."""

    dead_letters: tuple[DeadLetterLine, ...]
    #: Path of the next page; null on the last one.
    next: str | None


class ShownBytes(Answer, frozen=True, kw_only=True):
    """Bytes of a message, of long ones the beginning."""

    bytes: Count
    is_cut: bool
    #: Null where they are not UTF-8.
    text: str | None
    base64: str
    #: The first KiB as lines of offset, hexadecimal digits and characters.
    hex: str


class DeadLetterDetails(DeadLetterLine, frozen=True, kw_only=True):
    """A message that no service could handle: where it stood, and its bytes."""

    partition: Count
    offset: Count
    #: After how many attempts the service gave up, and the version of its code.
    attempts: Count
    code_version: str
    key: ShownBytes | None
    value: ShownBytes | None
    headers: dict[str, ShownBytes]
    #: What it became when it was sent again.
    died_again_as: tuple[Id, ...]


_LINE: JsonObject = {
    "dead_letter_id": "1b368969ba10bc381ea10623373b8d72",
    "topic": "forecast-requests",
    "service": "predictor",
    "reason": "forecast-requests: not a ForecastRequested: JSON is malformed: invalid character (byte 0)",
    "value_bytes": 10,
    "replay_of": None,
    "died_at": "2025-01-02T21:05:03.250000Z",
    "state": "waiting",
    "decided_by": "",
    "decision_reason": "",
    "replayed_to": None,
}
_BODY: JsonObject = {"decided_by": "ana", "reason": "the predictor reads it since 0.2"}
_DECIDED: JsonObject = {"decided_by": "ana", "decision_reason": _BODY["reason"]}
_REPLAYED: JsonObject = {
    **_LINE,
    **_DECIDED,
    "state": "replayed",
    "replayed_to": {"topic": "forecast-requests", "partition": 3, "offset": 58},
}
_KEY: JsonObject = {
    "bytes": 14,
    "is_cut": False,
    "text": "market/AAPL@1d",
    "base64": "bWFya2V0L0FBUExAMWQ=",
    "hex": "00000000  6d 61 72 6b 65 74 2f 41 41 50 4c 40 31 64        market/AAPL@1d",
}
_VALUE: JsonObject = {
    "bytes": 10,
    "is_cut": False,
    "text": None,
    "base64": "AP9ub3QganNvbg==",
    "hex": "00000000  00 ff 6e 6f 74 20 6a 73 6f 6e                    ..not json",
}
_DETAILS: JsonObject = {
    **_LINE,
    "partition": 3,
    "offset": 42,
    "attempts": 2,
    "code_version": "0.1.0",
    "key": _KEY,
    "value": _VALUE,
    "headers": {},
    "died_again_as": [],
}
_PROBLEMS: Problems = {
    **QUERY,
    404: ("unknown-dead-letter",),
    **STARTING,
}

DEAD_LETTERS = (
    Operation(
        method="get",
        path="/api/v1/dead-letters",
        id="listDeadLetters",
        tag="dead-letters",
        summary="Messages that no service could handle, the newest first",
        description=(
            "Each line says where the message was to go, which service gave up on it and why. `replay` sends it again, "
            "`drop` lets it go."
        ),
        parameters=("of_topic", "of_service", "letter_state", "after_letter", "limit"),
        answers={200: json_answer("A page.", DeadLetterPage, {"dead_letters": [_LINE], "next": None})},
        problems=_PROBLEMS,
    ),
    Operation(
        method="get",
        path="/api/v1/dead-letters/{dead_letter_id}",
        id="getDeadLetter",
        tag="dead-letters",
        summary="One dead letter with its key, headers and value",
        description="Of more than 64 KiB the beginning is shown; `foretopic dead-letters show` prints all of it.",
        parameters=("dead_letter_id",),
        answers={200: json_answer("The letter.", DeadLetterDetails, _DETAILS)},
        problems=_PROBLEMS,
    ),
    *(
        Operation(
            method="post",
            path=f"/api/v1/dead-letters/{{dead_letter_id}}/{what}",
            id=f"{what}DeadLetter",
            tag="dead-letters",
            summary=summary,
            description=f"{told}The first decision counts; the same one again changes nothing.",
            parameters=("dead_letter_id",),
            body=DecisionBody,
            examples={what: _BODY},
            answers={202: json_answer("Decided.", DeadLetterLine, example, "Location")},
            problems={
                **QUERY,
                404: ("unknown-dead-letter",),
                409: ("already-decided", "not-replayable") if what == "replay" else ("already-decided",),
                422: ("invalid-parameter",),
                **STARTING,
            },
        )
        for what, summary, told, example in (
            (
                "replay",
                "Send the message again: its bytes and headers to its topic",
                "One that dies again is a new dead letter that names this one. ",
                _REPLAYED,
            ),
            ("drop", "Let the message go; it stays in the log", "", {**_LINE, **_DECIDED, "state": "dropped"}),
        )
    ),
)
