"""Which cutoffs are fitted, validated, calibrated and tested on.

    rows | fit ............ | calibration block 1 | block 2 | ... | test |
         | fit ................................. | calibration block 2 |
         | fit ........................................................ | test |
         | fit .................................................................| release

The model of every block is fitted on what lies before it, its own validation tail included, and forecasts the block:
a walk-forward backtest with refits. Bands of the test part are calibrated on the calibration blocks, bands of the
release on all blocks. A target never reaches beyond the first cutoff of what it must not know, in any series, so
nothing that is estimated has seen the outcomes that it is judged by (purging: Lopez de Prado, Advances in Financial
Machine Learning, 2018, chapter 7). An embargo leaves out so many rows more, for what outlives the targets: each fit,
its validation tail and the calibration end that much before what comes after them.

A model that learns from rows and not from examples (a baseline, a statistical model) can be judged on less: where the
history is too short for all of this, there is one calibration block and as few folds as there are, but one for
calibration and one for the test at least. The folds between them, whose outcomes reach into the test part, then
calibrate the release too:

    rows | known | calibration | overlap | test |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from forecasting.backtest import SCORED_LEVELS
from forecasting.errors import TooLittleHistory
from forecasting.gaps import BoolArray
from forecasting.intervals import folds_needed
from forecasting.panel import IntArray

MIN_FIT, MIN_VALIDATION, MIN_TEST = 30, 10, 10
#: Fewer rows do not tell how much a series moves, which the bands of every model are measured in.
MIN_KNOWN = 8
_VALIDATION_SHARE = 0.12
_CALIBRATION_SHARE, _TEST_SHARE = 0.45, 0.15
#: A long part is thinned to every second, third, ... cutoff while this many remain: neighbours say nearly the same.
_CALIBRATION_FOLDS, _TEST_FOLDS = 400, 250
#: Folds of a part over all series; beyond it every series is thinned alike, to one fold at least.
_MOST_FOLDS = 20_000


class Part(NamedTuple):
    """Cutoffs in one series, as rows, ascending and evenly spaced."""

    series: int
    cutoffs: IntArray


class Cut(NamedTuple):
    """One fit and the folds that are forecast with it; each by series, empty parts left out."""

    fit: list[Part]
    validation: list[Part]
    folds: list[Part]


class Plan(NamedTuple):
    """All fits of a training.

    Attributes:
        blocks: The calibration blocks and, last, the test block.
        release: The fit on everything; it has no folds.
        overlap: In a short history, the folds between calibration and test, which calibrate the release alone.
    """

    blocks: list[Cut]
    release: Cut
    overlap: Cut | None = None

    @property
    def calibration(self) -> list[Part]:
        """The folds of all calibration blocks."""
        return [part for block in self.blocks[:-1] for part in block.folds]

    @property
    def test(self) -> list[Part]:
        """The folds of the test block."""
        return self.blocks[-1].folds


class PlanSize(NamedTuple):
    """What a plan must respect.

    Attributes:
        first_row: The first row that can be a cutoff.
        horizon: Steps ahead.
        min_calibration: Folds that the highest level needs.
        refits: Calibration blocks, at most, each with a fit of its own; 0 is one whose fit forecasts the test too.
        needs_fit: Whether examples are fitted, so that a fit and a validation part are needed.
        least_known: Rows that the first fit must know where no examples are fitted.
        embargo: Rows between the last one that is known and the first cutoff that is judged by it.
    """

    first_row: int
    horizon: int
    min_calibration: int
    refits: int
    needs_fit: bool
    least_known: int = MIN_KNOWN
    embargo: int = 0

    @property
    def first_block(self) -> int:
        """The earliest row at which the first block can begin."""
        if not self.needs_fit:
            return max(self.first_row + self.horizon + self.embargo, self.first_fold)
        return self.first_row + MIN_FIT + MIN_VALIDATION - 2 + 2 * (self.horizon + self.embargo)

    @property
    def rows(self) -> int:
        """Rows that are needed for as many folds as the levels ask for."""
        return self.first_block + self.min_calibration - 1 + MIN_TEST + 2 * self.horizon + self.embargo

    @property
    def first_fold(self) -> int:
        """The earliest fold of a short history."""
        return max(self.first_row, self.least_known - 1 + self.embargo)

    @property
    def least_rows(self) -> int:
        """Rows that are needed at least: for a model without examples, those of two folds that do not overlap."""
        return self.rows if self.needs_fit else min(self.first_fold + 2 * self.horizon + 1 + self.embargo, self.rows)


def min_calibration_of(levels: Sequence[float]) -> int:
    """Return the fewest calibration folds that support every level asked for and every level that is scored."""
    return max(folds_needed(level) for level in (*levels, *SCORED_LEVELS))


class _Rows(NamedTuple):
    """The rows of one series.

    Attributes:
        time: UTC seconds, ascending, shape (n,).
        is_whole: Whether a row owes nothing to later ones, shape (n,).
    """

    time: IntArray
    is_whole: BoolArray

    def known(self, end: int | None) -> int:
        """Return how many rows can be known at the time ``end``: none that owes something to a later one."""
        count = len(self.time) if end is None else int(np.searchsorted(self.time, end, side="right"))
        whole = np.flatnonzero(self.is_whole[:count])
        return int(whole[-1]) + 1 if len(whole) else 0


def plan_folds(times: Sequence[IntArray], size: PlanSize, is_whole: Sequence[BoolArray] | None = None) -> Plan:
    """Return the fits and folds of a training.

    Args:
        times: UTC seconds of the rows of every series; the first one sets the boundaries, all keep to them in time.
        size: What the plan must respect.
        is_whole: Of every series, which rows owe nothing to later ones: only they can be cutoffs, and what is known
            at an edge ends with one. ``None``: all.

    Raises:
        TooLittleHistory: With the rows that are needed and the rows there are.
    """
    first, horizon = times[0], size.horizon
    series = [
        _Rows(time, np.ones(len(time), dtype=bool) if is_whole is None else is_whole[index])
        for index, time in enumerate(times)
    ]
    if len(first) < size.least_rows:
        raise _too_short(len(first), size)
    if len(first) < size.rows:
        return _checked(_short(series, size), size)
    spare = len(first) - size.rows
    test_span = _span(MIN_TEST, _TEST_SHARE, len(first), spare // 4)
    calibration_span = _span(size.min_calibration, _CALIBRATION_SHARE, len(first), spare // 2)
    test_start = len(first) - horizon - test_span
    start = test_start - horizon - size.embargo - calibration_span + 1
    count = max(min(size.refits, calibration_span // MIN_TEST), 1)
    edges = [int(first[start + calibration_span * block // count]) for block in range(count)]
    test_edge = int(first[test_start])
    stride = max(calibration_span // max(_CALIBRATION_FOLDS, size.min_calibration), 1)
    calibration = _limited(_cutoffs(series, size, edges[0], test_edge, stride))
    blocks = []
    for edge, end in zip(edges, [*edges[1:], test_edge], strict=True):
        folds = [Part(s, rows[(times[s][rows] >= edge) & (times[s][rows] < end)]) for s, rows in calibration]
        blocks.append(_cut(series, size, edge, folds))
    test = _limited(_cutoffs(series, size, test_edge, None, max(test_span // _TEST_FOLDS, 1)))
    blocks.append(_cut(series, size, test_edge, test) if size.refits else blocks[0]._replace(folds=test))
    return _checked(Plan(blocks, _cut(series, size, None, [])), size)


def _checked(plan: Plan, size: PlanSize) -> Plan:
    """Return a plan without empty blocks; gaps may have left too few rows that can be cutoffs."""
    blocks = [block for block in plan.blocks[:-1] if block.folds]
    for block in (*blocks, plan.blocks[-1], plan.release):
        if not blocks or not plan.test or not block.fit or (size.needs_fit and not block.validation):
            raise TooLittleHistory(
                "too-little-history",
                field="observations",
                expected="rows without interpolated values in every part: fit, validation, calibration and test",
                found="a part without any",
                advice="load what is missing, or choose another rule for gaps",
            )
    return plan._replace(blocks=[*blocks, plan.blocks[-1]])


def _too_short(rows: int, size: PlanSize) -> TooLittleHistory:
    folds = (
        f"{size.min_calibration} calibration folds for the highest level and {MIN_TEST} test folds"
        if size.needs_fit
        else "one calibration fold and one test fold"
    )
    return TooLittleHistory(
        "too-little-history",
        field="observations",
        expected=f"at least {size.least_rows} complete rows: {size.first_row + 1} for the first window, "
        f"{size.horizon} targets after each part, {folds}",
        found=str(rows),
        advice="load more history, or ask for a shorter horizon, a smaller window_size or lower levels",
    )


def _short(series: Sequence[_Rows], size: PlanSize) -> Plan:
    """Return a plan with fewer folds than the levels ask for."""
    first, horizon = series[0].time, size.horizon
    folds = len(first) - size.least_rows + 2
    test_span = min(max(folds // 3, 1), MIN_TEST)
    test_start = len(first) - horizon - test_span
    late_start = test_start - horizon - size.embargo + 1
    start, overlap, test_edge = (int(first[row]) for row in (size.first_fold, late_start, test_start))
    late = [
        Part(index, rows[series[index].time[rows] < test_edge])
        for index, rows in _cutoffs(series, size, overlap, None, 1)
    ]
    return Plan(
        [
            _cut(series, size, start, _cutoffs(series, size, start, test_edge, 1)),
            _cut(series, size, test_edge, _cutoffs(series, size, test_edge, None, 1)),
        ],
        _cut(series, size, None, []),
        _cut(series, size, overlap, late) if any(len(part.cutoffs) for part in late) else None,
    )


def _limited(parts: list[Part]) -> list[Part]:
    """Return the parts, thinned where they are too many folds together for a backtest to end in reasonable time."""
    stride = max(math.ceil(sum(len(part.cutoffs) for part in parts) / _MOST_FOLDS), 1)
    return [Part(series, cutoffs[::-1][::stride][::-1]) for series, cutoffs in parts]


def _span(least: int, share: float, rows: int, spare: int) -> int:
    """Return a share of the rows, as far as there are rows to spare beyond the least."""
    return least + max(min(int(share * rows) - least, spare), 0)


def _cut(series: Sequence[_Rows], size: PlanSize, edge: int | None, folds: list[Part]) -> Cut:
    """Return the fit on what is known at the time ``edge`` (everything when ``None``), with its validation tail."""
    folds = [part for part in folds if len(part.cutoffs)]
    if not size.needs_fit:
        return Cut(_known(series, size, edge), [], folds)
    known = _cutoffs(series, size, None, edge, 1)
    first = next((part.cutoffs for part in known if part.series == 0), np.empty(0, dtype=np.int64))
    tail = max(MIN_VALIDATION, int(_VALIDATION_SHARE * len(first)))
    if len(first) <= tail:
        return Cut([], [], folds)
    start = int(series[0].time[first[-tail]])
    return Cut(_cutoffs(series, size, None, start, 1), _cutoffs(series, size, start, edge, 1), folds)


def _known(series: Sequence[_Rows], size: PlanSize, edge: int | None) -> list[Part]:
    """Return the cutoffs whose targets lie at or before the time ``edge``, up to the newest such row.

    What is estimated from rows needs no whole window: where there is none, the only cutoff may lie before the first
    row, so that its last target is the newest row that is known.
    """
    found = []
    for index, one in enumerate(series):
        rows = one.known(edge) - (0 if edge is None else size.embargo)
        last = rows - 1 - size.horizon
        if rows > 1:
            found.append(Part(index, np.arange(min(size.first_row, last), last + 1, dtype=np.int64)))
    return found


def _cutoffs(series: Sequence[_Rows], size: PlanSize, start: int | None, end: int | None, stride: int) -> list[Part]:
    """Return the cutoffs from the time ``start`` whose targets all lie an embargo before the time ``end``, or at it."""
    found = []
    for index, one in enumerate(series):
        known = one.known(end) - (0 if end is None else size.embargo)
        rows = np.arange(size.first_row, max(known - size.horizon, size.first_row), dtype=np.int64)
        rows = rows[one.is_whole[rows]]
        if start is not None:
            rows = rows[one.time[rows] >= start]
        # Counted from the end, so that the newest cutoff is always used.
        kept = rows[::-1][::stride][::-1]
        if len(kept):
            found.append(Part(index, kept))
    return found
