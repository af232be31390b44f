"""The choice of an algorithm: by folds before the test part alone, within a budget, and never past a better baseline."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from forecasting.errors import InvalidTraining, TooLittleHistory
from forecasting.fits import plan_of
from forecasting.panel import FloatArray, Observations
from forecasting.selection import Choice, choose
from forecasting.training import Progress, TrainingSpec, train
from forecasting.training_panel import panel_of
from schemas.models import LeaderboardEntry
from tests.unit.forecasting.series import observations_of, prices

ROWS = 320


def seasonal(rows: int = ROWS, seed: int = 0) -> FloatArray:
    """A season of a week on a slow trend."""
    rng = np.random.default_rng(seed)
    days = np.arange(rows)
    return np.asarray(100 + 0.1 * days + 10 * np.sin(2 * np.pi * days / 7) + rng.normal(scale=0.5, size=rows))


def spec(**changes: Any) -> TrainingSpec:
    values: dict[str, Any] = {
        "algorithm": "auto",
        "candidates": ("linear", "theta"),
        "horizon": 4,
        "window_size": 14,
        "levels": (80.0,),
    }
    return TrainingSpec(**(values | changes))


def chosen(asked: TrainingSpec, *series: FloatArray, remaining: Callable[[], float] = lambda: math.inf) -> Choice:
    observations = [observations_of({"close": one}, name=f"S{index}") for index, one in enumerate(series)]
    return choose(asked, observations, lambda _: None, remaining)


def by_name(board: tuple[LeaderboardEntry, ...]) -> dict[str, LeaderboardEntry]:
    return {entry.algorithm: entry for entry in reversed(board)}


def test_the_least_loss_before_the_test_part_is_chosen_and_stands_first() -> None:
    choice = chosen(spec(), seasonal())

    first, *others = choice.leaderboard
    assert first.state == "chosen"
    assert choice.spec.algorithm == first.algorithm != "auto"
    assert first.skill["seasonal-naive"] > 0
    assert all(first.metrics["mase"] <= one.metrics["mase"] for one in others if one.state == "compared")
    assert {one.algorithm for one in choice.leaderboard} == {
        "linear",
        "theta",
        "ensemble",
        "last-value",
        "drift",
        "seasonal-naive",
    }
    assert len({one.folds for one in choice.leaderboard}) == 1, "all on the same folds"


def test_the_test_part_has_no_say() -> None:
    # Red where `tryout._before_test` gives the whole history.
    values = seasonal()
    observations = observations_of({"close": values})
    edges = [
        int(plan_of(one, panel_of(one, [observations])).test[0].cutoffs[0])
        for one in (spec(algorithm=name, candidates=()) for name in ("linear", "theta", "last-value", "seasonal-naive"))
    ]
    rng = np.random.default_rng(9)
    wild = values.copy()
    wild[min(edges) + 1 :] = 100 * np.exp(rng.normal(size=len(values) - min(edges) - 1))

    assert chosen(spec(), wild) == chosen(spec(), values)
    touched = values.copy()
    touched[min(edges) - 20 : min(edges)] *= 1.5
    assert chosen(spec(), touched) != chosen(spec(), values), "what comes before the test part has a say"


def test_a_baseline_is_trained_where_nothing_beats_it_and_the_release_says_so() -> None:
    observations = [observations_of({"close": prices(ROWS, seed=3)})]

    trained = train(spec(candidates=("theta",)), observations)

    first = trained.leaderboard[0]
    assert trained.recipe.algorithm == first.algorithm in ("last-value", "drift")
    assert first.reason.startswith("no candidate beats it on ")
    assert by_name(trained.leaderboard)["theta"].state == "compared"


def test_the_same_request_makes_the_same_choice_and_the_same_artefact() -> None:
    observations = [observations_of({"close": seasonal()})]
    asked = spec(search_trials=3)

    first, again = train(asked, observations), train(asked, observations)

    assert first.leaderboard == again.leaderboard
    assert first.trials == again.trials
    assert first.artefact.digest == again.artefact.digest


def test_progress_never_falls_and_tells_the_search_before_the_fit() -> None:
    told: list[Progress] = []

    train(spec(), [observations_of({"close": seasonal()})], told.append)

    fractions = [one.fraction for one in told]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    stages = list(dict.fromkeys(one.stage for one in told))
    assert stages[:3] == ["reading", "search", "fitting"]


def test_many_candidates_climb_rungs_and_few_rows_are_judged_on_the_whole_at_once() -> None:
    asked = spec(candidates=("theta", "ets", "linear", "nlinear"), hyperparameters={"nlinear.epochs": 1})

    small, large = chosen(asked, seasonal()), chosen(asked, seasonal(900))

    assert {one.rung for one in small.leaderboard} == {1}
    assert not [one for one in small.leaderboard if one.state == "dropped"]
    (dropped,) = [one for one in large.leaderboard if one.state == "dropped"]
    assert dropped.rung == 1
    last = [one for one in large.leaderboard if one.state in ("chosen", "compared")]
    assert {one.rung for one in last} == {2}
    assert dropped.folds < last[0].folds


def test_a_budget_that_is_spent_leaves_the_baselines_and_says_what_was_not_reached() -> None:
    choice = chosen(spec(), seasonal(), remaining=lambda: 0.0)

    board = by_name(choice.leaderboard)
    assert choice.spec.algorithm == "seasonal-naive"
    assert board["linear"].state == board["theta"].state == "not-reached"
    assert "no candidate could be judged" in choice.leaderboard[0].reason


def test_a_budget_that_ends_within_a_fit_ends_it() -> None:
    # Red without the look at the time in what the fit tells of its epochs.
    left = iter([1.0] * 6)
    asked = spec(candidates=("lstm",), hyperparameters={"lstm.epochs": 2000, "lstm.patience": 1000})

    choice = chosen(asked, seasonal(), remaining=lambda: next(left, 0.0))

    assert by_name(choice.leaderboard)["lstm"].state == "not-reached"


def test_a_comparison_tells_of_the_fits_of_each_candidate_and_a_cancellation_ends_it() -> None:
    # Red where a candidate is told of when it begins alone: of many series each of them takes a minute.
    told: list[float] = []
    asked = spec(candidates=("lstm",), hyperparameters={"lstm.epochs": 5, "lstm.layers": "4"})
    choose(asked, [observations_of({"close": seasonal()})], lambda one: told.append(one.fraction), lambda: math.inf)

    assert told == sorted(told)
    assert len({one for one in told if 0 < one < 1}) >= 8

    def cancel(one: Progress) -> None:
        if one.fraction > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        choose(asked, [observations_of({"close": seasonal()})], cancel, lambda: math.inf)


def test_candidates_that_are_not_possible_say_why_and_the_others_go_on() -> None:
    choice = chosen(spec(candidates=("theta", "direction-logistic", "linear")), seasonal(seed=1), seasonal(seed=2))

    board = by_name(choice.leaderboard)
    assert board["theta"].state == "not-possible"
    assert "one series: theta is a model of a single one" in board["theta"].reason
    assert "forecasts directions" in board["direction-logistic"].reason
    assert board["linear"].state in ("chosen", "compared")


def test_a_short_history_is_compared_among_what_it_allows() -> None:
    choice = chosen(spec(horizon=2, window_size=8), seasonal(60))

    board = by_name(choice.leaderboard)
    assert board["linear"].state == "not-possible"
    assert "too-little-history" in board["linear"].reason
    assert board["theta"].state in ("chosen", "compared")


def test_a_history_too_short_for_any_comparison_is_refused_or_falls_back() -> None:
    observations = [observations_of({"close": seasonal(16)})]

    with pytest.raises(TooLittleHistory):
        train(spec(fallback=False), observations)
    trained = train(spec(), observations)
    assert trained.fallback_from == "auto"
    assert trained.leaderboard == ()


def test_a_named_algorithm_is_trained_with_the_best_of_its_trials() -> None:
    # The default of `rounds` and a bad rate: the search has something to find.
    asked = spec(
        algorithm="theta", candidates=(), search_trials=6, hyperparameters={"season": "additive"}, window_size=28
    )

    choice = chosen(asked, seasonal())

    finished = [one for one in choice.trials if one.ending == "finished"]
    best = min(finished, key=lambda one: one.loss)
    assert choice.spec.algorithm == "theta"
    assert dict(choice.spec.hyperparameters) == best.hyperparameters
    assert all(one.hyperparameters["season"] == "additive" for one in choice.trials), "what is given stays"
    assert choice.trials[0].hyperparameters == {"season": "additive"}
    board = by_name(choice.leaderboard)
    assert {"last-value", "drift", "seasonal-naive"} <= set(board)
    assert choice.leaderboard[0].algorithm == "theta", "it was asked for, whatever the baselines do"


def test_auto_trains_as_the_winner_alone_would() -> None:
    observations = [observations_of({"close": seasonal()})]
    asked = spec(candidates=("linear",))
    choice = choose(asked, observations, lambda _: None, lambda: math.inf)

    found = train(asked, observations)
    alone = train(dataclasses.replace(choice.spec), observations)

    assert found.artefact.digest == alone.artefact.digest
    assert (found.metrics, found.skill) == (alone.metrics, alone.skill)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"candidates": ("prophet",)}, "candidates must be of"),
        ({"candidates": ("linear", "auto")}, "candidates must be of"),
        ({"hyperparameters": {"epochs": 3}}, "auto has none"),
        ({"hyperparameters": {"lstm.epochs": 3}}, "one of linear, theta.* before the dot"),
        ({"hyperparameters": {"linear.penalty": "x"}}, "penalty"),
    ],
)
def test_what_cannot_be_compared_is_refused(changes: dict[str, Any], message: str) -> None:
    observations: list[Observations] = [observations_of({"close": seasonal()})]

    with pytest.raises(InvalidTraining, match=message):
        train(spec(**changes), observations)
