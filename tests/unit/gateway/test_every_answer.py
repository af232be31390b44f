"""What every answer has, whoever asks for what; what may be kept; which pages may read; what stands in the log."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from flask import Response, g
from pydantic import ValidationError

from gateway.access import LOCAL
from gateway.cross_origin import EXPOSED
from gateway.deprecation import Deprecation
from gateway.openapi import document
from gateway.settings import GatewaySettings
from gateway.streams import stream
from tests import factories
from tests.unit.gateway.tenants import Tenants, tenants
from tests.unit.gateway.world import Responder, World

ORIGIN = "https://shop.example"
PREFLIGHT = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
OPERATIONS = [(method, path) for path, found in document()["paths"].items() for method in found]
_NAMES = {"series_id": factories.SERIES, "model": "market/AAPL-1d", "schema_name": "ForecastIssued"}


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    """Everybody, on a gateway that is reached by TLS and by a page of another site."""
    folder = tmp_path_factory.mktemp("answers")
    with tenants(folder, public_url="https://forecasts.example.org", cross_origins=(ORIGIN,)) as found:
        yield found


def filled(path: str) -> str:
    """Return a path with something for each variable."""
    return re.sub(r"{(\w+)}", lambda name: _NAMES.get(name[1], "none"), path)


@pytest.mark.parametrize("who", ["nobody", "viewer", "operator"])
def test_every_answer_has_its_headers(people: Tenants, who: str) -> None:
    headers = {"nobody": {}, "viewer": people.apples.viewer.headers, "operator": people.operator.headers}[who]
    seen = set()
    for method, path in OPERATIONS:
        answer = people.world.client.open(
            filled(path), method=method.upper(), headers={**headers, "X-Request-ID": "mine-1", "Origin": ORIGIN}
        )
        answer.close()
        found = answer.headers
        seen.add(answer.status_code)

        assert answer.status_code < 500 or answer.status_code == 503, (method, path, answer.text)
        assert found["X-Request-ID"] == "mine-1", (method, path)
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", found["traceparent"]), (method, path)
        assert found["X-Content-Type-Options"] == "nosniff", (method, path)
        assert found["X-Frame-Options"] == "DENY", (method, path)
        assert found["Referrer-Policy"] in {"no-referrer", "same-origin"}, (method, path)
        assert found["Cross-Origin-Opener-Policy"] == "same-origin", (method, path)
        assert found["Cross-Origin-Resource-Policy"] == "same-origin", (method, path)
        assert "camera=()" in found["Permissions-Policy"], (method, path)
        assert "default-src 'none'" in found["Content-Security-Policy"], (method, path)
        assert found["Strict-Transport-Security"] == "max-age=31536000", (method, path)
        assert found["Access-Control-Allow-Origin"] == ORIGIN, (method, path)
        assert "Access-Control-Allow-Credentials" not in found, (method, path)
        assert "Origin" in answer.vary, (method, path)
        kept = found["Cache-Control"]
        assert kept == "no-store" or (answer.status_code == 200 and "ETag" in found), (method, path, kept)
        # A page answers with itself, and /ready with what is missing.
        if answer.status_code >= 400 and answer.mimetype != "text/html" and path != "/ready":
            assert answer.mimetype == "application/problem+json", (method, path)
            assert answer.json["x_request_id"] == "mine-1", (method, path)
        if answer.status_code in {429, 503}:
            assert "Retry-After" in found, (method, path)
    assert len(seen) > 2
    assert len(OPERATIONS) > 60


def test_errors_before_any_route_have_them_too(people: Tenants) -> None:
    for method, path, status in (("GET", "/none", 404), ("PUT", "/health", 405), ("TRACE", "/health", 405)):
        answer = people.world.client.open(path, method=method)

        assert answer.status_code == status
        assert answer.mimetype == "application/problem+json"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        if status == 405:
            assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"


def test_head_has_what_get_has_but_the_body(shared_world: World) -> None:
    got, head = (shared_world.client.open("/api/v1/projects", method=method) for method in ("GET", "HEAD"))

    varying = {"X-Request-ID", "traceparent"}
    assert {name: value for name, value in got.headers if name not in varying} == {
        name: value for name, value in head.headers if name not in varying
    }
    assert head.data == b""
    options = shared_world.client.options("/api/v1/projects")
    assert (options.status_code, set(options.allow)) == (200, {"GET", "HEAD", "OPTIONS", "POST"})


# --- what may be kept ---


@pytest.mark.parametrize("path", ["/openapi.json", "/asyncapi.json", "/schemas.json", "/schemas/ForecastIssued"])
def test_documents_are_kept_by_everybody(people: Tenants, path: str) -> None:
    first = people.world.client.get(path)
    again = people.world.client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    other = people.world.client.get(path, headers={"If-None-Match": '"of another version"'})

    assert first.headers["Cache-Control"] == "public, max-age=300"
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert (other.status_code, other.data) == (200, first.data)


def test_forecasts_and_what_was_known_are_kept_by_who_has_them(shared_world: World) -> None:
    body = {"series_id": factories.SERIES, "horizon": 3}
    with Responder(shared_world.broker):
        made = shared_world.client.post("/api/v1/forecasts", json=body).json
    observations = f"/api/v1/series/{factories.SERIES}/observations"
    paths = (
        (f"/api/v1/forecasts/{made['request_id']}", "private, max-age=86400, immutable"),
        (f"/api/v1/forecasts/{made['forecast_id']}", "private, max-age=86400, immutable"),
        (f"{observations}?known_at_offset=1", "private, max-age=86400, immutable"),
        (f"{observations}?known_at={datetime.now(UTC).isoformat().replace('+00:00', 'Z')}", "private, no-cache"),
    )
    for path, expected in paths:
        first = shared_world.client.get(path)
        again = shared_world.client.get(path, headers={"If-None-Match": first.headers["ETag"]})

        assert (first.status_code, first.headers["Cache-Control"]) == (200, expected)
        assert {"Authorization", "Cookie"} <= set(first.vary)
        assert (again.status_code, again.data) == (304, b"")
        assert again.headers["Cache-Control"] == expected
    now = shared_world.client.get(observations)
    inputs = shared_world.client.get(f"{paths[0][0]}/inputs", headers={"If-None-Match": "*"})
    assert (now.headers["Cache-Control"], inputs.status_code) == ("no-store", 200)


def test_who_may_not_read_learns_nothing_from_an_etag(people: Tenants) -> None:
    path = f"/api/v1/series/{people.apples.project_id}/apples@1d/observations?known_at_offset=0"
    found = [
        people.world.client.get(path, headers={**people.pears.admin.headers, "If-None-Match": tag}) for tag in ("*", "")
    ]

    assert [answer.status_code for answer in found] == [404, 404]


# --- pages of other sites ---


def test_a_preflight_is_answered_without_sign_in(people: Tenants) -> None:
    answer = people.world.client.options("/api/v1/forecasts", headers=PREFLIGHT)

    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]
    assert "Idempotency-Key" in answer.headers["Access-Control-Allow-Headers"]
    exposed = people.world.client.get("/health", headers={"Origin": ORIGIN}).headers["Access-Control-Expose-Headers"]
    assert set(exposed.split(", ")) == set(EXPOSED)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://shop.example", f"{ORIGIN}.evil.example", f"{ORIGIN}:8443", "null", "*"]
)
def test_pages_of_other_sites_read_nothing(people: Tenants, origin: str) -> None:
    headers = {**PREFLIGHT, "Origin": origin}
    preflight = people.world.client.options("/api/v1/forecasts", headers=headers)
    answer = people.world.client.get("/health", headers=headers)

    # Red when `named` compares less than the whole origin.
    assert preflight.status_code == 401
    for found in (preflight, answer):
        assert "Access-Control-Allow-Origin" not in found.headers
        assert "Origin" in found.vary


def test_without_the_setting_no_page_reads_anything(shared_world: World) -> None:
    answer = shared_world.client.get("/health", headers={"Origin": ORIGIN})

    assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]
    assert "Strict-Transport-Security" not in answer.headers


@pytest.mark.parametrize("origin", ["https://shop.example/", "shop.example", "https://Shop.example", "https://a b"])
def test_what_no_browser_sends_is_no_origin(origin: str) -> None:
    with pytest.raises(ValidationError, match="cross_origins must be"):
        GatewaySettings(cross_origins=(origin,))


def test_not_every_page_may_do_everything() -> None:
    with pytest.raises(ValidationError, match="cross_origins must name origins"):
        GatewaySettings(accounts="local", cross_origins=("*",))


# --- the log, and what will go ---


@contextmanager
def own_lines() -> Iterator[list[dict[str, Any]]]:
    """Yield what this thread writes to the log: others, e.g. of a webhook that nobody receives, write when they will."""
    own = threading.get_ident()

    def is_own(_logger: object, _name: str, line: dict[str, Any]) -> dict[str, Any]:
        if threading.get_ident() != own:
            raise structlog.DropEvent
        return line

    with structlog.testing.capture_logs(processors=[is_own, structlog.contextvars.merge_contextvars]) as lines:
        yield lines


def test_every_line_of_a_request_has_its_id(people: Tenants) -> None:
    headers = {"X-Request-ID": "first", "Authorization": "Bearer forged.to.ken"}
    with own_lines() as lines:
        people.world.client.get("/api/v1/me?code=planted", headers=headers)
        structlog.get_logger("gateway").info("afterwards")

    # Red without `bind_contextvars` in `every_answer`, and without `clear_contextvars` in its `teardown`.
    assert [(line["event"], line.get("x_request_id")) for line in lines] == [
        ("token-refused", "first"),
        ("request", "first"),
        ("afterwards", None),
    ]
    assert "forged" not in str(lines)
    assert "planted" not in str(lines)  # red with the query in the line: a provider sends its codes there


@pytest.mark.parametrize("sent", ["a b", "<script>", "x" * 129, '{"a":1}', "\u00e9"])
def test_an_id_that_is_no_id_is_not_repeated(people: Tenants, sent: str) -> None:
    """Red without `_ID` in `headers.correlation_id`."""
    answer = people.world.client.get("/health", headers={"X-Request-ID": sent.encode().decode("latin-1")})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-ID"])


def test_lines_of_a_stream_have_the_id_of_its_request(people: Tenants) -> None:
    def chunks() -> Iterator[bytes]:
        structlog.get_logger("gateway").info("in the stream")
        yield b"one"

    with own_lines() as lines:
        with people.world.app.test_request_context("/"):
            structlog.contextvars.bind_contextvars(x_request_id="second")
            g.principal = LOCAL
            response = stream(chunks(), lambda: None)
            structlog.contextvars.clear_contextvars()
        assert list(response.response) == [b"one"]

    # Red without the context in `streams.stream`.
    assert [line["x_request_id"] for line in lines] == ["second"]


def test_what_will_go_says_when() -> None:
    since, sunset = datetime(2026, 11, 21, tzinfo=UTC), datetime(2027, 11, 21, tzinfo=UTC)

    marked = Deprecation(since=since, guide="/docs", sunset=sunset).mark(Response(), "/api/v2/models")

    assert marked.headers["Deprecation"] == "@1795219200"
    assert marked.headers["Sunset"] == "Sun, 21 Nov 2027 00:00:00 GMT"
    assert marked.headers["Link"] == (
        '</api/v2/models>; rel="successor-version", </docs>; rel="deprecation"; type="text/html"'
    )
    assert "Sunset" not in Deprecation(since=since, guide="/docs").mark(Response(), "/").headers
