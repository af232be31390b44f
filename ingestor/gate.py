"""The quality gate: the declared rules, and what they make of a fetch. No I/O, no clock.

Each rule is a pure function over the cleaned rows, the log's view of the series and the calendar. Only rows that are
new to the log, or change it, can be held back: what it has was judged when it came, or was let in by a person.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from forecasting.calendars import parse_freq
from forecasting.panel import Observations
from ingestor import rules_bars, rules_form, rules_levels
from ingestor.cleaning import future_from
from ingestor.errors import BadSourceData
from ingestor.judging import Case, Finding, Mask
from ingestor.sources import IntArray, SourceFrame
from ingestor.timetable import grid_of, has_sessions
from schemas.quarantine import RuleBroken

Rule = Callable[[Case], Iterator[Finding]]

#: The rules by name, those of the form first: the others rely on it. One rule may give findings of several outcomes.
RULES: Mapping[str, Rule] = {
    "schema": rules_form.schema,
    "order": rules_form.order,
    "duplicates": rules_form.duplicates,
    "currency-change": rules_form.currency_change,
    "future-date": rules_form.future_date,
    "mixed-units": rules_bars.mixed_units,
    "unit-error": rules_levels.unit_error,
    "split": rules_levels.split,
    "timezone-slip": rules_form.timezone_slip,
    "bar-consistency": rules_bars.bar_consistency,
    "stale-repeat": rules_bars.stale_repeat,
    "jumps": rules_levels.jumps,
    "gaps": rules_form.gaps,
    "missing-values": rules_form.missing_values,
    "zero-volume": rules_bars.zero_volume,
}
_TOLD_TIMES = 20


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What becomes of the rows of a fetch.

    Attributes:
        held: Rows that are held back, shape (n,).
        broken: Why, a rule each; empty when none is held.
        flags: What was let in and is told, ``rule: reason`` each.
    """

    held: Mask
    broken: tuple[RuleBroken, ...]
    flags: tuple[str, ...]


def judge(
    frame: SourceFrame,
    known: Observations | None,
    *,
    freq: str,
    calendar: str,
    now: datetime,
    known_future: Collection[str] = (),
    force: bool = False,
    calendar_times: IntArray | None = None,
) -> Verdict:
    """Return what becomes of the rows of ``frame``.

    Args:
        frame: Clean rows, at least one.
        known: The log's view of the series; ``None`` when it has none.
        freq: Length of one observation.
        calendar: Exchange calendar code, or ``24/7``.
        now: When the rows were fetched (UTC).
        known_future: Columns that rows later than now may have.
        force: Let in, with a flag, what would be held back.
        calendar_times: When the calendar expects rows; ``None``: it is asked here, which loads it where it is an
            exchange's.

    Raises:
        BadSourceData: A rule says that the rows can never be true of this series.
    """
    case = Case(
        frame=frame,
        known=known,
        grid=grid_of(freq, calendar, calendar_times, frame.time),
        future_from=future_from(freq, now),
        known_future=frozenset(known_future),
        is_daily=parse_freq(freq)[1] not in ("min", "h"),
        has_sessions=has_sessions(freq, calendar),
    )
    findings: list[Finding] = []
    for rule in RULES.values():
        findings += rule(case)
        _refuse(frame.source, findings)  # the next rule may rely on it
    held: Mask = np.zeros(len(frame), dtype=bool)
    broken, flags = [], []
    for finding in findings:
        rows = case.is_news if finding.outcome == "all" else finding.rows & case.is_news
        if finding.outcome == "flag" or force:
            # What the log has already was told when it came.
            if rows.any():
                flags.append(f"{finding.rule}: {finding.reason}")
        elif rows.any():
            held |= rows
            broken.append(_broken(frame, finding, rows))
    return Verdict(held=held, broken=tuple(broken), flags=tuple(flags))


def _refuse(source: str, findings: list[Finding]) -> None:
    refused = [f"{finding.rule}: {finding.reason}" for finding in findings if finding.outcome == "refuse"]
    if refused:
        raise BadSourceData(source, "; ".join(refused))


def _broken(frame: SourceFrame, finding: Finding, rows: Mask) -> RuleBroken:
    return RuleBroken(
        rule=finding.rule,
        column=finding.column,
        times=tuple(datetime.fromtimestamp(int(time), UTC) for time in frame.time[rows][:_TOLD_TIMES]),
        rows=int(rows.sum()),
        reason=finding.reason,
    )
