"""Times that a cron expression names in a time zone, over the changes of its clocks.

`cronsim` reads the expression as Debian's cron does: a job at a fixed hour that the clocks leave out runs at the end of
the gap, one in the hour that comes twice runs the first time; one that runs every hour or minute goes by the hours that
there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

_FIELDS = 5


def cron_times(expression: str, timezone: str, after: datetime) -> Iterator[datetime]:
    """Return the times after ``after`` (UTC, strictly), ascending, without end.

    Args:
        expression: Five fields: minute, hour, day of month, month, day of week.
        timezone: IANA name.
        after: A UTC time.

    Raises:
        ValueError: The expression or the zone is none; the text says what was expected and found.
    """
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"timezone must be an IANA name such as America/New_York, was {timezone!r}") from error
    expected = "cron must be five fields: minute, hour, day of month, month, day of week, such as 30 18 * * 1-5"
    if len(expression.split()) != _FIELDS:
        raise ValueError(f"{expected}; was {expression!r}")
    try:
        times = CronSim(expression, after.astimezone(zone))
    except CronSimError as error:
        raise ValueError(f"{expected}; was {expression!r} ({error})") from error
    return _ascending(times, after)


def _ascending(times: Iterator[datetime], after: datetime) -> Iterator[datetime]:
    """Yield each time once: near a change of the clocks two entries may fall together, or before ``after``."""
    last = after
    for local in times:
        time = local.astimezone(UTC)
        if time > last:
            last = time
            yield time
