"""The hard rules: rows that can never be true are dropped and told; a source that breaks too many is refused.

| found | done |
|---|---|
| unsorted rows | sorted |
| a time before 1700 or after 2199 | refused |
| a row without any value | dropped |
| a row twice, equal | dropped once |
| a time twice with different values | refused: which one is true is not known |
| infinity, no ``close`` in a frame with closes, a price <= 0, a negative volume, high below low | dropped |
| more than `MAX_DROPPED_FRACTION` of the rows dropped for broken values | refused: the source is at fault |
| rows closer together than ``freq``, or typically more than `MAX_GAP_STEPS` steps apart | refused: another freq |
| the last bars, while their interval is not complete | withheld, but for columns that are known in the future |
| rows more than a step later than now | left to the quality gate: only what is known in the future may stand there |

Whether a value that may be true is plausible is the quality gate's to say.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from forecasting.calendars import interval_end, parse_freq
from forecasting.errors import CalendarError
from ingestor.errors import BadSourceData
from ingestor.sources import PRICE_COLUMNS, FloatArray, SourceFrame, Wanted

MAX_DROPPED_FRACTION = 0.1
#: Of a short file a few rows may be broken, whatever fraction that is.
MAX_DROPPED_ALWAYS = 5
MAX_GAP_STEPS = 4
MAX_FREQ_COUNT = 1000
#: Shortest length of one step in seconds: a month has 28 days at least.
_STEP_SECONDS = {
    "min": 60,
    "h": 3600,
    "d": 86_400,
    "w": 604_800,
    "mo": 28 * 86_400,
    "q": 90 * 86_400,
    "y": 365 * 86_400,
}
#: Every bar is complete so long after its end, whatever its calendar says: a session ends less than two days after
#: the midnight UTC of its date.
_SURELY_COMPLETE = timedelta(days=3)
_TOLD_ROWS = 3
#: What calendars and nanoseconds can hold, with room for a horizon.
FIRST_TIME, LAST_TIME = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (1700, 2200))

Mask = npt.NDArray[np.bool_]


def clean(frame: SourceFrame, wanted: Wanted) -> SourceFrame:
    """Return the rows that keep the hard rules, in order of time; the notes tell what is missing and why.

    Raises:
        BadSourceData: The frame is refused.
    """
    if parse_freq(wanted.freq)[0] > MAX_FREQ_COUNT:
        raise BadSourceData(frame.source, f"freq may count up to {MAX_FREQ_COUNT}, was {wanted.freq}")
    _require_times(frame)
    frame = frame.rows(np.argsort(frame.time, kind="stable"))
    frame = _without_empty_rows(frame)
    frame = _without_repeats(frame)
    frame = _without_broken_rows(frame, _ahead(frame, wanted))
    _require_freq(frame, wanted.freq)
    return _withhold_incomplete(frame, wanted)


def _require_times(frame: SourceFrame) -> None:
    is_beyond = (frame.time < FIRST_TIME) | (frame.time >= LAST_TIME)
    if is_beyond.any():
        raise BadSourceData(
            frame.source, f"times must lie between the years 1700 and 2200, found {told_times(frame, is_beyond)}"
        )


def told_times(frame: SourceFrame, which: Mask) -> str:
    """Return the first few times of rows, for a note."""
    found = np.unique(frame.time[which])
    times = [f"{datetime.fromtimestamp(int(time), UTC):%Y-%m-%dT%H:%MZ}" for time in found[:_TOLD_ROWS]]
    rest = f" and {len(found) - _TOLD_ROWS} more" if len(found) > _TOLD_ROWS else ""
    return ", ".join(time.removesuffix("T00:00Z") for time in times) + rest


def _dropped(frame: SourceFrame, which: Mask, why: str) -> SourceFrame:
    return frame.rows(~which, _dropped_note(frame, which, why)) if which.any() else frame


def _dropped_note(frame: SourceFrame, which: Mask, why: str) -> str:
    count = int(which.sum())
    return f"{count} row{'s' * (count > 1)} dropped, {why}: {told_times(frame, which)}"


def _without_empty_rows(frame: SourceFrame) -> SourceFrame:
    empty = np.ones(len(frame), dtype=bool)
    for values in frame.columns.values():
        empty &= np.isnan(values)
    return _dropped(frame, empty, "without any value")


def _without_repeats(frame: SourceFrame) -> SourceFrame:
    is_repeat = np.zeros(len(frame), dtype=bool)
    is_repeat[1:] = frame.time[1:] == frame.time[:-1]
    conflicts = is_repeat & ~_equals_previous(frame)
    if conflicts.any():
        raise BadSourceData(
            frame.source,
            f"each time must stand once, but {told_times(frame, conflicts)} came again with different values; "
            "give one series only",
        )
    return _dropped(frame, is_repeat, "given twice")


def _equals_previous(frame: SourceFrame) -> Mask:
    equal = np.ones(len(frame), dtype=bool)
    for values in frame.columns.values():
        equal[1:] &= (values[1:] == values[:-1]) | (np.isnan(values[1:]) & np.isnan(values[:-1]))
    return equal


def _without_broken_rows(frame: SourceFrame, ahead: Mask) -> SourceFrame:
    missing = np.full(len(frame), np.nan)
    rules: dict[str, Mask] = {
        "with an infinite value": _any(frame, [np.isinf(values) for values in frame.columns.values()]),
        "without a close": ~ahead & np.isnan(frame.columns["close"]) if "close" in frame.columns else _any(frame, []),
        "with a price of 0 or less": _any(frame, [frame.columns.get(name, missing) <= 0 for name in PRICE_COLUMNS]),
        "with a negative volume": frame.columns.get("volume", missing) < 0,
        "with high below low": frame.columns.get("high", missing) < frame.columns.get("low", missing),
    }
    is_broken = np.zeros(len(frame), dtype=bool)
    notes: list[str] = []
    for why, broken in rules.items():
        new = broken & ~is_broken
        is_broken |= broken
        if new.any():
            notes.append(_dropped_note(frame, new, why))
    count = int(is_broken.sum())
    if count > max(MAX_DROPPED_ALWAYS, MAX_DROPPED_FRACTION * len(frame)):
        raise BadSourceData(
            frame.source,
            f"at most {MAX_DROPPED_FRACTION:.0%} of the rows may be broken, {count} of {len(frame)} were: "
            + "; ".join(notes),
        )
    return frame.rows(~is_broken, *notes)


def _any(frame: SourceFrame, masks: list[Mask]) -> Mask:
    found = np.zeros(len(frame), dtype=bool)
    for mask in masks:
        found |= mask
    return found


def _require_freq(frame: SourceFrame, freq: str) -> None:
    count, unit = parse_freq(freq)
    step = count * _STEP_SECONDS[unit]
    gaps: FloatArray = np.diff(frame.time).astype(np.float64)
    if len(gaps) == 0:
        return
    if gaps.min() < step:
        index = int(np.argmin(gaps))
        which = np.zeros(len(frame), dtype=bool)
        which[index : index + 2] = True
        raise BadSourceData(
            frame.source, f"rows of freq {freq} must be at least {freq} apart, found {told_times(frame, which)}"
        )
    if np.median(gaps) > MAX_GAP_STEPS * step:
        raise BadSourceData(
            frame.source,
            f"rows of freq {freq} were expected, the typical distance is {np.median(gaps) / step:.1f} times that; "
            "name the freq that the data has",
        )


def _withhold_incomplete(frame: SourceFrame, wanted: Wanted) -> SourceFrame:
    """Leave out the newest bars as long as their interval is not complete: their values still change.

    What is known in the future does not change: of such columns their values stay.
    """
    which = np.zeros(len(frame), dtype=bool)
    which[_complete(frame, wanted) : _begun(frame, wanted)] = True
    changing = {name for name in frame.columns if name not in wanted.known_future}
    has_more = _any(frame, [~np.isnan(frame.columns[name]) for name in changing]) & which
    note = (f"withheld until complete: {told_times(frame, has_more)}",) if has_more.any() else ()
    columns = {
        name: np.where(which, np.nan, values) if name in changing else values for name, values in frame.columns.items()
    }
    keep = ~which | _any(frame, [~np.isnan(values) for values in columns.values()])
    return replace(frame, columns=columns).rows(keep, *note)


def _ahead(frame: SourceFrame, wanted: Wanted) -> Mask:
    """Return which rows may lack what is not known in the future."""
    rows = np.arange(len(frame))
    return rows >= _complete(frame, wanted) if wanted.known_future else np.zeros(len(frame), dtype=bool)


def _complete(frame: SourceFrame, wanted: Wanted) -> int:
    """Return how many of the first rows have an interval that is complete."""
    keep = _begun(frame, wanted)
    count, unit = parse_freq(wanted.freq)
    longest = timedelta(seconds=count * _STEP_SECONDS[unit] * 1.2) + _SURELY_COMPLETE
    while keep:
        time = datetime.fromtimestamp(int(frame.time[keep - 1]), UTC)
        if time + longest <= wanted.now or _end(frame, wanted, time) <= wanted.now:
            break
        keep -= 1
    return keep


def _begun(frame: SourceFrame, wanted: Wanted) -> int:
    return int(np.searchsorted(frame.time, future_from(wanted.freq, wanted.now)))


def future_from(freq: str, now: datetime) -> int:
    """Return the UTC seconds from which a row is of the future: up to a step later it is the bar that begins.

    A session of the far east begins on the evening before its date, and clocks differ.
    """
    count, unit = parse_freq(freq)
    return int(now.timestamp() + count * _STEP_SECONDS[unit] * 1.2)


def _end(frame: SourceFrame, wanted: Wanted, time: datetime) -> datetime:
    try:
        return interval_end(wanted.calendar, wanted.freq, time)
    except CalendarError as error:
        raise BadSourceData(frame.source, str(error)) from error
