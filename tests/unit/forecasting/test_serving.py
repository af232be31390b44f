"""What serving promises beyond `check_forecaster`: bits, levels, exact baselines, the classic net."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from forecasting.artefact import FeatureRecipe, Recipe
from forecasting.errors import InvalidArtefact, InvalidWindow, ParityBroken
from forecasting.intervals import calibrate
from forecasting.models.fitting import Examples, FitTask
from forecasting.models.hyperparameters import resolve
from forecasting.models.linear import Linear, _export, _linear
from forecasting.models.recurrent import Lstm
from forecasting.serving import LoadedModel
from tests.unit.forecasting.series import prices
from tests.unit.forecasting.test_artefact import recipe_of


def task_of(rows: int, features: int, horizon: int, algorithm, **hyperparameters) -> FitTask:
    rng = np.random.default_rng(0)

    def examples(count: int) -> Examples:
        return Examples(
            rng.standard_normal((count, rows, features)).astype(np.float32),
            np.empty((count, horizon, 0), dtype=np.float32),
            rng.standard_normal((count, horizon)).astype(np.float32),
            np.ones((count, horizon)),
        )

    resolved = resolve(algorithm.hyperparameters, hyperparameters, algorithm.name)
    return FitTask(
        fit=examples(64),
        validation=examples(16),
        quantiles=algorithm.quantiles((80.0, 95.0), resolved),
        hyperparameters=resolved,
        seed=1,
        on_epoch=lambda _: None,
    )


def fitted_graph(rows: int, features: int, horizon: int, **hyperparameters) -> tuple[bytes, int]:
    fitted = Lstm().fit(task_of(rows, features, horizon, Lstm(), epochs=1, **hyperparameters))
    return fitted.graph, fitted.parameter_count


def graph_model(intercepts: list[float], **changes) -> LoadedModel:
    """A model of 3 steps and 3 quantiles whose graph says the same whatever it sees."""
    graph = _export(_linear(np.zeros((len(intercepts), 7)), np.array(intercepts)))
    settings = {
        "algorithm": "linear",
        "quantiles": (0.1, 0.5, 0.9),
        "features": (FeatureRecipe(name="log-return", columns=("close",), scaling="volatility"),),
        "horizon": 3,
        "intervals": calibrate(np.random.default_rng(0).standard_normal((199, 3))),
    }
    return LoadedModel.load(recipe_of(**(settings | changes)), graph)


def last_value(**changes) -> LoadedModel:
    recipe: Recipe = recipe_of(**({"window_size": 8, "horizon": 3, "intervals": calibrate(np.ones((40, 3)))} | changes))
    return LoadedModel.load(recipe, None)


def window(rows: int = 8) -> np.ndarray:
    return prices(rows)[:, None]


@pytest.mark.parametrize(
    ("shape", "hyperparameters"),
    [((19, 2, 10), {}), ((59, 7, 1), {"layers": "100,50", "dropout": 0.25, "dense": 16, "l2": 0.003})],
)
def test_onnx_runtime_gives_an_lstm_the_same_bits_in_every_batch(shape, hyperparameters) -> None:
    # A fact about the library on one thread, which serving does not lean on any more: it runs one window at a time.
    graph, _ = fitted_graph(*shape, **hyperparameters)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    inputs = np.random.default_rng(1).standard_normal((64, *shape[:2])).astype(np.float32)
    alone = np.concatenate([session.run(None, {"window": inputs[[row]]})[0] for row in range(64)])

    for size in range(1, 65):
        np.testing.assert_array_equal(session.run(None, {"window": inputs[:size]})[0], alone[:size])


def test_the_classic_net_has_about_75_thousand_parameters() -> None:
    _, count = fitted_graph(59, 7, 1, layers="100,50", dropout=0.25, dense=16, l2=0.003)

    assert 74_000 <= count <= 76_000


def test_last_value_is_exactly_the_last_value() -> None:
    # exp(log(x)) is not x: red when the anchor goes through logarithms.
    for seed in range(50):
        values = prices(8, seed=seed)[:, None]
        model = last_value()
        np.testing.assert_array_equal(model.forecast([values], 3, [80])[0].median, np.full(3, values[-1, 0]))
        np.testing.assert_array_equal(model.baselines(values, 3)["last-value"], np.full(3, values[-1, 0]))


def test_baselines_by_hand() -> None:
    model = last_value(drift=0.01, season_length=3)
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])[:, None]
    found = model.baselines(values, 5)

    np.testing.assert_allclose(found["drift"], 8 * np.exp(0.01 * np.arange(1, 6)))
    np.testing.assert_array_equal(found["seasonal-naive"], [6, 7, 8, 6, 7])


def test_drift_of_differences_is_the_slope_of_the_history() -> None:
    # FPP3, 5.2: last value + steps x mean change.
    model = last_value(algorithm="drift", transform="difference", drift=2.5)
    np.testing.assert_allclose(
        model.forecast([window()], 3, [80])[0].median, window()[-1, 0] + 2.5 * np.array([1, 2, 3])
    )


def test_seasonal_naive_is_absent_where_the_window_is_shorter_than_a_season() -> None:
    model = last_value(season_length=24)

    assert set(model.baselines(window(8), 2)) == {"last-value", "drift"}
    assert set(model.baselines(window(24), 2)) == {"last-value", "drift", "seasonal-naive"}
    assert model.recipe.baseline_rows == 24


@pytest.mark.parametrize("wrong", [np.empty((0, 1)), np.ones(8), np.ones((8, 2))])
def test_baselines_of_a_window_of_another_shape_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(InvalidWindow, match=r"rows x 1 columns \[close\]"):
        last_value().baselines(wrong, 2)


def test_any_level_that_the_folds_support_can_be_asked_for() -> None:
    rng = np.random.default_rng(0)
    model = last_value(intervals=calibrate(rng.standard_normal((199, 3))))
    numbers = model.forecast([window()], 3, [0.5, 33.3, 62, 98.9])[0]

    assert list(numbers.quantiles) == [0.0055, 0.19, 0.3335, 0.4975, 0.5025, 0.6665, 0.81, 0.9945]
    values = np.array(list(numbers.quantiles.values()))
    assert (np.diff(values, axis=0) >= 0).all()


def test_bands_grow_with_the_volatility_of_the_window() -> None:
    model = last_value(intervals=calibrate(np.random.default_rng(0).standard_normal((199, 3))))
    calm, wild = (100 * np.exp(np.cumsum(np.resize([s, -s], 8)))[:, None] for s in (0.001, 0.05))

    calm_band, wild_band = (model.forecast([w / w[-1] * 100], 1, [80])[0].quantiles for w in (calm, wild))

    assert wild_band[0.9][0] - wild_band[0.1][0] > 2 * (calm_band[0.9][0] - calm_band[0.1][0])


def test_direction_is_more_likely_up_with_the_drift_up() -> None:
    intervals = calibrate(np.random.default_rng(0).standard_normal((199, 3)))
    flat, rising = (last_value(algorithm="drift", drift=drift, intervals=intervals) for drift in (0.0, 0.02))

    def up(model: LoadedModel) -> float:
        return float(model.forecast([window()], 1, [80])[0].direction_probability[0])

    assert 0.35 < up(flat) < 0.65
    assert up(rising) > up(flat) + 0.1


def test_a_wild_window_gives_finite_prices() -> None:
    # Red when the exponent is not held: such a spread overflows.
    values = np.array([1e-99, 1e99] * 4)[:, None]
    numbers = last_value(intervals=calibrate(np.random.default_rng(0).standard_normal((199, 3)))).forecast(
        [values], 3, [95]
    )[0]

    assert np.isfinite([numbers.median, *numbers.quantiles.values()]).all()
    assert (numbers.quantiles[0.025] > 0).all()


def test_quantiles_of_a_graph_that_cross_are_put_in_order() -> None:
    straight, crossed = graph_model([-1.0, 0.1, 1.5] * 3), graph_model([1.5, -1.0, 0.1] * 3)

    numbers, same = (model.forecast([window()], 3, [80])[0] for model in (straight, crossed))

    np.testing.assert_array_equal(numbers.median, same.median)
    np.testing.assert_array_equal(numbers.quantiles[0.9], same.quantiles[0.9])


def test_weight_of_the_median_draws_it_to_the_last_value() -> None:
    whole, half, none = (graph_model([-1.0, 0.5, 1.5] * 3, median_weight=weight) for weight in (1.0, 0.5, 0.0))
    last = window()[-1, 0]

    changes = [np.log(model.forecast([window()], 3, [80])[0].median / last) for model in (whole, half, none)]

    np.testing.assert_allclose(changes[1], changes[0] / 2)
    np.testing.assert_array_equal(changes[2], 0)
    assert (changes[0] > 0).all()


@pytest.mark.parametrize("intercepts", [[0.0] * 8, [0.0] * 18, [float("nan")] * 9])
def test_graph_that_does_not_give_what_the_recipe_says_is_refused(intercepts: list[float]) -> None:
    with pytest.raises(InvalidArtefact, match="from 7 rows x 1 features to 3 steps x 3 quantiles, finite") as caught:
        graph_model(intercepts)
    assert caught.value.code == "invalid-graph"


def test_graph_that_does_not_take_what_the_recipe_says_is_refused() -> None:
    with pytest.raises(InvalidArtefact, match="from 7 rows x 2 features"):
        graph_model([0.0] * 9, has_volatility_input=True)


def test_a_wrong_export_is_never_released() -> None:
    # Red when an algorithm does not hold its graph against what it fitted.
    task = task_of(19, 2, 3, Lstm(), epochs=1)
    other, _ = fitted_graph(19, 2, 3, layers="8")
    with pytest.raises(ParityBroken):
        Lstm(export=lambda *_: other).fit(task)

    task = task_of(19, 2, 3, Linear())
    with pytest.raises(ParityBroken):
        Linear(export=lambda model: _export(_linear(model.coef_, model.intercept_ + 1))).fit(task)


@pytest.mark.parametrize("algorithm", [Lstm(), Linear()])
def test_the_answer_to_a_window_has_the_same_bits_in_every_batch_of_1_to_64(algorithm) -> None:
    # Red for the linear graph when several windows go through ONNX Runtime in one run.
    settings = {} if algorithm.name == "linear" else {"epochs": 1}
    task = task_of(7, 1, 3, algorithm, **settings)
    recipe = recipe_of(
        algorithm=algorithm.name,
        quantiles=task.quantiles,
        features=(FeatureRecipe(name="log-return", columns=("close",), scaling="volatility"),),
        horizon=3,
        intervals=calibrate(np.random.default_rng(0).standard_normal((199, 3))),
    )
    model = LoadedModel.load(recipe, algorithm.fit(task).graph)
    windows = [prices(8, seed=seed)[:, None] for seed in range(64)]
    alone = [model.forecast([values], 3, [80])[0] for values in windows]

    for size in range(1, 65):
        for one, found in zip(alone, model.forecast(windows[:size], 3, [80]), strict=False):
            np.testing.assert_array_equal(one.median, found.median)
            np.testing.assert_array_equal(one.quantiles[0.9], found.quantiles[0.9])
