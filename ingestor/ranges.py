"""A long range in parts: the newest first, as providers give their pages, so that the rest is history when it comes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from forecasting.calendars import parse_freq
from ingestor.providers import Policy
from schemas.ingests import IngestEvent, IngestRequested

_DAY = timedelta(days=1)
_FIRST_DAY = date(1900, 1, 1)
_SECONDS = {"min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DAY_SECONDS = 86_400
#: What an incremental run asks for again: the newest rows may still have been settling.
_OVERLAP = timedelta(days=2)


@dataclass(frozen=True)
class Range:
    """Days to ask for, both inclusive; ``None`` leaves it to the source."""

    start: date | None
    end: date | None


@dataclass(frozen=True)
class Ranges:
    """What is left to ask for, in this order, and of how many days in all."""

    left: tuple[Range, ...]
    days: int

    def fraction(self, left: int) -> float:
        """Return the part that is done when the last ``left`` ranges are not, in [0, 1)."""
        days = sum((each.end - each.start).days + 1 for each in self.left[-left:] if each.start and each.end)
        return max(0.0, min(0.99, 1 - days / self.days)) if left else 0.99


def planned(
    request: IngestRequested,
    policy: Policy,
    today: date,
    known: tuple[datetime, datetime] | None,
    done: IngestEvent | None = None,
) -> Ranges:
    """Return the ranges to ask a source for.

    Args:
        request: What is wanted.
        policy: How the source is asked.
        today: The day of asking (UTC).
        known: Times of the first and of the last row that the log has; ``None`` without any.
        done: The last that was told of this ingest before it was interrupted.
    """
    whole = Ranges((Range(request.start, request.end),), 1)
    if policy.chunk_rows is None or request.known_future:
        return whole
    start = request.start or _default_start(request, policy, today, known)
    end = min(request.end or today, today + _DAY)
    count, unit = parse_freq(request.freq)
    seconds = _SECONDS.get(unit, 28 * _DAY_SECONDS) * count
    if start is None or start > end:
        return whole
    start = max(start, _FIRST_DAY)
    step = max(1, policy.chunk_rows * seconds // _DAY_SECONDS)
    first = done.first_time.date() if done is not None and done.first_time is not None else None
    # Parts are whole days, so that of the oldest row that was told nothing is missing.
    left = _parts(start, end if first is None else min(first - _DAY, end), step)
    if first is not None and done is not None and done.last_time is not None and done.last_time.date() + _DAY < end:
        left = [Range(done.last_time.date(), end), *left]  # what came while nobody fetched
    if not left and first is not None:
        left = [Range(first, first)]  # all of it is there, but for its end
    return Ranges(tuple(left), (end - start).days + 1)


def _default_start(
    request: IngestRequested, policy: Policy, today: date, known: tuple[datetime, datetime] | None
) -> date | None:
    default = policy.first_day(request.freq, today)
    if known is None or default is None:
        return default
    if policy.is_incremental and request.cause == "schedule":
        return max(default, min(known[1].date(), today) - _OVERLAP)
    return default


def _parts(start: date, end: date, step_days: int) -> list[Range]:
    parts = []
    while start <= end:
        first = max(start, end - timedelta(days=step_days - 1))
        parts.append(Range(first, end))
        end = first - _DAY
    return parts
