"""What the ingestor may be told by its environment."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator

from runtime.settings import ServiceSettings, settings_config

SERVICE = "ingestor"


class IngestorSettings(ServiceSettings):
    """Settings of the ingestor; variables begin with ``FORETOPIC_INGESTOR_``."""

    model_config = settings_config(SERVICE)

    yahoo_timeout_seconds: float = Field(
        default=5.0, gt=0, le=60, description="How long Yahoo may take to answer before the next source is asked"
    )
    files_directory: Path | None = Field(
        default=None, description="Directory below which the source `file` may read; unset, it reads nothing"
    )
    max_file_bytes: int = Field(
        default=256 * 1024 * 1024, ge=1, description="Largest file, and largest text in a gzipped one, in bytes"
    )

    @field_validator("files_directory", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        """Keep an empty variable from meaning the directory in which the service happens to run."""
        return None if value == "" else value
