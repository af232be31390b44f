"""Which cutoffs are fitted, validated, calibrated and tested on.

    rows | fit ............ | calibration block 1 | block 2 | ... | test |
         | fit ................................. | calibration block 2 |
         | fit ........................................................ | test |
         | fit .................................................................| release

The model of every block is fitted on what lies before it, its own validation tail included, and forecasts the block:
a walk-forward backtest with refits. Bands of the test part are calibrated on the calibration blocks, bands of the
release on all blocks. A target never reaches beyond the first cutoff of what it must not know, in any series, so
nothing that is estimated has seen the outcomes that it is judged by.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from forecasting.backtest import SCORED_LEVELS
from forecasting.errors import TooLittleHistory
from forecasting.intervals import folds_needed
from forecasting.panel import IntArray

MIN_FIT, MIN_VALIDATION, MIN_TEST = 30, 10, 10
_VALIDATION_SHARE = 0.12
_CALIBRATION_SHARE, _TEST_SHARE = 0.45, 0.15
#: A long part is thinned to every second, third, ... cutoff while this many remain: neighbours say nearly the same.
_CALIBRATION_FOLDS, _TEST_FOLDS = 400, 250


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
    """

    blocks: list[Cut]
    release: Cut

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
        refits: Calibration blocks, at most.
        needs_fit: Whether there is something to fit, so that a fit and a validation part are needed.
    """

    first_row: int
    horizon: int
    min_calibration: int
    refits: int
    needs_fit: bool

    @property
    def first_block(self) -> int:
        """The earliest row at which the first block can begin."""
        if not self.needs_fit:
            return self.first_row + self.horizon
        return self.first_row + MIN_FIT + MIN_VALIDATION - 2 + 2 * self.horizon

    @property
    def rows(self) -> int:
        """Rows that are needed at least."""
        return self.first_block + self.min_calibration - 1 + MIN_TEST + 2 * self.horizon


def min_calibration_of(levels: Sequence[float]) -> int:
    """Return the fewest calibration folds that support every level asked for and every level that is scored."""
    return max(folds_needed(level) for level in (*levels, *SCORED_LEVELS))


def plan_folds(times: Sequence[IntArray], size: PlanSize) -> Plan:
    """Return the fits and folds of a training.

    Args:
        times: UTC seconds of the rows of every series; the first one sets the boundaries, all keep to them in time.
        size: What the plan must respect.

    Raises:
        TooLittleHistory: With the rows that are needed and the rows there are.
    """
    first, horizon = times[0], size.horizon
    if len(first) < size.rows:
        raise TooLittleHistory(
            "too-little-history",
            field="observations",
            expected=f"at least {size.rows} complete rows: {size.first_row + 1} for the first window, {horizon} "
            f"targets after each part, {size.min_calibration} calibration folds for the highest level and "
            f"{MIN_TEST} test folds",
            found=str(len(first)),
            advice="load more history, or ask for a shorter horizon, a smaller window_size or lower levels",
        )
    spare = len(first) - size.rows
    test_span = _span(MIN_TEST, _TEST_SHARE, len(first), spare // 4)
    calibration_span = _span(size.min_calibration, _CALIBRATION_SHARE, len(first), spare // 2)
    test_start = len(first) - horizon - test_span
    start = test_start - horizon - calibration_span + 1
    count = max(min(size.refits, calibration_span // MIN_TEST), 1)
    edges = [int(first[start + calibration_span * block // count]) for block in range(count)]
    test_edge = int(first[test_start])
    stride = max(calibration_span // max(_CALIBRATION_FOLDS, size.min_calibration), 1)
    calibration = _cutoffs(times, size, edges[0], test_edge, stride)
    blocks = []
    for edge, end in zip(edges, [*edges[1:], test_edge], strict=True):
        folds = [Part(s, rows[(times[s][rows] >= edge) & (times[s][rows] < end)]) for s, rows in calibration]
        blocks.append(_cut(times, size, edge, [part for part in folds if len(part.cutoffs)]))
    test = _cutoffs(times, size, test_edge, None, max(test_span // _TEST_FOLDS, 1))
    blocks.append(_cut(times, size, test_edge, test))
    return Plan(blocks, _cut(times, size, None, []))


def _span(least: int, share: float, rows: int, spare: int) -> int:
    """Return a share of the rows, as far as there are rows to spare beyond the least."""
    return least + max(min(int(share * rows) - least, spare), 0)


def _cut(times: Sequence[IntArray], size: PlanSize, edge: int | None, folds: list[Part]) -> Cut:
    """Return the fit on what is known at the time ``edge`` (everything when ``None``), with its validation tail."""
    known = _cutoffs(times, size, None, edge, 1)
    if not size.needs_fit:
        return Cut(known, [], folds)
    first = next(part for part in known if part.series == 0).cutoffs
    tail = max(MIN_VALIDATION, int(_VALIDATION_SHARE * len(first)))
    start = int(times[0][first[-tail]])
    return Cut(_cutoffs(times, size, None, start, 1), _cutoffs(times, size, start, edge, 1), folds)


def _cutoffs(times: Sequence[IntArray], size: PlanSize, start: int | None, end: int | None, stride: int) -> list[Part]:
    """Return the cutoffs from the time ``start`` whose targets all lie at or before the time ``end``."""
    found = []
    for series, time in enumerate(times):
        rows = np.arange(size.first_row, max(len(time) - size.horizon, size.first_row), dtype=np.int64)
        if start is not None:
            rows = rows[time[rows] >= start]
        if end is not None:
            rows = rows[time[rows + size.horizon] <= end]
        # Counted from the end, so that the newest cutoff is always used.
        kept = rows[::-1][::stride][::-1]
        if len(kept):
            found.append(Part(series, kept))
    return found
