"""Requests that write one record, once for each key."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeVar

import msgspec

from gateway import tenancy
from gateway.problems import FieldFault, Problem
from gateway.service import GatewayService, Placed
from schemas.record import Record
from schemas.topics import Topic

R = TypeVar("R", bound=Record)


def send_once(
    service: GatewayService,
    topic: Topic,
    wanted: R,
    traceparent: str,
    *,
    first: Callable[[], R | None],
    ignoring: Collection[str],
    charge: Callable[[], None] = lambda: None,
) -> Placed | None:
    """Write ``wanted`` unless its id came before; return where it stands, or ``None`` for a repeat.

    The record is in the store when this returns, so the next request with its id finds it.

    Args:
        service: The gateway.
        topic: Where the record goes.
        wanted: The record.
        traceparent: Goes with it.
        first: Returns the record that came before under the same id, if any.
        ignoring: Fields that may differ between repeats, since the gateway fills them in.
        charge: Counts what is new before it is written, and may refuse it.

    Raises:
        Problem: 422 the id came before with another content; 503 another request is in the way for too long.
    """
    with service.one_at_a_time():
        before = first()
        if before is not None:
            # A key that is limited to one project learns nothing of what its organisation asked for in another one.
            is_told = tenancy.may_read(service, _owner(before))
            _require_same(before, wanted, ignoring, is_told=is_told)
            return None
        charge()
        placed = service.publish(topic, wanted, traceparent)
        service.projection.wait_written(placed.ends, service.settings.delivery_timeout_seconds)
        return placed


def _owner(record: Record) -> str:
    """Return the model or series whose project a record belongs to."""
    return str(getattr(record, "model", "") or getattr(record, "series_id", ""))


def _require_same(before: Record, wanted: Record, ignoring: Collection[str], *, is_told: bool) -> None:
    faults = [
        FieldFault(
            field=name,
            expected=msgspec.json.encode(getattr(before, name)).decode() if is_told else "as it came before",
            found=msgspec.json.encode(getattr(wanted, name)).decode(),
        )
        for name in wanted.__struct_fields__
        if name not in ignoring and getattr(before, name) != getattr(wanted, name)
    ]
    if faults:
        raise Problem(
            422,
            "idempotency-key-reused",
            "the Idempotency-Key came before with another body; a new request needs a new key",
            errors=faults,
        )
