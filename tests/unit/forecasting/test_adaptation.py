"""Bands that follow drift: the rule of adaptive conformal inference, what it may see, and that it keeps its promise."""

from __future__ import annotations

import dataclasses
import math
import tracemalloc
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasting.adaptation import DEFAULT, GRID, AdaptedIntervals, replayed_rows
from forecasting.artefact import AdaptationRecipe
from forecasting.evaluation import evaluate
from forecasting.folds import Part
from forecasting.intervals import Intervals, Pool, calibrate
from forecasting.panel import Observations, Window
from forecasting.serving import LoadedModel
from forecasting.training import TrainedModel, TrainingSpec, train
from forecasting.training_panel import Panel, panel_of
from tests.unit.forecasting.series import DAY, observations_of, prices

RECIPE = AdaptationRecipe(folds=50, stride=3, rate=0.015)


def adapted(stored: np.ndarray, replayed: np.ndarray, recipe: AdaptationRecipe = RECIPE) -> AdaptedIntervals:
    rows = np.arange(len(replayed), dtype=np.int64) * recipe.stride
    return AdaptedIntervals(Intervals(calibrate(stored)), recipe, rows, replayed)


_FEW = st.lists(st.integers(-4, 4), max_size=8)


@given(stored=st.lists(st.integers(-4, 4), min_size=1, max_size=20), others=_FEW, data=st.data())
def test_a_pool_is_what_sorting_all_together_gives(stored: list[int], others: list[int], data: st.DataObject) -> None:
    steps = [data.draw(st.permutations(others)) for _ in range(2)]
    added = np.array([steps[0], [-other for other in steps[1]]], dtype=np.float64)
    pool = Pool(np.sort(np.array([stored, stored], dtype=np.float64)), added)
    assert pool.count == len(stored) + len(others)
    places = np.array([data.draw(st.integers(0, pool.count - 1)) for _ in range(2)])
    expected = [sorted([*stored, *step])[place] for step, place in zip(added, places, strict=True)]
    assert pool.at(places).tolist() == expected


def test_bands_over_many_series_do_not_cost_their_scores_each() -> None:
    """Red where `Intervals.joined` puts all scores into an array of its own: a training over 400 series took 24 GB."""
    generator = np.random.default_rng(5)
    found = adapted(generator.normal(size=(20_000, 20)), generator.normal(size=(50, 20)))
    tracemalloc.start()
    try:
        found.bounds(80.0)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 20 * 20_000 * 8 / 2


def bounds_of(pool: list[float], alpha: float, *, is_symmetric: bool) -> tuple[float, float]:
    """The band that leaves out the share alpha, from its definition."""
    count = len(pool)
    if is_symmetric:
        sizes = sorted(map(abs, pool))
        size = sizes[min(max(math.ceil((count + 1) * (1 - alpha) - 1e-9), 1), count) - 1]
        return -size, size
    rank = min(max(math.ceil((count + 1) * (1 - alpha / 2) - 1e-9), 1), count)
    ordered = sorted(pool)
    return min(ordered[count - rank], 0.0), max(ordered[rank - 1], 0.0)


def alpha_by_hand(stored: list[float], replayed: list[float], level: float, horizon: int, recipe) -> float:
    """Adaptive conformal inference for one step and level, a fold after the other."""
    aim = 1 - level / 100
    states = [aim]
    for fold, score in enumerate(replayed):
        known = sum((fold - other) * recipe.stride >= horizon for other in range(fold))
        lower, upper = bounds_of(
            stored + replayed[:known], states[known], is_symmetric=calibrate(np.array([stored]).T).is_symmetric
        )
        missed = not lower <= score <= upper
        step = recipe.rate * recipe.stride * math.sqrt(aim * (1 - aim))
        states.append(min(max(states[-1] + step * (aim - missed), 0.0), 1.0))
    return states[-1]


@pytest.mark.parametrize("count", [60, 200])
def test_alphas_are_those_of_the_rule(count: int) -> None:
    """60 folds share one calibration for both ends, 200 have one for each."""
    rng = np.random.default_rng(count)
    stored, replayed = rng.standard_normal((count, 4)), 1.6 * rng.standard_normal((40, 4)) + 0.3
    # A faster rule, so that alphas run against their ends.
    recipe = AdaptationRecipe(folds=50, stride=3, rate=0.08)

    found = adapted(stored, replayed, recipe).alphas

    kept = np.array(Intervals(calibrate(stored))._scores)
    for step in range(4):
        expected = [alpha_by_hand(kept[step].tolist(), replayed[:, step].tolist(), x, 4, recipe) for x in GRID]
        np.testing.assert_allclose(found[:, step], np.minimum.accumulate(expected), atol=1e-12)


@pytest.mark.parametrize("count", [60, 400])
@pytest.mark.parametrize("level", [33.3, 80.0, 95.0])
def test_bands_without_a_new_fold_are_those_of_the_calibration(count: int, level: float) -> None:
    stored = np.random.default_rng(1).standard_normal((count, 3))
    intervals = Intervals(calibrate(stored))

    found = AdaptedIntervals(intervals, RECIPE, np.empty(0, dtype=np.int64), np.empty((0, 3))).bounds(level)

    np.testing.assert_array_equal(found, intervals.bounds(level))


