"""The choice of an algorithm and of its hyperparameters, on folds that precede the test part.

`auto` compares candidates by successive halving and combines the best of them; a search tries hyperparameters of one
algorithm. The baselines are always compared: where nothing beats the best of them, it is what `auto` trains. What is
chosen is then trained as any model is, and judged on folds that no choice has seen.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from forecasting.artefact import Setting
from forecasting.candidates import candidate_specs, default_candidates, ensemble_spec, suited
from forecasting.fits import Progress, season_of
from forecasting.halving import Rung, Standing, climbing, rungs_of, successive_halving
from forecasting.judging import combined, is_chance, judged
from forecasting.leaderboard import chosen_first, entry_of, refused_entry
from forecasting.models.baselines import BASELINES
from forecasting.models.registry import AUTO, declared_hyperparameters, hyperparameters_of
from forecasting.panel import Observations
from forecasting.search import SEARCH_RUNGS, Trial, best_of, search
from forecasting.training_spec import TrainingSpec
from forecasting.tryout import Tried, tryout_of
from schemas.models import LeaderboardEntry, LeaderboardState

#: What is combined at the end: so many of the best, and how.
_ENSEMBLES = ((2, "mean"), (3, "mean"), (3, "stacking"))


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is trained, and what it was compared with.

    Attributes:
        spec: Of the winner.
        leaderboard: Every candidate, the winner first.
        trials: Of the hyperparameter search.
    """

    spec: TrainingSpec
    leaderboard: tuple[LeaderboardEntry, ...]
    trials: tuple[Trial, ...] = ()


def is_choice(spec: TrainingSpec) -> bool:
    """Return whether something is to be chosen before the training."""
    return spec.algorithm == AUTO or spec.search_trials > 0


def choose(
    spec: TrainingSpec,
    observations: Sequence[Observations],
    progress: Callable[[Progress], None],
    remaining: Callable[[], float],
) -> Choice:
    """Return what is to be trained.

    Without a limit of time the same arguments give the same choice; with one it also depends on how fast the machine
    is: see docs/decisions/0011-automl-budget.md.

    Args:
        spec: With `algorithm` auto, or with `search_trials`.
        observations: All of them; what is compared sees only those before the test part.
        progress: Told how far the comparison is, in [0, 1].
        remaining: Seconds that are left for the comparison; infinite without a limit.

    Raises:
        InvalidTraining: Unknown candidates or hyperparameters.
        TooLittleHistory: Not even a baseline can be judged.
        ForecastingError: See `preparation.panel_of`.
    """
    return _Selection(spec, observations, progress, remaining).run()


def _asked(spec: TrainingSpec, observations: Sequence[Observations]) -> list[TrainingSpec]:
    """Return the candidates in the order in which they are judged, then the baselines that are not among them."""
    season = season_of(spec, observations[0])
    alone = dataclasses.replace(spec, candidates=(), search_trials=0, budget_seconds=0.0)
    if spec.algorithm != AUTO:
        plain = dataclasses.replace(alone, hyperparameters={})
        return [alone, *candidate_specs(plain, [name for name in BASELINES if name != spec.algorithm], season)]
    hyperparameters_of(AUTO, spec.hyperparameters)
    asked = spec.candidates or default_candidates()
    specs = candidate_specs(alone, (*(name for name in asked if name not in BASELINES), *BASELINES), season)
    return [suited(one, len(observations[0]), season, spec.hyperparameters) for one in specs]


class _Rival(NamedTuple):
    """Something that may be trained in the end, judged on the last rung."""

    spec: TrainingSpec
    tried: Tried


