"""Pictures of a training: each a PNG that shows something, made from the diagnostics alone."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest

from forecasting.training import TrainedModel, TrainingSpec, train
from tests.unit.forecasting.series import observations_of, prices
from trainer.plots import _png, _skill_by_step, autocorrelations, losses_of, plots_of

NAMES = {"fit", "residuals", "fan", "calibration", "skill-by-step"}


def trained_with(algorithm: str, **hyperparameters) -> TrainedModel:
    asked = TrainingSpec(
        algorithm=algorithm, horizon=3, window_size=10, levels=(80.0, 95.0), hyperparameters=hyperparameters
    )
    return train(asked, [observations_of({"close": prices(320)})])


@pytest.fixture(scope="module")
def trained() -> TrainedModel:
    return trained_with("lstm", layers="4", dense=0, epochs=3, refits=1)


@pytest.fixture(scope="module")
def plots(trained: TrainedModel) -> dict[str, bytes]:
    return plots_of(trained)


def pixels(picture: bytes) -> np.ndarray:
    from matplotlib.image import imread

    return imread(io.BytesIO(picture), format="png")[:, :, :3]


def test_every_plot_is_a_picture_that_shows_something(plots: dict[str, bytes]) -> None:
    assert set(plots) == {f"plots/{name}.png" for name in NAMES | {"loss-curve"}}
    for name, picture in plots.items():
        assert picture.startswith(b"\x89PNG\r\n\x1a\n"), name
        assert 10_000 < len(picture) < 400_000, name
        found = pixels(picture)
        assert found.shape == (550, 990, 3), name
        is_drawn = (found < 0.9).any(axis=2)
        assert 0.01 < is_drawn.mean() < 0.6, name
        # Something on every quarter: no plot is left empty.
        assert all(part.any() for half in np.array_split(is_drawn, 2) for part in np.array_split(half, 2, axis=1)), name


def test_plots_show_what_was_forecast_and_come_from_the_diagnostics_alone(
    trained: TrainedModel, plots: dict[str, bytes]
) -> None:
    evaluation = trained.diagnostics.evaluation
    model = evaluation.folds["model"]
    folds = evaluation.folds | {"model": dataclasses.replace(model, y=1.1 * model.y)}
    diagnostics = dataclasses.replace(trained.diagnostics, evaluation=dataclasses.replace(evaluation, folds=folds))

    found = plots_of(dataclasses.replace(trained, diagnostics=diagnostics, graph=None, metrics={}, skill={}, folds=1))

    assert {name for name in plots if plots[name] != found[name]} == {
        "plots/fit.png",
        "plots/residuals.png",
        "plots/fan.png",
    }


def test_a_difference_that_is_sure_is_marked(trained: TrainedModel) -> None:
    evaluation = trained.diagnostics.evaluation

    def with_p(p_value: float) -> bytes:
        steps = [one | {"dm-p-value-drift": p_value} for one in evaluation.metrics_by_step["model"]]
        told = dataclasses.replace(evaluation, metrics_by_step=evaluation.metrics_by_step | {"model": steps})
        return _png(_skill_by_step, dataclasses.replace(trained.diagnostics, evaluation=told))

    sure, unsure = with_p(0.04), with_p(0.06)
    assert sure != unsure
    assert with_p(0.9) == unsure


def test_a_model_without_epochs_has_no_loss_curve() -> None:
    baseline = trained_with("drift")

    assert set(plots_of(baseline)) == {f"plots/{name}.png" for name in NAMES}
    assert losses_of(baseline) == {}


def test_autocorrelation_of_a_cycle_and_of_a_constant() -> None:
    cycle = np.tile([1.0, 0.0, -1.0, 0.0], 100)

    np.testing.assert_allclose(autocorrelations(cycle, 4), [0.0, -0.995, 0.0, 0.99], atol=1e-9)
    np.testing.assert_array_equal(autocorrelations(np.ones(10), 3), np.zeros(3))
