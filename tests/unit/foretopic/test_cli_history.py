"""``foretopic history`` and ``foretopic rebuild``: what is asked of the gateway, and what a person reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from foretopic.cli import main
from gateway.openapi.history import FORECAST
from tests.unit.foretopic.test_gateway_client import Gateway
from tests.unit.foretopic.test_gateway_client import gateway as gateway  # noqa: PLC0414  # a fixture

pytestmark = pytest.mark.loopback


def run(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    monkeypatch.setenv("FORETOPIC_URL", gateway.url)
    return CliRunner().invoke(main, ["history", *arguments])


def test_forecasts_are_listed_over_pages_that_end_early(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.answer(200, {"forecasts": [], "next": "/api/v1/forecasts?cursor=abc"})
    gateway.answer(200, {"forecasts": [FORECAST], "next": None})

    result = run(gateway, monkeypatch, "--series", "market/AAPL@1d", "--limit", "5", "--format", "json")

    assert result.exit_code == 0, result.output
    assert [request[1] for request in gateway.requests] == [
        "/api/v1/forecasts?series_id=market%2FAAPL%401d&limit=5",
        "/api/v1/forecasts?cursor=abc",
    ]
    assert [line["request_id"] for line in json.loads(result.output)] == ["request-1"]


def test_a_table_shows_the_columns_that_say_something(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.answer(200, {"forecasts": [FORECAST], "next": None})

    result = run(gateway, monkeypatch)

    assert result.exit_code == 0, result.output
    assert "issued" in result.output
    assert "reason" not in result.output


def test_a_file_is_written_whole_or_not_at_all(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = tmp_path / "all.ndjson"
    gateway.answer(422, {"detail": "status must be one of pending", "errors": []})
    gateway.answer(200, FORECAST)

    refused = run(gateway, monkeypatch, "--status", "x", "--format", "ndjson", "--out", str(out))
    assert (refused.exit_code, list(tmp_path.iterdir())) == (1, [])
    saved = run(gateway, monkeypatch, "--format", "ndjson", "--out", str(out))

    assert saved.exit_code == 0, saved.output
    assert gateway.requests[1][1] == "/api/v1/forecasts?format=ndjson"
    assert [each.name for each in tmp_path.iterdir()] == ["all.ndjson"]
    assert json.loads(out.read_text())["request_id"] == "request-1"


def test_a_file_needs_a_name(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(gateway, monkeypatch, "--format", "csv").exit_code == 2
    assert run(gateway, monkeypatch, "--out", "x.csv").exit_code == 2
    assert gateway.requests == []
