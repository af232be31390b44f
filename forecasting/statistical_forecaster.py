"""A statistical model in service: its middle in the working unit of the recipe."""

from __future__ import annotations

import numpy as np

from forecasting.artefact import Recipe
from forecasting.features_history import History
from forecasting.forecasters import Middle
from forecasting.inputs import InputBuilder
from forecasting.models.statistical_centre import centre_of, require_start
from forecasting.models.statistical_recipe import StatisticalRecipe
from forecasting.panel import IntArray, Window


class StatisticalForecaster:
    """Theta, ETS, ARIMA or CES.

    The spread is recent volatility, which follows calm and wild times, in the shape over the steps that the model's
    own variances have; conformal calibration sets its size.

    Args:
        recipe: Of the target and its window.
        model: Parameters and states.
    """

    #: Which row the stored states belong to.
    reads_time = True

    def __init__(self, recipe: Recipe, model: StatisticalRecipe) -> None:
        self._recipe = recipe
        self._model = model
        self._inputs = InputBuilder(recipe)

    def check(self, window: Window, horizon: int) -> None:
        self._inputs.check(window, horizon)
        require_start(self._model, self._inputs.target(window.values), window.time)

    def middle(self, window: Window) -> Middle:
        centre = centre_of(
            self._model,
            self._inputs.target(window.values),
            window.time,
            self._recipe.horizon,
            is_log_unit=self._recipe.transform == "log-return",
        )
        spread = centre.growth * self._inputs.volatility(window.values).recent
        return Middle(centre.anchor, centre.change, spread, np.zeros(self._recipe.horizon))

    def middles(self, history: History, cutoffs: IntArray) -> Middle:
        windows = [history.window(self._recipe, int(cutoff)) for cutoff in cutoffs]
        return Middle.gathered([self.middle(window) for window in windows], np.stack)
