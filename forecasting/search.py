"""Hyperparameters by Optuna: the tree-structured Parzen estimator, and pruning on the rungs of successive halving.

TPE: Bergstra, Bardenet, Bengio and Kegl, "Algorithms for hyper-parameter optimization", NeurIPS 2011; Optuna: Akiba et
al., KDD 2019. A trial climbs the rungs of `forecasting.halving`; one that is worse than the median of the earlier
trials on a rung ends there. Only hyperparameters that declare a `SearchRange` are searched. The seed decides: the same
losses give the same trials.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from forecasting.artefact import Setting
from forecasting.errors import ForecastingError
from forecasting.halving import ETA, BudgetSpent, Rung
from forecasting.models.hyperparameters import Hyperparameter

if TYPE_CHECKING:
    import optuna

#: The rungs of a trial: enough to leave a bad one early, few enough that the loss on the first says something.
SEARCH_RUNGS = (Rung(1, 1.0 / ETA), Rung(2, 1.0))
#: So many trials reach the end before the median of a rung may end others.
_UNPRUNED_TRIALS = 4


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One set of hyperparameters that was tried.

    Attributes:
        number: From 0; the first is what the request and the defaults say.
        hyperparameters: What differs from the defaults.
        ending: `finished` was judged on every rung, `pruned` was worse than the median, `not-possible` could not be
            judged, `not-reached` was cut off by the budget.
        rung: The highest rung on which it was judged; 0 is none.
        loss: On that rung, lower is better; infinite where there is none.
        reason: Why it was not possible.
    """

    number: int
    hyperparameters: dict[str, Setting]
    ending: Literal["finished", "pruned", "not-possible", "not-reached"]
    rung: int
    loss: float
    reason: str = ""


def searched(declared: Sequence[Hyperparameter], given: Mapping[str, Setting]) -> list[Hyperparameter]:
    """Return what is searched: whatever declares a range and was not given."""
    return [one for one in declared if one.search is not None and one.name not in given]


def search(
    declared: Sequence[Hyperparameter],
    given: Mapping[str, Setting],
    judge: Callable[[dict[str, Setting], Rung], float],
    *,
    trials: int,
    seed: int,
) -> list[Trial]:
    """Return the trials in the order in which they were made; the best finished one has the least loss.

    Args:
        declared: Hyperparameters of the algorithm.
        given: Those that the request fixes; they are part of every trial.
        judge: Return the loss of hyperparameters on a rung; see `halving.successive_halving`.
        trials: At most so many, the first included.
        seed: Of the sampler.
    """
    import optuna  # noqa: PLC0415  # training alone needs it

    space = searched(declared, given)
    study = optuna.create_study(
        direction="minimize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=_UNPRUNED_TRIALS),
    )
    study.enqueue_trial({one.name: one.default for one in space})
    done: list[Trial] = []
    # Without anything to search every trial is the first.
    for number in range(trials if space else 1):
        asked = study.ask()
        chosen = {one.name: _suggested(asked, one) for one in space}
        trial = _judged(number, {**given, **_changed(space, chosen)}, asked, judge)
        done.append(trial)
        if trial.ending == "not-reached":
            break
        if trial.ending == "not-possible":
            study.tell(asked, state=optuna.trial.TrialState.FAIL)
        else:
            is_pruned = trial.ending == "pruned"
            state = optuna.trial.TrialState.PRUNED if is_pruned else optuna.trial.TrialState.COMPLETE
            study.tell(asked, None if is_pruned else trial.loss, state=state)
    return done


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Return the finished trial with the least loss, the earliest of equals; ``None`` where none finished."""
    finished = [trial for trial in trials if trial.ending == "finished"]
    return min(finished, key=lambda trial: trial.loss, default=None)


def _judged(
    number: int,
    hyperparameters: dict[str, Setting],
    asked: optuna.Trial,
    judge: Callable[[dict[str, Setting], Rung], float],
) -> Trial:
    reached, loss = 0, math.inf

    def ended(ending: Literal["finished", "pruned", "not-possible", "not-reached"], reason: str = "") -> Trial:
        return Trial(
            number=number, hyperparameters=hyperparameters, ending=ending, rung=reached, loss=loss, reason=reason
        )

    for rung in SEARCH_RUNGS:
        try:
            found = judge(hyperparameters, rung)
        except BudgetSpent:
            return ended("not-reached")
        except ForecastingError as error:
            return ended("not-possible", f"{error.code}: {error}")
        if not math.isfinite(found):
            return ended("not-possible", "not-finite: its forecasts or their loss are not finite")
        reached, loss = rung.number, found
        asked.report(loss, rung.number)
        if rung is not SEARCH_RUNGS[-1] and asked.should_prune():
            return ended("pruned")
    return ended("finished")


def _suggested(trial: optuna.Trial, declared: Hyperparameter) -> Setting:
    given = declared.search
    assert given is not None  # `searched` keeps no other
    if given.choices:
        found = trial.suggest_categorical(declared.name, list(given.choices))
        assert found is not None  # no choice is
        return found
    if isinstance(declared.default, int):
        return trial.suggest_int(declared.name, int(given.low), int(given.high), log=given.is_log)
    return trial.suggest_float(declared.name, given.low, given.high, log=given.is_log)


def _changed(space: Sequence[Hyperparameter], chosen: Mapping[str, Setting]) -> dict[str, Setting]:
    """Return what differs from the defaults, numbers with the digits that a person would give them."""
    found: dict[str, Setting] = {}
    for one in space:
        value = one.parse(_rounded(chosen[one.name]))
        if value != one.default:
            found[one.name] = value
    return found


def _rounded(value: Setting) -> Setting:
    return float(f"{value:.4g}") if isinstance(value, float) else value
