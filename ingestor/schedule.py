"""When a series is due: pure, so that every instance that reads the same schedule finds the same times.

A run is named by the time at which it is due. Its moment is that time and a jitter that is computed from the two, so
that many series do not ask a provider at once, and a repeat waits as long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from forecasting.calendars import MONTHS, SECONDS, interval_end, next_times, parse_freq
from forecasting.errors import CalendarError
from forecasting.sessions import ALWAYS, sessions_of
from runtime.cron import cron_times
from schemas.identity import digest_of
from schemas.schedules import RetrainRule, SeriesScheduled

#: Ascending times after a UTC time, strictly.
Dues = Callable[[datetime], Iterator[datetime]]
#: How far back the newest missed run is looked for, step by step: frequent runs need no long look.
_LOOKS = (timedelta(minutes=10), timedelta(hours=3), timedelta(days=3), timedelta(days=40))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Weeks begin on Mondays.
_FIRST_MONDAY = datetime(1970, 1, 5, tzinfo=UTC)
#: A session may close on the UTC day after its date.
_SESSION_REACH = timedelta(days=2)


@dataclass(frozen=True, kw_only=True)
class Timetable:
    """When something is to be done again and again.

    Attributes:
        name: What is done; with the due time it gives the jitter.
        dues: The times at which it is due.
        jitter_seconds: Most seconds by which each is put off.
    """

    name: tuple[str, ...]
    dues: Dues
    jitter_seconds: float = 0.0

    def moment(self, due: datetime) -> datetime:
        """Return when the run that is due then is begun."""
        share = int(digest_of((*self.name, due))[:8], 16) / 2**32
        return due + timedelta(seconds=round(self.jitter_seconds * share, 3))

    def newest(self, since: datetime, now: datetime) -> datetime | None:
        """Return the last due time after ``since`` whose moment has come: earlier ones that were missed are in it."""
        jitter = timedelta(seconds=self.jitter_seconds)
        for start in (*(max(since, now - look - jitter) for look in _LOOKS), since):
            found = None
            for due in self.dues(start):
                if due > now:
                    break
                if self.moment(due) <= now:
                    found = due
            if found is not None or start == since:
                return found
        return None

    def next_moment(self, now: datetime) -> datetime | None:
        """Return the next moment after ``now``; ``None`` when the calendar gives none."""
        earliest: datetime | None = None
        for due in self.dues(now - timedelta(seconds=self.jitter_seconds)):
            if earliest is not None and due >= earliest:
                break
            moment = self.moment(due)
            if moment > now and (earliest is None or moment < earliest):
                earliest = moment
        return earliest


def timetable(schedule: SeriesScheduled) -> Timetable:
    """Return when a series is fetched.

    Raises:
        ValueError: The cron expression or the zone is none.
        CalendarError: ``unknown-calendar``, ``unknown-freq``.
    """
    dues = _cron(schedule.cron, schedule.timezone) if schedule.cron else _after_close(schedule)
    return Timetable(name=(schedule.series_id,), dues=dues, jitter_seconds=schedule.jitter_seconds)


def retrain_timetable(schedule: SeriesScheduled, rule: RetrainRule) -> Timetable:
    """Return when a model is trained again by the clock; the rule has a cron expression.

    Raises:
        ValueError: It, or the zone, is none.
    """
    dues = _cron(rule.cron, schedule.timezone)
    return Timetable(name=(schedule.series_id, rule.model), dues=dues, jitter_seconds=schedule.jitter_seconds)


def late_from(calendar: str, freq: str, newest: datetime) -> datetime | None:
    """Return when the observation after ``newest`` is complete: without it the series is late from then on.

    ``None`` where the calendar does not say: rows that follow no calendar have no next one.
    """
    try:
        [following] = next_times(calendar, freq, newest, 1)
        return interval_end(calendar, freq, following)
    except CalendarError:
        return None


def _cron(expression: str, timezone: str) -> Dues:
    cron_times(expression, timezone, _EPOCH)  # what cannot be read is told now, not when it is asked
    return lambda after: cron_times(expression, timezone, after)


def _after_close(schedule: SeriesScheduled) -> Dues:
    delay = timedelta(minutes=schedule.after_close_minutes or 0)
    if schedule.calendar != ALWAYS:
        sessions_of(schedule.calendar, _EPOCH.year + 50)
        return lambda after: (close + delay for close in _closes(schedule.calendar, after - delay))
    count, unit = parse_freq(schedule.freq)
    if unit in MONTHS:
        return lambda after: (end + delay for end in _month_ends(count * MONTHS[unit], after - delay))
    first = _FIRST_MONDAY if unit == "w" else _EPOCH
    length = timedelta(seconds=count * SECONDS[unit])
    return lambda after: (end + delay for end in _ends(first, length, after - delay))


def _closes(calendar: str, after: datetime) -> Iterator[datetime]:
    year = (after - _SESSION_REACH).year
    while True:
        try:
            closes = sessions_of(calendar, year).close
        except CalendarError as error:
            if error.code != "beyond-calendar":
                raise
            return
        later = closes[closes > after.timestamp()]
        yield from (datetime.fromtimestamp(int(close), UTC) for close in later)
        year += 1


def _ends(first: datetime, length: timedelta, after: datetime) -> Iterator[datetime]:
    end = first + ((after - first) // length) * length
    while True:
        end += length
        yield end


def _month_ends(months: int, after: datetime) -> Iterator[datetime]:
    passed = (after.year - _EPOCH.year) * 12 + after.month - 1
    index = passed // months
    while True:
        index += 1
        year, month = divmod(index * months, 12)
        yield _EPOCH.replace(year=_EPOCH.year + year, month=month + 1)
