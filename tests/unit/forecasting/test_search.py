"""Optuna's search: what it looks for, when it stops, and that a seed decides it."""

from __future__ import annotations

import math

import pytest

from forecasting.artefact import Setting
from forecasting.errors import DivergedTraining
from forecasting.halving import BudgetSpent, Rung
from forecasting.models.hyperparameters import Hyperparameter, SearchRange
from forecasting.models.registry import ALGORITHMS, declared_hyperparameters
from forecasting.search import Trial, best_of, search, searched

DECLARED = (
    Hyperparameter(
        name="rate",
        default=0.1,
        minimum=0,
        maximum=10,
        description="",
        search=SearchRange(low=1e-3, high=1, is_log=True),
    ),
    Hyperparameter(
        name="size", default=8, minimum=1, maximum=99, description="", search=SearchRange(low=4, high=64, is_log=True)
    ),
    Hyperparameter(
        name="kind",
        default="plain",
        choices=("plain", "odd"),
        description="",
        search=SearchRange(choices=("plain", "odd")),
    ),
    Hyperparameter(name="epochs", default=40, minimum=1, maximum=99, description=""),
)


def bowl(hyperparameters: dict[str, Setting], rung: Rung) -> float:  # the callback's
    """Least at rate 0.01, size 32."""
    rate, size = float(hyperparameters.get("rate", 0.1)), float(hyperparameters.get("size", 8))
    return abs(math.log10(rate) + 2) + abs(math.log2(size) - 5) + (hyperparameters.get("kind") == "odd")


def test_the_first_trial_is_the_defaults_and_later_ones_come_nearer() -> None:
    trials = search(DECLARED, {}, bowl, trials=40, seed=1)

    assert trials[0] == Trial(number=0, hyperparameters={}, ending="finished", rung=2, loss=bowl({}, Rung(2, 1.0)))
    best = best_of(trials)
    assert best is not None
    assert best.loss < 0.5 < trials[0].loss
    assert len(trials) == 40
    assert {trial.ending for trial in trials} == {"finished", "pruned"}, "the median ends bad trials early"
    assert all("epochs" not in trial.hyperparameters for trial in trials), "what declares no range stays as it is"


def test_the_same_seed_makes_the_same_trials_and_another_one_others() -> None:
    first, again, other = (search(DECLARED, {}, bowl, trials=12, seed=seed) for seed in (5, 5, 6))

    assert first == again
    assert [one.hyperparameters for one in first] != [one.hyperparameters for one in other]


def test_what_the_request_fixes_is_not_searched() -> None:
    trials = search(DECLARED, {"size": 16}, bowl, trials=8, seed=2)

    assert {trial.hyperparameters["size"] for trial in trials} == {16}
    assert [one.name for one in searched(DECLARED, {"size": 16})] == ["rate", "kind"]


def test_without_anything_to_search_there_is_one_trial() -> None:
    assert len(search(DECLARED[3:], {}, bowl, trials=9, seed=0)) == 1


def test_the_budget_ends_the_search_and_what_was_found_stays() -> None:
    calls: list[Rung] = []

    def judge(hyperparameters: dict[str, Setting], rung: Rung) -> float:
        if len(calls) == 5:
            raise BudgetSpent
        calls.append(rung)
        return bowl(hyperparameters, rung)

    trials = search(DECLARED, {}, judge, trials=100, seed=3)

    assert [trial.ending for trial in trials] == ["finished", "finished", "not-reached"]
    assert best_of(trials) is not None


@pytest.mark.parametrize("is_error", [True, False])
def test_a_trial_that_diverges_is_told_and_the_search_goes_on(*, is_error: bool) -> None:
    def judge(hyperparameters: dict[str, Setting], rung: Rung) -> float:
        if not hyperparameters:
            return bowl(hyperparameters, rung)
        if is_error:
            raise DivergedTraining("diverged-training", field="loss", expected="finite", found="nan")
        return math.nan

    trials = search(DECLARED, {}, judge, trials=5, seed=0)

    assert len(trials) == 5
    assert [trial.ending for trial in trials[1:]] == ["not-possible"] * 4
    assert all(trial.reason for trial in trials[1:])
    best = best_of(trials)
    assert best is not None
    assert best.number == 0


def test_every_declared_range_lies_within_what_is_allowed_and_holds_the_default() -> None:
    found = [one for name in ALGORITHMS for one in declared_hyperparameters(name) if one.search is not None]

    assert {one.name for one in found} >= {"learning_rate", "dropout", "layers", "lags", "leaves", "form"}
    for one in found:
        assert one.search is not None
        if one.search.choices:
            assert one.default in one.search.choices, one.name
            assert [one.parse(choice) for choice in one.search.choices] == list(one.search.choices)
        else:
            assert one.minimum <= one.search.low <= float(one.default) <= one.search.high <= one.maximum, one.name
