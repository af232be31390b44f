"""Rules about the level of prices: jumps, 100 times too much, splits that were not applied or twice."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from ingestor.judging import Case, Finding, Mask, Outcome, log_changes, usual_change
from ingestor.rules_bars import MIXED_RATIO
from ingestor.sources import FloatArray, IntArray

#: A jump is told from so many times the usual change on, and never below this change.
JUMP_DEVIATIONS, JUMP_LEAST = 12.0, float(np.log(1.2))
#: Units that are mistaken for each other are so many times each other (pounds and pence, units and thousands), and
#: the price may have moved so far meanwhile (change of the logarithm).
UNIT_FACTORS, UNIT_SLACK = (100.0, 1000.0), 0.3
#: Without the log the few rows of the other unit are held, but not where they are more than this part.
MINORITY = 0.25
#: Splits that exchanges see; others are believed where the splits column has them.
SPLIT_FACTORS = (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0)
#: A split shows where it is so many times the usual change; and how far the price may have moved besides.
SPLIT_DEVIATIONS, SPLIT_SLACK = 8.0, 0.2
#: Of a split that is not told: so many usual changes, within these bounds.
RATIO_DEVIATIONS, RATIO_SLACK = 5.0, (0.1, 0.2)
#: A step belongs to a told split so many rows from it; elsewhere only a step that no price makes in a day: Apple, whose
#: prices had been halved by a split in June 2000, fell by a half of its own on 2000-09-29.
SPLIT_TOLD_ROWS, SPLIT_SURELY = 5, 3.0
#: Prices come back within so many rows when a split was applied to some rows only.
SPLIT_BACK_ROWS = 250


def jumps(case: Case) -> Iterator[Finding]:
    """Expect changes that are not far beyond the usual ones; crashes are real, so this only tells."""
    name = "close" if "close" in case.frame.columns else next(iter(case.frame.columns))
    values = case.joined(name)
    if values is None or not (np.isnan(values) | (values > 0)).all():
        return
    changes = log_changes(values)
    far = np.abs(changes) > np.maximum(JUMP_DEVIATIONS * usual_change(changes), JUMP_LEAST)
    rows = far[case.lead :]
    if rows.any():
        largest = float(np.expm1(changes[case.lead :][rows][np.argmax(np.abs(changes[case.lead :][rows]))]))
        reason = f"{name} moves by more than {JUMP_DEVIATIONS:g} usual changes, at most {largest:+.0%}, in "
        yield Finding(rule="jumps", outcome="flag", rows=rows, column=name, reason=reason + case.told(rows))


def unit_error(case: Case) -> Iterator[Finding]:
    """Expect one unit: prices do not change to a hundred or a thousand times themselves."""
    close = _sound_close(case)
    if close is None:
        return
    changes = log_changes(close)
    unit = np.zeros(len(close), dtype=np.int64)
    for factor in UNIT_FACTORS:
        is_step = np.abs(np.abs(changes) - np.log(factor)) <= UNIT_SLACK
        is_step &= ~_is_split_row(case, changes)
        unit += np.cumsum(np.where(is_step, np.sign(changes), 0).astype(np.int64)) * int(factor)
    against_log = _against_log(case, close)
    if not unit.any() and not against_log.any():
        return
    rows, outcome = _wrong_unit(case, unit, against_log)
    rows &= case.is_news
    if rows.any():
        reason = f"prices must stay in one unit, those of {case.told(rows)} are 100 or 1000 times the others or a part"
        yield Finding(rule="unit-error", outcome=outcome, rows=rows, reason=reason)


def _sound_close(case: Case) -> FloatArray | None:
    """Return the closes, without those of bars that have prices in two units: other rules judge these."""
    close, high, low = (case.joined(name) for name in ("close", "high", "low"))
    if close is None or high is None or low is None:
        return close
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(np.fmax(high, close) / np.fmin(low, close) >= MIXED_RATIO, np.nan, close)


def _against_log(case: Case, close: FloatArray) -> Mask:
    """Return the rows of the frame that are a unit's factor away from what the log has at their times."""
    wrong: Mask = np.zeros(len(case.frame), dtype=bool)
    rows, index = case.overlap
    if case.known is None or "close" not in case.known.columns or not len(rows):
        return wrong
    distance = np.abs(np.log(close[case.lead :][rows]) - np.log(case.known.columns["close"][index]))
    splits = case.frame.columns.get("splits")
    for factor in UNIT_FACTORS:
        away = np.abs(distance - np.log(factor)) <= UNIT_SLACK
        # A split of that size restates the rows before it.
        if splits is None or not _is_size(splits[np.isfinite(splits) & (splits > 0)], np.log(factor)).any():
            wrong[rows[away]] = True
    return wrong


def _wrong_unit(case: Case, unit: IntArray, against_log: Mask) -> tuple[Mask, Outcome]:
    """Return the rows that are in another unit than the log, or without one than most; a correction is none of them."""
    mine = unit[case.lead :]
    if case.lead:
        # The newest row too: a person may have let another unit in.
        return ~np.isin(mine, [_most(unit[: case.lead]), unit[case.lead - 1]]), "rows"
    rows = case.overlap[0]
    if rows.size:
        same = rows[~against_log[rows]]
        return (mine != _most(mine[same]) if same.size else np.ones(len(mine), dtype=bool)), "rows"
    wrong: Mask = mine != _most(mine)
    if wrong.mean() > MINORITY:
        return np.ones(len(mine), dtype=bool), "all"
    return wrong, "rows"


def _most(units: IntArray) -> int:
    values, counts = np.unique(units, return_counts=True)
    return int(values[np.argmax(counts)])


