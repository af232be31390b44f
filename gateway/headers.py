"""The request headers that mean something here."""

from __future__ import annotations

import os
import re

from gateway.problems import FieldFault, Problem

_ID = re.compile(r"[A-Za-z0-9._~-]{1,128}")
_WAIT = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?([0-9]{1,6})\"?\s*(?:$|[,;])", re.IGNORECASE)


def new_id() -> str:
    """Return a random id of 32 hexadecimal digits."""
    return os.urandom(16).hex()


def idempotency_key(header: str | None) -> str | None:
    """Return the key of an ``Idempotency-Key`` header: an RFC 8941 string (``"key"``) or the bare key.

    Raises:
        Problem: 400; the key is empty, longer than 128 characters or has characters beyond ``A-Z a-z 0-9 . _ ~ -``.
    """
    if header is None:
        return None
    text = header.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    if _ID.fullmatch(text) is None:
        expected = "1 to 128 of the characters A-Z a-z 0-9 . _ ~ -, with or without double quotes"
        raise Problem(
            400,
            "invalid-idempotency-key",
            f"the header Idempotency-Key must have {expected}, was {header[:200]!r}",
            errors=[FieldFault(field="Idempotency-Key", expected=expected, found=header[:200])],
        )
    return text


def wait_seconds(prefer: str | None, *, default: float, maximum: float) -> float:
    """Return how long the caller wants to wait (``Prefer: wait=SECONDS``, RFC 7240), at most ``maximum``.

    A preference that is not understood is ignored, as RFC 7240 asks.
    """
    found = None if prefer is None else _WAIT.search(prefer)
    return min(default if found is None else float(found[1]), maximum)


def correlation_id(header: str | None) -> str:
    """Return the caller's ``X-Request-ID`` where it is safe to repeat, else a new id."""
    return header if header is not None and _ID.fullmatch(header) else new_id()
