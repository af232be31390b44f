"""What the commands have in common: settings, errors, output."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click
import msgspec
from rich.console import Console

from foretopic.errors import ForetopicError
from foretopic.gateway_client import GatewayClient
from foretopic.stack_settings import StackSettings
from runtime.clock import SystemClock
from runtime.errors import RuntimeFault, SettingsError
from runtime.kafka_broker import KafkaBroker
from runtime.settings import load_settings

_FAILURE = 1
_USAGE = 2
CLOCK = SystemClock()

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


class Commands(click.Group):
    """Turns the errors that we raise on purpose into one message and an exit code: 2 usage, 1 failure.

    Args:
        later: Commands by name, as ``module:attribute``, that are imported when somebody asks for them.
    """

    def __init__(self, *args: Any, later: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._later = dict(later or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *self._later})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self._later:
            module, _, attribute = self._later.pop(cmd_name).partition(":")
            self.add_command(getattr(import_module(module), attribute), cmd_name)
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SettingsError as error:
            click.echo(str(error), err=True)
            sys.exit(_USAGE)
        except (ForetopicError, RuntimeFault) as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(_FAILURE)


def settings() -> StackSettings:
    """Return the settings that the environment gives."""
    return load_settings(StackSettings)


def gateway_client(found: StackSettings) -> GatewayClient:
    """Return what calls the gateway that the environment names, with its API key where there is one."""
    return GatewayClient(found.gateway_url, api_key=found.api_key.get_secret_value())


def console() -> Console:
    """Return where tables go. Without a terminal they may be as wide as they need."""
    found = Console()
    return found if found.is_terminal else Console(width=200)


def print_json(value: object) -> None:
    """Print a value as indented JSON."""
    click.echo(msgspec.json.format(msgspec.json.encode(value)).decode())


@contextmanager
def open_broker(found: StackSettings) -> Iterator[KafkaBroker]:
    """Yield the broker that the environment names."""
    broker = KafkaBroker(found.bootstrap_servers, client_id="foretopic-cli")
    try:
        yield broker
    finally:
        broker.close()
