"""What is trained where the history is too short for the model that was asked for.

The simpler models are tried in one order, the first that the rows support is trained, and the release says so. Each is
learnt from the target alone. A history shorter than a season is trained without one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from forecasting.errors import TooLittleHistory
from forecasting.fits import plan_of, season_of
from forecasting.folds import MIN_KNOWN
from forecasting.models.baselines import DRIFT, LAST_VALUE, SEASONAL_NAIVE
from forecasting.models.statistical_settings import THETA, is_statistical
from forecasting.panel import Observations
from forecasting.training_panel import Panel, panel_of
from forecasting.training_spec import TrainingSpec

#: The simpler models, the best first.
CHAIN = (THETA, SEASONAL_NAIVE, DRIFT, LAST_VALUE)
#: Folds that a window should leave; a smaller window gives more of them.
_WISHED_FOLDS = 12


class Settled(NamedTuple):
    """What is trained.

    Attributes:
        spec: As asked for, or that of a simpler model.
        panel: The series for it.
        reason: Why it is not what was asked for; empty where it is.
    """

    spec: TrainingSpec
    panel: Panel
    reason: str = ""


def settled(spec: TrainingSpec, observations: Sequence[Observations]) -> Settled:
    """Return the training that was asked for, or the first simpler one that the history supports.

    Raises:
        TooLittleHistory: The history is too short, for every simpler model or because no other may stand in.
        ForecastingError: See `preparation.panel_of` and `fits.plan_of`.
    """
    panel = panel_of(spec, observations)
    try:
        plan_of(spec, panel)
    except TooLittleHistory as error:
        if not spec.fallback:
            raise
        return simpler(spec, observations, error)
    return Settled(spec, panel)


def simpler(spec: TrainingSpec, observations: Sequence[Observations], error: TooLittleHistory) -> Settled:
    """Return the first simpler model that the history supports.

    Args:
        spec: What was asked for.
        observations: The series.
        error: Why it is not possible.

    Raises:
        TooLittleHistory: Nor is any simpler model.
    """
    season, simplest = season_of(spec, observations[0]), error
    for stand_in in _candidates(spec, observations, season):
        panel = panel_of(stand_in, observations)
        try:
            plan_of(stand_in, panel)
        except TooLittleHistory as too_short:
            simplest = too_short
            continue
        return Settled(stand_in, panel, _reason(spec, stand_in, season, error))
    raise TooLittleHistory(
        "too-little-history",
        field=error.field,
        expected=f"{simplest.expected}, even of the simplest model",
        found=error.found,
        advice=error.advice,
    ) from error


def _reason(spec: TrainingSpec, stand_in: TrainingSpec, season: int, error: TooLittleHistory) -> str:
    window = f" with a window of {stand_in.window_size} rows" if stand_in.window_size != spec.window_size else ""
    without = f" without its season of {season} steps" if stand_in.season_length != season else ""
    needs = error.expected.partition(":")[0]
    return f"{spec.algorithm} needs {needs}, there are {error.found}: {stand_in.algorithm} stands in{window}{without}"


def _candidates(spec: TrainingSpec, observations: Sequence[Observations], season: int) -> Iterator[TrainingSpec]:
    """Yield what may stand in, the best first: a model that learns from rows also for itself, with a smaller window."""
    names: tuple[str, ...] = CHAIN
    if spec.algorithm in CHAIN:
        names = CHAIN[CHAIN.index(spec.algorithm) :]
    elif is_statistical(spec.algorithm):
        names = (spec.algorithm, *CHAIN)
    room = len(observations[0]) + 1 - 2 * spec.horizon - _WISHED_FOLDS
    for steps in dict.fromkeys((season, 1)):
        for name in names:
            if is_statistical(name) and len(observations) > 1:
                continue
            if name == SEASONAL_NAIVE and steps == 1:
                continue
            yield dataclasses.replace(
                spec,
                algorithm=name,
                columns=(),
                covariates={},
                hyperparameters=spec.hyperparameters if name == spec.algorithm else {},
                features=(),
                step_features=(),
                candidates=(),
                search_trials=0,
                season_length=steps,
                window_size=max(steps, MIN_KNOWN, min(spec.window_size, room)),
            )
