"""Nets: graphs that compute what was fitted, step features that count, and what each paper says that a part does."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from forecasting.errors import InvalidTraining, ParityBroken
from forecasting.models.fitting import Examples, FitTask, Fitted, SeriesView
from forecasting.models.hyperparameters import resolve
from forecasting.models.linear_nets import DLinear, NLinear, moving_average
from forecasting.models.net_fitting import NetAlgorithm, device_of
from forecasting.models.nets import Body, NetSize, QuantileNet, StepOutput, write_graph
from forecasting.models.nhits import NHits, interpolation
from forecasting.models.patchtst import PatchTst
from forecasting.models.recurrent import Gru, Lstm
from forecasting.models.registry import hyperparameters_of
from forecasting.models.tcn import CausalConvolution, Tcn
from forecasting.panel import Future, Observations, Window
from forecasting.serving import LoadedModel
from forecasting.training import TrainedModel, TrainingSpec, train
from tests.unit.forecasting.series import BAR_COLUMNS, bars, observations_of, prices

SMALL = {
    Lstm: {"layers": "5,4", "dense": 3},
    Gru: {"layers": "5,4", "dense": 3},
    Tcn: {"layers": "4,5", "kernel": 2},
    NHits: {"layers": "6", "pools": "4,2", "strides": "2,1", "blocks": 2},
    DLinear: {"kernel": 4},
    NLinear: {},
    PatchTst: {"patch": 4, "stride": 3, "width": 4, "heads": 2, "dense": 5},
}


def examples_of(count: int, *, rows: int, inputs: int, horizon: int, features: int, seed: int = 0) -> Examples:
    """Outcomes that the last input and the first step feature say, and noise."""
    rng = np.random.default_rng(seed)
    window = rng.standard_normal((count, rows, inputs)).astype(np.float32)
    future = rng.standard_normal((count, horizon, features)).astype(np.float32)
    targets = np.repeat(window[:, -1, :1], horizon, axis=1) + 0.1 * rng.standard_normal((count, horizon))
    if features:
        targets += future[:, :, 0]
    return Examples(window, future, targets.astype(np.float32), np.ones((count, horizon)))


def fitted(
    algorithm: NetAlgorithm, *, rows: int = 11, inputs: int = 1, horizon: int = 3, features: int = 0, **hyperparameters
) -> Fitted:
    given = SMALL.get(type(algorithm), {}) | {"epochs": 2} | hyperparameters
    shape = {"rows": rows, "inputs": inputs, "horizon": horizon, "features": features}
    return algorithm.fit(
        FitTask(
            fit=examples_of(96, **shape),
            validation=examples_of(40, **shape, seed=1),
            quantiles=(0.1, 0.5, 0.9),
            hyperparameters=resolve(algorithm.hyperparameters, given, algorithm.name),
            seed=3,
            on_epoch=lambda _: None,
        )
    )


@pytest.mark.parametrize("kind", SMALL)
@pytest.mark.parametrize(("inputs", "horizon", "features"), [(1, 1, 0), (3, 4, 0), (1, 3, 2)])
def test_graph_takes_the_steps_only_where_there_are_step_features(
    kind: type[NetAlgorithm], inputs: int, horizon: int, features: int
) -> None:
    found = fitted(kind(), inputs=inputs, horizon=horizon, features=features)

    session = onnxruntime.InferenceSession(found.graph, providers=["CPUExecutionProvider"])
    shapes = {entry.name: entry.shape[1:] for entry in session.get_inputs()}
    assert shapes == {"window": [11, inputs]} | ({"future": [horizon, features]} if features else {})
    assert session.get_outputs()[0].shape[1:] == [horizon, 3]
    assert found.graph == fitted(kind(), inputs=inputs, horizon=horizon, features=features).graph


@pytest.mark.parametrize("kind", SMALL)
def test_a_step_feature_moves_its_own_step_and_no_other(kind: type[NetAlgorithm]) -> None:
    found = fitted(kind(), features=2)
    session = onnxruntime.InferenceSession(found.graph, providers=["CPUExecutionProvider"])
    window, future = np.ones((1, 11, 1), dtype=np.float32), np.zeros((1, 3, 2), dtype=np.float32)
    changed = future.copy()
    changed[0, 1, 0] = 2

    before, after = (session.run(None, {"window": window, "future": steps})[0] for steps in (future, changed))

    moved = np.abs(after - before).max(axis=2)[0]
    assert moved[1] > 1e-4
    np.testing.assert_array_equal(moved[[0, 2]], 0)


@pytest.mark.parametrize("kind", SMALL)
def test_nets_learn_what_window_and_steps_say(kind: type[NetAlgorithm]) -> None:
    calm = {"dropout": 0.0} if "dropout" in {part.name for part in kind().hyperparameters} else {}
    found = fitted(kind(), features=1, epochs=60, patience=60, learning_rate=0.02, **calm)

    best = min(epoch.validation_loss for epoch in found.epochs)
    assert best < 0.5 * found.epochs[0].validation_loss


@pytest.mark.parametrize("kind", SMALL)
def test_a_wrong_graph_of_any_net_is_never_released(kind: type[NetAlgorithm]) -> None:
    # Red without `require_parity` in `NetAlgorithm.fit`.
    def spoilt(net: QuantileNet, size: NetSize) -> bytes:
        with torch.no_grad():
            first = next(part for name, part in net.named_parameters() if name != "start")
            kept = first.clone()
            first.add_(0.5)
            graph = write_graph(net, size)
            first.copy_(kept)
        return graph

    with pytest.raises(ParityBroken):
        fitted(kind(export=spoilt))


class Counting(NetAlgorithm):
    """A net that counts the windows it is fitted on."""

    name = "counting"

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def body(self, size: NetSize, task: FitTask) -> Body:
        counting = self

        class CountingBody(Body):
            def __init__(self) -> None:
                super().__init__()
                self.output = StepOutput(size.rows, size)

            def forward(self, window):
                counting.seen += len(window) if self.training else 0
                return self.output(window[:, :, 0])

            def write(self, graph, window):
                return self.output.write(graph, graph.add("Flatten", window, axis=1))

        return CountingBody()


@pytest.mark.parametrize(("epoch_windows", "seen"), [(40, 80), (4096, 192)])
def test_a_pass_draws_no_more_windows_than_asked_for(epoch_windows: int, seen: int) -> None:
    algorithm = Counting()
    fitted(algorithm, epoch_windows=epoch_windows, batch_size=32)

    assert algorithm.seen == seen


def test_l2_makes_the_weights_of_the_dense_layer_small() -> None:
    sizes = []

    def export(net: QuantileNet, size: NetSize) -> bytes:
        sizes.append(float(net.body.dense.weight.detach().square().sum()))
        return write_graph(net, size)

    for l2 in (0.0, 5.0):
        fitted(Lstm(export=export), l2=l2, epochs=20, learning_rate=0.05)

    assert sizes[1] < 0.5 * sizes[0]


def test_nets_are_fitted_on_cuda_when_there_is_one() -> None:
    assert device_of(lambda: True) == torch.device("cuda", 0)
    assert device_of(lambda: False) == torch.device("cpu")


def test_number_of_threads_outside_does_not_change_the_graph() -> None:
    # Red when `_deterministic` leaves the number of threads as it is and sums are cut by threads; always red when it
    # does not put it back.
    threads = torch.get_num_threads()
    try:
        graphs = set()
        for count in (1, 2):
            torch.set_num_threads(count)
            graphs.add(fitted(PatchTst(), rows=64, width=16, heads=2, patch=16, stride=8).graph)
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert len(graphs) == 1


def test_moving_average_repeats_the_ends() -> None:
    values = np.array([1.0, 2.0, 4.0, 8.0])

    np.testing.assert_allclose(moving_average(4, 3) @ values, [4 / 3, 7 / 3, 14 / 3, 20 / 3])


@pytest.mark.parametrize(("points", "count"), [(1, 5), (2, 7), (3, 3), (5, 24)])
def test_interpolation_is_that_of_torch(points: int, count: int) -> None:
    values = torch.arange(points, dtype=torch.float64).square()

    expected = torch.nn.functional.interpolate(values[None, None], size=count, mode="linear", align_corners=False)[0, 0]

    np.testing.assert_allclose(interpolation(points, count) @ values.numpy(), expected.numpy(), atol=1e-12)


def test_convolution_sees_no_later_row_and_its_weights_have_their_length() -> None:
    torch.manual_seed(0)
    layer = CausalConvolution(2, 3, kernel=3, dilation=2)
    values = torch.randn(1, 2, 9)
    wild = values.clone()
    wild[..., 5:] = 1e3

    with torch.no_grad():
        np.testing.assert_allclose(layer(values)[..., :5], layer(wild)[..., :5], rtol=1e-5)
        norms = layer.weight.square().sum(dim=(1, 2), keepdim=True).sqrt()
        np.testing.assert_allclose(norms, layer.length, rtol=1e-5)


@pytest.mark.parametrize(
    ("algorithm", "given", "field"),
    [
        (NHits(), {"pools": "4,2,1", "strides": "4,2"}, "hyperparameters.strides"),
        (PatchTst(), {"width": 6, "heads": 4}, "hyperparameters.heads"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(
    algorithm: NetAlgorithm, given: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidTraining) as caught:
        fitted(algorithm, **given)
    assert (caught.value.code, caught.value.field) == ("invalid-hyperparameter", field)


def view_of(**changes) -> SeriesView:
    view = SeriesView(
        columns=("sales",),
        target="sales",
        is_log=True,
        season_length=7,
        freq="1d",
        calendar="24/7",
        window_size=14,
        horizon=3,
        future_columns=(),
        static_columns=(),
        hyperparameters=hyperparameters_of("nhits", {}),
    )
    return view._replace(**changes)


@pytest.mark.parametrize("algorithm", [NHits(), Gru(), Tcn()])
@pytest.mark.parametrize(
    ("changes", "anchor"),
    [
        ({}, "seasonal"),
        ({"window_size": 13}, "last"),
        ({"target": "close", "columns": ("close",)}, "last"),
        ({"columns": ("sales", "promo"), "future_columns": ("promo",)}, "mean"),
        ({"hyperparameters": hyperparameters_of("nhits", {"anchor": "mean"})}, "mean"),
    ],
)
def test_anchor_suits_the_series_unless_it_is_asked_for(
    algorithm: NetAlgorithm, changes: dict[str, object], anchor: str
) -> None:
    assert algorithm.plan(view_of(**changes)).anchor == anchor


def test_season_longer_than_the_window_is_refused_as_anchor() -> None:
    # Red without the check of the season in `anchor_of`: the training would end as a bug.
    spec = TrainingSpec(algorithm="nlinear", horizon=2, window_size=6, hyperparameters={"anchor": "seasonal"})

    with pytest.raises(InvalidTraining, match=r"window_size must be at least 7, one season.*was 6"):
        trained_on(spec, {"close": prices(330)})


def test_lstm_of_20_closes_for_10_steps() -> None:
    spec = TrainingSpec(algorithm="lstm", columns=("close",), window_size=20, horizon=10, hyperparameters={"epochs": 1})
    released = trained_on(spec, {"close": prices(330)})

    model = LoadedModel.load(released.recipe, released.graph)
    assert model.forecast([prices(20, seed=4)[:, None]], 10, [80.0])[0].median.shape == (10,)


def test_lstm_of_60_rows_of_6_columns_for_1_step() -> None:
    settings = {"layers": "100,50", "dropout": 0.25, "dense": 16, "l2": 0.003, "epochs": 1, "refits": 1}
    spec = TrainingSpec(algorithm="lstm", columns=BAR_COLUMNS, window_size=60, horizon=1, hyperparameters=settings)
    released = trained_on(spec, bars(330))

    model = LoadedModel.load(released.recipe, released.graph)
    window = np.column_stack([bars(60)[name] for name in BAR_COLUMNS])
    assert model.forecast([window], 1, [80.0])[0].median.shape == (1,)
    # Four gates of each layer with torch's two biases, the dense layer, and 5 quantiles with their start. Beside the
    # six columns stands the volatility.
    quantiles = len(released.recipe.quantiles)
    layers = 4 * 100 * (7 + 100 + 2) + 4 * 50 * (100 + 50 + 2)
    assert released.diagnostics.parameter_count == layers + 16 * 51 + quantiles * 16 + quantiles
    assert released.recipe.hyperparameters["l2"] == 0.003


def trained_on(spec: TrainingSpec, columns: dict[str, np.ndarray]) -> TrainedModel:
    return train(spec, [observations_of(columns)])


def wave(rows: int, level: float, phase: float, *, name: str = "A", noise: float = 0.01) -> Observations:
    rng = np.random.default_rng(int(10 * phase))
    season = 1 + 0.3 * np.sin(2 * np.pi * (np.arange(rows) + phase) / 7)
    return observations_of({"close": level * season * np.exp(noise * rng.standard_normal(rows))}, name=name)


@pytest.mark.parametrize("algorithm", ["dlinear", pytest.param("gru", marks=pytest.mark.slow)])
def test_a_series_never_seen_is_forecast_from_its_window_alone(algorithm: str) -> None:
    spec = TrainingSpec(
        algorithm=algorithm,
        horizon=3,
        window_size=14,
        levels=(80.0,),
        hyperparameters={"refits": 1, "epochs": 15, "learning_rate": 0.01},
    )
    known = [wave(160, 10.0 * 4**phase, phase, name=f"S{phase}") for phase in range(3)]
    released = train(spec, known)
    model = LoadedModel.load(released.recipe, released.graph)
    strange = wave(60, 7_000.0, 4.4, name="NEW").columns["close"]

    windows = [strange[end - 14 : end, None] for end in range(14, 57)]
    forecasts = np.array([numbers.median for numbers in model.forecast(windows, 3, [80.0])])

    outcomes = np.array([strange[end : end + 3] for end in range(14, 57)])
    lasts = np.array([window[-1] for window in windows])
    assert np.abs(forecasts - outcomes).mean() < 0.5 * np.abs(lasts - outcomes).mean()


@pytest.mark.parametrize("algorithm", ["nlinear", pytest.param("lstm", marks=pytest.mark.slow)])
def test_known_future_and_static_columns_reach_the_forecast(algorithm: str) -> None:
    rng = np.random.default_rng(0)
    series = []
    for store in range(2):
        promo = (rng.random(200) < 0.4).astype(float)
        sales = 100 * np.exp(0.5 * promo + 0.02 * rng.standard_normal(200))
        columns = {"close": sales, "promo": promo, "size": np.full(200, float(store))}
        series.append(observations_of(columns, name=f"S{store}"))
    spec = TrainingSpec(
        algorithm=algorithm,
        columns=("close", "promo", "size"),
        covariates={"promo": "known-future", "size": "static"},
        horizon=2,
        window_size=10,
        levels=(80.0,),
        hyperparameters={"refits": 1, "epochs": 15, "learning_rate": 0.01, "anchor": "mean"},
    )
    released = train(spec, series)
    model = LoadedModel.load(released.recipe, released.graph)
    assert released.recipe.anchor == "mean"
    assert [part.name for part in released.recipe.step_features] == ["known", "static"]

    rows = model.window_of(series[0])
    times = series[0].time[-1] + 86_400 * np.arange(1, 3)

    def median(first: float, second: float) -> np.ndarray:
        future = Future(times, np.array([[first], [second]]))
        window = Window(rows.values, rows.cutoff, rows.time, future)
        return model.forecast([window], 2, [80.0])[0].median

    calm, sale = median(0, 0), median(1, 0)
    assert sale[0] > 1.3 * calm[0]
    assert sale[1] == pytest.approx(calm[1], rel=1e-6)
