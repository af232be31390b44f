"""Ensembles: members combined to the bit, weights from calibration folds alone, one graph for all."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import onnx
import pytest

from forecasting.artefact import Setting, recipe_from_json, recipe_to_json
from forecasting.errors import InvalidArtefact, InvalidTraining, TooLittleHistory
from forecasting.forecasters import forecaster_of
from forecasting.panel import FloatArray, Observations, Window
from forecasting.serving import LoadedModel
from forecasting.stacking import stacked_weights
from forecasting.training import TrainedModel, TrainingSpec, train
from tests.unit.forecasting.check_forecaster import LEVELS, check_forecaster
from tests.unit.forecasting.series import observations_of, prices

MEMBERS = ("linear", "lstm", "theta")
SETTINGS = {"lstm.epochs": 2, "lstm.layers": "4", "linear.window_size": 8, "refits": 2}


def ensemble(observations: Observations, combination: str = "mean", **changes: Any) -> TrainedModel:
    values: dict[str, Any] = {
        "algorithm": "ensemble",
        "candidates": MEMBERS,
        "horizon": 3,
        "window_size": 14,
        "levels": LEVELS,
        "hyperparameters": {"combination": combination, **SETTINGS},
    }
    return train(TrainingSpec(**(values | changes)), [observations])


@pytest.fixture(scope="module")
def observations() -> Observations:
    return observations_of({"close": prices(260)})


@pytest.fixture(scope="module")
def trained(observations: Observations) -> TrainedModel:
    return ensemble(observations)


@pytest.mark.slow
@pytest.mark.parametrize("combination", ["mean", "stacking"])
def test_an_ensemble_passes_check_forecaster(combination: str) -> None:
    settings: dict[str, Setting] = {"combination": combination, "refits": 1, "lstm.epochs": 2, "lstm.layers": "4"}
    check_forecaster("ensemble", settings)


def window_of(model: LoadedModel, observations: Observations) -> Window:
    return model.window_of(observations)


def test_the_medians_of_members_are_averaged_in_the_working_unit(
    trained: TrainedModel, observations: Observations
) -> None:
    model = LoadedModel.load(recipe_to_json(trained.recipe), trained.graph)
    window = window_of(model, observations)

    found = model.forecast([window], 3, LEVELS)[0]

    members = model.middles([window])[0].members
    medians = [np.log(one.anchor) + one.change for one in members]
    np.testing.assert_allclose(np.log(found.median), np.mean(medians, axis=0), rtol=1e-12)
    assert trained.recipe.weights == pytest.approx((1 / 3,) * 3)


def test_a_member_forecasts_the_same_bits_within_and_alone(trained: TrainedModel, observations: Observations) -> None:
    model = LoadedModel.load(trained.recipe, trained.graph)
    window = window_of(model, observations)
    linear, _, theta = model.middles([window])[0].members
    assert trained.graph is not None
    whole = onnx.load_from_string(trained.graph)
    part = onnx.utils.Extractor(whole).extract_model(
        [one.name for one in whole.graph.input if one.name.startswith("m0_")],
        [one.name for one in whole.graph.output if one.name.startswith("m0_")],
    )

    alone = forecaster_of(trained.recipe.members[0], part.SerializeToString())
    np.testing.assert_array_equal(alone.middle(window.last(8)).change, linear.change)
    local = forecaster_of(trained.recipe.members[2], None)
    np.testing.assert_array_equal(local.middle(window.last(trained.recipe.members[2].window_size)).change, theta.change)


def test_each_member_keeps_its_own_window(trained: TrainedModel) -> None:
    sizes = {member.algorithm: member.window_size for member in trained.recipe.members}

    assert sizes["linear"] == 8
    assert sizes["lstm"] == 14
    assert trained.recipe.window_size == max(sizes.values())


def test_the_median_of_members_has_no_weights(observations: Observations) -> None:
    trained = ensemble(observations, "median")
    model = LoadedModel.load(trained.recipe, trained.graph)
    window = window_of(model, observations)

    medians = [np.log(one.anchor) + one.change for one in model.middles([window])[0].members]
    found = model.forecast([window], 3, LEVELS)[0]

    assert trained.recipe.weights == ()
    np.testing.assert_allclose(np.log(found.median), np.median(medians, axis=0), rtol=1e-12)


def test_stacking_leaves_out_a_member_that_knows_nothing() -> None:
    rows = np.arange(300)
    seasonal = 100 * np.exp(0.3 * np.sin(2 * np.pi * rows / 7)) * np.exp(prices(300, volatility=0.001) / 1e5)
    trained = ensemble(
        observations_of({"close": seasonal}),
        "stacking",
        candidates=("seasonal-naive", "last-value"),
        hyperparameters={"combination": "stacking"},
        window_size=10,
    )

    weights = dict(zip(("seasonal-naive", "last-value"), trained.recipe.weights, strict=True))
    assert weights["seasonal-naive"] > 0.95
    assert sum(trained.recipe.weights) == pytest.approx(1.0)
    assert trained.graph is None, "members without graphs need none"


def test_weights_of_the_test_part_come_from_the_calibration_folds_alone(
    monkeypatch: pytest.MonkeyPatch, observations: Observations
) -> None:
    # Red where `train` calibrates the tested model on more than the calibration blocks.
    seen: list[int] = []

    def watched(errors: FloatArray, y: FloatArray) -> FloatArray:
        seen.append(errors.shape[1])
        return stacked_weights(errors, y)

    monkeypatch.setattr("forecasting.combining.stacked_weights", watched)

    trained = ensemble(observations, "stacking")

    whole = [count for index, count in enumerate(seen) if index % 4 == 0]
    calibration, test = trained.diagnostics.cutoff_counts["calibration"], trained.diagnostics.cutoff_counts["test"]
    assert whole == [3 * calibration, 3 * (calibration + test)], "the tested model, then the released one"
    others = [count for index, count in enumerate(seen) if index % 4]
    assert all(count < max(whole) for count in others), "a band is made from folds that had no say in the weights"


def test_bands_of_an_ensemble_are_calibrated_on_its_own_folds(trained: TrainedModel) -> None:
    assert len(trained.recipe.intervals.scores[0]) == trained.calibration_folds
    assert 65 <= trained.metrics["model"]["coverage-80"] <= 97


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"candidates": ("linear",)}, "two members of an ensemble at least"),
        ({"candidates": ("linear", "linear")}, "without repeats"),
        ({"candidates": ("linear", "ensemble"), "hyperparameters": {}}, "candidates must be of"),
        ({"candidates": ("linear", "prophet"), "hyperparameters": {}}, "candidates must be of .*'prophet'"),
        ({"hyperparameters": {"combination": "best"}}, "one of mean, median, stacking"),
        ({"hyperparameters": {"gru.epochs": 3}}, "one of linear, lstm, theta before the dot"),
        ({"hyperparameters": {"lstm.wings": 3}}, "hyperparameters.wings"),
        ({"hyperparameters": {"linear.window_size": 1}}, "a whole number from 2"),
        ({"candidates": ("linear", "direction-logistic"), "hyperparameters": {}}, "members that forecast values"),
    ],
)
def test_what_cannot_be_combined_is_refused(observations: Observations, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidTraining, match=message):
        ensemble(observations, **changes)


def test_a_statistical_member_is_refused_for_several_series() -> None:
    both = [observations_of({"close": prices(260, seed=seed)}, name=f"S{seed}") for seed in (1, 2)]

    with pytest.raises(InvalidTraining, match="one series: theta"):
        train(TrainingSpec(algorithm="ensemble", candidates=("linear", "theta"), horizon=2, window_size=8), both)


def test_too_short_for_a_member_is_too_short_for_the_ensemble() -> None:
    with pytest.raises(TooLittleHistory):
        ensemble(observations_of({"close": prices(60)}), fallback=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": (0.5, 0.5)}, "weights must be 3"),
        ({"weights": (0.5, 0.5, 0.5)}, "weights must be 3"),
        ({"member_spreads": ((1.0, 1.0, 1.0),)}, "member_spreads must be 3 x 3"),
        ({"window_size": 5}, "from the window"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused(
    trained: TrainedModel, changes: dict[str, Any], message: str
) -> None:
    broken = recipe_to_json(trained.recipe) | msgspec.to_builtins(changes)

    with pytest.raises(InvalidArtefact, match=message):
        recipe_from_json(broken)


def test_a_graph_without_one_of_the_members_is_refused(trained: TrainedModel) -> None:
    with pytest.raises(InvalidArtefact, match="an ONNX graph for linear"):
        LoadedModel.load(trained.recipe, None)
