"""Query parameters, each judged with expected and found."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from flask import request

from gateway.problems import FieldFault, Problem


def _invalid(name: str, expected: str, found: str) -> Problem:
    return Problem(
        422,
        "invalid-parameter",
        f"the query parameter {name} must be {expected}, was {found!r}",
        errors=[FieldFault(field=name, expected=expected, found=found)],
    )


def require_known(names: Iterable[str]) -> None:
    """Refuse query parameters that the route does not know: a misspelt one must not pass in silence."""
    known = sorted(names)
    for name, value in request.args.items():
        if name not in known:
            raise _invalid(name, f"one of {', '.join(known) or 'none'}", value)


def integer(name: str, *, default: int, minimum: int, maximum: int) -> int:
    """Return a whole number in its range."""
    text = request.args.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdecimal() or not minimum <= int(text[:20]) <= maximum:
        raise _invalid(name, f"a whole number from {minimum} to {maximum}", text[:100])
    return int(text)


def choice(name: str, choices: tuple[str, ...]) -> str:
    """Return one of ``choices``; the first is the default."""
    text = request.args.get(name, choices[0])
    if text not in choices:
        raise _invalid(name, f"one of {', '.join(choices)}", text[:100])
    return text


def time_seconds(name: str) -> int | None:
    """Return a time (RFC 3339 with zone) in seconds since the epoch, or ``None`` where it is not given."""
    text = request.args.get(name)
    if text is None:
        return None
    try:
        # A plus sign that was not percent-encoded arrives as a space.
        time = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise _invalid(name, "a time such as 2025-01-02T00:00:00Z", text[:100])
    return int(time.timestamp())
