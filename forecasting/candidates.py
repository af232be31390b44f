"""Which algorithms an `ensemble` is made of and `auto` chooses from, and the spec of each.

A hyperparameter of one of them carries its name before a dot: ``lstm.epochs``. ``lstm.window_size`` gives it a window
of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from forecasting.artefact import Setting
from forecasting.errors import InvalidTraining
from forecasting.models.baselines import SEASONAL_NAIVE
from forecasting.models.registry import ALGORITHMS, AUTO, ENSEMBLE, hyperparameters_of
from forecasting.models.statistical_settings import is_statistical
from forecasting.training_spec import TrainingSpec

_WINDOW_SIZE = "window_size"
#: In the order in which the first rung judges them: those that cost little first.
_DEFAULT_CANDIDATES = ("theta", "ets", "ces", "mapa", "linear", "lightgbm", "nlinear", "nhits", "lstm")
#: Rows of a long window, and how often it must fit into the history.
_LONG_WINDOW, _WINDOWS = 200, 6
_DEFAULT_MEMBERS = ("theta", "ets", "linear", "lstm")


def member_specs(spec: TrainingSpec, season: int, series: int) -> list[TrainingSpec]:
    """Return the specs of the members of an ensemble; of any other algorithm its own, alone.

    Args:
        spec: What to train.
        season: Steps a season.
        series: How many there are: statistical models are members of one series alone, unless they are named.

    Raises:
        InvalidTraining: ``unknown-algorithm``, ``unknown-hyperparameter``, ``invalid-hyperparameter`` or
            ``invalid-training``: fewer than two members, a repeated one, or one that has members of its own.
    """
    if spec.algorithm != ENSEMBLE:
        return [spec]
    hyperparameters_of(ENSEMBLE, spec.hyperparameters)
    names = spec.candidates or tuple(name for name in _DEFAULT_MEMBERS if series == 1 or not is_statistical(name))
    if len(names) < 2:  # noqa: PLR2004  # one is no ensemble
        raise _invalid("candidates", "two members of an ensemble at least", ", ".join(names) or "none")
    return candidate_specs(spec, names, season)


def default_candidates() -> tuple[str, ...]:
    """Return what `auto` compares beside the baselines where a request names nothing."""
    return _available(_DEFAULT_CANDIDATES)


def candidate_specs(spec: TrainingSpec, names: Sequence[str], season: int) -> list[TrainingSpec]:
    """Return the spec of each named algorithm with its own hyperparameters and window.

    Raises:
        InvalidTraining: See `member_specs`.
    """
    if len(set(names)) != len(names):
        raise _invalid("candidates", "without repeats", ", ".join(names))
    for key in spec.hyperparameters:
        name, dot, _ = key.partition(".")
        if dot and name not in names:
            raise InvalidTraining(
                "unknown-hyperparameter",
                field=f"hyperparameters.{key}",
                expected=f"one of {', '.join(names)} before the dot",
                found=repr(name),
            )
    return [_spec_of(spec, name, season) for name in names]


def prefixed(name: str, hyperparameters: Mapping[str, Setting]) -> dict[str, Setting]:
    """Return hyperparameters as a request for an ensemble writes those of a member.

    >>> prefixed("lstm", {"epochs": 5})
    {'lstm.epochs': 5}
    """
    return {f"{name}.{key}": value for key, value in hyperparameters.items()}


def suited(candidate: TrainingSpec, rows: int, season: int, given: Mapping[str, Setting]) -> TrainingSpec:
    """Return a candidate with a window that suits it, where the request gives it none of its own.

    A statistical model sees a long window, as its states settle within it, and any other one at least a season.
    """
    if f"{candidate.algorithm}.{_WINDOW_SIZE}" in given:
        return candidate
    if is_statistical(candidate.algorithm):
        wished = min(_LONG_WINDOW, rows // _WINDOWS)
    else:
        wished = season if season <= min(_LONG_WINDOW, rows // _WINDOWS) else 0
    return dataclasses.replace(candidate, window_size=max(candidate.window_size, wished))


def ensemble_spec(spec: TrainingSpec, members: Sequence[TrainingSpec], combination: str) -> TrainingSpec:
    """Return the spec of an ensemble of specs, each with its own hyperparameters and window."""
    hyperparameters: dict[str, Setting] = {"combination": combination}
    for member in members:
        hyperparameters |= prefixed(member.algorithm, member.hyperparameters)
        hyperparameters |= prefixed(member.algorithm, {_WINDOW_SIZE: member.window_size})
    return dataclasses.replace(
        spec,
        algorithm=ENSEMBLE,
        candidates=tuple(member.algorithm for member in members),
        hyperparameters=hyperparameters,
        window_size=max(member.window_size for member in members),
        search_trials=0,
        budget_seconds=0.0,
    )


def _spec_of(spec: TrainingSpec, name: str, season: int) -> TrainingSpec:
    if name not in ALGORITHMS:
        made_of_others = name in (ENSEMBLE, AUTO)
        raise InvalidTraining(
            "invalid-training" if made_of_others else "unknown-algorithm",
            field="candidates",
            expected=f"of {', '.join(ALGORITHMS)}",
            found=repr(name),
        )
    own = {key.partition(".")[2]: value for key, value in spec.hyperparameters.items() if key.startswith(f"{name}.")}
    window = own.pop(_WINDOW_SIZE, max(spec.window_size, _least_window(name, season)))
    if isinstance(window, (bool, str)) or window != int(window) or not 2 <= window <= 10_000:  # noqa: PLR2004  # bounds
        raise _invalid(f"hyperparameters.{name}.{_WINDOW_SIZE}", "a whole number from 2 to 10000", repr(window))
    hyperparameters_of(name, own)
    return dataclasses.replace(
        spec,
        algorithm=name,
        hyperparameters=own,
        window_size=int(window),
        candidates=(),
        budget_seconds=0.0,
        search_trials=0,
    )


def _least_window(name: str, season: int) -> int:
    """Return the rows that a model cannot do without, whatever suits the others."""
    return season if name == SEASONAL_NAIVE or is_statistical(name) else 2


def _available(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name in ALGORITHMS)


def _invalid(field: str, expected: str, found: str) -> InvalidTraining:
    return InvalidTraining("invalid-training", field=field, expected=expected, found=found)
