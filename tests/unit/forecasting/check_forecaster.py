"""What every algorithm must do, whichever it is. A new one is one line in `test_algorithms.py`."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest

from forecasting.artefact import Artefact, Setting, recipe_to_json
from forecasting.errors import HorizonTooLong, InvalidObservations, InvalidWindow, LevelNotCalibrated, TooLittleHistory
from forecasting.features_history import History
from forecasting.panel import Observations
from forecasting.serving import LoadedModel
from forecasting.training import Progress, TrainedModel, TrainingSpec, train
from tests.unit.forecasting.series import BAR_COLUMNS, bars, observations_of, prices

LEVELS = (50.0, 80.0)
ROWS = 260


def check_forecaster(algorithm: str, hyperparameters: Mapping[str, Setting]) -> None:
    """Train the algorithm on one column and on bars, and hold it to everything that serving relies on."""
    for columns, data in ((("close",), {"close": prices(ROWS)}), (BAR_COLUMNS, bars(ROWS))):
        spec = TrainingSpec(
            algorithm=algorithm,
            columns=columns,
            horizon=4,
            window_size=12,
            levels=LEVELS,
            hyperparameters=hyperparameters,
            seed=5,
        )
        observations = observations_of(data)
        trained = _check_training(spec, observations)
        _check_release(trained, spec)
        model = LoadedModel.load(recipe_to_json(trained.recipe), trained.graph)
        _check_forecasts(model, observations)
        _check_batches(model, observations)
        _check_backtest(model, observations)
        _check_bad_input(model, observations)
    _check_constant(algorithm, hyperparameters)
    _check_not_positive(algorithm, hyperparameters)
    _check_short(algorithm, hyperparameters)


def _check_training(spec: TrainingSpec, observations: Observations) -> TrainedModel:
    before = copy.deepcopy(observations)
    told: list[Progress] = []
    trained = train(spec, [observations], told.append)
    again = train(spec, [observations])

    np.testing.assert_array_equal(observations.time, before.time)
    for name, values in observations.columns.items():
        np.testing.assert_array_equal(values, before.columns[name], err_msg="the training changed its arguments")
    assert trained.artefact.digest == again.artefact.digest, "same spec and observations, another artefact"
    fractions = [one.fraction for one in told]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert told[0].stage == "reading"
    assert told[-1].stage == "export"
    return trained


def _check_release(trained: TrainedModel, spec: TrainingSpec) -> None:
    assert set(trained.metrics) == {"model", "last-value", "drift", "seasonal-naive"}
    assert set(trained.skill) == {"last-value", "drift", "seasonal-naive"}
    for method, metrics in trained.metrics.items():
        assert np.isfinite(list(metrics.values())).all(), method
        assert {"mae", "mase", "crps", "coverage-80", "interval-score-80", "mape-step-1"} <= set(metrics)
    for name in trained.skill:
        expected = 1 - trained.metrics["model"]["mae"] / trained.metrics[name]["mae"]
        assert trained.skill[name] == pytest.approx(expected, abs=1e-9), "skill must be what the metrics say"
    assert trained.folds == len(trained.diagnostics.fold_times) > 0
    assert trained.recipe.algorithm == spec.algorithm
    assert (trained.recipe.horizon, trained.recipe.window_size) == (spec.horizon, spec.window_size)
    assert Artefact(trained.recipe, trained.graph).digest == trained.artefact.digest


def _check_forecasts(model: LoadedModel, observations: Observations) -> None:
    window = model.window_of(observations).values
    given = window.copy()
    shorter, whole = model.forecast([window], 2, LEVELS)[0], model.forecast([window], model.horizon, LEVELS)[0]

    np.testing.assert_array_equal(window, given, err_msg="the forecast changed its window")
    assert whole.median.shape == (model.horizon,)
    np.testing.assert_array_equal(shorter.median, whole.median[:2])
    assert list(whole.quantiles) == [0.1, 0.25, 0.75, 0.9]
    ladder = [whole.quantiles[0.1], whole.quantiles[0.25], whole.median, whole.quantiles[0.75], whole.quantiles[0.9]]
    assert all((a <= b).all() for a, b in pairwise(ladder)), "quantiles cross"
    assert np.isfinite(ladder).all()
    assert ((whole.direction_probability > 0) & (whole.direction_probability < 1)).all()
    assert {name: values.shape for name, values in model.baselines(window, 3).items()} == dict.fromkeys(
        ("last-value", "drift", "seasonal-naive"), (3,)
    )


def _check_batches(model: LoadedModel, observations: Observations) -> None:
    """The answer to a window must not depend on which stand beside it, to the bit."""
    values = observations.matrix(model.columns)
    windows = [values[end - model.window_size : end] for end in range(80, 80 + 64)]
    alone = [model.forecast([window], model.horizon, LEVELS)[0] for window in windows]
    for size in (1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 33, 64):  # every size: `test_serving.py`
        for window, found in zip(alone, model.forecast(windows[:size], model.horizon, LEVELS), strict=False):
            np.testing.assert_array_equal(window.median, found.median)
            for probability, quantile in window.quantiles.items():
                np.testing.assert_array_equal(quantile, found.quantiles[probability])
    assert model.forecast([], 1, LEVELS) == []


def _check_backtest(model: LoadedModel, observations: Observations) -> None:
    """What is forecast for many cutoffs of a series at once must be what is served from each of them, to the bit."""
    history = History(observations.matrix(model.columns), observations.time)
    cutoffs = np.arange(model.window_size + 60, len(observations) - model.horizon, 7)
    windows = [history.window(model.recipe, int(row), model.recipe.history_rows) for row in cutoffs]

    found = model.backtest([(history, cutoffs[:5]), (history, cutoffs[5:])], LEVELS)
    for index, alone in enumerate(model.forecast(windows, model.horizon, LEVELS)):
        np.testing.assert_array_equal(found.median[index], alone.median)
        np.testing.assert_array_equal(found.direction_probability[index], alone.direction_probability)
        for probability, quantile in alone.quantiles.items():
            np.testing.assert_array_equal(found.quantiles[probability][index], quantile)
    with pytest.raises(InvalidWindow, match=f"{model.window_size} rows x {len(model.columns)} columns"):
        model.backtest([(history, np.array([model.window_size - 2]))], LEVELS)


def _check_bad_input(model: LoadedModel, observations: Observations) -> None:
    window = model.window_of(observations).values
    for wrong in (window[1:], window[:, :0], window[None], np.empty((0, len(model.columns)))):
        _refused(model, wrong, "window-shape", f"{model.window_size} rows x {len(model.columns)} columns")
    for value in (np.nan, np.inf, -np.inf):
        broken = window.copy()
        broken[3, 0] = value
        _refused(model, broken, "window-not-finite", "finite")
    broken = window.copy()
    broken[2, model.columns.index("close")] = 0.0
    _refused(model, broken, "window-not-positive", "positive")
    for horizon in (0, -1, model.horizon + 1, 10_000):
        with pytest.raises(HorizonTooLong, match=f"1 to {model.horizon}.*was {horizon}"):
            model.forecast([window], horizon, LEVELS)
    for level in (0.0, 100.0, 101.0, 99.999):
        with pytest.raises(LevelNotCalibrated):
            model.forecast([window], 1, [level])


def _refused(model: LoadedModel, window: np.ndarray, code: str, expected: str) -> None:
    for ask in (lambda: model.forecast([window], 1, LEVELS), lambda: model.check(window, 1, LEVELS)):
        with pytest.raises(InvalidWindow, match=expected) as caught:
            ask()
        assert caught.value.code == code


def _small(algorithm: str, hyperparameters: Mapping[str, Setting], values: np.ndarray) -> LoadedModel:
    spec = TrainingSpec(
        algorithm=algorithm,
        horizon=2,
        window_size=8,
        levels=LEVELS,
        hyperparameters=hyperparameters,
        fallback=False,
    )
    trained = train(spec, [observations_of({"close": values})])
    return LoadedModel.load(trained.recipe, trained.graph)


def _check_constant(algorithm: str, hyperparameters: Mapping[str, Setting]) -> None:
    """A series that never moved teaches nothing; one that stops moving still has a forecast."""
    with pytest.raises(InvalidObservations, match=r"HET@1d.close must be a target that changes.*was 7 in all 120 rows"):
        _small(algorithm, hyperparameters, np.full(120, 7.0))
    model = _small(algorithm, hyperparameters, prices(120))
    numbers = model.forecast([np.full((8, 1), 7.0)], 2, LEVELS)[0]

    ladder = [numbers.quantiles[0.1], numbers.median, numbers.quantiles[0.9]]
    assert np.isfinite(ladder).all()
    assert all((a <= b).all() for a, b in pairwise(ladder))


def _check_not_positive(algorithm: str, hyperparameters: Mapping[str, Setting]) -> None:
    """Returns of what may be negative make no sense: such a series is forecast by its differences."""
    values = np.sin(np.arange(120.0))
    model = _small(algorithm, hyperparameters, values)

    assert model.recipe.transform == "difference"
    assert np.isfinite(model.forecast([values[-8:, None]], 2, LEVELS)[0].median).all()


def _check_short(algorithm: str, hyperparameters: Mapping[str, Setting]) -> None:
    with pytest.raises(TooLittleHistory, match=r"at least \d+ complete rows.*was 11"):
        _small(algorithm, hyperparameters, prices(11))
