"""``foretopic quarantine``: what is asked of the gateway, and what a person reads."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from foretopic.cli import main
from gateway.openapi.quarantine import QUARANTINE_ID, QUARANTINE_LINE, QUARANTINED, RELEASED
from tests.unit.foretopic.test_gateway_client import Gateway
from tests.unit.foretopic.test_gateway_client import gateway as gateway  # noqa: PLC0414  # a fixture

pytestmark = pytest.mark.loopback


def run(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    monkeypatch.setenv("FORETOPIC_URL", gateway.url)
    return CliRunner().invoke(main, ["quarantine", *arguments])


def test_held_rows_are_listed(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.answer(200, {"quarantine": [QUARANTINE_LINE], "next": None})

    result = run(gateway, monkeypatch, "list", "--series", "market/AAPL@1d", "--limit", "5")

    assert gateway.requests[0][1] == "/api/v1/quarantine?series_id=market%2FAAPL%401d&state=held&limit=5"
    assert result.exit_code == 0
    assert all(word in result.output for word in (QUARANTINE_ID, "unit-error", "held", "2025-01-02T00:00:00Z"))


def test_held_rows_are_shown_with_the_reason(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.answer(200, QUARANTINED)

    result = run(gateway, monkeypatch, "show", QUARANTINE_ID)

    assert gateway.requests[0][1] == f"/api/v1/quarantine/{QUARANTINE_ID}"
    assert "unit-error: prices must stay in one unit" in result.output
    assert "24385" in result.output


@pytest.mark.parametrize("decision", ["release", "reject"])
def test_a_decision_goes_with_its_reason(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, decision: str) -> None:
    gateway.answer(202, RELEASED)
    monkeypatch.setenv("LOGNAME", "ana")

    result = run(gateway, monkeypatch, decision, QUARANTINE_ID, "--reason", "checked")

    method, path, _, body = gateway.requests[0]
    assert (method, path) == ("POST", f"/api/v1/quarantine/{QUARANTINE_ID}/{decision}")
    assert json.loads(body) == {"decided_by": "ana", "reason": "checked"}
    assert result.output == "market/AAPL@1d: 1 rows released.\n"


def test_what_the_gateway_refuses_ends_with_1(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.answer(409, {"detail": "it was rejected before", "errors": []})

    result = run(gateway, monkeypatch, "release", "held-1")

    assert (result.exit_code, "rejected before" in result.output) == (1, True)


def test_as_json(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway.answer(200, QUARANTINED)
    assert json.loads(run(gateway, monkeypatch, "show", "held-1", "--json").output) == QUARANTINED
