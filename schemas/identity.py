"""Ids computed from content, so that a repeat has the same id."""

from __future__ import annotations

import hashlib

import msgspec

_ENCODER = msgspec.json.Encoder(order="sorted")


def canonical_bytes(value: object) -> bytes:
    """Return the one JSON form of ``value``: UTF-8, no spaces, object keys sorted."""
    return _ENCODER.encode(value)


def digest_of(value: object) -> str:
    """Return the SHA-256 of the canonical JSON form of ``value`` as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_bytes(value)).hexdigest()


def content_id(*parts: object) -> str:
    """Return a 32-digit hexadecimal id that names ``parts`` and their order.

    >>> content_id("forecast", 1) == content_id("forecast", 1)
    True
    >>> content_id("forecast", 1) == content_id("forecast", "1")
    False
    """
    return digest_of(parts)[:32]
