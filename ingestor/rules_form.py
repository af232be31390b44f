"""Rules about the form of rows: types, order, times against the calendar, missing values, the unit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np

from ingestor.judging import Case, Finding, Mask
from ingestor.sources import IntArray

DAY, HOUR = 86_400, 3_600
#: Rows off the calendar, and of those between them what part must stand on it once moved, for a slip to be believed.
SLIP_LEAST_ROWS = 3
SLIP_ON_GRID = 0.95
SLIP_HOURS = 14
#: Rows whose values the log has at other times.
SLIP_LEAST_MATCHES = 5
_NAME = re.compile(r"[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]{0,198}[^\s\x00-\x1f\x7f])?")


def schema(case: Case) -> Iterator[Finding]:
    """Expect times in whole seconds, columns of numbers with a name, and the close where the log has one."""
    frame, rows = case.frame, len(case.frame)
    faults = [] if frame.time.dtype == np.int64 else [f"times must be whole seconds, are {frame.time.dtype}"]
    for name, values in frame.columns.items():
        if values.dtype != np.float64 or values.shape != (rows,):
            faults.append(f"{name!r} must hold {rows} numbers, holds {values.shape} of {values.dtype}")
        if _NAME.fullmatch(name) is None:
            faults.append(f"a column must have a name without control characters, found {name!r}")
    if not frame.columns:
        faults.append("at least one column is expected, found none")
    if faults:
        yield Finding(rule="schema", outcome="refuse", rows=np.ones(rows, dtype=bool), reason="; ".join(faults))
    is_past = frame.time < case.future_from
    if case.known is not None and "close" in case.known.columns and "close" not in frame.columns and is_past.any():
        reason = f"the log has closes of this series, the source gives only {', '.join(frame.columns)}"
        yield Finding(rule="schema", outcome="all", rows=np.ones(rows, dtype=bool), column="close", reason=reason)


def order(case: Case) -> Iterator[Finding]:
    """Expect times that ascend."""
    wrong = np.append(False, np.diff(case.frame.time) < 0)
    if wrong.any():
        reason = f"times must ascend, {case.told(wrong)} came after a later one"
        yield Finding(rule="order", outcome="refuse", rows=wrong, reason=reason)


def duplicates(case: Case) -> Iterator[Finding]:
    """Expect each time once."""
    wrong = np.zeros(len(case.frame), dtype=bool)
    by_time = np.argsort(case.frame.time, kind="stable")
    wrong[by_time[1:]] = np.diff(case.frame.time[by_time]) == 0
    if wrong.any():
        reason = f"each time must stand once, {case.told(wrong)} came again"
        yield Finding(rule="duplicates", outcome="refuse", rows=wrong, reason=reason)


def currency_change(case: Case) -> Iterator[Finding]:
    """Expect the unit that the log has."""
    known, unit = case.known, case.frame.unit
    if known is not None and known.unit and unit and known.unit != unit:
        reason = f"{known.series_id} is in {known.unit} in the log, the source gives {unit}; load another series"
        yield Finding(
            rule="currency-change", outcome="refuse", rows=np.ones(len(case.frame), dtype=bool), reason=reason
        )


def future_date(case: Case) -> Iterator[Finding]:
    """Expect nothing later than now but the columns that were declared as known in the future."""
    later = case.frame.time >= case.future_from
    says: Mask = np.zeros(len(later), dtype=bool)
    for name, values in case.frame.columns.items():
        if name not in case.known_future:
            says |= later & ~np.isnan(values)
    if says.any():
        reason = (
            "rows later than now may only have columns that are declared as known_future, "
            f"{case.told(says)} ha{'s' if says.sum() == 1 else 've'} others"
        )
        yield Finding(rule="future-date", outcome="refuse", rows=says, reason=reason)


def gaps(case: Case) -> Iterator[Finding]:
    """Expect a row at each time of the calendar, from the newest row of the log before these on, and at no other."""
    frame = case.frame
    first = int(frame.time[0]) if case.before is None or not len(case.before) else int(case.before.time[-1])
    expected = case.grid(first, int(frame.time[-1]))
    times = case.time
    missing = expected[~is_among(expected, times)]
    if len(missing):
        shown = f"{datetime.fromtimestamp(int(missing[0]), UTC):%Y-%m-%dT%H:%MZ}".removesuffix("T00:00Z")
        reason = f"{len(expected)} rows were expected by the calendar, {len(missing)} are missing, the first {shown}"
        next_row = np.searchsorted(frame.time, missing)
        after: Mask = np.zeros(len(frame), dtype=bool)
        after[next_row[next_row < len(frame)]] = True
        yield Finding(rule="gaps", outcome="flag", rows=after, reason=reason)
    extra = ~is_among(frame.time, expected)
    if extra.any():
        reason = f"the calendar has no such times: {case.told(extra)}"
        yield Finding(rule="off-calendar", outcome="flag", rows=extra, reason=reason)


def missing_values(case: Case) -> Iterator[Finding]:
    """Expect a value in every column of every row, but of a row that tells the future."""
    empty: Mask = np.zeros(len(case.frame), dtype=bool)
    # A row that says only what is known of the future says all that it can.
    said = [~np.isnan(values) for name, values in case.frame.columns.items() if name not in case.known_future]
    is_past: Mask = np.logical_or.reduce(said) if said else empty
    names = []
    for name, values in case.frame.columns.items():
        missing = np.isnan(values) & is_past
        if missing.any():
            names.append(f"{name} ({int(missing.sum())})")
            empty |= missing
    if names:
        reason = f"values are missing in {case.told(empty)}: {', '.join(names)}"
        yield Finding(rule="missing-values", outcome="flag", rows=empty, reason=reason)


def timezone_slip(case: Case) -> Iterator[Finding]:
    """Expect times of the calendar, and values at the times at which the log has them.

    A slip is believed when rows off the calendar, with those between them, all stand on it once they are moved by
    the same whole hours (days for daily bars); and when changed rows have the values that the log has so many hours
    away.
    """
    found = _slip_by_grid(case) or _slip_by_log(case)
    if found is not None:
        rows, hours = found
        reason = f"the times of {case.told(rows)} are {_moved(hours)} where they belong"
        yield Finding(rule="timezone-slip", outcome="rows", rows=rows, reason=reason)


def _moved(hours: int) -> str:
    count = abs(hours)
    return f"{count} hour{'s' * (count != 1)} {'before' if hours > 0 else 'after'}"


def _moves(case: Case) -> list[int]:
    if case.is_daily:
        return [24, -24]
    return [sign * hours for hours in range(1, SLIP_HOURS + 1) for sign in (1, -1)]


def _slip_by_grid(case: Case) -> tuple[Mask, int] | None:
    if not case.has_sessions:
        return None
    time = case.frame.time
    reach = SLIP_HOURS * HOUR + DAY
    grid = _whole_grid(case, int(time[0]) - reach, int(time[-1]) + reach)
    off = ~is_among(time, grid) & case.is_news
    if int(off.sum()) < SLIP_LEAST_ROWS:
        return None
    there = np.flatnonzero(off)
    for hours in _moves(case):
        rows = _block(time, grid, int(there[0]), int(there[-1]) + 1, hours * HOUR)
        on_grid = is_among(time[rows] + hours * HOUR, grid)
        if on_grid.mean() >= SLIP_ON_GRID and is_among(time[off] + hours * HOUR, grid).mean() >= SLIP_ON_GRID:
            block: Mask = np.zeros(len(time), dtype=bool)
            block[rows] = True
            return block & case.is_news, hours
    return None


def _block(time: IntArray, grid: IntArray, start: int, end: int, seconds: int) -> slice:
    """Return the rows that have slipped: those from ``start`` to ``end``, which are off the calendar, and neighbours.

    Behind them those that stand where a moved one belongs; before them those that belong where none stands.
    """
    while end < len(time) and time[end] <= time[end - 1] + seconds:
        end += 1
    others = np.delete(time, slice(start, end))
    while start > 0:
        moved = time[start - 1 : start] + seconds
        if not is_among(moved, grid)[0] or (is_among(moved, others)[0] and moved[0] < time[start]):
            break
        start -= 1
    return slice(start, end)


def is_among(times: IntArray, among: IntArray) -> Mask:
    """Return which of ``times`` stand in ``among``, which ascends: ten times as fast as a search that cannot know."""
    if not len(among):
        return np.zeros(len(times), dtype=bool)
    found: Mask = among[np.minimum(np.searchsorted(among, times), len(among) - 1)] == times
    return found


def _whole_grid(case: Case, first: int, last: int) -> IntArray:
    """Return the times of the calendar alone: the grid always has its first time, whatever the calendar says."""
    return case.grid(first, last)[1:]


def _slip_by_log(case: Case) -> tuple[Mask, int] | None:
    known, frame = case.known, case.frame
    if known is None:
        return None
    names = [name for name in (case.prices or tuple(frame.columns)) if name in known.columns]
    changed = np.flatnonzero(case.is_news)
    if not names or len(changed) < SLIP_LEAST_MATCHES:
        return None
    for hours in _moves(case):
        wanted = frame.time[changed] + hours * HOUR
        index = np.minimum(np.searchsorted(known.time, wanted), len(known) - 1)
        same = known.time[index] == wanted
        moves = np.zeros(len(changed), dtype=bool)
        for name in names:
            values, old = frame.columns[name][changed], known.columns[name][index]
            same &= np.isclose(values, old, rtol=1e-9, atol=0.0)
            moves |= np.append(False, np.diff(values) != 0)
        # Values that stand still are everywhere the same.
        if int((same & moves).sum()) >= max(SLIP_LEAST_MATCHES, len(changed) // 2):
            rows: Mask = np.zeros(len(frame), dtype=bool)
            rows[changed[same]] = True
            return rows, hours
    return None
