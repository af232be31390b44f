"""The first run of a one-machine stack whose gateway has accounts."""

from __future__ import annotations

import sys
from io import StringIO
from types import SimpleNamespace
from typing import Any, Self

import pytest
from rich.console import Console

from foretopic import cli
from foretopic.errors import GatewayError
from foretopic.log_files import rotate
from foretopic.processes import start_child
from foretopic.reporter import Reporter
from foretopic.services import first_start_key_path, service_environment
from foretopic.stack_settings import StackSettings
from gateway.accounts.first_operator import announcement


class Run:
    """Stands for the first run: notes the key that it came with, and ends as it is told."""

    error: GatewayError | None = None
    keys: list[str]

    def __init__(self, client: Any, *_: Any, **__: Any) -> None:
        self.keys.append(client.key)

    def run(self) -> None:
        if self.error is not None:
            raise self.error


class Gateway:
    def __init__(self, _: str, *, api_key: str) -> None:
        self.key = api_key

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close."""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> type[Run]:
    class Own(Run):
        keys: list[str] = []

    monkeypatch.setattr(cli, "FirstRun", Own)
    monkeypatch.setattr(cli, "GatewayClient", Gateway)
    return Own


def first_run(settings: StackSettings) -> tuple[bool, str]:
    output = StringIO()
    stack: Any = SimpleNamespace(is_stopping=False)
    return cli._first_run(settings, stack, Reporter(Console(file=output, width=110))), output.getvalue()


def test_gateway_writes_the_key_where_the_first_run_reads_it(tmp_path, run):
    settings = StackSettings(home=tmp_path)
    environment = service_environment(settings, {"FORETOPIC_GATEWAY_ACCOUNTS": "required"})
    path = first_start_key_path(tmp_path)
    assert environment["FORETOPIC_GATEWAY_FIRST_START_KEY_FILE"] == str(path)
    path.write_text("ftp_secret\n")
    assert first_run(settings) == (True, "")
    assert run.keys == ["ftp_secret"]


def test_key_of_ones_own_goes_first_and_none_is_none(tmp_path, run):
    first_run(StackSettings(home=tmp_path))
    first_start_key_path(tmp_path).write_text("ftp_secret")
    first_run(StackSettings(home=tmp_path, api_key="ftp_own"))
    assert run.keys == ["", "ftp_own"]


def test_key_that_has_expired_ends_the_first_start_well_and_other_faults_do_not(tmp_path, run):
    settings = StackSettings(home=tmp_path)
    run.error = GatewayError("sign in", status=401)
    is_ready, text = first_run(settings)
    assert is_ready
    assert "The first start is over" in text
    run.error = GatewayError("no room", status=503)
    is_ready, text = first_run(settings)
    assert not is_ready
    assert "No forecast yet" in text


def test_log_with_the_one_time_password_is_named_while_it_has_it(tmp_path):
    settings, output = StackSettings(home=tmp_path), StringIO()
    log = tmp_path / "logs" / "gateway.log"
    log.parent.mkdir()
    cli._say_who_may_sign_in(settings, Reporter(Console(file=output, width=200)))
    log.write_text('{"event":"request"}\n')
    cli._say_who_may_sign_in(settings, Reporter(Console(file=output, width=200)))
    assert output.getvalue() == ""
    log.write_text(announcement("operator@foretopic.local", "once", "http://127.0.0.1:5000"))
    cli._say_who_may_sign_in(settings, Reporter(Console(file=output, width=200)))
    assert f"one-time password stands in {log}" in output.getvalue()
    assert "once\n" not in output.getvalue()


def test_log_with_the_one_time_password_is_for_its_owner_alone_and_so_is_what_is_kept_of_it(tmp_path):
    log = tmp_path / "logs" / "gateway.log"
    child = start_child([sys.executable, "-c", "print('password once')"], log_path=log)
    assert child.wait(60) == 0
    rotate(log, largest_bytes=1)
    kept = log.with_name("gateway.log.1")
    assert kept.read_text() == "password once\n"
    # Red with `path.open("ab")` in `start_child`, and with `shutil.copyfile` in `rotate`.
    assert [path.stat().st_mode & 0o777 for path in (log, kept)] == [0o600, 0o600]
