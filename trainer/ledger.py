"""What the log already says about trainings, so that nothing is done or told twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from schemas.identity import content_id
from schemas.models import Deployment, ModelReleased
from schemas.record import Record
from schemas.trainings import FINAL_TRAINING_STATES, TrainingEvent


@dataclass(frozen=True, kw_only=True)
class KnownRelease:
    """A release that stands in `models`, without its artefact."""

    model: str
    version: str
    #: What the last event of the training tells.
    metrics: dict[str, float]
    #: Why another algorithm stands in for the one that was asked for; empty where none does.
    fallback_reason: str = ""
    #: In `models`; ``None`` for one that is on its way there.
    offset: int | None = None

    @classmethod
    def of(cls, release: ModelReleased, offset: int | None = None) -> Self:
        """Return what is kept of ``release``: the metrics of the model, and ``skill.<baseline>``."""
        skill = {f"skill.{baseline}": value for baseline, value in release.skill.items()}
        return cls(
            model=release.model,
            version=release.version,
            metrics=dict(release.metrics.get("model", {})) | skill,
            fallback_reason=release.fallback_reason,
            offset=offset,
        )


@dataclass(kw_only=True)
class Told:
    """What `training-events` says of a training that has not ended."""

    next_sequence: int = 0
    is_running: bool = False
    #: Sequences of the progress events, without warnings.
    progress: set[int] = field(default_factory=set)


def deployment_id_of(training_id: str) -> str:
    """Return the id of the deployment that follows the release of a training."""
    return content_id("first-release", training_id)


class Ledger:
    """Learns `models`, `deployments` and `training-events`; repeated records change nothing."""

    def __init__(self) -> None:
        self._releases: dict[str, KnownRelease] = {}
        self._deployments: set[str] = set()
        self._ended: set[str] = set()
        self._told: dict[str, Told] = {}

    def learn(self, record: Record, offset: int) -> None:
        """Take in a record of one of the three topics."""
        if isinstance(record, ModelReleased):
            # The first that stands in the log is that of the training: see docs/decisions/0011-automl-budget.md.
            self._releases.setdefault(record.training_id, KnownRelease.of(record, offset))
        elif isinstance(record, Deployment):
            self._deployments.add(record.deployment_id)
        elif isinstance(record, TrainingEvent):
            self._learn_event(record)

    def _learn_event(self, event: TrainingEvent) -> None:
        if event.state in FINAL_TRAINING_STATES:
            self._ended.add(event.training_id)
            self._told.pop(event.training_id, None)
        if event.training_id in self._ended:
            return
        told = self._told.setdefault(event.training_id, Told())
        told.next_sequence = max(told.next_sequence, event.sequence + 1)
        told.is_running = told.is_running or event.state == "running"
        if event.state == "progress" and not event.reason:
            told.progress.add(event.sequence)

    def has_ended(self, training_id: str) -> bool:
        """Say whether the final event of a training stands in the log."""
        return training_id in self._ended

    def release_of(self, training_id: str) -> KnownRelease | None:
        """Return the release of a training, or ``None`` when there is none in the log."""
        return self._releases.get(training_id)

    def is_deployed(self, training_id: str) -> bool:
        """Say whether the deployment that follows the release of a training stands in the log."""
        return deployment_id_of(training_id) in self._deployments

    def told(self, training_id: str) -> Told:
        """Return a copy of what has been told of a training that has not ended."""
        told = self._told.get(training_id, Told())
        return Told(next_sequence=told.next_sequence, is_running=told.is_running, progress=set(told.progress))
