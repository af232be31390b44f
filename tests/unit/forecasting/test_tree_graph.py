"""Trees over table rows, and the graphs that are made from them."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pytest

from forecasting.errors import DivergedTraining, ParityBroken
from forecasting.models.boosting import GradientBoosting
from forecasting.models.fitting import Epoch, Examples, FitTask, Fitted
from forecasting.models.forest import RandomForest
from forecasting.models.hyperparameters import resolve
from forecasting.models.lightgbm_model import LightGbm, trees_of_booster
from forecasting.models.table import Layout
from forecasting.models.table_fitting import run_graph
from forecasting.models.tree_graph import Tree, float32_thresholds, forest_graph

HORIZON, ROWS, FEATURES = 3, 6, 2
SMALL = {"rounds": 12, "leaves": 6, "min_leaf": 5, "learning_rate": 0.2}
SMALL_FOREST = {"trees": 6, "leaves": 20, "min_leaf": 5, "column_share": 0.8}


def examples(count: int, *, seed: int = 0, step_features: int = 2) -> Examples:
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(count, ROWS, FEATURES)).astype(np.float32)
    future = rng.normal(size=(count, HORIZON, step_features)).astype(np.float32)
    signal = inputs[:, -1, :1] + (future[:, :, 0] if step_features else 0)
    targets = (signal + 0.1 * rng.normal(size=(count, HORIZON))).astype(np.float32)
    return Examples(inputs, future, targets, np.ones((count, HORIZON)))


def task_of(algorithm: Any, given: dict[str, Any], told: list[Epoch] | None = None, **changes: Any) -> FitTask:
    hyperparameters = resolve(algorithm.hyperparameters, given, algorithm.name)
    parts = {"fit": examples(200), "validation": examples(60, seed=1), "seed": 3} | changes
    return FitTask(
        quantiles=algorithm.quantiles((80.0,), hyperparameters),
        hyperparameters=hyperparameters,
        on_epoch=(told if told is not None else []).append,
        **parts,
    )


def fitted(given: dict[str, Any], kind: type = LightGbm, **changes: Any) -> Fitted:
    algorithm = kind()
    small = SMALL_FOREST if kind is RandomForest else SMALL
    return algorithm.fit(task_of(algorithm, small | given, **changes))


def test_threshold_decides_every_float32_as_the_double_does() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=1000).astype(np.float32)
    # Doubles just above, at and just below a float32: where rounding to the nearest would decide otherwise.
    thresholds = np.concatenate([np.nextafter(inputs.astype(np.float64), way) for way in (-np.inf, np.inf)] + [inputs])

    rounded = float32_thresholds(thresholds)

    for way in (np.float32(-np.inf), np.float32(np.inf)):
        near = np.nextafter(np.tile(inputs, 3), way)
        np.testing.assert_array_equal(near <= rounded, near.astype(np.float64) <= thresholds)
    # Red when `float32_thresholds` rounds to the nearest: the float32 itself lies above a double just below it.
    np.testing.assert_array_equal(np.tile(inputs, 3) <= rounded, np.tile(inputs, 3).astype(np.float64) <= thresholds)


def test_graph_decides_as_lightgbm_where_inputs_lie_on_thresholds() -> None:
    rng = np.random.default_rng(1)
    width = 4
    inputs = rng.normal(size=(600, width)).astype(np.float32)
    booster = lightgbm.train(
        {"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 3, "deterministic": True, "force_row_wise": True},
        lightgbm.Dataset(inputs, inputs[:, 0] * inputs[:, 1]),
        num_boost_round=20,
    )
    trees = trees_of_booster(booster, 20)
    layout = Layout(lags=1, features=width, step_features=0, horizon=1, is_apart=True)
    graph = forest_graph(layout, [[trees]], rows=1, name="test")
    thresholds = np.concatenate([float32_thresholds(tree.threshold[tree.left >= 0]) for tree in trees])
    # LightGBM splits at -1e-35, beside the 0 that it takes such inputs for.
    assert (np.abs(thresholds) < 1e-30).any()
    on_edges = rng.choice(thresholds, size=(2_000, 1, width))
    on_edges[::5, 0, 0] = -np.float32(1e-35)
    some = Examples(
        on_edges, np.zeros((2_000, 1, 0), np.float32), np.zeros((2_000, 1), np.float32), np.ones((2_000, 1))
    )

    found = run_graph(graph, some)[:, 0, 0]

    np.testing.assert_allclose(found, booster.predict(on_edges[:, 0]), atol=1e-5)


def test_tree_of_one_leaf() -> None:
    leaf = Tree(np.array([-1]), np.zeros(1), np.array([-1]), np.array([-1]), np.array([2.5]))
    layout = Layout(lags=2, features=FEATURES, step_features=0, horizon=HORIZON, is_apart=False)

    graph = forest_graph(layout, [[[leaf, leaf], [leaf]]], rows=ROWS, name="test")

    found = run_graph(graph, examples(4, step_features=0))
    np.testing.assert_array_equal(found, np.broadcast_to(np.array([5.0, 2.5], np.float32), (4, HORIZON, 2)))


@pytest.mark.parametrize("kind", [LightGbm, GradientBoosting, RandomForest])
@pytest.mark.parametrize("steps", ["together", "apart"])
@pytest.mark.parametrize("loss", ["squared", "absolute", "quantile"])
@pytest.mark.parametrize("step_features", [0, 2])
def test_trees_learn_and_repeat(kind: type, loss: str, steps: str, step_features: int) -> None:
    parts = {
        "fit": examples(200, step_features=step_features),
        "validation": examples(60, seed=1, step_features=step_features),
    }

    once, again = (fitted({"loss": loss, "steps": steps}, kind, **parts) for _ in range(2))

    assert once.graph == again.graph
    median = run_graph(once.graph, parts["validation"])
    assert median.shape == (60, HORIZON, 3 if loss == "quantile" else 1)
    error = np.mean((median[:, :, median.shape[2] // 2] - parts["validation"].targets) ** 2)
    assert error < 0.8 * np.mean(parts["validation"].targets ** 2)
    numbers = [epoch.number for epoch in once.epochs]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] <= once.epochs[-1].epochs


@pytest.mark.parametrize("kind", [LightGbm, GradientBoosting, RandomForest])
def test_another_seed_gives_another_graph(kind: type) -> None:
    assert fitted({}, kind).graph != fitted({}, kind, seed=4).graph


def test_quantiles_of_a_forest_are_those_of_its_leaves() -> None:
    """A forest of one tree that cannot split gives the quantiles of the rows that its tree drew."""
    part = examples(4_000)
    whole = fitted({"loss": "quantile", "trees": 1, "min_leaf": 4_000, "steps": "apart"}, RandomForest, fit=part)

    found = run_graph(whole.graph, examples(2, seed=7))

    expected = np.quantile(part.targets, [0.1, 0.5, 0.9], axis=0).T
    np.testing.assert_allclose(found, np.broadcast_to(expected, found.shape), atol=0.1)


@pytest.mark.parametrize("kind", [LightGbm, GradientBoosting])
def test_trees_after_the_best_round_are_cut(kind: type) -> None:
    noise = Examples(
        *(getattr(examples(60, seed=5), name) for name in ("inputs", "future")),
        np.random.default_rng(0).normal(size=(60, HORIZON)).astype(np.float32),
        np.ones((60, HORIZON)),
    )

    stopped = fitted({"rounds": 40, "patience": 3, "learning_rate": 0.5}, kind, validation=noise)

    losses = [epoch.validation_loss for epoch in stopped.epochs]
    found = run_graph(stopped.graph, noise)[:, :, 0]
    assert stopped.epochs[-1].number < 40
    assert np.mean((found - noise.targets) ** 2) == pytest.approx(min(losses), rel=1e-5)


def test_rows_beyond_the_limit_are_sampled_by_the_seed() -> None:
    few, again, other = (fitted({"max_rows": 300}, seed=seed) for seed in (3, 3, 4))

    assert few.graph == again.graph
    assert few.graph != other.graph
    assert few.graph != fitted({}).graph


@pytest.mark.parametrize("kind", [LightGbm, GradientBoosting, RandomForest])
def test_broken_export_is_refused(kind: type) -> None:
    def wrong(layout: Layout, forests: Any, **other: Any) -> bytes:
        return forest_graph(layout, [[trees[:-1] for trees in forest] for forest in forests], **other)

    algorithm = kind(wrong)
    # Red without `require_table_parity` in `TreeAlgorithm.fit`.
    with pytest.raises(ParityBroken, match=algorithm.name):
        algorithm.fit(task_of(algorithm, SMALL_FOREST if kind is RandomForest else SMALL))


@pytest.mark.parametrize("part", ["fit", "validation"])
def test_infinite_target_is_refused(part: str) -> None:
    bad = examples(60)
    bad.targets[7, 1] = np.inf

    with pytest.raises(DivergedTraining, match="wild values"):
        fitted({}, **{part: bad})
