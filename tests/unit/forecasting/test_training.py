"""Training: same in, same out; nothing from the future; what cannot be trained is refused with the reason."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from sklearn.linear_model import Ridge

from forecasting.artefact import Artefact, FeatureRecipe
from forecasting.errors import (
    DivergedTraining,
    InvalidObservations,
    InvalidTraining,
    ParityBroken,
    TooLittleHistory,
)
from forecasting.folds import Part
from forecasting.inputs import InputBuilder
from forecasting.models.fitting import require_parity
from forecasting.models.hyperparameters import layer_sizes
from forecasting.models.linear import ridges
from forecasting.models.recurrent import Lstm
from forecasting.models.registry import algorithm, hyperparameters_of
from forecasting.panel import Observations
from forecasting.preparation import draft_recipe, examples_of, thinned
from forecasting.serving import LoadedModel
from forecasting.training import Progress, TrainedModel, TrainingSpec, train
from forecasting.training_panel import panel_of
from schemas.trainings import TrainingRequested
from tests.unit.forecasting.series import BAR_COLUMNS, bars, observations_of, prices

TINY = {"layers": "4", "dense": 0, "epochs": 2, "refits": 1}
ROWS = 300


def spec(**changes) -> TrainingSpec:
    settings = {"horizon": 3, "window_size": 10, "levels": (80.0,), "hyperparameters": TINY}
    return TrainingSpec(**(settings | changes))


def series(rows: int = ROWS, **changes) -> Observations:
    return observations_of({"close": prices(rows)}, **changes)


def replaced(observations: Observations, **columns: np.ndarray) -> Observations:
    return observations_of(observations.columns | columns)


@pytest.fixture(scope="module")
def trained() -> TrainedModel:
    return train(spec(), [series()])


def test_seed_and_data_change_the_artefact(trained: TrainedModel) -> None:
    other_seed = train(spec(seed=1), [series()])
    values = prices(ROWS)
    values[5] *= 1.001
    other_data = train(spec(), [observations_of({"close": values})])

    assert len({trained.artefact.digest, other_seed.artefact.digest, other_data.artefact.digest}) == 3


def test_training_leaves_torch_as_it_was() -> None:
    import torch

    torch.manual_seed(7)
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    train(spec(), [series()])

    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.get_num_threads() == threads
    assert torch.get_deterministic_debug_mode() == 0


def test_our_adam_is_torchs_adam() -> None:
    import torch

    from forecasting.models.descent import Adam

    def run(make):
        weights = torch.nn.Parameter(torch.linspace(-1, 1, 5))
        optimizer = make([weights])
        for step in range(30):
            optimizer.zero_grad()
            ((weights - 0.3) ** 2 * torch.arange(1, 6) + step * weights.abs()).sum().backward()
            optimizer.step()
        return weights.detach().numpy()

    np.testing.assert_allclose(
        run(lambda parts: Adam(parts, 0.05)), run(lambda parts: torch.optim.Adam(parts, lr=0.05)), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("width", [6, 60])
def test_ridges_of_several_penalties_are_those_of_scikit_learn(width: int) -> None:
    rng, penalties = np.random.default_rng(0), (0.001, 0.1, 10.0)
    inputs, targets = rng.normal(3.0, 2.0, size=(50, width)), rng.normal(size=(50, 4))

    for penalty, found in zip(penalties, ridges(inputs, targets, penalties), strict=True):
        expected = Ridge(alpha=penalty * 50).fit(inputs, targets)
        np.testing.assert_allclose(found.coef_, expected.coef_, rtol=1e-12)
        np.testing.assert_allclose(found.intercept_, expected.intercept_, rtol=1e-12)


def test_inputs_that_repeat_each_other_beyond_the_normal_equations_still_have_a_ridge() -> None:
    # Red without the other way for a matrix that is not positive definite.
    inputs = np.random.default_rng(0).normal(size=(50, 1)) * np.array([1e9, 1e9, 1.0])

    (found,) = ridges(inputs, inputs[:, :1], (1e-12,))

    assert np.isfinite(found.coef_).all()


def test_forecasts_of_the_test_part_do_not_know_what_comes_after_their_cutoff(trained: TrainedModel) -> None:
    """Everything after a cutoff in the test part is replaced by wild values: what was forecast until then must stay."""
    observations, times = series(), trained.diagnostics.fold_times
    middle = len(times) // 2
    cutoff = int(np.flatnonzero(observations.time == times[middle])[0])
    wild = observations.columns["close"].copy()
    wild[cutoff + 1 :] = np.random.default_rng(1).uniform(1, 1e6, size=ROWS - cutoff - 1)

    other = train(spec(), [replaced(observations, close=wild)])

    for method, folds in trained.diagnostics.evaluation.folds.items():
        found = other.diagnostics.evaluation.folds[method]
        np.testing.assert_array_equal(folds.median[: middle + 1], found.median[: middle + 1])
        for probability, values in folds.quantiles.items():
            np.testing.assert_array_equal(values[: middle + 1], found.quantiles[probability][: middle + 1])
    later = other.diagnostics.evaluation.folds["model"].median[middle + 1 :]
    assert not np.array_equal(trained.diagnostics.evaluation.folds["model"].median[middle + 1 :], later)


def scalers_with(fit: list[Part], wild_from: int) -> tuple[bytes, bytes]:
    """The recipes from bars, and from bars that are wild from a row on, for one fit part."""
    known = bars(ROWS)
    wild = {name: np.where(np.arange(ROWS) >= wild_from, values * 50, values) for name, values in known.items()}
    asked, settings = spec(columns=BAR_COLUMNS), hyperparameters_of("lstm", {})
    return tuple(
        msgspec.json.encode(
            draft_recipe(asked, panel_of(asked, [observations_of(data)]), fit, settings, algorithm("lstm"))
        )
        for data in (known, wild)
    )


def test_scalers_see_the_fit_part_alone() -> None:
    known, wild = scalers_with([Part(0, np.arange(20, 100))], wild_from=104)

    assert known == wild


def test_a_scaler_fitted_on_everything_is_caught() -> None:
    # A planted leak: the check above must be able to fail.
    known, wild = scalers_with([Part(0, np.arange(20, ROWS - 4))], wild_from=104)

    assert known != wild


def test_served_numbers_are_those_of_the_backtest() -> None:
    """The input of a window is the same whether it is cut for training or arrives alone at the predictor."""
    observations = observations_of(bars(ROWS))
    asked = spec(columns=BAR_COLUMNS)
    model = train(asked, [observations])
    panel, cutoffs = panel_of(asked, [observations]), np.arange(50, 60)
    examples = examples_of(model.recipe, panel, [Part(0, cutoffs)])
    loaded = LoadedModel.load(model.recipe, model.graph)

    for row, cutoff in enumerate(cutoffs):
        window = loaded.window_of(observations.slice(0, int(cutoff) + 1))
        builder = loaded._inputs
        found = builder.build(window, builder.scale(window.values))
        np.testing.assert_array_equal(found.window, examples.inputs[row])
        np.testing.assert_array_equal(found.future, examples.future[row])


def test_more_windows_than_memory_are_thinned_evenly_and_keep_the_newest(trained: TrainedModel) -> None:
    parts = [Part(0, np.arange(30, 130)), Part(1, np.arange(50, 75))]
    rows, features = InputBuilder(trained.recipe).shape
    size = 4 * (rows * features + 3 * trained.recipe.horizon)

    assert thinned(trained.recipe, parts) == parts
    kept = thinned(trained.recipe, parts, most_bytes=50 * size)

    assert [part.cutoffs[-1] for part in kept] == [129, 74]
    assert {int(step) for part in kept for step in np.diff(part.cutoffs)} == {3}
    # Red without the division in `thinned`: what is kept fits.
    assert sum(len(part.cutoffs) for part in kept) <= 50


def test_release_is_calibrated_on_calibration_and_test_folds(trained: TrainedModel) -> None:
    counts = trained.diagnostics.cutoff_counts

    assert len(trained.recipe.intervals.scores[0]) == counts["calibration"] + counts["test"]


def test_progress_tells_epochs_and_losses_and_a_cancellation_ends_it() -> None:
    told: list[Progress] = []

    class Cancelled(Exception):
        pass

    def listen(progress: Progress) -> None:
        told.append(progress)
        if progress.stage == "backtest":
            raise Cancelled

    with pytest.raises(Cancelled):
        train(spec(), [series()], listen)
    fitting = [one for one in told if one.stage == "fitting" and one.epoch is not None]
    assert [one.epoch for one in fitting] == [1, 2]
    assert all(set(one.losses) == {"train", "validation"} for one in fitting)


def test_several_series_train_one_model() -> None:
    second = observations_of({"close": prices(200, seed=1)}, name="TOC")
    model = train(spec(), [series(), second])

    numbers = LoadedModel.load(model.recipe, model.graph)
    assert np.isfinite(numbers.forecast([numbers.window_of(second).values], 3, [80])[0].median).all()
    assert model.diagnostics.cutoff_counts["fit"] > train(spec(), [series()]).diagnostics.cutoff_counts["fit"]


def test_several_series_keep_to_one_time_line() -> None:
    """What a second series does after the test part has begun must not reach the model that is tested."""
    first, second = series(), prices(ROWS, seed=1)
    base = train(spec(), [first, observations_of({"close": second}, name="TOC")])
    start = int(np.flatnonzero(first.time == base.diagnostics.fold_times[0])[0])
    wild = second.copy()
    wild[start + 1 :] *= np.random.default_rng(2).uniform(0.1, 10, size=ROWS - start - 1)

    other = train(spec(), [first, observations_of({"close": wild}, name="TOC")])

    np.testing.assert_array_equal(
        base.diagnostics.evaluation.folds["model"].median, other.diagnostics.evaluation.folds["model"].median
    )


def test_rows_with_a_missing_value_are_left_out_and_counted() -> None:
    values = prices(ROWS)
    values[[7, 50]] = np.nan

    assert (
        train(
            spec(algorithm="drift", hyperparameters={}), [observations_of({"close": values})]
        ).diagnostics.rows_skipped
        == 2
    )


def test_loss_that_is_not_a_number_is_diverged_training() -> None:
    # The fit part never moves, so that the jump later is beyond any number in units of its volatility.
    values = np.where(np.arange(ROWS) < 275, 0.0, 1e35 * np.sin(np.arange(ROWS)))
    with pytest.raises(DivergedTraining, match=r"loss must be finite in every epoch, was .*inf in epoch 1") as caught:
        train(spec(), [observations_of({"close": values})])
    assert caught.value.code == "diverged-training"


def test_fit_that_runs_away_is_diverged_training() -> None:
    with pytest.raises(
        DivergedTraining, match=r"loss must be at most 3 times .* at best; lower learning_rate, which was"
    ):
        train(spec(hyperparameters=TINY | {"learning_rate": 1000.0, "layers": "32"}), [series()])


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"algorithm": "prophet"}, "unknown-algorithm", "algorithm"),
        ({"hyperparameters": {"depth": 3}}, "unknown-hyperparameter", "hyperparameters.depth"),
        ({"hyperparameters": {"dropout": 1.5}}, "invalid-hyperparameter", "hyperparameters.dropout"),
        ({"hyperparameters": {"dropout": True}}, "invalid-hyperparameter", "hyperparameters.dropout"),
        ({"hyperparameters": {"epochs": 2.5}}, "invalid-hyperparameter", "hyperparameters.epochs"),
        ({"hyperparameters": {"epochs": float("nan")}}, "invalid-hyperparameter", "hyperparameters.epochs"),
        ({"hyperparameters": {"layers": "100;50"}}, "invalid-hyperparameter", "hyperparameters.layers"),
        ({"hyperparameters": {"layers": "0"}}, "invalid-hyperparameter", "hyperparameters.layers"),
        (
            {"algorithm": "linear", "hyperparameters": {"loss": "cubic"}},
            "invalid-hyperparameter",
            "hyperparameters.loss",
        ),
        ({"algorithm": "drift", "hyperparameters": {"epochs": 1}}, "unknown-hyperparameter", "hyperparameters.epochs"),
        ({"horizon": 0}, "invalid-training", "horizon"),
        ({"window_size": 1}, "invalid-training", "window_size"),
        ({"levels": (80.0, 100.0)}, "invalid-training", "levels"),
        ({"levels": ()}, "invalid-training", "levels"),
        ({"columns": ("open",)}, "invalid-training", "columns"),
        ({"columns": ("close", "close")}, "invalid-training", "columns"),
        ({"algorithm": "seasonal-naive", "hyperparameters": {}, "window_size": 6}, "invalid-training", "window_size"),
    ],
)
def test_what_cannot_be_trained_is_refused_by_field(changes: dict[str, object], code: str, field: str) -> None:
    with pytest.raises(InvalidTraining) as caught:
        train(spec(**changes), [series()])
    assert (caught.value.code, caught.value.field) == (code, field)
    assert caught.value.expected


def test_unknown_names_are_answered_with_the_known_ones() -> None:
    with pytest.raises(InvalidTraining, match=r"one of lstm, .*seasonal-naive, ensemble, auto, was 'prophet'"):
        train(spec(algorithm="prophet"), [series()])
    with pytest.raises(InvalidTraining, match=r"one that lstm has: layers, dropout, .*refits.*, was 3"):
        train(spec(hyperparameters={"depth": 3}), [series()])


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ([], "no-observations"),
        ([observations_of({"open": np.ones(ROWS)})], "unknown-column"),
        ([series(), series(freq="1h")], "mixed-freq"),
        ([series(), series(calendar="XNYS")], "mixed-calendar"),
    ],
)
def test_observations_that_do_not_fit_are_refused(given: list[Observations], code: str) -> None:
    with pytest.raises(InvalidObservations) as caught:
        train(spec(), given)
    assert caught.value.code == code


def test_too_little_history_says_how_much_is_needed() -> None:
    asked = spec(fallback=False)
    with pytest.raises(TooLittleHistory) as caught:
        train(asked, [series(20)])
    needed = int(caught.value.expected.split()[2])

    train(asked, [series(needed)])
    with pytest.raises(TooLittleHistory):
        train(asked, [series(needed - 1)])


def test_negative_volume_is_refused() -> None:
    columns = bars(ROWS)
    columns["volume"][100] = -5.0
    with pytest.raises(InvalidObservations, match=r"HET@1d.volume must be 0 or more, was -5 at 2020-04-15"):
        train(spec(columns=BAR_COLUMNS), [observations_of(columns)])


def test_a_graph_that_differs_from_what_was_fitted_is_not_released() -> None:
    fitted = np.zeros((4, 2), dtype=np.float32)

    assert require_parity(fitted + np.float32(1e-6), fitted, "lstm") < 1e-5
    with pytest.raises(
        ParityBroken, match=r"within 0.0001 of the fitted lstm on real windows, was 0.01 apart"
    ) as caught:
        require_parity(fitted + np.float32(0.01), fitted, "lstm")
    assert caught.value.code == "parity-broken"
    with pytest.raises(ParityBroken):
        require_parity(np.full_like(fitted, np.nan), fitted, "lstm")


def test_spec_mirrors_the_request() -> None:
    request = TrainingRequested(
        training_id="t1",
        model="market/HET-1d",
        series_ids=("market/HET@1d",),
        columns=("close", "volume"),
        algorithm="linear",
        horizon=5,
        window_size=30,
        levels=(50.0,),
        hyperparameters={"loss": "quantile"},
        seed=9,
        as_of={"0": 1},
    )

    made = TrainingSpec.of(request)

    for field in ("target", "columns", "algorithm", "horizon", "window_size", "levels", "hyperparameters", "seed"):
        assert getattr(made, field) == getattr(request, field)


def test_layers_are_written_as_numbers_or_text() -> None:
    layers = next(part for part in Lstm().hyperparameters if part.name == "layers")

    assert layer_sizes(str(layers.parse(" 100, 50"))) == (100, 50)
    assert layers.parse(64) == "64"


def test_artefact_is_what_is_released(trained: TrainedModel) -> None:
    assert trained.artefact == Artefact(trained.recipe, trained.graph)
    assert trained.recipe.seed == 0
    assert trained.recipe.hyperparameters["layers"] == "4"


def test_feature_that_needs_more_rows_than_the_window_is_refused_by_name() -> None:
    # Goes red without the check of the lookback in `InputBuilder.__init__`.
    momentum = FeatureRecipe(name="momentum", columns=("close",), window_size=30, scaling="standard")

    with pytest.raises(InvalidTraining, match="window_size must be at least 31, the rows that momentum needs, was 10"):
        train(spec(algorithm="linear", hyperparameters={}, features=(momentum,)), [series()])
