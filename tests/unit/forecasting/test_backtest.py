"""The scores of folds, and the cutoffs of a training."""

from __future__ import annotations

import numpy as np
import pytest

from forecasting.backtest import SCORED_LEVELS, FoldForecasts, score, score_by_step
from forecasting.errors import TooLittleHistory
from forecasting.folds import MIN_FIT, MIN_TEST, MIN_VALIDATION, Plan, PlanSize, min_calibration_of, plan_folds
from forecasting.intervals import probabilities_of, quantile_pair
from tests.unit.forecasting.series import DAY


def folds_of(y: np.ndarray, median: np.ndarray, **changes: object) -> FoldForecasts:
    quantiles = {p: median + (p - 0.5) for p in probabilities_of([80])}
    return FoldForecasts(cutoffs=np.arange(len(y)), y=y, median=median, quantiles=quantiles, **changes)


def test_scores_stand_for_all_steps_and_for_each_alone() -> None:
    folds = folds_of(np.array([[1.0, 2.0], [2.0, 3.0]]), np.array([[1.0, 1.0], [2.0, 2.0]]))

    whole, steps = score(folds, [80], 1.0), score_by_step(folds, [80], 1.0)

    assert whole["mae"] == 0.5
    assert steps["mae"].tolist() == [0.0, 1.0]
    assert whole["coverage-80"] == 50
    assert whole["width-80"] == pytest.approx(0.8)
    assert whole["mase"] == 0.5


def test_loss_that_is_not_defined_is_left_out() -> None:
    folds = folds_of(np.zeros((1, 2)), np.ones((1, 2)))

    assert {"mape", "mase", "r2"}.isdisjoint(score(folds, [80], float("nan")))


def slowly(folds: FoldForecasts, step: int, scale: float) -> dict[str, float]:
    """The scores of one step, fold by fold, as their definitions stand in the books."""
    y, median = folds.y[:, step].tolist(), folds.median[:, step].tolist()
    bands = {p: values[:, step].tolist() for p, values in folds.quantiles.items()} | {0.5: median}
    errors = [a - b for a, b in zip(y, median, strict=True)]
    count, squares, level = len(y), sum(e * e for e in errors), sum(y) / len(y)
    deviations = sum((a - level) ** 2 for a in y)

    def pinball(p: float) -> float:
        return sum(max(p * (a - b), (p - 1) * (a - b)) for a, b in zip(y, bands[p], strict=True)) / count

    lower, upper = bands[0.1], bands[0.9]
    ends = list(zip(lower, upper, strict=True))
    misses = [max(low - a, 0) + max(a - high, 0) for a, (low, high) in zip(y, ends, strict=True)]
    scored = sorted({p for one in SCORED_LEVELS for p in quantile_pair(one) if p in bands} | {0.5})
    found = {
        "mae": sum(map(abs, errors)) / count,
        "rmse": (squares / count) ** 0.5,
        "mape": 100 * sum(abs(e / a) for e, a in zip(errors, y, strict=True)) / count if all(y) else np.nan,
        "smape": 200 * sum(abs(a - b) / (abs(a) + abs(b) or 1) for a, b in zip(y, median, strict=True)) / count,
        "mase": sum(map(abs, errors)) / count / scale,
        "r2": 1 - squares / deviations if deviations else np.nan,
        "crps": 2 * sum(map(pinball, scored)) / len(scored),
        "pinball": sum(map(pinball, (0.1, 0.9, 0.5))) / 3,
        "coverage-80": 100 * sum(low <= a <= high for a, (low, high) in zip(y, ends, strict=True)) / count,
        "width-80": sum(high - low for low, high in ends) / count,
        "interval-score-80": sum(high - low + 10 * miss for (low, high), miss in zip(ends, misses, strict=True))
        / count,
    }
    starts, rises = folds.last.tolist(), folds.rises[:, step].tolist()
    moved = [(a > start, rise) for a, start, rise in zip(y, starts, rises, strict=True) if a != start]
    if not moved:
        return found
    right = [0.5 if rise == 0.5 else float((rise > 0.5) == rose) for rose, rise in moved]
    return found | {
        "direction-accuracy": 100 * sum(right) / len(moved),
        "rise-share": 100 * sum(rose for rose, _ in moved) / len(moved),
        "brier": sum((rise - rose) ** 2 for rose, rise in moved) / len(moved),
        "log-loss": -sum(np.log(rise if rose else 1 - rise) for rose, rise in moved) / len(moved),
    }


