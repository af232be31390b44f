"""Live rows: each series of an append is cleaned, judged and compared with the log as any fetch.

One row behind the newest one of the log, with nothing to say about it, is what comes a thousand times a second. For it
`is_plain` tells from a few comparisons what `clean`, `judge` and `plan` would say: nothing is dropped, no rule has a
finding, the row is an `append`. Whatever it cannot be sure of takes the long way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from math import log
from typing import NamedTuple, Self

import numpy as np

from forecasting.calendars import SECONDS, parse_freq
from forecasting.errors import CalendarError
from forecasting.panel import Observations
from forecasting.sessions import ALWAYS
from ingestor.cleaning import FIRST_TIME, LAST_TIME, MAX_FREQ_COUNT, clean
from ingestor.core import Series, plan
from ingestor.errors import BadSourceData
from ingestor.gate import judge
from ingestor.quarantine import Held, held_back
from ingestor.rules_bars import MIXED_RATIO, ROUNDING
from ingestor.rules_levels import JUMP_LEAST
from ingestor.sources import PRICE_COLUMNS, SourceFrame, Wanted
from schemas.appends import SeriesRows
from schemas.observations import ObservationBatch
from schemas.quarantine import ObservationsQuarantined

NAME = "live"
#: What `is_plain` allows is a little less than what the rules do, so that no rounding comes between them.
_SLACK = 1 - 1e-9


#: Plain rows of a series that are published as one batch have so many values at most, so that no topic refuses it.
_MAX_JOINED_VALUES = 5_000


class Newest(NamedTuple):
    """What the newest row of a series says of the next one; ``time`` in seconds since 1970 (UTC)."""

    freq: str
    calendar: str
    unit: str
    time: int
    values: dict[str, float]


def newest_of(known: Observations) -> Newest:
    """Return the newest row of a series, which has one."""
    values = {name: float(column[-1]) for name, column in known.columns.items()}
    return Newest(known.freq, known.calendar, known.unit, int(known.time[-1]), values)


class PlainRows:
    """Rows of one series that follow one another, each plain behind the one before: published as one batch.

    Judged together they say what they would say one after another, since a plain row depends on the newest one alone.
    """

    def __init__(self, rows: SeriesRows, newest: Newest) -> None:
        self.series_id = rows.series_id
        self.time: list[datetime] = []
        self._columns: dict[str, list[float]] = {name: [] for name in rows.columns}
        self._newest = newest
        self.join(rows)

    @classmethod
    def begin(cls, rows: SeriesRows, known: Observations, now: datetime) -> Self | None:
        """Return a row that is plain behind what the log has; ``None`` when it is not."""
        newest = newest_of(known)
        return cls(rows, newest) if is_plain(rows, newest, now) else None

    def takes(self, rows: SeriesRows, now: datetime) -> bool:
        """Return whether one more row is plain behind these."""
        has_room = (len(self.time) + 1) * len(self._columns) <= _MAX_JOINED_VALUES
        return has_room and is_plain(rows, self._newest, now)

    def join(self, rows: SeriesRows) -> None:
        """Add a row for which `takes` holds."""
        values = {name: float(value) for name, (value,) in rows.columns.items() if value is not None}
        self.time += rows.time
        for name, value in values.items():
            self._columns[name].append(value)
        self._newest = self._newest._replace(time=int(rows.time[0].timestamp()), values=values)

    def batch(self, now: datetime) -> ObservationBatch:
        """Return them as they are published."""
        return ObservationBatch.of(
            series_id=self.series_id,
            freq=self._newest.freq,
            calendar=ALWAYS,
            kind="append",
            source=NAME,
            received_at=now,
            time=tuple(self.time),
            columns={name: tuple(values) for name, values in self._columns.items()},
            unit=self._newest.unit,
        )


@dataclass
class Judged:
    """What becomes of the rows of an append."""

    batches: list[ObservationBatch] = field(default_factory=list)
    #: Begun with rows of this append; rows of later ones may join before `finish`.
    plain: list[PlainRows] = field(default_factory=list)
    rows_published: int = 0
    held: list[ObservationsQuarantined] = field(default_factory=list)
    rows_held: int = 0
    flags: list[str] = field(default_factory=list)
    #: Why series were refused, or what the reader should know.
    refused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, rows: SeriesRows, known: Observations | None, held: Held, ingest_id: str, now: datetime) -> None:
        """Judge the rows of one series; what is wrong with them is no fault of the others.

        Args:
            rows: What came.
            known: The log's view of the series; ``None`` when it has none.
            held: What is held back of it.
            ingest_id: That of the append.
            now: When it came (UTC).
        """
        plain = None if known is None else PlainRows.begin(rows, known, now)
        if plain is not None:
            self.plain.append(plain)
            self.rows_published += 1
            return
        try:
            self._add_slowly(rows, known, held, ingest_id, now)
        except BadSourceData as fault:
            self.refused.append(f"{rows.series_id}: {fault}")

    def _add_slowly(
        self, rows: SeriesRows, known: Observations | None, held: Held, ingest_id: str, now: datetime
    ) -> None:
        wanted = Wanted(symbol=rows.series_id, freq=rows.freq, calendar=ALWAYS, now=now)
        try:
            frame = clean(frame_of(rows), wanted)
            self.notes += [f"{rows.series_id}: {note}" for note in frame.notes]
            if not len(frame):
                return
            verdict = judge(frame, known, freq=rows.freq, calendar=ALWAYS, now=now)
        except CalendarError as error:
            raise BadSourceData(NAME, str(error)) from error
        series = Series(series_id=rows.series_id, freq=rows.freq, calendar=ALWAYS)
        new = verdict.held & ~held.has(frame)
        self.held += held_back(ingest_id, plan(series, known, frame.rows(new), now), verdict.broken)
        batches = plan(series, known, frame.rows(~verdict.held), now)
        self.batches += batches
        self.rows_published += sum(len(batch.time) for batch in batches)
        self.rows_held += int(verdict.held.sum())
        self.flags += [f"{rows.series_id}: {flag}" for flag in verdict.flags]
        self.notes += [f"{rows.series_id}: held: {broken.reason}" for broken in verdict.broken]

    def finish(self, now: datetime) -> None:
        """Make the batches of plain rows, when no more join."""
        self.batches += [plain.batch(now) for plain in self.plain]
        self.plain = []


def frame_of(rows: SeriesRows) -> SourceFrame:
    """Return the rows as a source would give them."""
    return SourceFrame(
        source=NAME,
        unit=rows.unit,
        time=np.array([int(time.timestamp()) for time in rows.time], dtype=np.int64),
        columns={name: np.array(values, dtype=np.float64) for name, values in rows.columns.items()},
    )


def is_plain(rows: SeriesRows, newest: Newest, now: datetime) -> bool:
    """Return whether one row follows the newest one of the log, complete and with nothing that a rule could say.

    Never true where `clean`, `judge` or `plan` would do more than publish the row as it is; the other way round it
    may be.
    """
    if len(rows.time) != 1 or rows.columns.keys() != newest.values.keys():
        return False
    values: dict[str, float] = {}
    for name, (value,) in rows.columns.items():
        if value is None:
            return False
        values[name] = float(value)
    return _follows(rows, newest, now) and _is_sound(values) and _is_calm(values, newest.values)


def _follows(rows: SeriesRows, newest: Newest, now: datetime) -> bool:
    """Return whether the row is the next one, has ended, and is of the series that the log has."""
    step = _step_seconds(rows.freq)
    moment = rows.time[0].timestamp()
    time = int(moment)
    return (
        step is not None
        and newest.calendar == ALWAYS
        and newest.freq == rows.freq
        and (not rows.unit or rows.unit == newest.unit)
        and time == moment
        and FIRST_TIME <= time < LAST_TIME
        and time - newest.time == step
        and time + step <= now.timestamp()
    )


@lru_cache(maxsize=128)
def _step_seconds(freq: str) -> int | None:
    """Return the length of a step that always has the same; ``None`` for months, quarters and years."""
    count, unit = parse_freq(freq)
    return count * SECONDS[unit] if unit in SECONDS and count <= MAX_FREQ_COUNT else None


def _is_sound(values: dict[str, float]) -> bool:
    """Return whether no rule about one bar, or about the form, has anything to say."""
    if "splits" in values:
        return False  # rules about splits look far back
    prices = [values[name] for name in PRICE_COLUMNS if name in values]
    if prices:
        lowest, highest = min(prices), max(prices)
        if not lowest > 0 or highest >= MIXED_RATIO * _SLACK * lowest:
            return False
        high, low = values.get("high", highest), values.get("low", lowest)
        if highest > high * (1 + ROUNDING * _SLACK) or lowest < low * (1 - ROUNDING * _SLACK) or high < low:
            return False
    return values.get("volume", 1.0) > 0


def _is_calm(values: dict[str, float], before: dict[str, float]) -> bool:
    """Return whether the row moves little from the newest one of the log, and is not its repeat."""
    measured = [name for name in PRICE_COLUMNS if name in values] or [next(iter(values))]
    if "close" not in values:
        measured.append(next(iter(values)))
    for name in measured:
        if not (before[name] > 0 and values[name] > 0 and abs(log(values[name] / before[name])) < JUMP_LEAST * _SLACK):
            return False
    # The level of the newest row counts only where its bar is in one unit.
    prices = [before[name] for name in PRICE_COLUMNS if name in before]
    if prices and not max(prices) < MIXED_RATIO * _SLACK * min(prices):
        return False
    return any(values[name] != before[name] for name in (*PRICE_COLUMNS, "volume") if name in values) or (
        "volume" not in values
    )
