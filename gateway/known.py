"""What "as known at" means over HTTP: a point that has passed, and that the store has reached."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from flask import request

from gateway import parameters
from gateway.bodies import invalid
from gateway.problems import FieldFault, Problem, unavailable
from gateway.rows import microseconds
from gateway.service import GatewayService
from gateway.versions import KnownAt
from schemas.topics import OBSERVATIONS

_WRITE_SECONDS = 5.0
_MAX_OFFSET = 2**63 - 1


def point_of_query(service: GatewayService, series_id: str) -> KnownAt:
    """Return the point that the query parameters ``known_at`` and ``known_at_offset`` name; both limit.

    Raises:
        Problem: 422 for a point that is still to come, since another answer could be right then; 503 as long as the
            store lacks something that had been read.
    """
    time, offset = parameters.time("known_at"), None
    if "known_at_offset" in request.args:
        offset = parameters.integer("known_at_offset", default=0, minimum=0, maximum=_MAX_OFFSET)
    if time is None and offset is None:
        return KnownAt()
    if time is not None and time > service.clock.now():
        raise parameters.invalid(
            "known_at", f"at most now, {_text(service.clock.now())}", request.args["known_at"][:100]
        )
    end = _written_end(service, series_id)
    if offset is not None and offset > end:
        expected = f"at most {end}, the end of the partition of {series_id}"
        raise Problem(
            422,
            "as-of-beyond-log",
            f"the query parameter known_at_offset must be {expected}, was {offset}",
            errors=[FieldFault(field="known_at_offset", expected=expected, found=str(offset))],
        )
    return KnownAt(before_offset=offset, received_us=None if time is None else microseconds(time))


def ends_known_at(service: GatewayService, series_ids: Sequence[str], known_at: datetime) -> dict[int, int]:
    """Return partition of `observations` -> end offset of what was known of these series at a time.

    A partition ends before its first batch of these series that was received later: nothing later is read, and no
    offset says more than a time does, since a log has one order.

    Raises:
        Problem: 422 for a time that is still to come, or at which nothing of a series had been received; 503 as long as
            the store lacks something that had been read.
    """
    now = service.clock.now()
    if known_at > now:
        fault = FieldFault(field="known_at", expected=f"at most now, {_text(now)}", found=_text(known_at))
        raise invalid(f"known_at must be {fault.expected}, was {fault.found}", [fault])
    by_partition: dict[int, list[str]] = {}
    for series_id in series_ids:
        by_partition.setdefault(service.partition_of(OBSERVATIONS, series_id), []).append(series_id)
    ends = {}
    for partition, ids in by_partition.items():
        end = _written_end(service, ids[0])
        later = service.versions.first_offset_after(ids, microseconds(known_at))
        ends[partition] = end if later is None else min(end, later)
        for series_id in ids:
            _require_known(service, series_id, ends[partition], known_at)
    return ends


def _require_known(service: GatewayService, series_id: str, end: int, known_at: datetime) -> None:
    first = service.versions.first_offset(series_id)
    if first is None or first >= end:
        expected = f"a time at which observations of {series_id} had been received"
        raise Problem(
            422,
            "no-observations",
            f"known_at must be {expected}, was {_text(known_at)}",
            errors=[FieldFault(field="known_at", expected=expected, found=_text(known_at))],
        )


def _written_end(service: GatewayService, series_id: str) -> int:
    """Return the end of the partition of a series as far as it has been read, once the store has all of it."""
    service.require_caught_up()
    place = service.observation_place(series_id)
    end = service.projection.seen(OBSERVATIONS, place.partition)
    if not service.projection.wait_written({place: end}, _WRITE_SECONDS):
        raise unavailable("starting", "the gateway still stores what it has read; send the same request again later")
    return end


def _text(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")