@pytest.mark.parametrize("count", [1, 2, 9, 150])
def test_all_steps_at_once_have_the_scores_of_each_alone(count: int) -> None:
    """The scores of a backtest are those of its definitions, step by step; with zeros, no moves and even odds."""
    rng, horizon = np.random.default_rng(count), 5
    y = rng.normal(10.0, 5.0, size=(count, horizon)).round(1)
    y[rng.random(y.shape) < 0.02] = 0.0
    last = y[:, 0] + rng.choice([0.0, 0.7], size=count)
    y[:, 1] = last
    y[:, 2] = 0.0
    rises = rng.choice([0.2, 0.5, 0.7], size=y.shape)
    folds = folds_of(y, y + rng.normal(size=y.shape), last=last, rises=rises)

    found = score_by_step(folds, [80], 1.7)

    for step in range(horizon):
        expected = {name: value for name, value in slowly(folds, step, 1.7).items() if np.isfinite(value)}
        assert {name: values[step] for name, values in found.items() if np.isfinite(values[step])} == pytest.approx(
            expected, rel=1e-12, abs=1e-12
        )
    flat = FoldForecasts(
        cutoffs=np.arange(y.size),
        y=y.reshape(-1, 1),
        median=folds.median.reshape(-1, 1),
        quantiles={p: values.reshape(-1, 1) for p, values in folds.quantiles.items()},
        last=np.repeat(last, horizon),
        rises=rises.reshape(-1, 1),
    )
    whole = {name: value for name, value in slowly(flat, 0, 1.7).items() if np.isfinite(value)}
    assert score(folds, [80], 1.7) == pytest.approx(whole, rel=1e-12, abs=1e-12)


def times(rows: int, start: int = 0) -> np.ndarray:
    return DAY * np.arange(start, start + rows, dtype=np.int64)


def size(**changes) -> PlanSize:
    return PlanSize(
        **({"first_row": 19, "horizon": 10, "min_calibration": 19, "refits": 3, "needs_fit": True} | changes)
    )


def assert_nothing_is_known_early(plan: Plan, series: list[np.ndarray], horizon: int) -> None:
    """Fail if a part that is estimated from knows an outcome after the first cutoff of what is judged by it."""

    def first(parts):
        return min(series[part.series][part.cutoffs[0]] for part in parts)

    def last_outcome(parts):
        return max(series[part.series][part.cutoffs[-1] + horizon] for part in parts)

    for block in plan.blocks:
        assert last_outcome(block.fit) <= first(block.validation)
        assert last_outcome(block.validation) <= first(block.folds)
    assert last_outcome(plan.calibration) <= first(plan.test)
    assert last_outcome(plan.release.fit) <= first(plan.release.validation)


