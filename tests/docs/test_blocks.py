"""Every code block of the pages: commands exist with these options, bodies decode, JSON parses, Python is in an example."""

from __future__ import annotations

import json
import re
import subprocess
import textwrap
from typing import Any

import click
import msgspec
import pytest
from werkzeug.routing import Map, Rule

from foretopic.cli import main
from gateway.openapi.answers import ProblemDocument
from gateway.openapi.compatible import SymbolPrediction
from gateway.openapi.forecasts import PendingForecast
from gateway.openapi.operations import OPERATIONS
from gateway.openapi.problem_kinds import PROBLEMS
from gateway.openapi.project_answers import SeriesPrediction
from schemas.codec import record_id
from schemas.forecasts import ForecastIssued, ForecastRequested
from tests.commands import commands_of
from tests.docs.pages import PAGES, ROOT, Block, blocks, shell_commands

SHELL = blocks("sh", "bash", "console")
COMMANDS = [(block.name, words) for block in SHELL for words in shell_commands(block.text) if words]
MAKE_TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
URLS = Map(
    [
        Rule(re.sub(r"{(\w+)}", r"<path:\1>", one.path), methods=[one.method.upper()], endpoint=one.id)
        for one in OPERATIONS
    ]
)
BODIES = {one.id: one.body for one in OPERATIONS}


def of_program(name: str) -> list[Any]:
    chosen = [(place, words) for place, words in COMMANDS if words[0] == name]
    return [pytest.param(words[1:], id=f"{place} {' '.join(words)[:60]}") for place, words in chosen]


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.name)
def test_shell_blocks_parse(block: Block) -> None:
    parsed = subprocess.run(["sh", "-n"], input=block.text, text=True, capture_output=True, check=False)
    assert parsed.returncode == 0, parsed.stderr


def resolve(words: list[str]) -> click.Context:
    """Let click take a command line without running it; return what it understood.

    Raises:
        click.UsageError: There is no such command, option or choice.
    """
    context = main.make_context("foretopic", list(words))
    command: click.Command = main
    while isinstance(command, click.Group):
        rest = [*context._protected_args, *context.args]
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command = found
        context = found.make_context(name, rest, parent=context)
    return context


@pytest.mark.parametrize("words", of_program("foretopic"))
def test_foretopic_takes_the_command(words: list[str]) -> None:
    resolve(words)


@pytest.mark.parametrize("words", [["forecasts"], ["subscribe", "--since", "now"], ["deploy", "m"], ["logs", "broker"]])
def test_foretopic_refuses_what_does_not_exist(words: list[str]) -> None:
    with pytest.raises(click.UsageError):
        resolve(words)


@pytest.mark.parametrize("words", of_program("make"))
def test_make_has_the_target(words: list[str]) -> None:
    assert set(words) <= MAKE_TARGETS


def test_forecasts_ask_for_no_more_steps_than_were_trained() -> None:
    """A page that trains a series and then forecasts it must not be refused as `horizon-too-long`."""
    trained: dict[tuple[str, str], int] = {}
    checked = 0
    for place, words in COMMANDS:
        if words[:2] == ["foretopic", "train"]:
            asked = resolve(words[1:]).params
            trained |= {(place, series_id): asked["horizon"] for series_id in asked["series_ids"]}
        if words[:2] == ["foretopic", "forecast"]:
            asked = resolve(words[1:]).params
            longest = trained.get((place, asked["series_id"]), 10)
            assert asked["horizon"] <= longest, (place, words)
            checked += 1
    assert checked


def test_examples_of_the_command_line_take_their_own_options() -> None:
    texts = [command.help or "" for command in leaf_commands(main)]
    examples = [
        line for text in texts for line in re.findall(r"Example: (?:\w+=\S+\s+)*foretopic ((?:.|\n(?!\n))+)", text)
    ]
    assert len(examples) > 10
    for example in examples:
        for words in shell_commands(" ".join(example.split())):
            resolve(words)


def leaf_commands(group: click.Group) -> list[click.Command]:
    found: list[click.Command] = []
    for _, command in commands_of(group):
        found += leaf_commands(command) if isinstance(command, click.Group) else [command]
    return found


@pytest.mark.parametrize("words", of_program("curl"))
def test_curl_asks_what_the_gateway_answers(words: list[str]) -> None:
    body = words[words.index("-d") + 1] if "-d" in words else None
    [url] = [word for word in words if word.startswith(("localhost:5000", "http://127.0.0.1:5000"))]
    path = url[url.index("/", url.index(":5000")) :].partition("?")[0]
    method = words[words.index("-X") + 1] if "-X" in words else "GET" if body is None and "-F" not in words else "POST"

    operation_id, _ = URLS.bind("localhost").match(path, method=method)

    if body is not None:
        assert any("application/json" in word for word in words)
        if not body.startswith("@"):  # a file
            kind = BODIES[operation_id]
            assert kind is not None
            msgspec.json.decode(body, type=kind)


