"""Successive halving: who climbs, who is dropped, and what a budget that ends leaves."""

from __future__ import annotations

import math

import pytest

from forecasting.errors import InvalidTraining
from forecasting.halving import BudgetSpent, Rung, Standing, climbing, rungs_of, successive_halving


def endings(standings: list[Standing[int]]) -> dict[int, tuple[str, int]]:
    return {one.candidate: (one.ending, one.rung) for one in standings}


def test_the_best_third_climbs_and_the_last_rung_does_the_whole_work() -> None:
    seen: list[tuple[int, Rung]] = []

    def judge(candidate: int, rung: Rung) -> float:
        seen.append((candidate, rung))
        return float(candidate)

    standings = successive_halving(list(range(12, 0, -1)), rungs_of(12), judge)

    counts = [sum(rung.number == number for _, rung in seen) for number in (1, 2, 3)]
    assert counts == [12, 4, 3]
    assert [rung.share for rung in rungs_of(12)] == pytest.approx([1 / 9, 1 / 3, 1])
    assert [one.candidate for one in standings[:3]] == [1, 2, 3]
    assert endings(standings)[4] == ("dropped", 2)
    assert endings(standings)[12] == ("dropped", 1)


def test_a_rung_judges_the_best_of_the_one_below_first() -> None:
    order: list[int] = []

    def judge(candidate: int, rung: Rung) -> float:
        if rung.number == 2:
            order.append(candidate)
        return float(-candidate)

    successive_halving(list(range(9)), rungs_of(9), judge)

    assert order == [8, 7, 6]


def test_losses_of_the_last_rung_decide_and_equal_ones_keep_the_order_given() -> None:
    standings = successive_halving(
        ["a", "b", "c", "d"],
        rungs_of(4),
        lambda name, rung: {"a": 1.0, "b": 0.5, "c": 0.5, "d": 9.0}[name] * rung.share,
    )

    assert [one.candidate for one in standings] == ["b", "c", "a", "d"]


def test_what_cannot_be_judged_is_told_with_its_reason_and_costs_nobody_else_a_place() -> None:
    def judge(candidate: str, rung: Rung) -> float:  # the callback's
        if candidate == "broken":
            raise InvalidTraining("invalid-training", field="window_size", expected="2", found="1")
        return math.nan if candidate == "wild" else 1.0

    standings = successive_halving(["broken", "wild", "good"], rungs_of(3), judge)

    by_name = {one.candidate: one for one in standings}
    assert by_name["good"].ending == "finished"
    assert by_name["broken"].ending == by_name["wild"].ending == "not-possible"
    assert by_name["broken"].reason == "invalid-training: window_size must be 2, was 1"
    assert "not finite" in by_name["wild"].reason
    assert standings[0].candidate == "good"


@pytest.mark.parametrize(
    ("judgements", "expected"),
    [
        (0, dict.fromkeys(range(4), ("not-reached", 0))),
        (2, {0: ("finished", 1), 1: ("finished", 1), 2: ("not-reached", 0), 3: ("not-reached", 0)}),
        # Within the second rung: the one that was judged there leads.
        (5, {0: ("finished", 2), 1: ("not-reached", 1), 2: ("not-reached", 1), 3: ("dropped", 1)}),
        # Before the second rung judged any: the first one decides.
        (4, {0: ("finished", 1), 1: ("finished", 1), 2: ("finished", 1), 3: ("dropped", 1)}),
    ],
)
def test_a_budget_that_ends_leaves_the_best_known(judgements: int, expected: dict[int, tuple[str, int]]) -> None:
    done: list[Rung] = []

    def judge(candidate: int, rung: Rung) -> float:
        if len(done) == judgements:
            raise BudgetSpent
        done.append(rung)
        return float(candidate)

    standings = successive_halving(list(range(4)), rungs_of(4), judge)

    assert endings(standings) == expected
    if judgements:
        assert standings[0].candidate == 0


def test_few_candidates_are_all_judged_on_the_whole() -> None:
    assert rungs_of(1) == rungs_of(3) == [Rung(1, 1.0)]
    assert [climbing(count) for count in (1, 3, 4, 9, 10, 27)] == [1, 3, 3, 3, 4, 9]
