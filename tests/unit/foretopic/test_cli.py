"""The command line: help with an example everywhere, and exit codes 2 for usage, 1 for failure."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from forecasting.models.registry import ALGORITHMS, AUTO, ENSEMBLE
from foretopic.cli import main
from runtime.version import CODE_VERSION
from tests.commands import commands_of


def leaf_commands(group: click.Group = main, path: tuple[str, ...] = ()):
    for name, command in commands_of(group):
        if isinstance(command, click.Group):
            yield from leaf_commands(command, (*path, name))
        else:
            yield pytest.param(command, id=" ".join((*path, name)))


@pytest.fixture
def runner(tmp_path, monkeypatch) -> CliRunner:
    monkeypatch.setenv("FORETOPIC_HOME", str(tmp_path / "home"))
    return CliRunner()


def test_all_commands_are_there():
    assert {name for name, _ in commands_of(main)} == {
        "up",
        "down",
        "status",
        "logs",
        "topics",
        "subscribe",
        "ingest",
        "train",
        "forecast",
        "deploy",
        "models",
        "series",
        "sources",
        "raw",
        "quarantine",
        "upload",
        "quotas",
        "audit",
        "admin",
        "dead-letters",
        "history",
        "rebuild",
        "version",
    }


def test_what_takes_long_to_load_waits_until_it_is_asked_for():
    """Red when `cli` imports `cli_admin` or `cli_rebuild`."""
    told = subprocess.run(
        [sys.executable, "-c", "import sys, foretopic.cli; print({'sqlalchemy', 'alembic'} & set(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == "set()\n"


@pytest.mark.parametrize("command", list(leaf_commands()))
def test_every_command_has_help_with_an_example(command):
    assert command.help
    assert "Example: foretopic" in command.help or "foretopic up --detach" in command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help


def test_version_is_printed(runner):
    result = runner.invoke(main, ["version"])
    assert (result.exit_code, CODE_VERSION in result.output) == (0, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["forecast"],
        ["forecast", "market/AAPL@1d", "--horizon", "0"],
        ["deploy", "market/AAPL-1d", "0123456789abcdef", "--role", "king"],
        ["logs", "no-such-service"],
        ["logs", "-f"],
        ["ingest", "file", "sales.csv"],
        ["train", "market/AAPL@1d", "--set", "no-value"],
    ],
)
def test_wrong_usage_ends_with_2(runner, arguments):
    assert runner.invoke(main, arguments).exit_code == 2


def test_wrong_settings_are_told_together_and_end_with_2(runner, monkeypatch):
    monkeypatch.setenv("FORETOPIC_KAFKA_PORT", "none")
    monkeypatch.setenv("FORETOPIC_GATEWAY_PORT", "70000")
    result = runner.invoke(main, ["status"])
    assert result.exit_code == 2
    assert "FORETOPIC_KAFKA_PORT was 'none'" in result.output
    assert "FORETOPIC_GATEWAY_PORT was '70000'" in result.output


@pytest.mark.parametrize("command", ["status", "down"])
def test_no_stack_is_told_and_ends_with_1(runner, command):
    result = runner.invoke(main, [command])
    assert result.exit_code == 1
    assert "no stack runs on" in result.output
    assert "foretopic up" in result.output


def test_log_of_a_service_that_never_ran_is_told(runner):
    result = runner.invoke(main, ["logs", "predictor"])
    assert result.exit_code == 1
    assert "predictor has not run on this home" in result.output


def test_help_of_train_names_every_algorithm():
    told = next(option.help for option in main.commands["train"].params if option.name == "algorithm")
    assert {word.strip(",.") for word in told.split()} >= {*ALGORITHMS, AUTO, ENSEMBLE}


def test_a_home_without_logs_is_told(runner):
    result = runner.invoke(main, ["logs"])
    assert result.exit_code == 1
    assert "nothing has run on" in result.output


def test_log_of_a_service_is_shown(runner, tmp_path):
    path = tmp_path / "home" / "logs" / "trainer.log"
    path.parent.mkdir(parents=True)
    path.write_text("one\ntwo\n")
    assert runner.invoke(main, ["logs", "trainer", "-n", "1"]).output == "two\n"
    assert runner.invoke(main, ["logs", "trainer", "-n", "0"]).output == "\n"
    assert "==> trainer <==" in runner.invoke(main, ["logs"]).output
