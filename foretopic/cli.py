"""The ``foretopic`` command."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from http import HTTPStatus
from pathlib import Path

import click

from foretopic.cli_audit import audit
from foretopic.cli_dead_letters import dead_letters
from foretopic.cli_history import history
from foretopic.cli_log import subscribe, topics
from foretopic.cli_models import models
from foretopic.cli_quarantine import quarantine
from foretopic.cli_quotas import quotas
from foretopic.cli_raw import raw
from foretopic.cli_requests import deploy, forecast, ingest, train
from foretopic.cli_series import series
from foretopic.cli_shared import CLOCK, Commands, console, json_option, print_json, settings
from foretopic.cli_sources import sources
from foretopic.cli_uploads import upload
from foretopic.errors import ForetopicError, GatewayError, NotRunning
from foretopic.first_run import FirstRun, Stopped
from foretopic.first_start import OVER, key_in
from foretopic.gateway_client import GatewayClient
from foretopic.log_files import follow
from foretopic.processes import describe_exit, tail
from foretopic.reporter import Reporter
from foretopic.services import GATEWAY, NAMES, first_start_key_path, log_path
from foretopic.stack import Stack
from foretopic.stack import down as take_down
from foretopic.stack_settings import StackSettings
from foretopic.stack_state import read_state
from foretopic.status import status as stack_status
from foretopic.tables import new_table
from runtime.version import CODE_VERSION

_UP_LOG = "up"
#: What a gateway says where it shows the one-time password.
_FIRST_OPERATOR = "The first operator was made"


#: They load the gateway's database layer, which takes as long as all the rest together.
_LATER = {"admin": "foretopic.cli_admin:admin", "rebuild": "foretopic.cli_rebuild:rebuild_command"}


@click.group(cls=Commands, later=_LATER, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Forecasts on Apache Kafka: run the whole stack on this machine, and talk to it."""


@main.command()
@click.option("-d", "--detach", is_flag=True, help="Leave it running in the background; return once it is ready.")
@click.option("--without-first-run", is_flag=True, help="Start the services only: load, train and forecast nothing.")
def up(detach: bool, without_first_run: bool) -> None:
    """Start Kafka and all services, train on first use, and show a forecast.

    Stays in the foreground until Ctrl-C unless --detach is given.

    Example: FORETOPIC_HOME=/tmp/second FORETOPIC_GATEWAY_PORT=5100 FORETOPIC_MLFLOW_PORT=5101
    FORETOPIC_KAFKA_PORT=9192 foretopic up --detach
    """
    found = settings()
    if detach:
        _detach(found, without_first_run=without_first_run)
        return
    reporter = Reporter(console())
    stack = Stack(found, clock=CLOCK, notice=reporter.line)

    def when_up() -> None:
        if not without_first_run:
            stack.note_first_run(is_ready=_first_run(found, stack, reporter))
        if not stack.is_stopping:
            _say_who_may_sign_in(found, reporter)
            _say_what_next(found, reporter)

    stack.run(when_up)


def _first_run(found: StackSettings, stack: Stack, reporter: Reporter) -> bool:
    """Go from nothing to a forecast; return whether that was reached, or is no longer ours to do."""
    key = found.api_key.get_secret_value() or key_in(first_start_key_path(found.home))
    try:
        with GatewayClient(found.gateway_url, api_key=key) as client:
            FirstRun(client, reporter, clock=CLOCK, is_stopped=lambda: stack.is_stopping).run()
    except Stopped:
        return False
    except ForetopicError as error:
        if isinstance(error, GatewayError) and error.status == HTTPStatus.UNAUTHORIZED:
            reporter.line(OVER)
            return True
        if not stack.is_stopping:
            reporter.line(f"No forecast yet: {error}")
        return False
    return True


def _say_what_next(found: StackSettings, reporter: Reporter) -> None:
    """Say where everything is, what to try, and how it ends: in the foreground and beside it alike."""
    url = found.gateway_url
    reporter.line(f"Foretopic: {url}   API: {url}/docs   MLflow: {found.mlflow_url}")
    reporter.line("Next: `foretopic status`, `foretopic forecast SERIES_ID`, `foretopic ingest --help` to load yours.")
    reporter.line("`foretopic down` stops everything, and so does Ctrl-C in the foreground.")


def _say_who_may_sign_in(found: StackSettings, reporter: Reporter) -> None:
    """Say where the one-time password of the first operator stands, for as long as it stands there."""
    log = log_path(found.home.absolute(), GATEWAY)
    with suppress(OSError):
        if _FIRST_OPERATOR in log.read_text(encoding="utf-8", errors="replace"):
            reporter.line(f"Callers sign in. The first operator's one-time password stands in {log}")
            reporter.line(f"Choose another at {found.gateway_url}/login. Commands take a key in FORETOPIC_API_KEY.")