def split(case: Case) -> Iterator[Finding]:
    """Expect prices that are adjusted for the splits that the source tells, each once, in every row.

    A step of all prices by a split of the splits column shows that it was not applied, or twice; a step by a ratio of
    small integers that comes back shows that it was applied to some rows only. One that stays is told: the source
    may not be adjusted.
    """
    close = _sound_close(case)
    if close is None:
        return
    changes = log_changes(close)
    usual = usual_change(changes)
    steps = np.abs(changes) > np.maximum(SPLIT_DEVIATIONS * usual, JUMP_LEAST)
    steps &= _is_step_of_all(case, changes)
    if not steps.any():
        return
    told = _splits(case)
    by_column: Mask = np.zeros(len(changes), dtype=bool)
    for factor in np.unique(np.abs(np.log(told[np.isfinite(told) & (told > 0) & (told != 1)]))):
        near = max(min(SPLIT_SLACK, factor / 4), factor / 10)  # prices a ten thousandth are rounded coarsely
        is_believable = _is_told_near(told, factor) | (np.abs(changes) >= np.log(SPLIT_SURELY))
        by_column |= steps & (np.abs(np.abs(changes) - factor) <= near) & is_believable
    rows, kind = _by_column(case, by_column, changes)
    slack = np.clip(RATIO_DEVIATIONS * usual, *RATIO_SLACK)
    is_ratio = steps & _is_small_ratio(changes, slack)
    rows |= _comes_back(is_ratio, changes, slack)
    held = rows[case.lead :] & case.is_news
    if held.any():
        reason = f"prices must be adjusted for splits, each once; in {case.told(held)} {kind or _PARTLY}"
        yield Finding(rule="split", outcome="rows", rows=held, reason=reason)
    stays = is_ratio & ~by_column & ~rows & ~_ends_held(rows)
    mine = stays[case.lead :]
    if mine.any():
        reason = f"all prices step by about a ratio of small integers, with no such split told, in {case.told(mine)}"
        yield Finding(rule="split", outcome="flag", rows=mine, reason=reason)


_PARTLY = "a split is applied to some rows only"


def _splits(case: Case) -> FloatArray:
    told = case.joined("splits")
    return np.zeros(len(case.time)) if told is None else np.nan_to_num(told)


def _is_told_near(told: FloatArray, factor: float) -> Mask:
    """Return the rows within a few of one at which a split of that size is told."""
    there = np.zeros(len(told), dtype=np.float64)
    is_split = told > 0
    there[is_split] = _is_size(told[is_split], factor)
    return np.convolve(there, np.ones(2 * SPLIT_TOLD_ROWS + 1), mode="same") > 0


def _is_size(splits: FloatArray, size: float) -> Mask:
    near: Mask = np.abs(np.abs(np.log(splits)) - size) <= UNIT_SLACK
    return near


def _is_split_row(case: Case, changes: FloatArray) -> Mask:
    """Return the rows at which the splits column has a split as large as the change."""
    told = _splits(case)
    there = told > 0
    same: Mask = np.zeros(len(told), dtype=bool)
    same[there] = np.abs(np.abs(np.log(told[there])) - np.abs(changes[there])) <= UNIT_SLACK
    return same


def _is_step_of_all(case: Case, changes: FloatArray) -> Mask:
    """Return where open, high and low change as the close does: a crash begins at the price before."""
    same: Mask = np.ones(len(changes), dtype=bool)
    for name in ("open", "high", "low"):
        values = case.joined(name)
        if values is not None:
            same &= np.abs(log_changes(values) - changes) <= np.maximum(0.15, 0.25 * np.abs(changes))
    return same


def _is_small_ratio(changes: FloatArray, slack: FloatArray) -> Mask:
    near: Mask = np.zeros(len(changes), dtype=bool)
    for factor in SPLIT_FACTORS:
        near |= np.abs(np.abs(changes) - np.log(factor)) <= slack
    return near


def _by_column(case: Case, by_column: Mask, changes: FloatArray) -> tuple[Mask, str]:
    """Return the rows whose level contradicts the splits column, and how."""
    rows: Mask = np.zeros(len(changes), dtype=bool)
    steps = np.flatnonzero(by_column)
    kind = ""
    while len(steps):
        start = steps[0]
        returns = [step for step in steps[1:] if np.sign(changes[step]) != np.sign(changes[start])]
        if returns:
            rows[start : returns[0]] = True
            kind = _PARTLY
            steps = steps[steps > returns[0]]
            continue
        told = float(_splits(case)[start])
        is_unapplied = told <= 0 or np.sign(np.log(told)) != np.sign(changes[start])
        kind = f"a split told in the splits column is {'not applied' if is_unapplied else 'applied twice'}"
        # Either side may be the one at fault: what the log has stays, and without a log nothing is believed.
        rows[start:] = True
        if start > case.lead:
            rows[:start] = True
        break
    return rows, kind


def _comes_back(is_ratio: Mask, changes: FloatArray, slack: FloatArray) -> Mask:
    """Return the rows between two opposite steps of the same size, a ratio of small integers."""
    rows: Mask = np.zeros(len(changes), dtype=bool)
    there = np.flatnonzero(is_ratio)
    for start, end in pairwise(there.tolist()):
        is_same_size = abs(changes[start] + changes[end]) <= slack[start] + slack[end]
        if is_same_size and end - start <= SPLIT_BACK_ROWS and not rows[start]:
            rows[start:end] = True
    return rows


def _ends_held(rows: Mask) -> Mask:
    """Return the first rows after held ones: the step back."""
    return np.append(False, rows[:-1] & ~rows[1:])
