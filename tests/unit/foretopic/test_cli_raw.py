"""``foretopic raw``: what is kept is listed and deleted where the ingestor of the stack keeps it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from foretopic.cli import main
from ingestor.raw_responses import RawResponse, RawResponses

NOW = datetime(2024, 3, 12, tzinfo=UTC)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RawResponses:
    monkeypatch.setenv("FORETOPIC_HOME", str(tmp_path))
    found = RawResponses(directory=tmp_path / "raw", max_bytes=10**6)
    for source in ("yahoo", "yahoo", "url"):
        found.keep(source, RawResponse(url="https://example.test/", status=200, headers={}, body=b"x"), NOW)
    return found


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["raw", *arguments])


def test_each_source_is_listed(kept: RawResponses) -> None:
    found = json.loads(run("list", "--json").output)

    assert [(line["source"], line["files"]) for line in found] == [("url", 1), ("yahoo", 2)]
    assert "yahoo" in run("list").output


def test_one_source_is_purged(kept: RawResponses) -> None:
    assert "Deleted 2 raw answers" in run("purge", "--source", "yahoo").output
    assert kept.sizes()["url"][0] == 1


def test_all_are_purged(kept: RawResponses) -> None:
    assert "Deleted 3 raw answers" in run("purge").output
    assert kept.purge() == (0, 0)


@pytest.mark.parametrize("source", ["nothing", "..", "../raw/url"])
def test_a_source_that_keeps_nothing_is_told(kept: RawResponses, source: str) -> None:
    result = run("purge", "--source", source)

    assert result.exit_code == 2
    assert "source must be one of url, yahoo" in result.output
    assert kept.sizes()["url"][0] == 1
