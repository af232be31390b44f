"""What serving promises beyond `check_forecaster`: bits, levels, exact baselines, the classic net."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from forecasting.artefact import Recipe
from forecasting.errors import InvalidWindow
from forecasting.intervals import calibrate
from forecasting.models.fitting import Examples, FitTask
from forecasting.models.hyperparameters import resolve
from forecasting.models.lstm import Lstm
from forecasting.serving import LoadedModel
from tests.unit.forecasting.series import prices
from tests.unit.forecasting.test_artefact import recipe_of


def fitted_graph(rows: int, features: int, horizon: int, **hyperparameters) -> tuple[bytes, int]:
    rng = np.random.default_rng(0)

    def examples(count: int) -> Examples:
        return Examples(
            rng.standard_normal((count, rows, features)).astype(np.float32),
            rng.standard_normal((count, horizon)).astype(np.float32),
            np.ones((count, horizon)),
        )

    lstm = Lstm()
    task = FitTask(
        fit=examples(64),
        validation=examples(16),
        quantiles=(0.025, 0.1, 0.5, 0.9, 0.975),
        hyperparameters=resolve(lstm.hyperparameters, {"epochs": 1, **hyperparameters}, "lstm"),
        seed=1,
        on_epoch=lambda _: None,
    )
    fitted = lstm.fit(task)
    return fitted.graph, fitted.parameter_count


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
    values = np.array([1e-8, 1e8, 1e-8, 1e8, 1e-8, 1e8, 1e-8, 1e8])[:, None]
    numbers = last_value(intervals=calibrate(np.random.default_rng(0).standard_normal((199, 3)))).forecast(
        [values], 3, [95]
    )[0]

    assert np.isfinite([numbers.median, *numbers.quantiles.values()]).all()
    assert (numbers.quantiles[0.025] > 0).all()
