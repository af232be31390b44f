"""Rows of a table that lie ahead, as what a model is told of its steps; each fault is named by row and column."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from gateway.bodies import FutureBody, invalid
from gateway.problems import FieldFault, Problem
from gateway.uploads.jobs import column_name

Cell = float | str | bool | None
#: How a time or a series may be called where the file called it otherwise.
_TIME_NAMES = ("date", "time", "timestamp", "ds")
SERIES = "series"
_MONTH_TEXT = len("2025-01")


@dataclass
class Step:
    """One row: the number that it came with, its time and its cells by the names of our columns."""

    row: int
    time: datetime
    cells: dict[str, Cell]


@dataclass
class Steps:
    """The rows of one series, by time."""

    steps: list[Step] = field(default_factory=list)

    @property
    def times(self) -> tuple[datetime, ...]:
        return tuple(step.time for step in self.steps)


def fault(where: str, expected: str, found: object, code: str = "invalid-body") -> Problem:
    """Return the 422 for one cell."""
    shown = "nothing" if found is None else str(found)[:100]
    one = FieldFault(field=where, expected=expected, found=shown)
    if code == "invalid-body":
        return invalid(f"{where} must be {expected}, was {shown}", [one])
    return Problem(422, code, f"{where} must be {expected}, was {shown}", errors=[one])


def by_series(
    rows: Sequence[Mapping[str, Cell]], *, time_name: str | None, series_name: str | None, default: str | None
) -> dict[str | None, Steps]:
    """Return rows by the name of their series; ``None`` is the only one of the project.

    Args:
        rows: Column -> value, in the names of the file or in ours.
        time_name: Our name of the column of times, where the project knows it.
        series_name: Likewise of the column that names the series.
        default: The series of rows that name none.

    Raises:
        Problem: 422.
    """
    found: dict[str | None, Steps] = {}
    for number, row in enumerate(rows):
        cells: dict[str, Cell] = {}
        for name, cell in row.items():
            ours = column_name(name)
            if ours in cells:
                raise fault(f"rows[{number}].{name}", f"one value of {ours}", "another one")
            cells[ours] = cell
        named = _series(cells, series_name, default)
        time = _time(cells, time_name, number)
        found.setdefault(named, Steps()).steps.append(Step(number, time, cells))
    for steps in found.values():
        steps.steps.sort(key=lambda step: step.time)
    return found


def _series(cells: dict[str, Cell], series_name: str | None, default: str | None) -> str | None:
    for name in filter(None, (series_name, SERIES)):
        cell = cells.pop(name, None)
        if cell is not None:
            return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()
    return default


def _time(cells: dict[str, Cell], time_name: str | None, number: int) -> datetime:
    names = (time_name, *_TIME_NAMES) if time_name else _TIME_NAMES
    name = next((name for name in names if name in cells), None)
    if name is None:
        expected = f"a date such as 2025-01-31 in the column {names[0]}: without a time a row is no step of a forecast"
        raise fault(f"rows[{number}].{names[0]}", expected, None)
    cell = cells.pop(name)
    time = _parsed(cell) if isinstance(cell, str) else None
    if time is None:
        raise fault(f"rows[{number}].{name}", "a date such as 2025-01-31, or a time such as 2025-01-31T14:00:00Z", cell)
    return time


def _parsed(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(f"{text}-01" if len(text) == _MONTH_TEXT else text)
    except ValueError:
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def require_ahead(steps: Steps, cutoff: datetime, *, is_daily: bool) -> None:
    """Refuse rows that are not later than what is known, or that stand for one step twice.

    Raises:
        Problem: 422.
    """
    before = None
    for step in steps.steps:
        if is_daily:
            step.time = step.time.replace(hour=0, minute=0, second=0, microsecond=0)
        where, shown = f"rows[{step.row}]", step.time.isoformat().replace("+00:00", "Z")
        if step.time <= cutoff:
            raise fault(where, f"later than {cutoff.isoformat().replace('+00:00', 'Z')}, the last known target", shown)
        if step.time == before:
            raise fault(where, "one row for each time", f"a second one for {shown}")
        before = step.time


def future_of(
    steps: Steps, names: Sequence[str], known: Collection[str], target: str
) -> tuple[FutureBody | None, set[str]]:
    """Return what the rows tell of the steps, and the columns that the model does not read there.

    Args:
        steps: Of one series, by time.
        names: Columns that the model knows in the future.
        known: Every column of the project.
        target: The column that is forecast: it may stand there empty.

    Raises:
        Problem: 422; ``future-missing`` where a column has no value, ``unknown-column`` for one that is not known.
    """
    ignored = set()
    for step in steps.steps:
        for name in step.cells:
            if name in names:
                continue
            if name not in known:
                expected = f"one of the columns {', '.join(known)}"
                raise fault(f"rows[{step.row}].{name}", expected, name, "unknown-column")
            if name == target and step.cells[name] is not None:
                raise fault(f"rows[{step.row}].{name}", "empty: it is what is forecast", step.cells[name])
            ignored.add(name)
    if not steps.steps or not names:
        return None, ignored - {target}
    columns = {name: tuple(_number(step, name) for step in steps.steps) for name in names}
    return FutureBody(columns=columns, time=steps.times), ignored - {target}


def _number(step: Step, name: str) -> float:
    cell: Any = step.cells.get(name)
    where = f"rows[{step.row}].{name}"
    if cell is None:
        raise fault(where, f"a value of {name}: the model was trained with it", None, "future-missing")
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise fault(where, "a number", cell)
    return value
