"""Rules about one bar, and about a bar and the one before it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ingestor.judging import Case, Finding, Mask
from ingestor.sources import FloatArray, IntArray

#: How far open and close may lie outside low and high, relative: up to the first it is rounding, from the second on
#: the bar is not believed.
ROUNDING, BROKEN = 1e-6, 0.01
#: Prices of one bar that are so many times each other are in two units.
MIXED_RATIO = 30.0
#: Bars in a row that are equal in every value.
STALE_FLAG, STALE_HOLD = 2, 3


def bar_consistency(case: Case) -> Iterator[Finding]:
    """Expect open and close between low and high."""
    columns = case.frame.columns
    missing = np.full(len(case.frame), np.nan)
    high, low = columns.get("high", missing), columns.get("low", missing)
    outside = np.zeros(len(case.frame))
    for name in ("open", "close"):
        values = columns.get(name, missing)
        outside = np.fmax(outside, np.fmax(values / high - 1, 1 - values / low))
    outside[_mixed(case)] = 0.0  # another rule's
    broken = outside > BROKEN
    if broken.any():
        reason = (
            f"open and close must lie between low and high, in {case.told(broken)} they are up to "
            f"{outside.max():.1%} outside"
        )
        yield Finding(rule="bar-consistency", outcome="rows", rows=broken, reason=reason)
    rounded = (outside > ROUNDING) & ~broken
    if rounded.any():
        reason = f"open or close lies up to {BROKEN:.0%} outside low and high in {case.told(rounded)}"
        yield Finding(rule="bar-consistency", outcome="flag", rows=rounded, reason=reason)


def mixed_units(case: Case) -> Iterator[Finding]:
    """Expect the prices of one bar in one unit."""
    wrong = _mixed(case)
    if wrong.any():
        reason = (
            f"prices of one bar must lie within a factor of {MIXED_RATIO:g}, in {case.told(wrong)} they are "
            f"{_spread(case)[wrong].max():.0f} times each other"
        )
        yield Finding(rule="mixed-units", outcome="rows", rows=wrong, reason=reason)


def _spread(case: Case) -> FloatArray:
    prices = [case.frame.columns[name] for name in case.prices]
    if len(prices) < 2:  # noqa: PLR2004  # one price is in one unit
        return np.ones(len(case.frame))
    spread: FloatArray = np.fmax.reduce(prices) / np.fmin.reduce(prices)
    return spread


def _mixed(case: Case) -> Mask:
    mixed: Mask = _spread(case) >= MIXED_RATIO
    return mixed


def zero_volume(case: Case) -> Iterator[Finding]:
    """Expect that something was traded."""
    volume = case.frame.columns.get("volume")
    if volume is None:
        return
    none = volume == 0
    if none.any():
        yield Finding(
            rule="zero-volume", outcome="flag", rows=none, column="volume", reason=f"no volume in {case.told(none)}"
        )


def stale_repeat(case: Case) -> Iterator[Finding]:
    """Expect that a bar with a range and a volume does not come again, value by value."""
    volume, high, low = (case.joined(name) for name in ("volume", "high", "low"))
    if volume is None or high is None or low is None:
        return
    equal = (volume[1:] > 0) & (high[1:] > low[1:])
    for name in (*case.prices, "volume"):
        values = case.joined(name)
        if values is not None:
            equal &= values[1:] == values[:-1]
    run = np.zeros(len(volume), dtype=np.int64)
    for row in np.flatnonzero(equal) + 1:
        run[row] = run[row - 1] + 1
    runs = run[case.lead :]
    # Every repeat of a long run is held, the first ones too; the bar that is repeated stays.
    longest = _longest_of_run(run)[case.lead :]
    held = (runs > 0) & (longest >= STALE_HOLD - 1)
    if held.any():
        reason = f"prices and volume stand still, value by value, in {case.told(held)}"
        yield Finding(rule="stale-repeat", outcome="rows", rows=held, reason=reason)
    once = (runs > 0) & ~held
    if once.any():
        reason = f"prices and volume are those of the row before in {case.told(once)}"
        yield Finding(rule="stale-repeat", outcome="flag", rows=once, reason=reason)


def _longest_of_run(run: IntArray) -> IntArray:
    """Return for each row of a run how long the run becomes."""
    longest = run.copy()
    for row in range(len(run) - 2, -1, -1):
        if longest[row] and run[row + 1] > run[row]:
            longest[row] = longest[row + 1]
    return longest
