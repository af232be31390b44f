"""The commands on sources: what is asked of the gateway, and what a person reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from foretopic.cli import main
from foretopic.cli_sources import duration_text, schedule_text
from gateway.openapi.ingests import INGEST_ACCEPTED
from gateway.openapi.sources import BODY, SOURCE
from tests.unit.foretopic.test_gateway_client import Gateway
from tests.unit.foretopic.test_gateway_client import gateway as gateway  # noqa: PLC0414  # a fixture

pytestmark = pytest.mark.loopback
SERIES = "market/AAPL@1d"
URL = "/api/v1/sources/market/AAPL%401d"


def run(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    monkeypatch.setenv("FORETOPIC_URL", gateway.url)
    return CliRunner().invoke(main, ["sources", *arguments])


@pytest.mark.parametrize("arguments", [(), ("list",)])
def test_sources_are_listed_with_their_state(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    gateway.answer(200, {"sources": [{**SOURCE, "late_seconds": 90_000}]})

    result = run(gateway, monkeypatch, *arguments)

    assert gateway.requests[0][1] == "/api/v1/sources"
    words = (SERIES, "active", "XNYS close + 30 min", "2025-01-03 21:31", "succeeded", "1 d", "could not be reached")
    assert all(word in result.output for word in words)


def test_a_source_that_was_never_fetched_is_listed(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = {"next_run": None, "last_ingest": None, "last_error": None, "newest_observation": None}
    gateway.answer(200, {"sources": [{**SOURCE, **nothing, "state": "refused", "reason": "calendar must be known"}]})

    result = run(gateway, monkeypatch)

    assert result.exit_code == 0
    assert "calendar must be known" in result.output


def test_a_series_is_scheduled_after_the_close(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.answer(200, SOURCE)
    options = ["--after-close", "30", "--jitter", "300", "--retrain", "market/AAPL-1d=20"]

    result = run(gateway, monkeypatch, "set", SERIES, "yahoo, sample", "AAPL", *options)

    method, path, _, body = gateway.requests[0]
    assert (method, path) == ("PUT", URL)
    defaults = {"adjust": False, "known_future": [], "cron": "", "timezone": "UTC", "is_paused": False}
    assert json.loads(body) == BODY | defaults
    assert result.output == f"{SERIES}: active, XNYS close + 30 min.\n"


def test_a_file_is_scheduled_by_the_clock(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FORETOPIC_INGESTOR_FILES_DIRECTORY", str(tmp_path))
    (tmp_path / "berlin.csv").write_text("Date,sales\n2024-01-01,1\n")
    gateway.answer(200, SOURCE)
    options = ["--cron", "15 6 * * 1-5", "--timezone", "Europe/Berlin", "--known-future", "promo", "--paused"]
    options += ["--retrain", "shop/berlin-1d=0 3 * * 0"]

    result = run(gateway, monkeypatch, "set", "shop/berlin@1d", "file", str(tmp_path / "berlin.csv"), *options)

    assert result.exit_code == 0, result.output
    body = json.loads(gateway.requests[0][3])
    assert (body["symbol"], body["calendar"], body["known_future"]) == ("berlin.csv", "24/7", ["promo"])
    assert (body["cron"], body["timezone"], body["is_paused"]) == ("15 6 * * 1-5", "Europe/Berlin", True)
    assert body["retrain"] == [{"model": "shop/berlin-1d", "cron": "0 3 * * 0"}]


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--cron", "0 0 * * *", "--after-close", "0"),
        ("--after-close", "-1"),
        ("--after-close", "0", "--jitter", "3601"),
        ("--after-close", "0", "--retrain", "market/AAPL-1d"),
    ],
)
def test_what_cannot_be_a_schedule_is_a_usage_error(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    result = run(gateway, monkeypatch, "set", SERIES, "yahoo", "AAPL", *options)

    assert result.exit_code == 2
    assert gateway.requests == []


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_a_source_is_paused_and_resumed(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    gateway.answer(200, SOURCE)

    result = run(gateway, monkeypatch, verb, SERIES)

    assert gateway.requests[0][:2] == ("POST", f"{URL}/{verb}")
    assert result.output.startswith(f"{SERIES}: active")


def test_a_source_is_run_now(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.answer(202, INGEST_ACCEPTED)

    result = run(gateway, monkeypatch, "run", SERIES)

    assert gateway.requests[0][:2] == ("POST", f"{URL}/run")
    assert result.output == "Asked: ingest ingest-1.\n"


def test_what_the_gateway_refuses_ends_with_1(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.answer(404, {"detail": "a known source was expected", "errors": []})

    result = run(gateway, monkeypatch, "pause", SERIES)

    assert (result.exit_code, result.output) == (1, "Error: a known source was expected\n")


def test_texts() -> None:
    assert [duration_text(seconds) for seconds in (0, 59, 60, 7300, 90_000)] == ["-", "59 s", "1 min", "2 h", "1 d"]
    assert schedule_text({"cron": "0 6 * * *", "timezone": "Europe/Berlin"}) == "0 6 * * * (Europe/Berlin)"
