from __future__ import annotations

import gzip
import re
from collections.abc import Iterator

import pytest
from flask import Flask, g
from flask.testing import FlaskClient

from forecasting.models.registry import ALGORITHMS, AUTO, ENSEMBLE
from gateway import docs, pages
from gateway.access import ANONYMOUS
from gateway.assets import PackageFile
from gateway.content_security import policy

PAGES = ["/", "/docs", "/redoc"]
FILES = ["/assets/plotly.min.js", "/docs/files/swagger-ui-bundle.js", "/docs/files/redoc.standalone.js"]


@pytest.fixture
def client() -> Iterator[FlaskClient]:
    app = Flask("gateway", static_folder=None)
    app.register_blueprint(pages.blueprint)
    app.register_blueprint(docs.blueprint)

    @app.before_request
    def nobody_has_signed_in() -> None:
        g.principal = ANONYMOUS

    with app.test_client() as client:
        yield client


@pytest.mark.parametrize("path", PAGES)
def test_page_has_no_script_and_no_address_of_another_host(client: FlaskClient, path: str) -> None:
    html = client.get(path).text
    assert re.findall(r"<script(?![^>]* src=)", html) == []
    assert re.findall(r"\son\w+=|javascript:", html) == []
    assert re.findall(r"(?:src|href)=\"(?:https?:)?//", html) == []


def test_page_offers_every_algorithm(client: FlaskClient) -> None:
    select = re.search(r'<select id="algorithm".*?</select>', client.get("/").text, re.DOTALL)
    assert select
    assert sorted(re.findall(r'<option value="([^"]+)"', select[0])) == sorted((*ALGORITHMS, AUTO, ENSEMBLE))


@pytest.mark.parametrize("path", PAGES)
def test_everything_that_a_page_names_is_served(client: FlaskClient, path: str) -> None:
    named = re.findall(r"<(?:link|script|img)[^>]* (?:src|href)=\"([^\"]+)\"", client.get(path).text)
    assert named
    for address in named:
        answer = client.get(address)
        assert answer.status_code == 200, address
        answer.close()


def test_every_module_that_a_module_imports_is_served(client: FlaskClient) -> None:
    waiting, seen = ["dashboard.js"], set()
    while waiting:
        name = waiting.pop()
        with client.get(f"/assets/{name}") as answer:
            assert answer.status_code == 200, name
            assert answer.mimetype in ("text/javascript", "application/javascript")
            imported = re.findall(r'from "\./([a-z]+\.js)"', answer.text)
        seen.add(name)
        waiting += [other for other in imported if other not in seen]
    assert {"api.js", "chart.js", "training.js"} <= seen


@pytest.mark.parametrize("path", PAGES)
def test_page_allows_scripts_of_this_server_only(client: FlaskClient, path: str) -> None:
    """Red without the line `blueprint.after_request(add_headers(...))` of gateway/pages.py or gateway/docs.py."""
    headers = client.get(path).headers
    directives = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert "unsafe" not in directives["script-src"]
    assert directives["default-src"] == "'none'"
    assert directives["connect-src"] == "'self'"
    assert directives["frame-ancestors"] == "'none'"
    assert not any("http" in value or "*" in value for value in directives.values())
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_policy_takes_other_directives() -> None:
    assert policy(worker_src="blob:").endswith("worker-src blob:")


@pytest.mark.parametrize("path", FILES)
def test_packaged_file_is_compressed_where_the_client_can(client: FlaskClient, path: str) -> None:
    plain = client.get(path)
    packed = client.get(path, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert len(packed.data) < len(plain.data) / 2
    assert packed.headers["Vary"] == "Accept-Encoding"
    assert packed.headers["ETag"] != plain.headers["ETag"]


def test_packaged_file_is_not_sent_twice(client: FlaskClient) -> None:
    first = client.get(FILES[0], headers={"Accept-Encoding": "gzip"})
    again = client.get(FILES[0], headers={"Accept-Encoding": "gzip", "If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304
    assert again.data == b""


def test_redoc_asks_no_host_of_its_maker(client: FlaskClient) -> None:
    """Red without the replacement `_NO_LOGO` in gateway/docs.py."""
    assert b"cdn.redoc.ly" not in client.get("/docs/files/redoc.standalone.js").data


def test_file_outside_the_list_is_not_served(client: FlaskClient) -> None:
    assert client.get("/docs/files/../pages.py").status_code == 404
    assert client.get("/docs/files/swagger-ui.js").status_code == 404


def test_missing_package_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="package no_such_package must be installed"):
        PackageFile("no_such_package", "x.js", "text/javascript").read()
