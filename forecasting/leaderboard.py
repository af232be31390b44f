"""The leaderboard of a choice: what was compared, how it did, and why the winner won."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from forecasting import losses
from forecasting.halving import Rung
from forecasting.judging import Judgement
from forecasting.models.baselines import BASELINES
from forecasting.training_spec import TrainingSpec
from schemas.models import LeaderboardEntry, LeaderboardState


def entry_of(
    spec: TrainingSpec,
    state: LeaderboardState,
    rung: Rung | None,
    judgement: Judgement | None,
    beside: Mapping[str, float],
) -> LeaderboardEntry:
    """Return the line of a candidate.

    Args:
        spec: Of the candidate.
        state: What became of it.
        rung: The highest on which it was judged, if any.
        judgement: On that rung.
        beside: Baseline -> loss on the same folds.
    """
    skill, metrics, folds = {}, {}, 0
    if judgement is not None:
        folds = judgement.folds
        skill = {name: losses.skill(judgement.loss, loss) for name, loss in beside.items()}
        metrics = {"mae": judgement.mae} | ({} if judgement.mase is None else {"mase": judgement.mase})
    return LeaderboardEntry(
        algorithm=spec.algorithm,
        members=spec.candidates,
        hyperparameters=dict(spec.hyperparameters),
        state=state,
        rung=0 if rung is None else rung.number,
        folds=folds,
        skill={name: value for name, value in skill.items() if math.isfinite(value)},
        metrics=metrics,
    )


def refused_entry(spec: TrainingSpec, reason: str) -> LeaderboardEntry:
    """Return the line of a candidate that could not be trained or compared."""
    return LeaderboardEntry(
        algorithm=spec.algorithm,
        members=spec.candidates,
        hyperparameters=dict(spec.hyperparameters),
        state="not-possible",
        reason=reason,
    )


def chosen_first(entries: Sequence[LeaderboardEntry], whole: int) -> tuple[LeaderboardEntry, ...]:
    """Return the lines, the winner first and with the reason of its choice.

    Args:
        entries: In their order.
        whole: Number of the rung that is the whole work.
    """
    order = sorted(entries, key=lambda one: one.state != "chosen")
    if not order or order[0].state != "chosen":
        return tuple(order)
    first, others = order[0], [one for one in order[1:] if one.state == "compared"]
    rivals = [one for one in others if one.algorithm not in BASELINES]
    reason = f"the least loss of {len(others) + 1} on {first.folds} folds before the test part"
    if any(_loss(one) < _loss(first) for one in others):
        reason = (
            f"none of {len(others)} others beats it by more than chance on {first.folds} folds before the test part"
        )
    elif first.algorithm in BASELINES:
        reason = f"no candidate beats it on {first.folds} folds before the test part"
        if not rivals:
            reason = "no candidate could be judged: it is the best baseline"
    if first.rung < whole:
        reason += f"; the budget ended on rung {first.rung} of {whole}"
    return (msgspec.structs.replace(first, reason=reason), *order[1:])


def _loss(entry: LeaderboardEntry) -> float:
    return entry.metrics.get("mase", entry.metrics["mae"])
