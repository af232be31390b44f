"""The examples run, each as a program of its own."""

from __future__ import annotations

import os
import py_compile
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from importlib import util
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner

from foretopic.cli import main
from schemas.codec import decode
from schemas.forecasts import ForecastRequested
from schemas.topics import DEPLOYMENTS, FORECAST_REQUESTS, MODELS, OBSERVATIONS
from tests import factories
from tests.docs.pages import ROOT, blocks, shell_commands
from tests.integration.predictor_processes import KafkaLog, Launcher, furnish
from tests.listening import listening
from tests.unit.gateway.world import Responder, running

EXAMPLES = ROOT / "examples"
PATIENCE_SECONDS = 240


def start(name: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    """Start an example with unbuffered output, warnings as errors, and these variables besides."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("FORETOPIC_")}
    return subprocess.Popen(
        [sys.executable, "-u", str(EXAMPLES / name), *arguments],
        cwd=ROOT,
        env=plain | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(name: str, *arguments: str, **environment: str) -> tuple[int, str]:
    """Return exit code and output of an example."""
    with start(name, *arguments, **environment) as process:
        try:
            output, errors = process.communicate(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert errors == ""
    return process.returncode, output


def load(name: str) -> ModuleType:
    spec = util.spec_from_file_location(name.removesuffix(".py"), EXAMPLES / name)
    assert spec is not None and spec.loader is not None  # noqa: PT018  # one fact in two types
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.name)
def test_example_says_how_it_is_run(file: Path, tmp_path: Path) -> None:
    py_compile.compile(str(file), cfile=str(tmp_path / "out.pyc"), doraise=True)
    assert f"python examples/{file.name}" in file.read_text().split('"""')[1]


def test_memory_loop_goes_from_nothing_to_the_same_forecast_each_time() -> None:
    code, output = run("memory_loop.py")

    assert code == 0
    assert "succeeded, 366 rows from mock" in output
    # Deterministic digests: another run, another day and another machine give the same ids.
    assert run("memory_loop.py") == (code, output)
    assert len(re.findall(r"^2025-01-0[1-5]  median \d+\.\d\d ", output, flags=re.MULTILINE)) == 5


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, Responder]]:
    """Yield the address of a gateway that knows one series, and who answers for the predictor."""
    with running(folder) as world, Responder(world.broker) as responder:
        world.publish(OBSERVATIONS, factories.observation_batch())
        world.publish(MODELS, factories.model_release())
        world.publish(DEPLOYMENTS, factories.deployment())
        world.settle()
        with listening(world.app) as url:
            yield url, responder


@pytest.mark.loopback
@pytest.mark.slow
def test_readme_commands_load_train_and_forecast_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line of README's "Any series", from the command line over HTTP through the real services and back."""
    [block] = [block for block in blocks("sh") if block.page == "README.md" and "ingest file" in block.text]
    rows = "".join(f"{date(2024, 1, 1) + timedelta(days=day)},{100 + day % 7 * 10 + day % 5}\n" for day in range(160))
    (tmp_path / "sales.csv").write_text("Date,Sales\n" + rows)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FORETOPIC_HOME", str(tmp_path))
    monkeypatch.setenv("FORETOPIC_INGESTOR_FILES_DIRECTORY", str(tmp_path / "files"))
    output = []

    with (
        running(tmp_path / "gateway") as world,
        load("memory_loop.py").services(world.broker),
        listening(world.app) as url,
    ):
        monkeypatch.setenv("FORETOPIC_URL", url)
        for words in shell_commands(block.text):
            result = CliRunner().invoke(main, words[1:])
            assert result.exit_code == 0, result.output
            output.append(result.output)

    assert "shop/berlin@1d: 160 rows from file, 160 new or changed." in output[0]
    assert "Released shop/berlin-1d:" in output[1]
    assert "2024-06-22" in output[2]  # 14 days after the last row


@pytest.mark.loopback
def test_forecast_over_http(tmp_path: Path) -> None:
    with served(tmp_path) as (url, responder):
        code, output = run("forecast_over_http.py", factories.SERIES, FORETOPIC_URL=url)

    assert code == 0
    assert len(output.splitlines()) == 6
    assert [request.horizon for request in responder.requests] == [5]


@pytest.mark.loopback
def test_forecast_over_http_that_is_late_is_fetched_at_its_location(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load("forecast_over_http.py")
    told: list[int] = []

    with served(tmp_path) as (url, responder):
        monkeypatch.setattr(module, "URL", url)
        asked = module.call

        def call(method: str, path: str, body: object = None, **headers: str):
            if method == "POST":
                responder.pause()
                headers["Prefer"] = "wait=0"
            status, answer, answer_headers = asked(method, path, body, **headers)
            told.append(status)
            responder.resume()
            return status, answer, answer_headers

        monkeypatch.setattr(module, "call", call)
        assert module.main(factories.SERIES) == 0

    assert told[0] == 202
    assert told[-1] == 200


@pytest.mark.loopback
def test_problem_over_http_is_shown(tmp_path: Path) -> None:
    with served(tmp_path) as (url, _):
        code, output = run("forecast_over_http.py", "shop/pears@1d", FORETOPIC_URL=url)

    assert code == 1
    assert output.startswith("404 /problems/unknown-series: ")


def test_message_that_the_example_writes_is_a_request_without_as_of() -> None:
    key, value, headers = load("write_a_request.py").request_message("market/AAPL@1d", 5, "mine-1")

    decoded = decode(FORECAST_REQUESTS, value, headers)  # checks ce_id against the content

    assert decoded.record == ForecastRequested(request_id="mine-1", series_id="market/AAPL@1d", horizon=5)
    assert key.decode() == FORECAST_REQUESTS.key(decoded.record)


@pytest.mark.kafka
def test_request_on_the_topic_is_answered_and_subscribers_see_it(kafka: str, topic_prefix: str, tmp_path: Path) -> None:
    environment = {"FORETOPIC_KAFKA_BOOTSTRAP_SERVERS": kafka, "FORETOPIC_TOPIC_PREFIX": topic_prefix}
    log, launcher = KafkaLog(kafka, topic_prefix), Launcher(tmp_path, kafka, topic_prefix)
    try:
        furnish(log)
        launcher.start("docs")
        code, output = run("write_a_request.py", factories.SERIES, **environment)
        assert code == 0
        assert len(output.splitlines()) == 5

        refused, told = run("write_a_request.py", "shop/pears@1d", **environment)
        assert refused == 1
        assert told.startswith("refused (unknown-")

        with start("subscribe_kafka_python.py", **environment) as subscriber:
            assert subscriber.stdout is not None
            seen = [subscriber.stdout.readline() for _ in range(5)]
            subscriber.kill()
    finally:
        launcher.close()
        log.close()
    assert [line.removeprefix(f"{factories.SERIES} ") for line in seen] == output.splitlines(keepends=True)
