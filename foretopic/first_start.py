"""The first run against a gateway that runs elsewhere: ``python -m foretopic.first_start`` with ``FORETOPIC_URL``.

What ``foretopic up`` does after it has started the services; in containers it is a service of its own that ends with 0
once there is a forecast, also when there was one before.
"""

from __future__ import annotations

import sys
from http import HTTPStatus
from pathlib import Path

from pydantic import Field, SecretStr
from rich.console import Console

from foretopic.errors import ForetopicError, GatewayError
from foretopic.first_run import FirstRun
from foretopic.gateway_client import GatewayClient
from foretopic.reporter import Reporter
from runtime.clock import SystemClock
from runtime.errors import SettingsError
from runtime.settings import ServiceSettings, load_settings, settings_config

#: Said where the key of the first start has come to its end.
OVER = "The first start is over: its key is no longer good. Sign in to see the forecasts."


class FirstStartSettings(ServiceSettings):
    """Settings of the first start."""

    model_config = settings_config("first_start")

    url: str = Field(
        default="http://127.0.0.1:5000",
        pattern=r"^https?://\S+$",
        validation_alias="FORETOPIC_URL",
        description="Base URL of the gateway",
    )
    api_key: SecretStr = Field(
        default=SecretStr(""), validation_alias="FORETOPIC_API_KEY", description="API key for the gateway, `ftp_…`"
    )
    api_key_file: Path | None = Field(
        default=None,
        description="File with the API key of the gateway's first start; a gateway without accounts writes none",
    )


def key_in(file: Path | None) -> str:
    """Return the key in a file; empty where there is none: a gateway without accounts writes none."""
    try:
        return "" if file is None else file.read_text(encoding="ascii").strip()
    except OSError:
        return ""  # a gateway with accounts says that a key is needed


def main() -> int:
    """Run as a process; return its exit code."""
    try:
        settings = load_settings(FirstStartSettings)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    reporter = Reporter(Console(width=110))
    try:
        key = settings.api_key.get_secret_value() or key_in(settings.api_key_file)
        with GatewayClient(settings.url.rstrip("/"), api_key=key) as client:
            FirstRun(client, reporter, clock=SystemClock(), is_stopped=lambda: False).run()
    except GatewayError as error:
        if error.status == HTTPStatus.UNAUTHORIZED and settings.api_key_file is not None:
            reporter.line(OVER)
            return 0
        reporter.line(f"No forecast yet: {error}")
        return 1
    except ForetopicError as error:
        reporter.line(f"No forecast yet: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
