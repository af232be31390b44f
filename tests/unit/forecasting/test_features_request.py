"""Features that a training asks for: columns and scaling filled in, every mistake told with the number of the feature."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from forecasting.artefact import FeatureRecipe, Recipe, StepFeatureRecipe
from forecasting.errors import InvalidTraining
from forecasting.features_request import features_of, raw_columns_of, step_features_of
from forecasting.training import train
from forecasting.training_spec import TrainingSpec
from schemas.trainings import FeatureRequested, StepFeatureRequested, TrainingRequested
from tests.unit.forecasting.series import bars, observations_of
from tests.unit.forecasting.test_artefact import recipe_of

COLUMNS = ("close", "high", "low", "volume", "promo", "region")
Asked = FeatureRequested


def recipe(**changes: object) -> Recipe:
    fields = {"columns": COLUMNS, "future_columns": ("promo",), "static_columns": ("region",), "window_size": 20}
    return recipe_of(**(fields | changes))


@pytest.mark.parametrize(
    ("asked", "columns", "scaling", "parameters"),
    [
        (Asked(name="log-return"), ("close",), "volatility", {}),
        (Asked(name="log-return", columns=("high",)), ("high",), "standard", {}),
        (Asked(name="log-ratio", columns=("high", "close")), ("high", "close"), "volatility", {}),
        (Asked(name="log-ratio", columns=("high", "low")), ("high", "low"), "standard", {}),
        (Asked(name="difference"), ("close",), "standard", {}),
        (Asked(name="log-level"), ("close",), "window", {}),
        (Asked(name="level"), ("close",), "standard", {}),
        # A level of the target follows its working unit, and then compares with the window.
        (Asked(name="lag", window_size=3), ("close",), "window", {"log": True}),
        (Asked(name="lag", window_size=3, parameters={"log": False}), ("close",), "standard", {}),
        (Asked(name="rolling-mean", window_size=3), ("close",), "window", {"log": True}),
        (Asked(name="rolling-deviation", window_size=3), ("close",), "standard", {"log": True}),
        (Asked(name="rolling-mean", columns=("volume",), window_size=3), ("volume",), "standard", {}),
        (Asked(name="rolling-rank", window_size=3), ("close",), "standard", {}),
        (Asked(name="relative-strength-index", window_size=5), ("close",), "standard", {}),
        (Asked(name="average-true-range", window_size=5), ("high", "low", "close"), "standard", {}),
        (Asked(name="on-balance-volume", window_size=5), ("close", "volume"), "standard", {}),
        (Asked(name="month"), ("time",), "standard", {}),
        (
            Asked(name="fourier-sin", parameters={"option": "year", "order": 2.0}),
            ("time",),
            "standard",
            {"option": "year", "order": 2},
        ),
        (
            Asked(name="macd-line", window_size=26, parameters={"fast": 12, "signal": 0}),
            ("close",),
            "standard",
            {"fast": 12},
        ),
    ],
)
def test_what_is_not_said_is_filled_in(
    asked: FeatureRequested, columns: tuple[str, ...], scaling: str, parameters: dict[str, object]
) -> None:
    (found,) = features_of([asked], recipe())

    assert (found.columns, found.scaling, found.parameters) == (columns, scaling, parameters)
    assert found.window_size == asked.window_size


@pytest.mark.parametrize(
    ("asked", "scaling"),
    [
        (Asked(name="difference"), "volatility"),
        (Asked(name="log-return"), "standard"),
        (Asked(name="level"), "window"),
        (Asked(name="log-level"), "standard"),
        (Asked(name="lag", window_size=3), "window"),
        (Asked(name="lag", window_size=3, parameters={"log": True}), "standard"),
    ],
)
def test_a_target_without_logarithm_has_its_own_unit(asked: FeatureRequested, scaling: str) -> None:
    assert features_of([asked], recipe(transform="difference"))[0].scaling == scaling


def test_what_is_a_recipe_already_stays_as_it_is() -> None:
    row = FeatureRecipe(name="level", columns=("close",), scaling="standard", mean=3.0)
    step = StepFeatureRecipe(name="step", scaling="none")

    assert features_of([row], recipe()) == (row,)
    assert step_features_of([step], recipe()) == (step,)


@pytest.mark.parametrize(
    ("asked", "scaling"),
    [
        (StepFeatureRequested(name="month"), "standard"),
        (StepFeatureRequested(name="is-weekend"), "none"),
        (StepFeatureRequested(name="fourier-cos", option="year", order=2), "none"),
        (StepFeatureRequested(name="holiday", option="US"), "none"),
        (StepFeatureRequested(name="known", columns=("promo",)), "standard"),
        (StepFeatureRequested(name="matched-mean", columns=("promo", "day-of-week"), order=3), "window"),
        (StepFeatureRequested(name="window-deviation"), "standard"),
    ],
)
def test_a_step_feature_has_the_scaling_of_its_kind(asked: StepFeatureRequested, scaling: str) -> None:
    (found,) = step_features_of([asked], recipe())

    assert found.scaling == scaling
    assert (found.name, found.columns, found.period, found.order, found.option) == (
        asked.name,
        asked.columns,
        asked.period,
        asked.order,
        asked.option,
    )


@pytest.mark.parametrize(
    ("asked", "code", "field", "expected"),
    [
        (Asked(name="strength"), "unknown-feature", "features[1].name", "relative-strength-index"),
        (Asked(name="momentum"), "invalid-feature", "features[1].window_size", "at least 2"),
        (Asked(name="month", window_size=3), "invalid-feature", "features[1].window_size", "it takes none"),
        (Asked(name="log-ratio"), "invalid-feature", "features[1].columns", "2 names"),
        (Asked(name="log-return", columns=("open",)), "invalid-feature", "features[1].columns", "close, high, low"),
        (Asked(name="log-return", columns=("time",)), "invalid-feature", "features[1].columns", "1 raw names (value)"),
        (
            Asked(name="rolling-quantile", window_size=5, parameters={"quantile": 7}),
            "invalid-feature",
            "features[1].parameters.quantile",
            "a number from 0 to 1",
        ),
        (
            Asked(name="macd-line", window_size=26, parameters={"slow": 26}),
            "invalid-feature",
            "features[1].parameters.slow",
            "one of fast, signal",
        ),
    ],
)
def test_a_mistake_is_told_with_the_number_of_the_feature(
    asked: FeatureRequested, code: str, field: str, expected: str
) -> None:
    with pytest.raises(InvalidTraining) as caught:
        features_of([Asked(name="log-return"), asked], recipe())

    assert (caught.value.code, caught.value.field) == (code, field)
    assert expected in caught.value.expected


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        (StepFeatureRequested(name="tomorrow"), "step_features[1].name"),
        (StepFeatureRequested(name="holiday", option="ATLANTIS"), "step_features[1].option"),
        # Red when a past-only column can be read at a step.
        (StepFeatureRequested(name="known", columns=("volume",)), "step_features[1].columns"),
        (StepFeatureRequested(name="month", order=2), "step_features[1].order"),
    ],
)
def test_a_mistake_is_told_with_the_number_of_the_step_feature(asked: StepFeatureRequested, field: str) -> None:
    with pytest.raises(InvalidTraining) as caught:
        step_features_of([StepFeatureRequested(name="step"), asked], recipe())

    assert caught.value.field == field


def test_columns_that_features_are_made_from_need_not_be_named_again() -> None:
    asked = (Asked(name="average-true-range", window_size=5), Asked(name="month"), Asked(name="log-return"))

    assert list(raw_columns_of(asked, "close")) == ["high", "low", "close", "close"]
    assert TrainingSpec(columns=("close", "low"), features=asked, covariates={"promo": "known-future"}).all_columns == (
        "close",
        "low",
        "promo",
        "high",
    )


@pytest.mark.parametrize(
    ("algorithm", "hyperparameters"),
    [("gru", {"layers": "4", "epochs": 1}), ("linear", {}), ("linear", {"loss": "quantile"})],
)
def test_a_requested_training_learns_from_the_features_that_it_names(
    algorithm: str, hyperparameters: dict[str, object]
) -> None:
    request = TrainingRequested(
        training_id="t-1",
        model="market/HET-1d",
        series_ids=("market/HET@1d",),
        algorithm=algorithm,
        horizon=3,
        window_size=40,
        levels=(80.0,),
        hyperparameters={"refits": 1} | hyperparameters,
        covariates={"promo": "known-future", "size": "static"},
        features=(
            Asked(name="log-return"),
            Asked(name="relative-strength-index", window_size=5),
            Asked(name="rolling-mean", columns=("volume",), window_size=4),
            Asked(name="day-of-week"),
        ),
        step_features=(
            StepFeatureRequested(name="known", columns=("promo",)),
            StepFeatureRequested(name="static", columns=("size",)),
            StepFeatureRequested(name="fourier-sin", option="week"),
            StepFeatureRequested(name="matched-mean", columns=("day-of-week",), order=3),
        ),
        as_of={"0": 1},
    )
    promo = (np.arange(260) % 3 == 0).astype(np.float64)
    known = bars(260) | {"promo": promo, "size": np.full(260, 3.3)}

    recipe = train(TrainingSpec.of(request), [observations_of(known)]).recipe
    assert [part.name for part in recipe.features] == [asked.name for asked in request.features]
    assert [part.name for part in recipe.step_features] == [asked.name for asked in request.step_features]
    assert recipe.columns == ("close", "promo", "size", "volume")
    # What is `standard` has been measured on the fit part.
    assert recipe.features[1].mean > 10
    assert recipe.step_features[0].scale == pytest.approx(np.sqrt(2 / 9), rel=0.1)
    # Red without the `_ROUNDING` of the preparation: 3.3 is no number of float32.
    assert recipe.step_features[1].scale == 1.0


def test_what_only_a_step_feature_knows_makes_the_forecast_better() -> None:
    # Sales double on days of a promotion that only the known future tells.
    rng = np.random.default_rng(5)
    promo = rng.integers(0, 2, 400).astype(np.float64)
    known = {"close": 100 * np.exp(0.7 * promo + rng.normal(scale=0.02, size=400)), "promo": promo}
    spec = TrainingSpec(
        algorithm="linear",
        horizon=3,
        window_size=10,
        levels=(80.0,),
        hyperparameters={"refits": 1},
        covariates={"promo": "known-future"},
    )

    told, blind = (
        train(one, [observations_of(known)]).skill["last-value"] for one in (spec, replace(spec, covariates={}))
    )
    assert told > 0.8
    assert blind < 0.4