@pytest.mark.parametrize("rows", [126, 127, 200, 1_000, 1_883, 20_000])
def test_parts_never_know_the_outcomes_they_are_judged_by(rows: int) -> None:
    series = [times(rows), times(rows // 2, start=rows // 2 + 3), times(40, start=rows)]
    plan = plan_folds(series, size())

    assert_nothing_is_known_early(plan, series, 10)
    first_fit = sum(len(part.cutoffs) for part in plan.blocks[0].fit if part.series == 0)
    assert first_fit >= MIN_FIT
    assert sum(len(part.cutoffs) for part in plan.calibration if part.series == 0) >= 19
    assert sum(len(part.cutoffs) for part in plan.test if part.series == 0) >= MIN_TEST
    assert all(sum(len(p.cutoffs) for p in block.validation) >= MIN_VALIDATION for block in plan.blocks)
    assert int(plan.test[0].cutoffs[-1]) == rows - 1 - 10


def test_a_plan_without_embargo_is_caught() -> None:
    # A planted leak: fit cutoffs up to the first fold, their outcomes beyond it.
    series = [times(1_000)]
    plan = plan_folds(series, size())
    block = plan.blocks[0]
    late = block.validation[0]._replace(cutoffs=np.arange(block.validation[0].cutoffs[0], block.folds[0].cutoffs[0]))
    leaky = plan._replace(blocks=[block._replace(validation=[late]), *plan.blocks[1:]])

    with pytest.raises(AssertionError):
        assert_nothing_is_known_early(leaky, series, 10)


@pytest.mark.parametrize("needs_fit", [True, False])
def test_one_row_less_than_needed_is_refused_with_both_numbers(needs_fit: bool) -> None:
    needed = size(needs_fit=needs_fit).least_rows

    plan_folds([times(needed)], size(needs_fit=needs_fit))
    with pytest.raises(TooLittleHistory, match=f"at least {needed} complete rows: .* was {needed - 1}") as caught:
        plan_folds([times(needed - 1)], size(needs_fit=needs_fit))
    assert caught.value.code == "too-little-history"


@pytest.mark.parametrize(
    ("rows", "horizon", "calibration", "overlap", "test"),
    [(30, 10, 1, 9, 1), (48, 18, 1, 17, 1), (51, 18, 4, 17, 1), (45, 5, 17, 4, 8), (40, 1, 19, 0, 9)],
)
def test_short_history_gets_the_folds_that_it_has(
    rows: int, horizon: int, calibration: int, overlap: int, test: int
) -> None:
    first_row = 9 if horizon == 10 else 11
    asked = size(needs_fit=False, first_row=first_row, horizon=horizon)
    series = [times(rows), times(rows // 2, start=rows // 2), times(4)]

    plan = plan_folds(series, asked)

    def counted(parts) -> int:
        return sum(len(part.cutoffs) for part in parts if part.series == 0)

    found = counted(plan.calibration), counted(plan.overlap.folds) if plan.overlap else 0, counted(plan.test)
    assert found == (calibration, overlap, test)
    assert plan.test[0].cutoffs[-1] == rows - 1 - horizon
    blocks = [*plan.blocks, *([plan.overlap] if plan.overlap else [])]
    for block in blocks:
        start = min(series[part.series][part.cutoffs[0]] for part in block.folds)
        assert all(series[part.series][part.cutoffs[-1] + horizon] <= start for part in block.fit)
    ends = [series[part.series][part.cutoffs[-1] + horizon] for part in plan.calibration]
    assert max(ends) <= series[0][plan.test[0].cutoffs[0]]


@pytest.mark.parametrize(("needs_fit", "rows"), [(True, 400), (False, 400), (False, 60)])
def test_rows_that_owe_something_to_later_ones_begin_nothing_and_end_nothing(needs_fit: bool, rows: int) -> None:
    series, asked = [times(rows), times(rows)], size(needs_fit=needs_fit, first_row=11, horizon=5)
    whole = [np.random.default_rng(seed).random(rows) > 0.3 for seed in (1, 2)]
    for one in whole:
        one[-1] = True

    plan = plan_folds(series, asked, whole)

    for block in [*plan.blocks, plan.release, *([plan.overlap] if plan.overlap else [])]:
        assert all(whole[part.series][part.cutoffs].all() for part in block.folds)
        for part in block.fit:
            assert whole[part.series][part.cutoffs].all() or not needs_fit
        if not block.folds:
            continue
        start = min(series[part.series][part.cutoffs[0]] for part in block.folds)
        for part in [*block.fit, *block.validation]:
            # Every row up to the last outcome is made from rows that were known when the first fold began.
            last = part.cutoffs[-1] + 5
            source = last + int(np.argmax(whole[part.series][last:]))
            assert series[part.series][source] <= start


def test_models_of_examples_are_not_judged_on_less() -> None:
    asked = size()
    assert asked.least_rows == asked.rows == 125
    assert size(needs_fit=False).least_rows == 19 + 20 + 1


def test_the_highest_level_sets_the_calibration_folds() -> None:
    assert min_calibration_of([80, 95]) == 19
    assert min_calibration_of([99]) == 99
    assert min_calibration_of([50]) == 9  # the calibration curve reaches 90


def test_long_histories_are_thinned() -> None:
    plan = plan_folds([times(65_000)], size())

    assert 400 <= sum(len(part.cutoffs) for part in plan.calibration) <= 420
    assert 250 <= len(plan.test[0].cutoffs) <= 260


@pytest.mark.parametrize("rows", [200, 1_000])
@pytest.mark.parametrize("needs_fit", [True, False])
def test_an_embargo_keeps_so_many_rows_more_between_what_is_known_and_what_judges_it(
    rows: int, needs_fit: bool
) -> None:
    # Red without `- size.embargo` in `_cutoffs` or `_known`.
    series = [times(rows), times(rows // 2, start=rows // 2 + 3)]
    plan = plan_folds(series, size(embargo=7, needs_fit=needs_fit))

    for block in plan.blocks:
        for earlier, later in ((block.fit, block.validation or block.folds), (block.validation, block.folds)):
            for known in earlier:
                end = series[known.series][known.cutoffs[-1] + 10]
                assert end + 7 * DAY <= min(series[part.series][part.cutoffs[0]] for part in later)
    calibrated = max(series[part.series][part.cutoffs[-1] + 10] for part in plan.calibration)
    assert calibrated + 7 * DAY <= min(series[part.series][part.cutoffs[0]] for part in plan.test)


@pytest.mark.parametrize("needs_fit", [True, False])
def test_an_embargo_needs_its_rows(needs_fit: bool) -> None:
    asked = size(embargo=7, needs_fit=needs_fit)

    plan = plan_folds([times(asked.least_rows)], asked)
    assert plan.test
    assert plan.calibration
    with pytest.raises(TooLittleHistory):
        plan_folds([times(asked.least_rows - 1)], asked)
    assert asked.least_rows > size(needs_fit=needs_fit).least_rows


def test_without_refits_one_fit_forecasts_calibration_and_test() -> None:
    plan = plan_folds([times(1_000)], size(refits=0))

    assert len(plan.blocks) == 2
    assert plan.blocks[0].fit is plan.blocks[1].fit
    assert plan.blocks[0].validation is plan.blocks[1].validation
    np.testing.assert_array_equal(plan.test[0].cutoffs, plan_folds([times(1_000)], size()).test[0].cutoffs)


def test_many_series_are_thinned_alike_to_a_bounded_backtest() -> None:
    """400 series of 1,000 rows would have 60,000 test folds."""
    # Red with `_MOST_FOLDS` out of reach.
    series = [times(1_000)] * 400
    plan = plan_folds(series, size(needs_fit=False))

    for part in (plan.calibration, plan.test):
        assert sum(len(one.cutoffs) for one in part) <= 20_000
        assert {one.series for one in part} == set(range(400))
        assert all(len(set(np.diff(one.cutoffs))) <= 1 for one in part)
    assert all(one.cutoffs[-1] == 989 for one in plan.test)
