"""Figures beside their targets and the naive forecast, for a terminal and for the documentation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
from rich.table import Table

_HEAD = ("set", "model", "measure", "value", "to reach", "", "naive", "time", "note")


class Target(msgspec.Struct, frozen=True):
    """What a figure is to reach: at least `least`, at most `most`; ``None`` is open.

    >>> at_most(13.4).is_reached(13.4), within(80, 2).is_reached(82.1)
    (True, False)
    """

    least: float | None = None
    most: float | None = None

    def is_reached(self, value: float) -> bool:
        """Return whether a figure is within."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def text(self, unit: str) -> str:
        """Return the rule in words."""
        if self.least is not None and self.most is not None:
            return f"{self.least:g} to {self.most:g}{unit}"
        return f"at least {self.least:g}{unit}" if self.most is None else f"at most {self.most:g}{unit}"


def at_most(value: float) -> Target:
    """Return the target of a loss."""
    return Target(most=value)


def at_least(value: float) -> Target:
    """Return the target of a skill."""
    return Target(least=value)


def within(value: float, distance: float) -> Target:
    """Return the target of a coverage: no further from ``value`` than ``distance``, on either side."""
    return Target(least=value - distance, most=value + distance)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One figure.

    Attributes:
        dataset: What was forecast, e.g. ``M3 monthly``.
        model: What forecast it.
        measure: What the figure is, e.g. ``sMAPE``.
        value: The figure; finite.
        unit: Written behind the figures, e.g. ``" %"``.
        target: What it is to reach; ``None`` where it only informs.
        naive: The same measure of the naive forecast; ``None`` for what has none, such as a time.
        naive_name: Which naive that is.
        seconds: How long it took to get there.
        note: What the reader must know to judge it.
    """

    dataset: str
    model: str
    measure: str
    value: float
    unit: str = ""
    target: Target | None = None
    naive: float | None = None
    naive_name: str = "last value"
    seconds: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"{self.measure} of {self.model} on {self.dataset} must be finite, was {self.value}")

    @property
    def is_reached(self) -> bool | None:
        """Whether the target is reached; ``None`` without one."""
        return None if self.target is None else self.target.is_reached(self.value)

    def cells(self) -> tuple[str, ...]:
        """Return the texts of the row."""
        mark = {None: "", True: "✓", False: "✗"}[self.is_reached]
        return (
            self.dataset,
            self.model,
            self.measure,
            f"{_number(self.value)}{self.unit}",
            "" if self.target is None else self.target.text(self.unit),
            mark,
            "" if self.naive is None else f"{_number(self.naive)}{self.unit} ({self.naive_name})",
            "" if self.seconds is None else f"{self.seconds:.1f} s",
            self.note,
        )


def _number(value: float) -> str:
    """Return four significant digits, without an exponent.

    >>> _number(13.41234), _number(0.83456), _number(-0.0004), _number(12345.6), _number(0.0)
    ('13.41', '0.8346', '-0.0004', '12346', '0')
    """
    if value == 0:
        return "0"
    size = abs(value)
    digits = 4 if size < 1 else max(3 - int(math.log10(size)), 0)
    return f"{value:.{digits}f}"


def rich_table(rows: Sequence[Row]) -> Table:
    """Return the figures as a table for a terminal."""
    table = Table()
    for name in _HEAD:
        table.add_column(name, justify="right" if name in {"value", "naive", "time"} else "left", overflow="fold")
    for row in rows:
        style = {None: None, True: "green", False: "red"}[row.is_reached]
        table.add_row(*row.cells(), style=style)
    return table


def markdown(rows: Sequence[Row]) -> str:
    """Return the figures as a table for the documentation."""
    lines = ["| " + " | ".join(_HEAD) + " |", "|" + " --- |" * len(_HEAD)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row.cells()) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def verdict(rows: Sequence[Row]) -> str:
    """Return in one sentence how many targets are reached, and name those that are not."""
    judged = [row for row in rows if row.target is not None]
    missed = [f"{row.dataset}, {row.model}, {row.measure}" for row in judged if not row.is_reached]
    told = f"{len(judged) - len(missed)} of {len(judged)} targets reached"
    return f"{told}; missed: {'; '.join(missed)}." if missed else f"{told}."
