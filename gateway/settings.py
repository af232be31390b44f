"""What the gateway may be told."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from runtime.settings import ServiceSettings, settings_config

_MEBIBYTE = 1024 * 1024


class GatewaySettings(ServiceSettings):
    """Settings of the HTTP gateway; variables begin with ``FORETOPIC_GATEWAY_``."""

    model_config = settings_config("gateway")

    host: str = Field(default="127.0.0.1", min_length=1, description="Address to listen on; 0.0.0.0 in a container")
    port: int = Field(default=5000, ge=0, le=65535, description="Port to listen on")
    home: Path = Field(
        default=Path(".foretopic"),
        validation_alias="FORETOPIC_HOME",
        description="Where `gateway.db` lies when no database URL is given",
    )
    database_url: str = Field(
        default="",
        description="Database of the projection: `sqlite:///FILE` or `postgresql://…`, one a gateway; "
        "empty means SQLite in the home",
    )
    default_wait_seconds: float = Field(
        default=10.0, ge=0, description="How long a forecast request waits without `Prefer: wait=SECONDS`"
    )
    max_wait_seconds: float = Field(default=60.0, gt=0, description="Longest wait that a caller can ask for")
    max_waiting_requests: int = Field(
        default=500, ge=1, description="Forecast requests that may wait at once; further ones are answered 503"
    )
    max_body_bytes: int = Field(
        default=_MEBIBYTE, ge=1024, le=64 * _MEBIBYTE, description="Largest request body that is read"
    )
    delivery_timeout_seconds: float = Field(
        default=10.0, gt=0, description="How long the log may take to acknowledge a request"
    )
    stuck_after_seconds: float = Field(
        default=3.0, gt=0, description="Without an acknowledgement for so long, further requests are answered 503"
    )
    min_write_interval_seconds: float = Field(
        default=0.1, ge=0, description="Shortest time from one database transaction to the next"
    )
    max_connections: int = Field(
        default=1000, ge=4, description="Connections that are served at once; further ones wait to be taken"
    )
    graceful_stop_seconds: int = Field(default=15, ge=1, description="How long open requests may take at a stop")

    @property
    def url(self) -> str:
        """Return the database URL that is in force."""
        return self.database_url or f"sqlite:///{self.home.absolute() / 'gateway.db'}"
