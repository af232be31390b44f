"""The tour of `examples/tour.sh`, on the whole one-machine stack with accounts."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import httpx
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from foretopic import ports
from tests.docs.pages import ROOT
from tests.integration.installation import Installation

pytestmark = [pytest.mark.kafka, pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800)]
OPERATOR = "operator@foretopic.local"
PASSWORD = "the operator of the tour"
STORES = 10
#: Of a week, as a test should be quick.
TRAINING = '{"algorithm": "linear", "horizon": 7, "window_size": 30}'
SECONDS = 900


@pytest.fixture
def file(shared_data: Path, tmp_path: Path) -> Path:
    """A file of the first stores of Rossmann: text, columns that never change and columns known in the future."""
    whole = pq.read_table(shared_data / "sales" / "rossmann_400_stores.parquet")
    stores = sorted(set(whole["Store"].to_pylist()))[:STORES]
    path = tmp_path / "rossmann.parquet"
    pq.write_table(whole.filter(pc.is_in(whole["Store"], pc.cast(stores, whole["Store"].type))), path)
    return path


def choose_password(address: str, output: str) -> None:
    """Sign in with the one-time password that the start has shown, and choose another."""
    shown = re.search(rf"email +{OPERATOR}\s+password +(\S+)", output)
    assert shown is not None, output
    with httpx.Client(base_url=f"{address}/api/v1/auth", trust_env=False) as client:
        signed = client.post("/login", json={"email": OPERATOR, "password": shown[1]}).raise_for_status().json()
        assert signed["must_change_password"]
        client.post(
            "/password",
            json={"password": shown[1], "new_password": PASSWORD},
            headers={"Authorization": f"Bearer {signed['access_token']}"},
        ).raise_for_status()


def test_two_tenants_take_the_tour_and_stay_apart(tmp_path, file):
    stack = Installation(
        tmp_path / "home",
        FORETOPIC_GATEWAY_ACCOUNTS="required",
        FORETOPIC_GATEWAY_WEBHOOK_ALLOWED_NETWORKS='["127.0.0.0/8"]',
    )
    address = f"http://{ports.LOOPBACK}:{stack.ports['GATEWAY']}"
    try:
        log = stack.home / "logs" / "gateway.log"
        assert f"one-time password stands in {log}" in stack.succeed("up", "--detach", "--without-first-run")
        choose_password(address, log.read_text())
        done = subprocess.run(
            [ROOT / "examples" / "tour.sh", file],
            env=os.environ
            | {"FORETOPIC_URL": address, "FORETOPIC_OPERATOR_PASSWORD": PASSWORD, "TOUR_TRAINING": TRAINING},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{stack.logs()}"
    finally:
        stack.run("down")

    assert done.stderr == ""
    assert "FAILED" not in done.stdout
    for line in (
        f"{STORES} series, ",
        "ok      the training succeeds",
        "ok      the stream told of the forecast",
        "ok      the webhook was sent it, with a true signature",
        "ok      usage counts one forecast",
        "ok      GET /api/v1/projects/PROJECT\n",
        "ok      nothing of Ana's in /api/v1/forecasts",
        "ok      vera may not train",
    ):
        assert line in done.stdout
    assert re.search(r"previsao_de_vendas \d+, values \[", done.stdout)
    passed = re.search(r"(\d+) checks passed, 0 failed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 60