def _detach(found: StackSettings, *, without_first_run: bool) -> None:
    """Start ``foretopic up`` in a session of its own and show its output until it is ready."""
    path = log_path(found.home.absolute(), _UP_LOG)
    path.parent.mkdir(parents=True, exist_ok=True)
    start = path.stat().st_size if path.exists() else 0
    command = [sys.executable, "-m", "foretopic.cli", "up"]
    command += ["--without-first-run"] if without_first_run else []
    with path.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603  # ourselves
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )
    goals = ("running",) if without_first_run else ("ready", "unready")

    def has_settled() -> bool:
        state = read_state(found.home)
        is_ours = state is not None and state.supervisor.pid == process.pid
        return process.poll() is not None or (is_ours and state is not None and state.phase in goals)

    for line in follow(path, lines=0, clock=CLOCK, is_stopped=has_settled, start=start):
        click.echo(line)
    if process.poll() is not None:
        # What it said is shown already.
        raise ForetopicError(f"`foretopic up` ended with {describe_exit(process.returncode)}; its log is {path}")
    state = read_state(found.home)
    if state is not None and state.phase == "unready":
        raise ForetopicError(f"the stack runs, but there is no forecast; see {path}")


@main.command()
def down() -> None:
    """Stop the stack of this home, also one that is half dead.

    Example: foretopic down
    """
    home = settings().home.absolute()
    if not take_down(home, clock=CLOCK, notice=click.echo):
        raise NotRunning(home)
    click.echo("Stopped.")


@main.command()
@json_option
def status(as_json: bool) -> None:
    """Show each service: process, state, uptime, restarts, memory, port. Exit code 1 unless all of them run.

    Example: foretopic status --json
    """
    found = stack_status(settings().home.absolute())
    if as_json:
        print_json(asdict(found))
    else:
        names = ["service", "pid", "state", "uptime", "restarts", "resident", "port", "last end"]
        table = new_table(f"{found.gateway_url} ({found.phase})", names)
        for line in found.services:
            table.add_row(
                line.service,
                str(line.pid or "-"),
                line.state,
                _duration(line.uptime_seconds),
                str(line.restarts),
                "-" if line.resident_mebibytes is None else f"{line.resident_mebibytes:.0f} MiB",
                str(line.port or "-"),
                line.last_end or "-",
            )
        Reporter(console()).show(table)
    sys.exit(0 if found.is_whole else 1)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


@main.command()
@click.argument("service", type=click.Choice([*NAMES, _UP_LOG]), required=False)
@click.option("-f", "--follow", "is_following", is_flag=True, help="Go on with new lines until Ctrl-C.")
@click.option("-n", "--lines", default=50, show_default=True, type=click.IntRange(0), help="Lines from the end.")
def logs(service: str | None, is_following: bool, lines: int) -> None:
    """Show the log of a service, or the end of every log.

    Example: foretopic logs predictor -f
    """
    home = settings().home.absolute()
    if service is None:
        if is_following:
            raise click.UsageError("name the service to follow, e.g. `foretopic logs predictor -f`")
        if not any(log_path(home, name).exists() for name in NAMES):
            raise ForetopicError(f"nothing has run on {home}; start a stack with `foretopic up`, or set FORETOPIC_HOME")
        for name in NAMES:
            text = tail(log_path(home, name), lines=lines)
            if text:
                click.echo(f"==> {name} <==\n{text}\n")
        return
    path = log_path(home, service)
    if not path.exists():
        raise ForetopicError(f"{path} does not exist: {service} has not run on this home")
    if not is_following:
        click.echo(tail(path, lines=lines))
        return
    try:
        for line in follow(path, lines=lines, clock=CLOCK, is_stopped=lambda: False):
            click.echo(line)
    except KeyboardInterrupt:
        return


@main.command()
def version() -> None:
    """Print the version.

    Example: foretopic version
    """
    click.echo(f"foretopic {CODE_VERSION} (Python {sys.version.split()[0]}, {Path(sys.executable)})")


for command in (
    topics,
    subscribe,
    ingest,
    train,
    forecast,
    deploy,
    models,
    series,
    sources,
    quarantine,
    upload,
    quotas,
    raw,
    audit,
    dead_letters,
    history,
):
    main.add_command(command)


if __name__ == "__main__":
    main()
