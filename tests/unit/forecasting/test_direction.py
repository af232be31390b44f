"""Classifiers of the direction and the calibration of their probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from forecasting.errors import ParityBroken
from forecasting.inputs import FloatInput
from forecasting.models.calibration import Calibration, fit_isotonic, fit_sigmoid, logit, sigmoid
from forecasting.models.direction import DirectionAlgorithm
from forecasting.models.direction_logistic import DirectionLogistic
from forecasting.models.direction_trees import DirectionBoosting, DirectionForest
from forecasting.models.fitting import Examples, FitTask, Fitted
from forecasting.models.hyperparameters import resolve
from forecasting.models.table_fitting import run_graph

HORIZON = 3
SMALL: dict[type, dict[str, Any]] = {
    DirectionLogistic: {},
    DirectionForest: {"trees": 30, "leaves": 16, "column_share": 0.8},
    DirectionBoosting: {"rounds": 40, "leaves": 4, "learning_rate": 0.2},
}
EVERY = pytest.mark.parametrize("kind", SMALL)


def examples(count: int, *, seed: int = 0, strength: float = 2.0) -> Examples:
    """Windows whose last row says how probable a rise is: the log-odds are `strength` times its first input."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(count, 4, 2)).astype(np.float32)
    chance = sigmoid(strength * inputs[:, -1, :1].astype(np.float64))
    targets = np.where(rng.random((count, HORIZON)) < chance, 1.0, -1.0) * rng.exponential(size=(count, HORIZON))
    future = rng.normal(size=(count, HORIZON, 1)).astype(np.float32)
    return Examples(inputs, future, targets.astype(np.float32), np.ones((count, HORIZON)))


def fitted(algorithm: DirectionAlgorithm, given: dict[str, Any], **parts: Examples) -> Fitted:
    hyperparameters = resolve(algorithm.hyperparameters, SMALL[type(algorithm)] | given, algorithm.name)
    task = {"fit": examples(1_200), "validation": examples(400, seed=1)} | parts
    return algorithm.fit(
        FitTask(**task, quantiles=(0.5,), hyperparameters=hyperparameters, seed=2, on_epoch=lambda _: None)
    )


@EVERY
@pytest.mark.parametrize("calibration", ["sigmoid", "isotonic"])
@pytest.mark.parametrize("steps", ["together", "apart"])
def test_probabilities_are_near_the_truth(kind: type, calibration: str, steps: str) -> None:
    model, again = (fitted(kind(), {"calibration": calibration, "steps": steps}) for _ in range(2))

    later = examples(1_500, seed=3)
    found = run_graph(model.graph, later)
    assert model.graph == again.graph
    assert found.shape == (1_500, HORIZON, 1)
    assert ((found > 0) & (found < 1)).all()
    truth = sigmoid(2.0 * later.inputs[:, -1, 0].astype(np.float64))
    assert np.mean(np.abs(found[:, :, 0] - truth[:, None])) < 0.09
    # Calibrated: of those said to rise with about p, about p rose.
    rose = later.targets > 0
    for low in (0.1, 0.3, 0.5, 0.7):
        chosen = (found[:, :, 0] >= low) & (found[:, :, 0] < low + 0.2)
        assert np.mean(rose[chosen]) == pytest.approx(np.mean(found[:, :, 0][chosen]), abs=0.1)


@EVERY
def test_a_score_that_says_nothing_gives_the_share_of_rises(kind: type) -> None:
    """What was learnt does not hold in the validation part: its slope would be negative, and is not believed."""
    turned, learnt = examples(400, seed=1, strength=-2.0), examples(1_200)

    found = run_graph(fitted(kind(), {}, validation=turned).graph, examples(50, seed=4))

    # Red without `if not slope > 0` in `fit_sigmoid`.
    share = np.mean(np.concatenate([learnt.targets, turned.targets]) > 0)
    np.testing.assert_allclose(found, share, atol=2e-3)


@EVERY
@pytest.mark.parametrize(("target", "expected"), [(0.0, (0.4, 0.6)), (1.0, (0.9, 1.0)), (-1.0, (0.0, 0.1))])
def test_targets_of_one_direction(kind: type, target: float, expected: tuple[float, float]) -> None:
    parts = {}
    for name, count in (("fit", 60), ("validation", 20)):
        part = examples(count)
        parts[name] = Examples(part.inputs, part.future, np.full_like(part.targets, target), part.units)

    found = run_graph(fitted(kind(), {}, **parts).graph, examples(5))

    assert ((found > expected[0]) & (found < expected[1])).all()
    assert ((found > 0) & (found < 1)).all()


@EVERY
def test_broken_calibration_in_the_graph_is_refused(kind: type) -> None:
    def wrong(scores: FloatInput, rises: FloatInput, usual: float) -> Calibration:
        right = fit_sigmoid(scores, rises, usual)
        return Calibration(lambda score: right.apply(score + 0.01), right.write)

    # Red without `require_table_parity` in `DirectionAlgorithm.fit`.
    with pytest.raises(ParityBroken, match="direction"):
        fitted(kind({"sigmoid": wrong}), {})


def test_sigmoid_finds_slope_and_offset() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=20_000)
    rises = (rng.random(20_000) < sigmoid(0.7 * scores - 0.4)).astype(float)

    found = fit_sigmoid(scores, rises, 0.5).apply(np.array([0.0, 1.0]))

    np.testing.assert_allclose(logit(found), [-0.4, 0.3], atol=0.06)


def test_isotonic_rises_and_follows_the_shares() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=20_000)
    truth = np.where(scores > 0.5, 0.8, 0.3)
    found = fit_isotonic(scores, (rng.random(20_000) < truth).astype(float), 0.5).apply(np.array([-1.0, 0.0, 1.5]))

    assert (np.diff(found) >= 0).all()
    np.testing.assert_allclose(found, [0.3, 0.3, 0.8], atol=0.03)


@pytest.mark.parametrize("fit", [fit_sigmoid, fit_isotonic])
@pytest.mark.parametrize("rises", [(), (1.0,), (0.0, 0.0), (0.0, 1.0)])
def test_calibration_of_next_to_nothing_is_a_probability(fit: Any, rises: tuple[float, ...]) -> None:
    found = fit(np.arange(float(len(rises))), np.array(rises), 0.5).apply(np.array([-16.0, 0.0, 16.0]))

    assert ((found > 0) & (found < 1)).all()
