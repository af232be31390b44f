"""Query parameters, each judged with expected and found."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime

from flask import request

from gateway.problems import FieldFault, Problem

_MAX_TEXT = 240
#: The largest number that is asked for has fewer digits, and Python takes long for a million of them.
_MAX_DIGITS = 20
_PLACE = re.compile(r"[0-9]{1,18}\.-?[0-9]{1,12}")


def invalid(name: str, expected: str, found: str) -> Problem:
    """Return the 422 for a query parameter."""
    return Problem(
        422,
        "invalid-parameter",
        f"the parameter {name} must be {expected}, was {found!r}",
        errors=[FieldFault(field=name, expected=expected, found=found)],
    )


def require_known(names: Iterable[str]) -> None:
    """Refuse query parameters that the route does not know: a misspelt one must not pass in silence."""
    known = sorted(names)
    for name, value in request.args.items():
        if name not in known:
            raise invalid(name, f"one of {', '.join(known) or 'none'}", value)
    require_no_nul(request.args.items(multi=True))


def require_no_nul(given: Iterable[tuple[str, str]]) -> None:
    """Refuse the character NUL in a query or a form: PostgreSQL keeps it in no text, and looks for none."""
    for name, value in given:
        if "\0" in value:
            raise invalid(name, "text without the character NUL", "one")  # it may be a password


def require_plain_form() -> None:
    """Refuse a form with the character NUL; pages that take forms ask it before each request."""
    require_no_nul(request.form.items(multi=True))


def integer(name: str, *, default: int, minimum: int, maximum: int) -> int:
    """Return a whole number in its range."""
    text = request.args.get(name)
    if text is None:
        return default
    is_number = text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS
    if not is_number or not minimum <= int(text) <= maximum:
        raise invalid(name, f"a whole number from {minimum} to {maximum}", text[:100])
    return int(text)


def choice(name: str, choices: tuple[str, ...]) -> str:
    """Return one of ``choices``; the first is the default."""
    text = request.args.get(name, choices[0])
    if text not in choices:
        raise invalid(name, f"one of {', '.join(choices)}", text[:100])
    return text


def text(name: str) -> str | None:
    """Return a text that an id or a name may be, or ``None`` where it is not given."""
    found = request.args.get(name)
    # Nothing that is kept has a control character, and PostgreSQL does not take a NUL.
    if found is not None and not (found.isprintable() and 0 < len(found) <= _MAX_TEXT):
        raise invalid(name, f"printable text of 1 to {_MAX_TEXT} characters", found[:100])
    return found


def time(name: str) -> datetime | None:
    """Return a time (RFC 3339 with zone), or ``None`` where it is not given."""
    text = request.args.get(name)
    if text is None:
        return None
    try:
        # A plus sign that was not percent-encoded arrives as a space.
        found = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        found = None
    if found is None or found.tzinfo is None or not _is_in_utc(found):
        raise invalid(name, "a time such as 2025-01-02T00:00:00Z", text[:100])
    return found


def _is_in_utc(found: datetime) -> bool:
    try:
        found.astimezone(UTC)
    except OverflowError:  # beyond the years 1 to 9999
        return False
    return True


def time_seconds(name: str) -> int | None:
    """Return a time in seconds since the epoch, or ``None`` where it is not given."""
    found = time(name)
    return None if found is None else int(found.timestamp())


def place(name: str) -> tuple[int, int] | None:
    """Return the offset and the time (s) that the path of a next page gave, or ``None`` where it is not given."""
    text = request.args.get(name)
    if text is None:
        return None
    if not _PLACE.fullmatch(text):
        raise invalid(name, "as it stands in the path of a next page", text[:100])
    offset, _, seconds = text.partition(".")
    return int(offset), int(seconds)
