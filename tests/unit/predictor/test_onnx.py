"""The same promises with fitted models, whose numbers come out of ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from forecasting.artefact import Setting
from forecasting.panel import SeriesHistory
from forecasting.serving import LoadedModel
from forecasting.training import train
from forecasting.training_spec import TrainingSpec
from schemas.forecasts import AsOf, ForecastIssued
from schemas.topics import DEPLOYMENTS, MODELS, OBSERVATIONS
from tests import factories
from tests.predictor_world import World, champion, contents, deploy, release

ROWS = 260
WINDOW = 8


@pytest.mark.parametrize(
    ("algorithm", "hyperparameters"),
    [("linear", {"refits": 1}), ("lstm", {"layers": "4", "dense": 0, "epochs": 1, "refits": 1})],
)
def test_fitted_model_gives_the_same_bytes_alone_together_and_after_a_restart(
    algorithm: str, hyperparameters: Mapping[str, Setting]
) -> None:
    batch = factories.observation_batch(rows=ROWS)
    history = SeriesHistory(batch.series_id)
    history.append(0, batch)
    spec = TrainingSpec(
        algorithm=algorithm, horizon=3, window_size=WINDOW, levels=(80.0,), hyperparameters=hyperparameters
    )
    trained = train(spec, [history.view()])
    made = release(trained.recipe, trained.graph, levels=(80.0,))
    world = World()
    world.learn(OBSERVATIONS, batch)
    world.learn(MODELS, made)
    deploy(world, champion(made))
    requests = [
        factories.forecast_request(
            f"w{index}",
            window=tuple((100.0 + index + 0.5 * (row % 3),) for row in range(WINDOW)),
            model=made.model,
            levels=(80.0,),
            as_of=AsOf(observations=0, models=1, deployments=1),
        )
        for index in range(16)
    ]
    requests.append(factories.forecast_request("s", levels=(80.0,), as_of=factories.as_of()))

    together = world.answers(*requests)
    world.restart()
    world.read(OBSERVATIONS, MODELS, DEPLOYMENTS)
    alone = [world.answer(request) for request in requests]

    assert {type(answer) for answer in together} == {ForecastIssued}
    assert contents(together) == contents(alone)
    assert len(world.predictor.sessions) == 1


def test_bands_for_a_series_follow_its_newest_folds() -> None:
    """Red with `predictor.windows._window` reading no more than the window, or `ModelInput.window` giving no more."""
    moves = np.random.default_rng(0).standard_normal(ROWS)
    moves[200:] = np.convolve(moves, np.ones(6), mode="same")[200:]
    close = tuple((100 * np.exp(0.01 * np.cumsum(moves))).tolist())
    batch = factories.observation_batch(rows=ROWS, columns={"close": close})
    history = SeriesHistory(batch.series_id)
    history.append(0, batch)
    spec = TrainingSpec(algorithm="last-value", horizon=3, window_size=WINDOW, levels=(80.0,))
    trained = train(spec, [history.view().slice(0, 200)])
    made = release(trained.recipe, None, levels=(80.0,))
    world = World()
    world.learn(OBSERVATIONS, batch)
    world.learn(MODELS, made)
    deploy(world, champion(made))

    answer = world.answer(factories.forecast_request("s", levels=(80.0,), as_of=factories.as_of()))

    assert isinstance(answer, ForecastIssued)
    model, view = LoadedModel.load(trained.recipe, None), history.view()
    adapted = model.forecast([model.window_of(view, trained.recipe.history_rows)], 3, (80.0,))[0]
    calibrated = model.forecast([model.window_of(view).values], 3, (80.0,))[0]
    assert [step.quantiles["0.9"] for step in answer.steps] == adapted.quantiles[0.9].tolist()
    assert (adapted.quantiles[0.9] > calibrated.quantiles[0.9]).all()
    assert [step.median for step in answer.steps] == calibrated.median.tolist()
