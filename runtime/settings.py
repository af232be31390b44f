"""Settings from the environment: read once, all faults told together.

A service declares a subclass with its own prefix::

    class PredictorSettings(ServiceSettings):
        model_config = settings_config("predictor")
        max_horizon_steps: int = Field(default=60, ge=1, description="Longest horizon that is answered, in steps")

and reads it with ``load_settings(PredictorSettings)``.
"""

from __future__ import annotations

import os
from typing import Literal, TypeVar
from urllib.parse import urlsplit

import pydantic_settings
from pydantic import Field, SecretBytes, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from runtime.errors import SettingsError

PREFIX = "FORETOPIC_"
LogLevel = Literal["debug", "info", "warning", "error"]


def settings_config(service: str) -> SettingsConfigDict:
    """Return the pydantic configuration of a service's settings: frozen, and its variables' prefix."""
    return SettingsConfigDict(
        env_prefix=f"{PREFIX}{service.upper()}_",
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        case_sensitive=False,
        hide_input_in_errors=True,
    )


class ServiceSettings(BaseSettings):
    """What every service may be told."""

    model_config = settings_config("service")

    kafka_bootstrap_servers: str = Field(
        default="127.0.0.1:9092",
        min_length=1,
        validation_alias=f"{PREFIX}KAFKA_BOOTSTRAP_SERVERS",
        description="Kafka brokers to ask first, host:port, separated by commas",
    )
    topic_prefix: str = Field(
        default="",
        pattern=r"^[a-z0-9-]*$",
        max_length=100,
        validation_alias=f"{PREFIX}TOPIC_PREFIX",
        description="Stands before every topic name and consumer group, e.g. `acme-`",
    )
    log_level: LogLevel = Field(
        default="info", validation_alias=f"{PREFIX}LOG_LEVEL", description="Least severe log lines that are written"
    )
    metrics_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        validation_alias=f"{PREFIX}METRICS_PORT",
        description="Port of `/metrics` and `/health`; 0 means none",
    )
    metrics_host: str = Field(
        default="127.0.0.1",
        min_length=1,
        validation_alias=f"{PREFIX}METRICS_HOST",
        description="Address on which `/metrics` and `/health` listen; 0.0.0.0 in a container",
    )
    error_tracker_dsn: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=f"{PREFIX}ERROR_TRACKER_DSN",
        description="DSN of a project at an error tracker that speaks Sentry's protocol, `https://KEY@HOST/PROJECT`; "
        "unset: none is told",
    )
    error_tracker_environment: str = Field(
        default="production",
        min_length=1,
        max_length=64,
        pattern=r"^[^\s/]+$",
        validation_alias=f"{PREFIX}ERROR_TRACKER_ENVIRONMENT",
        description="What the error tracker calls this installation",
    )

    @field_validator("error_tracker_dsn")
    @classmethod
    def _require_dsn(cls, given: SecretStr) -> SecretStr:
        """Refuse what is no DSN. The SDK is not asked: a gateway may not import it before its worker is patched."""
        dsn = given.get_secret_value()
        if dsn and not _is_dsn(dsn):
            raise ValueError("https://KEY@HOST/PROJECT was expected, PROJECT being a number, as the tracker shows it")
        return given


def _is_dsn(dsn: str) -> bool:
    try:
        parts = urlsplit(dsn)
        has_place = bool(parts.hostname and parts.username) and parts.port != 0
    except ValueError:  # a port or an address that cannot be
        return False
    project = parts.path.rpartition("/")[2]
    return has_place and parts.scheme in ("http", "https") and project.isascii() and project.isdecimal()


Settings = TypeVar("Settings", bound=ServiceSettings)


def variable_of(settings: type[ServiceSettings], field: str) -> str:
    """Return the environment variable of a field."""
    alias = settings.model_fields[field].validation_alias
    if isinstance(alias, str):
        return alias
    return f"{settings.model_config.get('env_prefix', '')}{field}".upper()


def load_settings(settings: type[Settings]) -> Settings:
    """Read the settings of a service from the environment.

    Raises:
        SettingsError: Names every variable that cannot be used, its value unless it is secret, and what it may be.
    """
    faults = _unknown_variables(settings)
    try:
        loaded = settings()
    except ValidationError as error:
        faults += [_fault(settings, detail) for detail in error.errors()]
    except pydantic_settings.SettingsError as error:
        faults.append(f"{error}: JSON was expected ({error.__cause__})")
    if faults:
        raise SettingsError("\n".join(["These settings cannot be used:", *(f"- {fault}" for fault in faults)]))
    return loaded


def _unknown_variables(settings: type[ServiceSettings]) -> list[str]:
    prefix = str(settings.model_config.get("env_prefix", "")).upper()
    known = {variable_of(settings, field) for field in settings.model_fields}
    known |= {f"{prefix}{field}".upper() for field in settings.model_fields}
    told = ", ".join(sorted(name for name in known if name.startswith(prefix))) or "none"
    return [
        f"{name} is not known; known are {told}"
        for name in sorted(os.environ)
        if name.upper().startswith(prefix) and name.upper() not in known
    ]


def _fault(settings: type[ServiceSettings], detail: ErrorDetails) -> str:
    where = str(detail["loc"][0]) if detail["loc"] else ""
    by_variable = {variable_of(settings, name): name for name in settings.model_fields}
    name = by_variable.get(where.upper(), where)
    field = settings.model_fields.get(name)
    variable = where if field is None else variable_of(settings, name)
    expected = detail["msg"][0].lower() + detail["msg"][1:]
    meaning = f" ({field.description})" if field is not None and field.description else ""
    if detail["type"] == "missing":
        return f"{variable} is not set{meaning}"
    if not variable:
        return expected
    value = "(secret)" if field is not None and _is_secret(field) else repr(os.environ.get(variable, ""))
    return f"{variable} was {value}: {expected}{meaning}"


def _is_secret(field: FieldInfo) -> bool:
    return any(kind.__name__ in str(field.annotation) for kind in (SecretStr, SecretBytes))
