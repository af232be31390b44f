"""W3C trace context (https://www.w3.org/TR/trace-context/): one id from the HTTP request to the forecast and back.

With a ``seed`` the ids are computed, so that repeated work carries the same ids; without one they are random.
"""

from __future__ import annotations

import re
import secrets

from schemas.identity import content_id

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-.*)?")


def _hexadecimal(digits: int, kind: str, seed: str | None) -> str:
    return secrets.token_hex(digits // 2) if seed is None else content_id(kind, seed)[:digits]


def new_traceparent(seed: str | None = None) -> str:
    """Return a ``traceparent`` that begins a trace."""
    return f"00-{_hexadecimal(32, 'trace', seed)}-{_hexadecimal(16, 'span', seed)}-01"


def is_traceparent(value: str) -> bool:
    """Say whether ``value`` is a ``traceparent`` that the specification allows."""
    return _TRACEPARENT.fullmatch(value) is not None


def child_of(traceparent: str | None, seed: str | None = None) -> str:
    """Return the ``traceparent`` of work that ``traceparent`` caused; a missing or broken one begins a new trace."""
    match = _TRACEPARENT.fullmatch(traceparent or "")
    if match is None:
        return new_traceparent(seed)
    return f"00-{match[1]}-{_hexadecimal(16, match[1], seed)}-{match[2]}"


def correlation_id(traceparent: str) -> str:
    """Return the trace id: the same in every log line that one request caused."""
    match = _TRACEPARENT.fullmatch(traceparent)
    return match[1] if match else ""
