"""The command on quotas: what is asked of the gateway, and what a person reads."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from foretopic.cli import main
from gateway.openapi.operations import OPERATIONS
from tests.unit.foretopic.test_gateway_client import Gateway
from tests.unit.foretopic.test_gateway_client import gateway as gateway  # noqa: PLC0414  # a fixture

pytestmark = pytest.mark.loopback


CASES = {
    "getQuotas": (
        ["shop-7k2m9q"],
        "/api/v1/projects/shop-7k2m9q/quotas",
        {"requests a minute": ["-", "any number"], "rows a day": ["9,600", "10,000,000"], "series": ["400", "100,000"]},
    ),
    "getOrganisationQuotas": (
        ["org_1", "--organisation"],
        "/api/v1/organisations/org_1/quotas",
        {"rows a day": ["211,000", "50,000,000"], "projects": ["31", "500"]},
    ),
}


@pytest.mark.parametrize("operation", CASES)
def test_quotas_stand_beside_what_is_used(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, operation: str) -> None:
    arguments, path, lines = CASES[operation]
    example = next(one for one in OPERATIONS if one.id == operation).answers[200].example
    monkeypatch.setenv("FORETOPIC_URL", gateway.url)
    for _ in range(2):
        gateway.answer(200, example)

    shown, told = (CliRunner().invoke(main, ["quotas", *arguments, *more]) for more in ([], ["--json"]))

    assert [request[:2] for request in gateway.requests] == [("GET", path)] * 2
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in shown.output.splitlines()]
    found = {row[0]: row[1:] for row in cells}
    assert {name: found.get(name) for name in lines} == lines
    assert json.loads(told.output) == example
