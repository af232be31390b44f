"""Short history: a simpler model stands in and the release says so, or the training is refused."""

from __future__ import annotations

import numpy as np
import pytest

from forecasting.errors import InvalidTraining, TooLittleHistory
from forecasting.fallback import CHAIN, settled
from forecasting.grid import times_between
from forecasting.panel import Observations
from forecasting.serving import LoadedModel
from forecasting.training import TrainingSpec, train
from tests.unit.forecasting.series import BAR_COLUMNS, bars, observations_of, prices


def spec(**changes) -> TrainingSpec:
    return TrainingSpec(**({"horizon": 3, "window_size": 10, "levels": (80.0, 95.0)} | changes))


def monthly(rows: int, *, seed: int = 0) -> Observations:
    time = times_between("24/7", "1mo", 946_684_800, 4_000_000_000)[:rows]
    rng = np.random.default_rng(seed)
    values = 5_000 + 20 * np.arange(rows) + 800 * np.sin(np.arange(rows) * np.pi / 6) + rng.normal(scale=100, size=rows)
    return Observations(
        series_id="m3/N1@1mo",
        freq="1mo",
        calendar="24/7",
        unit="",
        source="mock",
        time=time,
        columns={"close": values},
        newest_offset=0,
    )


def test_forty_eight_months_and_a_horizon_of_eighteen_are_trained() -> None:
    observations = monthly(48)
    trained = train(TrainingSpec(algorithm="lstm", horizon=18), [observations])

    assert trained.recipe.algorithm == "theta"
    assert trained.fallback_from == "lstm"
    assert trained.fallback_reason == (
        "lstm needs at least 157 complete rows, there are 48: theta stands in with a window of 12 rows"
    )
    assert (trained.folds, trained.calibration_folds) == (1, 19)
    model = LoadedModel.load(trained.recipe, trained.graph)
    numbers = model.forecast([model.window_of(observations)], 18, [80, 95])[0]
    ladder = [numbers.quantiles[0.025], numbers.quantiles[0.1], numbers.median, numbers.quantiles[0.9]]
    assert all(np.isfinite(one).all() for one in ladder)


def test_what_the_rows_support_is_trained_as_asked() -> None:
    for algorithm, rows in (("linear", 120), ("drift", 40), ("seasonal-naive", 40)):
        trained = train(spec(algorithm=algorithm), [observations_of({"close": prices(rows)})])
        assert (trained.recipe.algorithm, trained.fallback_from, trained.fallback_reason) == (algorithm, "", "")


@pytest.mark.parametrize(
    ("rows", "horizon", "expected"),
    [(60, 3, "theta"), (19, 3, "theta"), (17, 3, "seasonal-naive"), (14, 3, "seasonal-naive")],
)
def test_the_best_model_that_the_rows_support_stands_in(rows: int, horizon: int, expected: str) -> None:
    trained = train(spec(horizon=horizon, algorithm="linear"), [observations_of({"close": prices(rows)})])

    assert (trained.recipe.algorithm, trained.fallback_from) == (expected, "linear")
    assert trained.recipe.season_length == 7
    assert trained.calibration_folds >= 2


@pytest.mark.parametrize("algorithm", ["theta", "ets", "drift"])
def test_a_model_of_rows_stands_in_for_itself_with_a_smaller_window(algorithm: str) -> None:
    trained = train(TrainingSpec(algorithm=algorithm, horizon=18), [monthly(48)])

    assert (trained.recipe.algorithm, trained.recipe.window_size, trained.fallback_from) == (algorithm, 12, "")
    assert trained.fallback_reason.endswith(f"{algorithm} stands in with a window of 12 rows")


def test_a_history_shorter_than_a_season_is_trained_without_one() -> None:
    trained = train(TrainingSpec(algorithm="linear", horizon=3), [monthly(16)])

    assert (trained.recipe.algorithm, trained.recipe.season_length) == ("drift", 1)
    assert trained.fallback_reason.endswith("drift stands in with a window of 8 rows without its season of 12 steps")


def test_bands_from_few_folds_are_told_and_given() -> None:
    observations = observations_of({"close": prices(17)})
    trained = train(spec(algorithm="linear"), [observations])

    assert trained.recipe.intervals.few_folds == trained.calibration_folds < 19
    model = LoadedModel.load(trained.recipe, trained.graph)
    bands = model.forecast([model.window_of(observations)], 3, [80, 95])[0].quantiles
    assert (bands[0.975] > bands[0.9]).all()


def test_without_fallback_the_training_is_refused_with_what_its_model_needs() -> None:
    with pytest.raises(TooLittleHistory) as caught:
        train(spec(algorithm="linear", fallback=False), [observations_of({"close": prices(60)})])
    needed = int(caught.value.expected.split()[2])

    train(spec(algorithm="linear", fallback=False), [observations_of({"close": prices(needed)})])
    with pytest.raises(TooLittleHistory):
        train(spec(algorithm="linear", fallback=False), [observations_of({"close": prices(needed - 1)})])


def test_below_the_least_of_the_simplest_model_nothing_is_trained() -> None:
    with pytest.raises(TooLittleHistory, match=r"at least 14 complete rows.*even of the simplest model, was 13"):
        train(spec(algorithm="linear"), [observations_of({"close": prices(13)})])
    train(spec(algorithm="linear"), [observations_of({"close": prices(14)})])


def test_the_simpler_model_learns_from_the_target_alone() -> None:
    chosen = settled(
        spec(algorithm="lstm", columns=BAR_COLUMNS, hyperparameters={"epochs": 1}), [observations_of(bars(50))]
    )

    assert chosen.spec.all_columns == ("close",)
    assert chosen.spec.hyperparameters == {}


def test_several_short_series_have_a_simpler_model_too() -> None:
    series = [observations_of({"close": prices(50, seed=seed)}, name=f"S{seed}") for seed in (1, 2)]
    trained = train(spec(algorithm="linear"), series)

    assert trained.recipe.algorithm == "seasonal-naive"  # theta is of one series alone


def test_a_mistake_in_the_request_is_told_whatever_the_history() -> None:
    with pytest.raises(InvalidTraining, match="prophet"):
        train(spec(algorithm="prophet"), [observations_of({"close": prices(20)})])
    with pytest.raises(InvalidTraining, match="dropout"):
        train(spec(algorithm="lstm", hyperparameters={"dropout": 7}), [observations_of({"close": prices(20)})])


def test_fallback_knows_nothing_beyond_a_cutoff() -> None:
    """The folds of a short history, everything after the first test cutoff replaced."""
    observations, wild = monthly(60), monthly(60).columns["close"].copy()
    base = train(TrainingSpec(algorithm="lstm", horizon=6), [observations])
    start = int(np.flatnonzero(observations.time == base.diagnostics.fold_times[0])[0])
    wild[start + 1 :] = np.random.default_rng(1).uniform(1, 1e6, size=59 - start)

    other = train(
        TrainingSpec(algorithm="lstm", horizon=6),
        [Observations(**{**vars(observations), "columns": {"close": wild}})],
    )

    for method, folds in base.diagnostics.evaluation.folds.items():
        found = other.diagnostics.evaluation.folds[method]
        np.testing.assert_array_equal(folds.median[0], found.median[0])
        for probability, values in folds.quantiles.items():
            np.testing.assert_array_equal(values[0], found.quantiles[probability][0])


def test_the_chain_ends_with_the_models_that_need_least() -> None:
    assert CHAIN == ("theta", "seasonal-naive", "drift", "last-value")
