"""Dead letters: shown to operators, sent again, or let go.

A decision is a record on the topic of the letters, so every gateway knows it. The message is sent before the decision
is written: a gateway that dies between the two leaves a letter that can be replayed once more, and whoever reads the
message twice knows it by its id. Two gateways that decide at the same moment may therefore send a message of which the
other one's `drop` is what counts; the answer to the second says so.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from flask import g

from gateway.changes import note_change
from gateway.dead_letter_queries import STATE_OF
from gateway.guard import principal
from gateway.history_lists import moment
from gateway.problems import Problem, not_found
from gateway.service import GatewayService
from runtime.broker import OutgoingMessage
from runtime.dead_letter import again, decision
from runtime.message_size import require_size
from schemas.dead_letters import DeadLetter, DeadLetterDecided
from schemas.topics import DEAD_LETTERS, TOPIC_BY_NAME

Decision = Literal["replay", "drop"]
#: So much of a key, a header or a value is shown; `foretopic dead-letters show` prints the whole of it.
SHOWN_BYTES = 65_536
_HEX_BYTES = 1_024
_HEX_A_LINE = 16
_LETTER = msgspec.json.Decoder(DeadLetter)
_DECIDED = msgspec.json.Decoder(DeadLetterDecided)


def stored(service: GatewayService, dead_letter_id: str) -> Mapping[str, Any]:
    """Return the row of a letter.

    Raises:
        Problem: 404; 503 as long as the gateway does not know all letters yet.
    """
    row = service.dead_letters.get(dead_letter_id)
    if row is None:
        service.require_caught_up()
        raise not_found("dead-letter", dead_letter_id[:100], "GET /api/v1/dead-letters lists them")
    return row


def decide(service: GatewayService, dead_letter_id: str, what: Decision, *, decided_by: str, reason: str) -> None:
    """Send the message of a letter again, or let it go; the same decision again changes nothing.

    Raises:
        Problem: 404 no such letter, 409 another decision came before, or its topic is none that can be sent to.
        TransientError: The log does not acknowledge; the message may have been sent.
    """
    service.require_caught_up()
    with service.one_at_a_time():
        row = stored(service, dead_letter_id)
        if row["decision"] is None:
            letter = _LETTER.decode(row["record"])
            by = principal().name or decided_by
            _write(service, dead_letter_id, letter, what, by=by, reason=reason)
            row = stored(service, dead_letter_id)
    found = _DECIDED.decode(row["decision"]) if row["decision"] is not None else None
    if found is not None and found.decision != what:
        raise Problem(
            409,
            "already-decided",
            f"{dead_letter_id} was {STATE_OF[found.decision]} before; the first decision counts",
        )


def _write(
    service: GatewayService, dead_letter_id: str, letter: DeadLetter, what: Decision, *, by: str, reason: str
) -> None:
    timeout, place = service.settings.delivery_timeout_seconds, None
    message = _message(service, letter) if what == "replay" else None
    note_change(service, f"dead-letter.{STATE_OF[what]}", dead_letter_id, topic=letter.topic, reason=reason)
    if message is not None:
        producer = service.broker.producer()
        try:
            place = producer.send(message).result(timeout)
        finally:
            producer.close()
    record = decision(letter, what, decided_by=by, reason=reason, place=place)
    placed = service.publish(DEAD_LETTERS, record, g.traceparent)
    service.projection.wait_written(placed.ends, timeout)


def _message(service: GatewayService, letter: DeadLetter) -> OutgoingMessage:
    try:
        message = again(letter, topic_prefix=service.settings.topic_prefix)
        require_size(message, TOPIC_BY_NAME[letter.topic].max_message_bytes)
    except ValueError as error:
        raise Problem(409, "not-replayable", f"{error}; drop it") from error
    return message


def line(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a letter as it stands in a list."""
    names = ("dead_letter_id", "topic", "service", "reason", "value_bytes", "replay_of")
    return {
        **{name: row[name] for name in names},
        "died_at": moment(row["died_ms"]),
        **_decision_line(None if row["decision"] is None else _DECIDED.decode(row["decision"])),
    }


def _decision_line(decided: DeadLetterDecided | None) -> dict[str, Any]:
    if decided is None:
        return {"state": STATE_OF[None], "decided_by": "", "decision_reason": "", "replayed_to": None}
    place = None
    if decided.replayed_offset is not None:
        place = {
            "topic": decided.topic,
            "partition": decided.replayed_partition,
            "offset": decided.replayed_offset,
        }
    return {
        "state": STATE_OF[decided.decision],
        "decided_by": decided.decided_by,
        "decision_reason": decided.reason,
        "replayed_to": place,
    }


def document(service: GatewayService, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a letter with where it stood and its bytes."""
    letter = _LETTER.decode(row["record"])
    return {
        **line(row),
        "partition": letter.partition,
        "offset": letter.offset,
        "attempts": letter.attempts,
        "code_version": letter.code_version,
        "key": _shown(letter.key),
        "value": _shown(letter.value),
        "headers": {name: _shown(value) for name, value in letter.headers.items()},
        "died_again_as": service.dead_letters.again(row["dead_letter_id"]),
    }


def _shown(content: bytes | None) -> dict[str, Any] | None:
    """Return bytes as text, where they are UTF-8, as base64 and as hexadecimal digits; the beginning of long ones."""
    if content is None:
        return None
    beginning = content[:SHOWN_BYTES]
    is_cut = len(content) > len(beginning)
    return {
        "bytes": len(content),
        "is_cut": is_cut,
        "text": _text(beginning, is_cut=is_cut),
        "base64": base64.b64encode(beginning).decode(),
        "hex": hex_view(beginning[:_HEX_BYTES]),
    }


def _text(content: bytes, *, is_cut: bool) -> str | None:
    # A cut may go through a character, which has at most four bytes.
    for missing in range(4 if is_cut else 1):
        try:
            return content[: len(content) - missing].decode()
        except UnicodeDecodeError:
            continue
    return None


def hex_view(content: bytes) -> str:
    r"""Return bytes as lines of offset, hexadecimal digits and printable characters.

    >>> hex_view(b"\x00not json")
    '00000000  00 6e 6f 74 20 6a 73 6f 6e                       .not json'
    """
    lines = []
    for start in range(0, len(content), _HEX_A_LINE):
        part = content[start : start + _HEX_A_LINE]
        shown = "".join(chr(byte) if chr(byte).isascii() and chr(byte).isprintable() else "." for byte in part)
        lines.append(f"{start:08x}  {part.hex(' '):<{_HEX_A_LINE * 3 - 1}}  {shown}")
    return "\n".join(lines)
