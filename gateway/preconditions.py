"""Changes of what somebody has seen only (RFC 9110): `If-Match`, and `If-None-Match: *` for what must be new."""

from __future__ import annotations

from flask import request

from gateway.problems import FieldFault, Problem


def require_unchanged(tag: str | None) -> None:
    """Refuse a change of something else than its caller says; who says nothing changes whatever is there.

    Args:
        tag: The `ETag` of what holds now; ``None``: there is nothing.

    Raises:
        Problem: 412.
    """
    seen, not_seen = request.if_match, request.if_none_match
    is_other = bool(seen) and (tag is None or not seen.contains(tag))
    if is_other or (bool(not_seen) and tag is not None and not_seen.contains_weak(tag)):
        found = "nothing" if tag is None else f'"{tag}"'
        expected = f"If-Match: {found}" if tag else "no If-Match"
        raise Problem(
            412,
            "precondition-failed",
            f"{found} holds now; read it again, and decide anew",
            errors=[FieldFault(field="If-Match", expected=expected, found=(seen or not_seen).to_header()[:120])],
        )
