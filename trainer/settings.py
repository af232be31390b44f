"""Settings of the trainer."""

from __future__ import annotations

from pydantic import Field

from runtime.settings import ServiceSettings, settings_config


class TrainerSettings(ServiceSettings):
    """What the trainer may be told, as ``FORETOPIC_TRAINER_*``."""

    model_config = settings_config("trainer")

    mlflow_tracking_uri: str = Field(
        default="",
        description="MLflow server or store that keeps the training runs, e.g. http://127.0.0.1:5001; empty keeps none",
    )
    mlflow_timeout_seconds: int = Field(
        default=5, ge=1, le=600, description="How long one call to MLflow may take, in seconds; it is tried twice"
    )
    recording_timeout_seconds: float = Field(
        default=120.0, gt=0, le=3600, description="How long all of the recording of one run may take, in seconds"
    )
    parallel_trainings: int = Field(default=1, ge=1, le=64, description="Trainings that run at the same time")
    max_attempts: int = Field(
        default=3, ge=1, le=100, description="How often a training is begun when its process dies; then it has failed"
    )
    read_ahead: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="Unfinished requests and cancellations of one partition past which no more are read",
    )
    max_rows: int = Field(
        default=2_000_000,
        ge=1,
        description="Rows that the series of one training may have together; about 1 KB of memory each for bars",
    )
    niceness: int = Field(
        default=5, ge=0, le=19, description="How far a training stands back behind other processes for CPU time"
    )
    poll_seconds: float = Field(
        default=0.2, gt=0, le=5, description="How long the trainer waits for messages before it looks at its trainings"
    )
