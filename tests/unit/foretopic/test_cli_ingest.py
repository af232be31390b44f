"""The command that loads a series: what a person reads while it goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from foretopic.cli import main
from gateway.openapi.ingests import INGEST_ACCEPTED
from tests.unit.foretopic.test_gateway_client import Gateway
from tests.unit.foretopic.test_gateway_client import gateway as gateway  # noqa: PLC0414  # a fixture

pytestmark = pytest.mark.loopback
ARGUMENTS = ["ingest", "cryptocompare", "BTC-USD", "--freq", "1h"]
SERIES = INGEST_ACCEPTED["series_id"]


def event(state: str, rows: int = 0, fraction: float = 0.0, first: str | None = None) -> dict[str, Any]:
    told = {"rows_received": rows, "rows_published": rows, "fraction": fraction, "first_time": first}
    return {**INGEST_ACCEPTED, "state": state, "source": "cryptocompare", "reason": "", **told}


def go_on(gateway: Gateway) -> None:
    gateway.answer(202, INGEST_ACCEPTED)
    gateway.answer(200, event("running", 4_000, 0.4, "2025-08-01T00:00:00Z"))
    gateway.answer(200, event("succeeded", 10_000, 1.0, "2024-01-02T00:00:00Z"))


def test_a_long_load_tells_how_far_it_is(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETOPIC_URL", gateway.url)
    go_on(gateway)

    result = CliRunner().invoke(main, ARGUMENTS)

    assert result.output.splitlines() == [
        f"Loading {SERIES}: 40% running 4000 rows since 2025-08-01",
        f"Loading {SERIES}: 100% succeeded 10000 rows since 2024-01-02",
        f"{SERIES}: 10000 rows from cryptocompare, 10000 new or changed.",
    ]


def test_as_json_only_the_end_is_told(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETOPIC_URL", gateway.url)
    go_on(gateway)

    result = CliRunner().invoke(main, [*ARGUMENTS, "--json"])

    assert json.loads(result.output)["state"] == "succeeded"
