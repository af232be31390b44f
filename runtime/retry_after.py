"""How long a server wants to be left alone."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime

from runtime.clock import SystemClock

#: Whoever asks for more is asked again all the same.
LONGEST_SECONDS = 24 * 3600.0


def retry_after_seconds(text: str) -> float | None:
    """Return the wait that a header ``Retry-After`` asks for (RFC 9110, section 10.2.3); ``None``: it asks for none.

    It is given as seconds or as a date, which is UTC unless it says otherwise.
    """
    if text.strip().isdecimal():
        return min(float(text), LONGEST_SECONDS)
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # a year of twenty digits
        return None
    until = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
    return min(max(0.0, (until - SystemClock().now()).total_seconds()), LONGEST_SECONDS)
