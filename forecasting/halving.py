"""Successive halving: many candidates on a small share of the work, ever fewer on ever more of it.

Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016. A rung
judges its candidates with a share of the work (fits, epochs, folds); the best of them climb, the last rung is the
whole. Nothing here knows what is judged or what time it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, Literal, NamedTuple, TypeVar

from forecasting.errors import ForecastingError

#: One of so many climbs, and a rung does so many times the work of the one below it.
ETA = 3
#: So many reach the last rung at least, where there are so many: an ensemble is made of them.
LEAST_FINALISTS = 3

Candidate = TypeVar("Candidate")
Ending = Literal["finished", "dropped", "not-possible", "not-reached"]


class BudgetSpent(Exception):  # not an error: the time that was given is over
    """Say that a candidate was not judged to the end, as the time is over."""


class Rung(NamedTuple):
    """One round of judging.

    Attributes:
        number: From 1.
        share: Of the whole work, in (0, 1].
    """

    number: int
    share: float


@dataclass(frozen=True, kw_only=True)
class Standing(Generic[Candidate]):
    """How far a candidate got.

    Attributes:
        candidate: As given.
        ending: `finished` was judged on the last rung that was judged at all; `dropped` was worse than those that
            climbed; `not-possible` could not be judged; `not-reached` was not judged on the rung it climbed to.
        rung: The highest rung on which it was judged; 0 is none.
        loss: On that rung, lower is better; infinite where there is none.
        reason: Why it was not possible.
    """

    candidate: Candidate
    ending: Ending = "not-reached"
    rung: int = 0
    loss: float = math.inf
    reason: str = ""


def rungs_of(candidates: int) -> list[Rung]:
    """Return the rungs that so many candidates climb.

    >>> [(rung.number, round(rung.share, 3)) for rung in rungs_of(10)]
    [(1, 0.111), (2, 0.333), (3, 1.0)]
    >>> rungs_of(2)
    [Rung(number=1, share=1.0)]
    """
    count, left = 1, candidates
    while left > LEAST_FINALISTS:
        left = climbing(left)
        count += 1
    return [Rung(number, float(ETA) ** (number - count)) for number in range(1, count + 1)]


def climbing(candidates: int) -> int:
    """Return how many of so many candidates climb."""
    return min(candidates, max(math.ceil(candidates / ETA), LEAST_FINALISTS))


def successive_halving(
    candidates: Sequence[Candidate], rungs: Sequence[Rung], judge: Callable[[Candidate, Rung], float]
) -> list[Standing[Candidate]]:
    """Return how far each candidate got, the best first.

    Candidates that finished stand first, by loss; then those dropped, the higher rung first; then the rest in the order
    given. The best of the rung below are judged first, so that a budget that ends within a rung ends on the best
    known. Where losses are equal the order given decides.

    Args:
        candidates: In the order in which the first rung judges them.
        rungs: Ascending; see `rungs_of`.
        judge: Return the loss of a candidate on a rung. A `ForecastingError` says that it cannot be judged,
            `BudgetSpent` that the time is over: nothing is judged after it.
    """
    standings = [Standing(candidate=candidate) for candidate in candidates]
    alive = list(range(len(standings)))
    is_over = False
    for rung in rungs:
        judged: list[int] = []
        for index in alive:
            try:
                loss = judge(standings[index].candidate, rung)
            except BudgetSpent:
                is_over = True
                break
            except ForecastingError as error:
                standings[index] = replace(standings[index], ending="not-possible", reason=f"{error.code}: {error}")
                continue
            if not math.isfinite(loss):
                reason = "not-finite: its forecasts or their loss are not finite"
                standings[index] = replace(standings[index], ending="not-possible", reason=reason)
                continue
            standings[index] = replace(standings[index], ending="finished", rung=rung.number, loss=loss)
            judged.append(index)
        judged.sort(key=lambda index: standings[index].loss)
        if is_over:
            # Where the rung judged none, the one below stays the last that was judged.
            for index in alive if judged else ():
                if index not in judged and standings[index].ending == "finished":
                    standings[index] = replace(standings[index], ending="not-reached")
            break
        climbers = judged[: climbing(len(judged))] if rung is not rungs[-1] else judged
        for index in judged[len(climbers) :]:
            standings[index] = replace(standings[index], ending="dropped")
        alive = climbers
    order = {"finished": 0, "dropped": 1, "not-reached": 2, "not-possible": 3}
    return sorted(standings, key=lambda one: (order[one.ending], -one.rung, one.loss))