def test_bands_follow_scores_that_triple() -> None:
    # Red with `AdaptedIntervals.bounds` giving those of the calibration, which the second check shows.
    rng = np.random.default_rng(2)
    stored, later = rng.standard_normal((300, 2)), 3 * rng.standard_normal((1_200, 2))
    hits = {"adaptive": [], "split": []}
    for fold in range(400, 1_200, 4):
        bands = {"adaptive": adapted(stored, later[fold - 150 : fold : 3]), "split": Intervals(calibrate(stored))}
        for kind, one in bands.items():
            lower, upper = one.bounds(80)
            hits[kind].append(np.mean((lower <= later[fold]) & (later[fold] <= upper)))

    assert np.mean(hits["adaptive"]) == pytest.approx(0.8, abs=0.07)
    assert abs(np.mean(hits["split"]) - 0.8) > 0.15


@given(st.integers(20, 200), st.integers(1, 50), st.floats(0.1, 5), st.integers(0, 100))
def test_wider_levels_never_end_inside_narrower_ones(count: int, folds: int, size: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bands = adapted(rng.standard_normal((count, 2)), size * rng.standard_normal((folds, 2)) + 0.5)
    highest = 99.5 if count >= 199 else 100 * (1 - 2 / (count + 1))

    bounds = [bands.bounds(level) for level in np.linspace(1, min(highest, 94.0), 25)]
    for (lower, upper), (wider_lower, wider_upper) in pairwise(bounds):
        assert (wider_lower <= lower).all()
        assert (upper <= wider_upper).all()
    assert (bounds[0][0] <= 0).all()
    assert (bounds[0][1] >= 0).all()


def test_only_whole_folds_after_the_training_are_forecast_again() -> None:
    time = DAY * np.arange(200, dtype=np.int64)
    known = msgspec.structs.replace(RECIPE, known_until=int(time[100]))

    np.testing.assert_array_equal(replayed_rows(time, 20, 10, known), np.arange(102, 190, 3))
    np.testing.assert_array_equal(replayed_rows(time, 20, 10, RECIPE), np.arange(42, 190, 3))
    assert not len(replayed_rows(time[:111], 20, 10, msgspec.structs.replace(known, known_until=int(time[101]))))
    assert not len(replayed_rows(time[:29], 20, 10, RECIPE))
    assert not len(replayed_rows(None, 20, 10, known))


def drifting(rows: int, *, seed: int) -> np.ndarray:
    """Prices whose changes are independent for 600 rows; then they persist, so that moves over the horizon triple."""
    rng = np.random.default_rng(seed)
    noise, changes = rng.standard_normal(rows), np.zeros(rows)
    for row in range(1, rows):
        share = 0.0 if row < 600 else 0.85
        changes[row] = share * changes[row - 1] + np.sqrt(1 - share**2) * noise[row]
    return 100 * np.exp(0.01 * np.cumsum(changes))


def spec(intervals: str, algorithm: str = "last-value") -> TrainingSpec:
    return TrainingSpec(algorithm=algorithm, horizon=6, window_size=15, levels=(80.0,), intervals=intervals)


def coverage_after(observations: Observations, trained: TrainedModel, first: int) -> float:
    model, panel = LoadedModel.load(trained.recipe, trained.graph), panel_of(spec("split"), [observations])
    cutoffs = np.arange(first, len(observations) - 6)
    windows = [panel.window(model.recipe, 0, int(cutoff), model.recipe.history_rows) for cutoff in cutoffs]
    values = observations.columns["close"]
    hits = [
        (one.quantiles[0.1] <= values[cutoff + 1 : cutoff + 7])
        & (values[cutoff + 1 : cutoff + 7] <= one.quantiles[0.9])
        for one, cutoff in zip(model.forecast(windows, 6, (80.0,)), cutoffs, strict=True)
    ]
    return float(np.mean(np.array(hits)[:, 2:]))


def test_a_model_keeps_its_promise_after_the_series_has_changed() -> None:
    # Red with `intervals="adaptive"` left out, or with `LoadedModel._bands` giving those of the calibration.
    observations = observations_of({"close": drifting(1_300, seed=3)})
    known = observations.slice(0, 600)

    adaptive = coverage_after(observations, train(spec("adaptive"), [known]), 800)
    split = coverage_after(observations, train(spec("split"), [known]), 800)

    assert adaptive == pytest.approx(0.8, abs=0.08)
    assert split < 0.65


@pytest.fixture(scope="module")
def trained() -> TrainedModel:
    return train(spec("adaptive", "linear"), [observations_of({"close": prices(400)}).slice(0, 300)])


@pytest.fixture
def panel() -> Panel:
    return panel_of(spec("adaptive"), [observations_of({"close": prices(400)})])


def test_same_bits_alone_in_a_batch_and_with_folds_that_are_remembered(trained: TrainedModel, panel: Panel) -> None:
    def loaded() -> LoadedModel:
        return LoadedModel.load(trained.recipe, trained.graph)

    rows = trained.recipe.history_rows
    windows = [panel.window(trained.recipe, 0, cutoff, rows) for cutoff in range(340, 390)]
    alone = [loaded().forecast([window], 6, (80.0,))[0] for window in windows]
    model = loaded()
    together, again = model.forecast(windows, 6, (80.0,)), model.forecast(windows[::-1], 6, (80.0,))[::-1]

    for one, other, third in zip(alone, together, again, strict=True):
        for probability in (0.1, 0.9):
            np.testing.assert_array_equal(one.quantiles[probability], other.quantiles[probability])
            np.testing.assert_array_equal(one.quantiles[probability], third.quantiles[probability])
        np.testing.assert_array_equal(one.median, other.median)


def test_memory_that_is_full_changes_nothing(
    trained: TrainedModel, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = panel.window(trained.recipe, 0, 390, trained.recipe.history_rows)
    expected = LoadedModel.load(trained.recipe, trained.graph).forecast([window], 6, (80.0,))[0]
    monkeypatch.setattr("forecasting.replay._REMEMBERED", 3)

    found = LoadedModel.load(trained.recipe, trained.graph).forecast([window], 6, (80.0,))[0]

    np.testing.assert_array_equal(found.quantiles[0.9], expected.quantiles[0.9])


def test_rows_without_times_use_the_calibration_alone(trained: TrainedModel, panel: Panel) -> None:
    model = LoadedModel.load(trained.recipe, trained.graph)
    plain = msgspec.structs.replace(
        trained.recipe, intervals=msgspec.structs.replace(trained.recipe.intervals, adaptation=None)
    )
    window = panel.window(trained.recipe, 0, 390)

    bare = model.forecast([window.values], 6, (80.0,))[0]
    expected = LoadedModel.load(plain, trained.graph).forecast([window], 6, (80.0,))[0]
    whole = model.forecast([panel.window(trained.recipe, 0, 390, model.recipe.history_rows)], 6, (80.0,))[0]

    np.testing.assert_array_equal(bare.quantiles[0.9], expected.quantiles[0.9])
    np.testing.assert_array_equal(bare.median, whole.median)
    assert not np.array_equal(bare.quantiles[0.9], whole.quantiles[0.9])


def test_a_forecast_reads_no_more_rows_than_the_recipe_says(trained: TrainedModel, panel: Panel) -> None:
    model = LoadedModel.load(trained.recipe, trained.graph)
    rows = trained.recipe.history_rows

    exact, more = (model.forecast([panel.window(model.recipe, 0, 390, r)], 6, (80.0,))[0] for r in (rows, rows + 40))

    assert rows == 15 + (DEFAULT.folds - 1) * DEFAULT.stride + 6
    np.testing.assert_array_equal(exact.quantiles[0.9], more.quantiles[0.9])


def test_rows_that_the_model_cannot_use_are_no_fold(trained: TrainedModel) -> None:
    values = prices(400)
    values[340] = -1.0
    panel = panel_of(spec("adaptive"), [observations_of({"close": prices(400)})])
    broken = panel.window(trained.recipe, 0, 390, trained.recipe.history_rows)
    broken.values[-50, 0] = -1.0

    numbers = LoadedModel.load(trained.recipe, trained.graph).forecast([broken], 6, (80.0,))[0]

    assert np.isfinite(numbers.quantiles[0.9]).all()


def test_what_the_test_part_says_is_what_is_served(trained: TrainedModel, panel: Panel) -> None:
    """Bands of the backtest come from the same rows as those of a forecast for the series."""
    model = LoadedModel.load(trained.recipe, trained.graph)
    cutoffs = np.arange(340, 390, 7)
    found = evaluate(model, panel, calibration=[Part(0, np.arange(100, 280))], test=[Part(0, cutoffs)], levels=(80.0,))
    series = observations_of({"close": prices(400)})

    for fold, cutoff in enumerate(cutoffs):
        known = series.slice(0, int(cutoff) + 1)
        window = model.window_of(known, model.recipe.history_rows, least=model.window_size)
        served = model.forecast([window], 6, (80.0,))[0]
        np.testing.assert_array_equal(served.quantiles[0.1], found.folds["model"].quantiles[0.1][fold])


def test_adaptation_begins_after_what_fit_and_calibration_have_seen(trained: TrainedModel) -> None:
    series = observations_of({"close": prices(400)}).slice(0, 300)

    assert trained.recipe.intervals.adaptation == msgspec.structs.replace(DEFAULT, known_until=int(series.time[-1]))
    assert train(spec("split"), [series]).recipe.intervals.adaptation is None


def test_few_folds_do_not_adapt() -> None:
    """Bands that come from Student's t have no scores to rank new ones among."""
    short = train(dataclasses.replace(spec("adaptive"), levels=(95.0,)), [observations_of({"close": prices(30)})])

    assert short.recipe.intervals.few_folds > 0
    assert short.recipe.intervals.adaptation is None
    model = LoadedModel.load(short.recipe, short.graph)
    assert model.forecast([Window(prices(15)[:, None])], 6, (80.0,))