class _Selection:
    """One comparison, from the candidates to the leaderboard."""

    def __init__(
        self,
        spec: TrainingSpec,
        observations: Sequence[Observations],
        progress: Callable[[Progress], None],
        remaining: Callable[[], float],
    ) -> None:
        self._spec = spec
        self._progress = progress
        self._refused: list[LeaderboardEntry] = []
        asked = _asked(spec, observations)
        found, self._tryout = tryout_of(asked, observations, remaining, self._refuse)
        # A baseline that was named is what is trained, however it compares.
        self._named = None if spec.algorithm == AUTO else asked[0]
        self._baselines = [one for one in found if one.algorithm in BASELINES and one is not self._named]
        self._candidates = [one for one in found if one not in self._baselines]
        self._rungs = [Rung(1, 1.0)] if self._tryout.is_small else rungs_of(len(self._candidates))
        self._tried: dict[tuple[object, ...], Tried] = {}
        self._work = spec.search_trials * len(SEARCH_RUNGS)
        count = len(self._candidates)
        for _ in self._rungs:
            self._work += count
            count = climbing(count)

    def run(self) -> Choice:
        """Return the choice."""
        standings = successive_halving(self._candidates, self._rungs, self._loss)
        finished = [one for one in standings if one.ending == "finished"]
        rung = self._rungs[finished[0].rung - 1] if finished else self._rungs[-1]
        specs = [one.candidate for one in finished]
        trials = self._search(specs[0]) if specs and rung == self._rungs[-1] and self._spec.search_trials else []
        best = best_of(trials)
        if best is not None and best.hyperparameters != dict(specs[0].hyperparameters):
            specs.append(dataclasses.replace(specs[0], hyperparameters=best.hyperparameters))
        rivals = [_Rival(one, self._try(one, rung)) for one in specs]
        if self._named is None:
            rivals += self._ensembles(rivals, rung)
            # First in line: what costs nothing wins where it is as good.
            rivals = [_Rival(one, self._try(one, rung)) for one in self._baselines] + rivals
        winner = self._winner(rivals, rung)
        self._progress(Progress(stage="search", fraction=1.0))
        if winner is None:
            assert self._named is not None  # `auto` always has a baseline
            return Choice(spec=self._named, leaderboard=self._leaderboard(standings, [], None, rung))
        board = self._leaderboard(standings, rivals, winner, rung)
        return Choice(spec=winner.spec, leaderboard=board, trials=tuple(trials))

    def _winner(self, rivals: Sequence[_Rival], rung: Rung) -> _Rival | None:
        """Return the rival with the least loss; of `auto` the first in line that it may beat by chance alone.

        On prices one of many always had the least loss, and the year after says nothing of it.
        """
        best = min(rivals, key=lambda one: one.tried.judgement.loss, default=None)
        if best is None or self._named is not None:
            return best
        folds = self._tryout.folds(best.spec, rung)
        for rival in rivals:
            if rival is best or is_chance(best.tried.medians, rival.tried.medians, folds):
                return rival
        return best

    def _loss(self, spec: TrainingSpec, rung: Rung) -> float:
        self._tell(0.0)
        return self._try(spec, rung).judgement.loss

    def _try(self, spec: TrainingSpec, rung: Rung) -> Tried:
        key = (spec.algorithm, tuple(sorted(spec.hyperparameters.items())), rung.share)
        if key not in self._tried:
            # Baselines cost next to nothing, and nothing is said without them.
            is_limited = spec.algorithm not in BASELINES
            self._tried[key] = self._tryout.try_out(spec, rung, self._tell, is_limited=is_limited)
        return self._tried[key]

    def _tell(self, share: float) -> None:
        """Tell how far the comparison is when such a part of the next candidate is done."""
        fraction = min((len(self._tried) + share) / max(self._work, 1), 1.0)
        self._progress(Progress(stage="search", fraction=fraction))

    def _search(self, spec: TrainingSpec) -> list[Trial]:
        def judge(hyperparameters: Mapping[str, Setting], rung: Rung) -> float:
            return self._loss(dataclasses.replace(spec, hyperparameters=dict(hyperparameters)), rung)

        return search(
            declared_hyperparameters(spec.algorithm),
            spec.hyperparameters,
            judge,
            trials=self._spec.search_trials,
            seed=self._spec.seed,
        )

    def _ensembles(self, rivals: Sequence[_Rival], rung: Rung) -> list[_Rival]:
        """Return combinations of the best rivals, each algorithm once; none that forecasts as another rival does."""
        best: dict[str, _Rival] = {}
        for rival in sorted(rivals, key=lambda one: one.tried.judgement.loss):
            best.setdefault(rival.spec.algorithm, rival)
        found: list[_Rival] = []
        for count, combination in _ENSEMBLES:
            members = list(best.values())[:count]
            if len(members) == count:
                folds = self._tryout.folds(members[0].spec, rung)
                medians = combined([one.tried.medians for one in members], folds, combination)
                if any(np.array_equal(medians, one.tried.medians) for one in (*rivals, *found)):
                    continue
                spec = ensemble_spec(self._spec, [one.spec for one in members], combination)
                found.append(_Rival(spec, Tried(medians, judged(medians, folds))))
        return found

    def _leaderboard(
        self, standings: Sequence[Standing[TrainingSpec]], rivals: Sequence[_Rival], winner: _Rival | None, rung: Rung
    ) -> tuple[LeaderboardEntry, ...]:
        entries = []
        for rival in sorted(rivals, key=lambda one: one.tried.judgement.loss):
            state: LeaderboardState = "chosen" if rival is winner else "compared"
            entries.append(entry_of(rival.spec, state, rung, rival.tried.judgement, self._beside(rung)))
        if self._named is not None:
            for spec in self._baselines:
                judgement = self._try(spec, rung).judgement
                entries.append(entry_of(spec, "compared", rung, judgement, self._beside(rung)))
        for one in standings:
            if one.ending == "not-possible":
                entries.append(refused_entry(one.candidate, one.reason))
            elif one.ending in ("dropped", "not-reached"):
                own = self._rungs[one.rung - 1] if one.rung else None
                did = self._try(one.candidate, own).judgement if own else None
                entries.append(entry_of(one.candidate, one.ending, own, did, self._beside(own) if own else {}))
        return chosen_first([*entries, *self._refused], whole=self._rungs[-1].number)

    def _beside(self, rung: Rung) -> dict[str, float]:
        return {one.algorithm: self._try(one, rung).judgement.loss for one in self._baselines}

    def _refuse(self, spec: TrainingSpec, reason: str) -> None:
        self._refused.append(refused_entry(spec, reason))
