"""``foretopic series`` and ``--known-at``: what is asked of the gateway, and what a person reads."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from foretopic.cli import main
from gateway.openapi.examples import forecast
from gateway.openapi.forecasts import INPUTS
from gateway.openapi.series import OBSERVATIONS, RESTATEMENTS, SERIES_LINE
from gateway.openapi.trainings import TRAINING_ACCEPTED
from tests.unit.foretopic.test_gateway_client import Gateway
from tests.unit.foretopic.test_gateway_client import gateway as gateway  # noqa: PLC0414  # a fixture

pytestmark = pytest.mark.loopback
SERIES = "market/AAPL@1d"
KNOWN_AT = "2025-01-02T21:00:00Z"


def run(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    monkeypatch.setenv("FORETOPIC_URL", gateway.url)
    return CliRunner().invoke(main, arguments)


def test_series_are_listed_without_a_word_more(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in (["series"], ["series", "--json"]):
        gateway.answer(200, {"series": [SERIES_LINE]})
        result = run(gateway, monkeypatch, *arguments)
        assert result.exit_code == 0, result.output
        assert SERIES in result.output
    assert [path for _, path, _, _ in gateway.requests] == ["/api/v1/series"] * 2


def test_a_series_is_shown_as_it_was_known(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    newest_first = {
        "time": OBSERVATIONS["observations"]["time"][::-1],
        "columns": {name: values[::-1] for name, values in OBSERVATIONS["observations"]["columns"].items()},
    }
    versions = {name: values[::-1] for name, values in INPUTS["versions"].items()}
    gateway.answer(200, {**OBSERVATIONS, "observations": newest_first, "versions": versions, "next": None})

    result = run(gateway, monkeypatch, "series", "show", SERIES, "--known-at", KNOWN_AT, "--rows", "2", "--versions")

    assert gateway.requests[0][1] == (
        "/api/v1/series/market/AAPL%401d/observations"
        "?known_at=2025-01-02T21%3A00%3A00Z&limit=2&order=newest&versions=true"
    )
    assert result.exit_code == 0, result.output
    lines = [line for line in result.output.splitlines() if "append" in line]
    assert [line.split()[1] for line in lines] == ["2024-12-31", "2025-01-02"]
    assert "250.42" in lines[0]
    assert "2025-01-02T21:05:01.500000Z" in lines[1]
    assert "-" in lines[1].split()
    assert f"as known at {KNOWN_AT}" in result.output


def test_a_series_is_shown_at_an_offset_as_json(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.answer(200, OBSERVATIONS)

    result = run(gateway, monkeypatch, "series", "show", SERIES, "--known-at-offset", "12", "--json")

    assert gateway.requests[0][1].endswith("?known_at_offset=12&limit=20&order=newest")
    assert json.loads(result.output) == OBSERVATIONS


def test_restatements_are_shown_with_from_to_and_reason(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.answer(200, RESTATEMENTS)

    result = run(gateway, monkeypatch, "series", "restatements", SERIES)

    assert gateway.requests[0][1] == "/api/v1/series/market/AAPL%401d/restatements?limit=50&order=newest"
    assert all(word in result.output for word in ("2024-12-31", "close", "250.42", "250.4", "12", "yahoo gives"))


def test_what_the_gateway_refuses_ends_with_1(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.answer(422, {"detail": "known_at must be at most now", "errors": []})

    result = run(gateway, monkeypatch, "series", "show", SERIES, "--known-at", "2999-01-01T00:00:00Z")

    assert (result.exit_code, "at most now" in result.output) == (1, True)


@pytest.mark.parametrize("arguments", [["show"], ["show", SERIES, "--rows", "0"], ["restatements"], ["hide"]])
def test_wrong_usage_ends_with_2(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    assert run(gateway, monkeypatch, "series", *arguments).exit_code == 2


def test_forecasts_and_trainings_are_asked_as_of_a_time(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.answer(200, forecast())
    gateway.answer(202, TRAINING_ACCEPTED)

    run(gateway, monkeypatch, "forecast", SERIES, "--known-at", KNOWN_AT, "--json")
    run(gateway, monkeypatch, "train", SERIES, "--known-at", KNOWN_AT, "--no-wait")

    assert [json.loads(body)["known_at"] for _, _, _, body in gateway.requests] == [KNOWN_AT, KNOWN_AT]
