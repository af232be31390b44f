"""``foretopic upload``: what is sent, shown, asked and told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from foretopic.cli import main
from gateway.openapi.uploads import _LOADED, _UPLOAD
from tests.unit.foretopic.test_gateway_client import Gateway
from tests.unit.foretopic.test_gateway_client import gateway as gateway  # noqa: PLC0414  # a fixture

pytestmark = pytest.mark.loopback
CONTENT = b"date,sales\n2024-01-01,1\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "stores.csv"
    path.write_bytes(CONTENT)
    return path


def run(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, *arguments: str, said: str = "") -> Result:
    monkeypatch.setenv("FORETOPIC_URL", gateway.url)
    return CliRunner().invoke(main, ["upload", *arguments], input=said)


def test_file_is_shown_and_loaded_with_the_options(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    gateway.answer(201, _UPLOAD)
    gateway.answer(202, _LOADED)

    result = run(gateway, monkeypatch, str(file), "--project", "shops", "--series", "", "--yes", "--no-wait")

    assert result.exit_code == 0, result.output
    (_, sent_to, _, content), (_, loaded_at, _, body) = gateway.requests
    assert (sent_to, content) == ("/api/v1/uploads?filename=stores.csv", CONTENT)
    assert loaded_at == f"/api/v1/uploads/{_UPLOAD['upload_id']}/load"
    assert json.loads(body) == {"project": "shops", "series": None}
    assert "target  Sales (others: Promo)" in result.output
    assert "1 queued." in result.output
    assert "foretopic train shops/1@1d --target COLUMN" in result.output


def test_each_column_is_shown_with_what_it_is_taken_for(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    gateway.answer(201, _UPLOAD)

    result = run(gateway, monkeypatch, str(file), "--target", "Promo", "--freq", "1w", said="n\n")

    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in result.output.splitlines() if "│" in line]
    assert rows == [
        ["Store", "number", "0", "series", "1"],
        ["Date", "time", "0", "time", "2013-01-02"],
        # The target of the guess: goes red where the options are not laid over it.
        ["Sales", "number", "14", "loaded", "5530"],
        ["Promo", "number", "0", "target", "0"],
    ]
    assert "target  Promo (others: Sales)" in result.output
    assert "freq    1w, calendar 24/7" in result.output


def test_no_is_no(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    gateway.answer(201, _UPLOAD)
    result = run(gateway, monkeypatch, str(file), said="n\n")
    assert len(gateway.requests) == 1
    assert "Not loaded." in result.output


def test_series_that_failed_are_told(gateway: Gateway, monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    ingest = {**_LOADED["series"][0]["ingest"], "state": "failed", "reason": "the calendar is not known"}
    gateway.answer(201, _UPLOAD)
    gateway.answer(202, {**_LOADED, "series": [{"rows": 1, "ingest": ingest}]})

    result = run(gateway, monkeypatch, str(file), "--yes")

    assert result.exit_code == 1
    assert "shops/1@1d: the calendar is not known" in result.output
