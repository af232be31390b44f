"""One training that has not ended, and the records that tell of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from schemas.models import Deployment
from schemas.trainings import TrainingEvent, TrainingRequested, TrainingState
from trainer.jobs import Progressed
from trainer.ledger import KnownRelease, Told, deployment_id_of


class Phase(Enum):
    """Where a training stands; those that have ended are forgotten."""

    WAITING = "waiting"
    TRAINING = "training"
    RECORDING = "recording"
    ENDING = "ending"


@dataclass(kw_only=True, eq=False)
class Training:
    """A training that has not ended, with the place of its request."""

    request: TrainingRequested
    partition: int
    offset: int
    traceparent: str | None
    told: Told
    phase: Phase = Phase.WAITING
    attempts: int = 0
    release: KnownRelease | None = None

    @property
    def training_id(self) -> str:
        return self.request.training_id

    @property
    def has_job(self) -> bool:
        return self.phase in (Phase.TRAINING, Phase.RECORDING)

    def event(
        self,
        state: TrainingState,
        *,
        stage: str = "",
        fraction: float = 0.0,
        epoch: int | None = None,
        losses: dict[str, float] | None = None,
        reason: str = "",
        run_id: str | None = None,
    ) -> TrainingEvent:
        """Return the next event of this training; a success tells the version and its metrics."""
        release = self.release if state == "succeeded" else None
        event = TrainingEvent(
            training_id=self.training_id,
            model=self.request.model,
            series_id=self.request.series_ids[0],
            sequence=self.told.next_sequence,
            state=state,
            fraction=fraction,
            stage=stage,
            epoch=epoch,
            losses=losses or {},
            metrics=release.metrics if release else {},
            reason=reason,
            version=release.version if release else None,
            mlflow_run_id=run_id,
        )
        self.told.next_sequence += 1
        return event

    def progress(self, progressed: Progressed) -> TrainingEvent | None:
        """Return the event of a step forward, or ``None`` where an earlier run of this training has told it."""
        if progressed.index < len(self.told.progress):
            return None
        self.told.progress.add(self.told.next_sequence)
        return self.event(
            "progress",
            stage=progressed.stage,
            fraction=progressed.fraction,
            epoch=progressed.epoch,
            losses=progressed.losses,
        )

    def deployment(self, version: str) -> Deployment:
        """Return the record that makes ``version`` champion where the model name has none."""
        return Deployment(
            deployment_id=deployment_id_of(self.training_id),
            model=self.request.model,
            version=version,
            role="champion",
            only_if_first=True,
            cause="first-release",
            reason=f"released by training {self.training_id}",
        )
