"""``foretopic models``: what a slip is told."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from foretopic.cli import main
from tests.unit.foretopic.test_gateway_client import Gateway
from tests.unit.foretopic.test_gateway_client import gateway as gateway  # noqa: PLC0414  # a fixture

pytestmark = pytest.mark.loopback


def test_a_model_that_is_not_there_is_told_with_those_that_are(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORETOPIC_URL", gateway.url)
    gateway.answer(200, {"models": [{"model": "market/AAPL-1d", "champion": None, "versions": []}]})

    result = CliRunner().invoke(main, ["models", "--model", "market/APPL-1d"])

    assert result.exit_code == 1
    assert "found 'market/APPL-1d'; there are market/AAPL-1d" in result.output
