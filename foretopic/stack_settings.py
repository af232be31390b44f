"""What the one-machine stack may be told: where it lives and which ports it takes."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from foretopic.ports import LOOPBACK
from runtime.settings import ServiceSettings, settings_config


class StackSettings(ServiceSettings):
    """Settings of ``foretopic up`` and of the commands that talk to a running stack."""

    model_config = settings_config("stack")

    home: Path = Field(
        default=Path(".foretopic"),
        validation_alias="FORETOPIC_HOME",
        description="Directory of everything that the stack keeps: Kafka's log, databases, log files",
    )
    kafka_port: int = Field(
        default=9092, ge=1, le=65535, validation_alias="FORETOPIC_KAFKA_PORT", description="Port of the embedded Kafka"
    )
    gateway_port: int = Field(
        default=5000, ge=1, le=65535, validation_alias="FORETOPIC_GATEWAY_PORT", description="Port of the gateway"
    )
    mlflow_port: int = Field(
        default=5001, ge=1, le=65535, validation_alias="FORETOPIC_MLFLOW_PORT", description="Port of MLflow"
    )
    kafka_heap_mebibytes: int = Field(default=256, ge=128, description="Java heap of the embedded Kafka, in MiB")

    url: str = Field(
        default="",
        validation_alias="FORETOPIC_URL",
        description="Base URL of a gateway elsewhere; empty means the one of the stack on this machine",
    )

    api_key: SecretStr = Field(
        default=SecretStr(""),
        validation_alias="FORETOPIC_API_KEY",
        description="API key for the gateway, `ftp_…`; a gateway on this machine may need none",
    )

    @property
    def gateway_url(self) -> str:
        """Return the base URL of the gateway."""
        return self.url.rstrip("/") or f"http://{LOOPBACK}:{self.gateway_port}"

    @property
    def bootstrap_servers(self) -> str:
        """Return where clients find Kafka: what FORETOPIC_KAFKA_BOOTSTRAP_SERVERS says, else the embedded one."""
        if "kafka_bootstrap_servers" in self.model_fields_set:
            return self.kafka_bootstrap_servers
        return f"{LOOPBACK}:{self.kafka_port}"

    @property
    def mlflow_url(self) -> str:
        """Return the base URL of MLflow."""
        return f"http://{LOOPBACK}:{self.mlflow_port}"
