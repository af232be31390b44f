"""An ensemble in service: the middles of its members, combined.

Quantile averaging (Lichtendahl, Grushka-Cockayne and Winkler, "Is it better to average probabilities or quantiles?",
Management Science 2013) in the working unit: medians are averaged, and so are the half widths of the members' own
calibrated 80 % bands, which is what makes spreads of different kinds comparable. An average of calibrated bands is
sharper than its members but has no coverage of its own, so the ensemble's bands are calibrated once more, on its own
folds; see `forecasting.combining`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from forecasting.artefact import Recipe
from forecasting.errors import InvalidArtefact
from forecasting.features_history import History
from forecasting.forecasters import (
    Forecaster,
    GraphForecaster,
    Middle,
    Question,
    answers,
    forecaster_of,
    session_of,
    try_out,
)
from forecasting.panel import FloatArray, IntArray, Window


def member_prefix(member: int) -> str:
    """Return what the names of a member's graph begin with.

    >>> member_prefix(1)
    'm1_'
    """
    return f"m{member}_"


class EnsembleForecaster:
    """Members that share one session.

    Args:
        recipe: With `members`, and how they are combined.
        graph: The graphs of all members that have one, told apart by `member_prefix`; ``None`` where none has.

    Raises:
        InvalidArtefact: ``invalid-graph``.
    """

    def __init__(self, recipe: Recipe, graph: bytes | None) -> None:
        self._recipe = recipe
        self._target = recipe.columns.index(recipe.target)
        self._session = None if graph is None else session_of(graph)
        outputs = [] if self._session is None else [part.name for part in self._session.get_outputs()]
        self._graphs: dict[int, GraphForecaster] = {}
        self._others: dict[int, Forecaster] = {}
        for index, member in enumerate(recipe.members):
            prefix = member_prefix(index)
            if self._session is not None and any(name.startswith(prefix) for name in outputs):
                self._graphs[index] = GraphForecaster(member, self._session, prefix)
            else:
                self._others[index] = forecaster_of(member, None)
        if self._session is not None:
            if len(self._graphs) != len(outputs):
                raise InvalidArtefact(
                    "invalid-graph",
                    field="graph",
                    expected=f"one output for each of {len(self._graphs)} members",
                    found=", ".join(outputs),
                )
            try_out(list(self._graphs.values()), self._session)
        self._members = [self._graphs.get(index) or self._others[index] for index in range(len(recipe.members))]
        self.reads_time = any(member.reads_time for member in self._members)

    def check(self, window: Window, horizon: int) -> None:
        for recipe, member in zip(self._recipe.members, self._members, strict=True):
            member.check(window.last(recipe.window_size), horizon)

    def middle(self, window: Window) -> Middle:
        parts = [window.last(member.window_size) for member in self._recipe.members]
        found = {index: member.middle(parts[index]) for index, member in self._others.items()}
        found |= self._answers({index: graph.ask(parts[index]) for index, graph in self._graphs.items()})
        return self._combined(found, window.values[-1, self._target])

    def middles(self, history: History, cutoffs: IntArray) -> Middle:
        found = {index: member.middles(history, cutoffs) for index, member in self._others.items()}
        found |= self._answers({index: graph.ask_of_many(history, cutoffs) for index, graph in self._graphs.items()})
        return self._combined(found, history.values[cutoffs, self._target])

    def _answers(self, questions: dict[int, Question]) -> dict[int, Middle]:
        """Return what the graphs say, all of them in one run a window."""
        if self._session is None:
            return {}
        feed = {name: given for question in questions.values() for name, given in question.feed.items()}
        found = answers(self._session, [self._graphs[index].output for index in questions], feed)
        return {
            index: self._graphs[index].answer(question, answer)
            for (index, question), answer in zip(questions.items(), found, strict=True)
        }

    def _combined(self, found: Mapping[int, Middle], last: FloatArray) -> Middle:
        """Return the combination of members, by their numbers, after a value of the target or after many."""
        recipe = self._recipe
        members = tuple(found[index] for index in range(len(found)))
        anchor = np.repeat(np.asarray(last)[..., np.newaxis], recipe.horizon, axis=-1)
        medians = np.stack([self._working(one.anchor) + one.change for one in members])
        widths = [one.spread * np.array(width) for one, width in zip(members, recipe.member_spreads, strict=True)]
        return Middle(
            anchor=anchor,
            change=combine(medians, recipe.weights) - self._working(anchor),
            spread=combine(np.stack(widths), recipe.weights),
            rise=np.zeros(anchor.shape),
            members=members,
        )

    def _working(self, values: FloatArray) -> FloatArray:
        return np.log(values) if self._recipe.transform == "log-return" else values


def combine(members: FloatArray, weights: tuple[float, ...]) -> FloatArray:
    """Return the weighted mean of the members, or their median where there are no weights.

    Args:
        members: Shape (members, ...).
        weights: One a member, summing to 1; empty is the median.
    """
    if not weights:
        return np.asarray(np.median(members, axis=0), dtype=np.float64)
    # One after another: the sum has the same bits for every shape.
    total = weights[0] * members[0]
    for weight, member in zip(weights[1:], members[1:], strict=True):
        total = total + weight * member
    return np.asarray(total, dtype=np.float64)