def test_every_shell_command_is_one_that_is_checked_or_known() -> None:
    checked = {"foretopic", "make", "curl"}
    known = {"kcat", "docker", "tar", "cat", "git", "python", "pytest", "npm", "echo", "sha256sum", "cut"}
    programs = {words[0].removeprefix(".venv/bin/") for _, words in COMMANDS if "=" not in words[0]}
    assert programs <= checked | known
    assert checked <= programs


@pytest.mark.parametrize("block", blocks("json"), ids=lambda block: block.name)
def test_json_blocks_are_what_they_show(block: Block) -> None:
    shown = json.loads(block.text)
    kind: type[msgspec.Struct]
    if "symbol" in shown:
        kind = SymbolPrediction
    elif "previsao_de_vendas" in shown:
        kind = SeriesPrediction
    elif "forecast_id" in shown:
        kind = ForecastIssued
    elif "horizon" in shown:
        kind = ForecastRequested
    elif "detail" in shown:
        kind = ProblemDocument
        assert shown["type"].removeprefix("/problems/") in PROBLEMS
    else:
        kind = PendingForecast
    decoded = msgspec.json.decode(block.text, type=kind)
    assert set(shown) <= set(msgspec.to_builtins(decoded)), "a field that is not there"


EXAMPLES = "\n".join(file.read_text() for file in sorted((ROOT / "examples").glob("*.py")))


#: Those that are made are run, by tests/unit/client.
WRITTEN = [block for block in blocks("python", "py") if block.page != "docs/api.md" or block.number == 1]


@pytest.mark.parametrize("block", WRITTEN, ids=lambda block: block.name)
def test_python_blocks_stand_in_an_example(block: Block) -> None:
    compile(textwrap.dedent(block.text), block.name, "exec")
    assert block.text.strip("\n") in EXAMPLES


def test_blocks_say_their_language() -> None:
    assert blocks("python", "py", "sh", "json", "mermaid", "bash", "console")
    # Diagrams have none; a command without one would go unchecked.
    for block in blocks(""):
        assert not re.search(r"^(\$ )?(foretopic|curl|make|docker) ", block.text, flags=re.MULTILINE), block.name


def test_id_that_the_kcat_block_computes_is_that_of_the_request() -> None:
    [block] = [block for block in SHELL if "sha256sum" in block.text]
    lines = block.text.splitlines()
    computed = subprocess.run(["sh", "-c", "\n".join([*lines[:2], 'echo "$CE_ID"'])], capture_output=True, check=True)
    [body] = re.findall(r"echo '(.*)' \|", block.text)
    assert computed.stdout.decode().strip() == record_id(msgspec.json.decode(body, type=ForecastRequested))


def test_identity_of_a_pinned_request_is_as_the_page_says() -> None:
    text = (ROOT / "docs" / "forecasts.md").read_text()
    [shown] = [block for block in blocks("json") if "replay-1" in block.text]
    request = msgspec.json.decode(shown.text, type=ForecastRequested)
    assert f"`{json.dumps(['ForecastRequested', request.identity()], separators=(',', ':'))}`" in text


def named_commands() -> list[tuple[str, str]]:
    """Return where a command is named in running text, in a message of the code or in a page, and the command."""
    rooms = ("foretopic", "gateway", "ingestor", "predictor", "trainer", "runtime")
    files = [file for room in rooms for file in sorted((ROOT / room).rglob("*.py"))]
    found = []
    for file in [*files, *PAGES]:
        # A long string is written in several pieces.
        text = re.sub(r'"\n\s*f?"', "", file.read_text(encoding="utf-8"))
        found += [(str(file.relative_to(ROOT)), command) for command in re.findall(r"`foretopic ([a-z][^`]*)`", text)]
    return found


def test_commands_named_in_messages_and_pages_exist() -> None:
    named = named_commands()
    assert len(named) > 15
    for place, text in named:
        command: click.Command = main
        for word in text.split():
            if not isinstance(command, click.Group):
                break
            below = dict(commands_of(command))
            assert word in below, (place, text)
            command = below[word]
        does_something = not isinstance(command, click.Group) or command.invoke_without_command
        assert does_something, f"{place} names {text!r}, which does nothing by itself"


def test_paths_named_in_pages_are_those_of_the_gateway() -> None:
    named = [
        (page.name, method or "GET", path)
        for page in PAGES
        for method, path in re.findall(r"`(?:(GET|POST|DELETE) )?(/[a-z][^` ]*)`", page.read_text(encoding="utf-8"))
    ]
    # The start of a `ce_source` is no path; the pages of the admin are no part of the API.
    beside = ("/foretopic/", "/admin")
    unknown = [one for one in named if not one[2].startswith(beside) and not URLS.bind("").test(one[2], method=one[1])]
    assert unknown == []
    assert len(named) > 20
