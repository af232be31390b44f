"""What the predictor may be told."""

from __future__ import annotations

from pydantic import Field

from runtime.settings import ServiceSettings, settings_config

SERVICE = "predictor"


class PredictorSettings(ServiceSettings):
    """Settings of the predictor, from `FORETOPIC_PREDICTOR_*`."""

    model_config = settings_config(SERVICE)

    instance_id: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9._-]*$",
        max_length=200,
        description="Name of this instance in its consumer group; one that restarts under the same name goes on at "
        "once, without it the group first waits `session_timeout_seconds`. No two instances may share one; empty: none",
    )
    max_batch: int = Field(default=256, ge=1, le=10_000, description="Most requests that are handled in one go")
    answered_limit: int = Field(
        default=20_000,
        ge=1,
        description="Request ids a partition that are remembered as answered; a request repeated later than that with "
        "other offsets would be answered a second time",
    )
    session_limit: int = Field(default=32, ge=1, description="Loaded model versions that are kept")
    session_timeout_seconds: float = Field(
        default=10.0, ge=6.0, le=300.0, description="Silence after which the group gives partitions of an instance away"
    )
    commit_interval_seconds: float = Field(default=1.0, gt=0, le=60.0, description="Time between two offset commits")
    stuck_after_seconds: float = Field(
        default=60.0,
        ge=1.0,
        description="The process ends when messages wait in a partition and nothing of it was handled for so long",
    )
    delivery_timeout_seconds: float = Field(
        default=30.0, ge=1.0, description="Time in which the broker must acknowledge a forecast before it is sent again"
    )
