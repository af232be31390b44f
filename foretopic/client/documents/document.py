"""What all documents have in common."""

from __future__ import annotations

import msgspec


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """An answer of the gateway; fields that a newer gateway adds are passed over."""
