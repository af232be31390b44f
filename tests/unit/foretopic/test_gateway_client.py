"""The gateway's answers, and what a person is told of its errors."""

from __future__ import annotations

import http.server
import json
import threading

import pytest

from foretopic import ports
from foretopic.cli_shared import gateway_client, settings
from foretopic.client.steps import Call
from foretopic.errors import GatewayError
from foretopic.gateway_client import GatewayClient

pytestmark = pytest.mark.loopback


class Gateway:
    """Answers each request with what the test put there, and keeps what came."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        gateway = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                gateway.requests.append((self.command, self.path, dict(self.headers), body))
                status, content = gateway.answers.pop(0)
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815  # the base class looks for these names

            def log_message(self, *args):
                return

        self.server = http.server.HTTPServer((ports.LOOPBACK, 0), Handler)
        self.url = f"http://{ports.LOOPBACK}:{self.server.server_port}"

    def answer(self, status: int, document: object) -> None:
        self.answers.append((status, json.dumps(document).encode()))


@pytest.fixture
def gateway():
    running = Gateway()
    thread = threading.Thread(target=running.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.server.shutdown()
    running.server.server_close()
    thread.join()


@pytest.fixture
def client(gateway):
    with GatewayClient(gateway.url) as client:
        yield client


def test_forecast_is_asked_for_with_its_key_and_patience(gateway, client):
    gateway.answer(200, {"steps": [], "forecast_id": "f"})
    body = {"series_id": "market/AAPL@1d", "horizon": 10}
    assert client.forecast(body, wait_seconds=7, key="monday")["forecast_id"] == "f"
    method, path, headers, sent = gateway.requests[0]
    assert (method, path, json.loads(sent)) == ("POST", "/api/v1/forecasts", body)
    assert (headers["Idempotency-Key"], headers["Prefer"]) == ("monday", "wait=7")


def test_forecast_that_takes_longer_is_told_with_where_it_will_be(gateway, client):
    gateway.answer(202, {"request_id": "r-1", "state": "pending"})
    with pytest.raises(GatewayError, match=r"no forecast within 60 s.*/api/v1/forecasts/r-1"):
        client.forecast({})


def test_problem_is_told_with_its_fields(gateway, client):
    fault = {"field": "horizon", "expected": "`int` >= 1", "found": "0"}
    gateway.answer(422, {"title": "Invalid body", "detail": "the body does not fit", "errors": [fault]})
    with pytest.raises(GatewayError) as caught:
        client.forecast({"horizon": 0})
    assert str(caught.value) == "the body does not fit\n  horizon: `int` >= 1 expected, found 0"
    assert caught.value.status == 422


def test_a_field_that_the_sentence_has_is_not_told_twice(gateway, client):
    faults = [
        {"field": "series", "expected": "a known series", "found": "market/NONE@1d"},
        {"field": "levels", "expected": "at most 20", "found": "21"},
    ]
    gateway.answer(422, {"detail": "a known series was expected, found 'market/NONE@1d'", "errors": faults})
    with pytest.raises(GatewayError) as caught:
        client.forecast({})
    assert str(caught.value).splitlines() == [
        "a known series was expected, found 'market/NONE@1d'",
        "  levels: at most 20 expected, found 21",
    ]


def test_who_must_sign_in_is_told_how_a_command_does(gateway, client):
    gateway.answer(401, {"detail": "sign in"})
    with pytest.raises(GatewayError, match="sign in; set FORETOPIC_API_KEY"):
        client.series()


def test_error_that_is_no_document_is_told(gateway, client):
    gateway.answers.append((502, b"<html>bad gateway</html>"))
    with pytest.raises(GatewayError, match="answered 502: <html>bad gateway"):
        client.series()


def test_training_that_the_gateway_has_not_read_of_yet_is_queued(gateway, client):
    gateway.answer(404, {"detail": "unknown training"})
    assert client.training("t-1") == {"state": "queued"}


def test_names_with_slashes_go_as_they_are(gateway, client):
    gateway.answer(200, {"version": "v"})
    client.deploy("market/AAPL-1d", {"version": "v"})
    assert gateway.requests[0][1] == "/api/v1/models/market/AAPL-1d/deploy"


def test_readiness_is_a_claim(gateway, client):
    gateway.answer(503, {"detail": "waiting for a champion"})
    gateway.answer(200, {"status": "ok"})
    assert [client.is_ready(), client.is_ready()] == [False, True]


def test_silence_is_told_with_what_to_do(nobody):
    with (
        GatewayClient(f"http://{ports.LOOPBACK}:{nobody}") as client,
        pytest.raises(GatewayError, match=r"does not answer \(ConnectError\); start a stack with `foretopic up`"),
    ):
        client.series()


def sent_by(client):
    return client._client.session.request(Call(method="GET", path="/")).headers


def test_an_api_key_goes_with_every_request_and_is_not_shown():
    with GatewayClient("http://127.0.0.1:9", api_key="ftp_secret") as client:
        assert sent_by(client)["Authorization"] == "Bearer ftp_secret"
    with GatewayClient("http://127.0.0.1:9") as client:
        assert "Authorization" not in sent_by(client)


def test_the_key_of_the_environment_is_taken(monkeypatch):
    monkeypatch.setenv("FORETOPIC_API_KEY", "ftp_secret")
    found = settings()
    assert "ftp_secret" not in repr(found)
    with gateway_client(found) as client:
        assert sent_by(client)["Authorization"] == "Bearer ftp_secret"
