"""The receiver of the examples takes what is signed, once."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from gateway.webhooks.rows import new_secret
from gateway.webhooks.sending import signed
from tests.docs.pages import ROOT

pytestmark = pytest.mark.loopback
BODY = b'{"type":"forecast.issued","timestamp":"2025-01-02T21:30:04Z","data":{"series_id":"market/AAPL@1d"}}'


def test_receiver_checks_signatures_and_knows_repeats() -> None:
    secret = new_secret()
    command = [sys.executable, "-u", str(ROOT / "examples" / "webhook_receiver.py"), "0"]
    with subprocess.Popen(
        command, env=os.environ | {"WEBHOOK_SECRET": secret}, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().rstrip("/\n").rpartition(":")[2])

            def post(headers: dict[str, str]) -> int:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                try:
                    connection.request("POST", "/", BODY, headers)
                    return connection.getresponse().status
                finally:
                    connection.close()

            now = datetime.now(UTC)
            good = signed([secret], "msg_1", now, BODY)
            assert [post(good), post(good)] == [204, 204]
            assert post(good | {"webhook-id": "msg_2"}) == 401
            assert post(signed([new_secret()], "msg_3", now, BODY)) == 401
            assert post(signed([secret], "msg_4", now, BODY)) == 204
            assert [process.stdout.readline() for _ in range(2)] == ["forecast.issued market/AAPL@1d\n"] * 2
        finally:
            process.terminate()
