"""Signing in by browser: the cookie, the forms, and pages of other sites that would use them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from gateway.login_pages import own_path
from tests.unit.gateway.tenants import Tenants, add_user, tenants
from tests.unit.gateway.world import World, running

PASSWORD = "four random words"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    with tenants(tmp_path_factory.mktemp("tenants")) as found:
        hashed = found.world.service.sign_in.passwords.hash(PASSWORD)
        for name in ("ana", "bia", "caio"):
            add_user(found.world, f"{name}@example.org", password_hash=hashed, must_change_password=name == "caio")
        yield found


@pytest.fixture
def browser(two: Tenants) -> FlaskClient:
    return two.world.app.test_client()


def token_in(page: str) -> str:
    found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
    assert found, page
    return found[1]


def sign_in(browser: FlaskClient, email: str = "ana@example.org", **fields: str) -> Any:
    token = token_in(browser.get("/login").text)
    return browser.post("/login", data={"csrf_token": token, "email": email, "password": PASSWORD} | fields)


def test_a_browser_signs_in_reads_changes_and_signs_out(browser: FlaskClient) -> None:
    answer = sign_in(browser, next="/docs")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/docs")
    assert browser.get("/api/v1/me").get_json()["email"] == "ana@example.org"

    page = browser.get("/").text
    meta = re.search(r'<meta name="csrf-token" content="([^"]+)"', page)
    assert meta
    assert 'href="/login/password"' in page
    made = browser.post("/api/v1/trainings", json={}, headers={"X-CSRF-Token": meta[1]})
    assert made.get_json()["type"] != "/problems/csrf-token"
    assert browser.post("/logout", data={"csrf_token": token_in(page)}).status_code == 303
    assert browser.get("/api/v1/me").status_code == 401


def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(browser: FlaskClient) -> None:
    cookie = sign_in(browser).headers["Set-Cookie"]

    assert cookie.startswith("foretopic=")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Domain" not in cookie


def test_with_https_the_cookie_is_for_this_host_over_tls_only(tmp_path_factory: pytest.TempPathFactory) -> None:
    with tenants(tmp_path_factory.mktemp("https"), public_url="https://forecasts.example.org") as found:
        browser = found.world.app.test_client()
        cookie = browser.get("/login", base_url="https://forecasts.example.org").headers["Set-Cookie"]

    assert cookie.startswith("__Host-foretopic=")
    assert "Secure" in cookie
    assert "Path=/" in cookie


def test_what_changes_something_needs_the_token_of_the_page(two: Tenants, browser: FlaskClient) -> None:
    sign_in(browser)
    other = two.world.app.test_client()
    sign_in(other, "bia@example.org")
    foreign = re.search(r'content="([^"]+)"', other.get("/").text.partition("csrf-token")[2])
    assert foreign

    for headers in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": "x"}, {"X-CSRF-Token": foreign[1]}):
        answer = browser.post("/api/v1/trainings", json={}, headers=headers)
        # Goes red without `require_csrf_token` in the authenticator.
        assert (answer.status_code, answer.get_json()["type"]) == (403, "/problems/csrf-token")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost.evil.example"},
        {"Origin": "http://localhost:8080"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_page_of_another_site_changes_nothing_even_with_the_token(
    browser: FlaskClient, headers: dict[str, str]
) -> None:
    sign_in(browser)
    meta = re.search(r'<meta name="csrf-token" content="([^"]+)"', browser.get("/").text)
    assert meta

    answer = browser.post("/api/v1/trainings", json={}, headers={"X-CSRF-Token": meta[1], **headers})

    # Goes red without `SameSite.require` in the authenticator.
    assert (answer.status_code, answer.get_json()["type"]) == (403, "/problems/cross-site-request")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://localhost"},
        {"Origin": "https://localhost"},
        {"Sec-Fetch-Site": "same-origin"},
        # As browsers send forms of a page that gives no referrer.
        {"Sec-Fetch-Site": "same-origin", "Origin": "null"},
    ],
)
def test_a_page_of_ours_may_do_what_its_user_may(browser: FlaskClient, headers: dict[str, str]) -> None:
    sign_in(browser)
    page = browser.get("/").text

    assert browser.post("/logout", data={"csrf_token": token_in(page)}, headers=headers).status_code == 303


def test_a_wrong_password_shows_the_form_again_without_it(browser: FlaskClient) -> None:
    answer = sign_in(browser, password="wrong and secret")

    assert answer.status_code == 401
    assert 'role="alert"' in answer.text
    assert 'value="ana@example.org"' in answer.text
    assert "wrong and secret" not in answer.text


def test_a_form_without_its_token_signs_nobody_in(browser: FlaskClient) -> None:
    answer = browser.post("/login", data={"email": "ana@example.org", "password": PASSWORD})

    # Goes red without the CSRF field of Flask-WTF: a foreign page could sign people in as somebody else.
    assert answer.status_code == 400
    assert browser.get("/api/v1/me").status_code == 401


def test_a_one_time_password_leads_to_another_one(browser: FlaskClient) -> None:
    assert sign_in(browser, "caio@example.org").headers["Location"] == "/login/password"
    assert browser.get("/api/v1/series").status_code == 403
    token = token_in(browser.get("/login/password").text)
    # Goes red without `ANONYMOUS` in `_principal`: the page that has to be filled in would come without its style.
    for path in ("/assets/login.css", "/login", "/", "/health", "/no-such-path"):
        with browser.get(path) as answer:
            assert answer.status_code == (404 if path == "/no-such-path" else 200)
    assert browser.get("/admin").headers["Location"] == "/login/password"

    fields = {"csrf_token": token, "password": PASSWORD, "new_password": "five quite random words"}
    refused = browser.post("/login/password", data=fields | {"new_password": "short"})
    assert refused.status_code == 422
    # People do not know the names of fields.
    assert "The other password must be 12 to 500 characters." in refused.text
    assert browser.post("/login/password", data=fields).status_code == 303
    assert browser.get("/api/v1/series").status_code == 200


def test_an_invitation_is_taken_on_a_page(two: Tenants, browser: FlaskClient) -> None:
    path = f"/api/v1/organisations/{two.apples.organisation_id}/invitations"
    invited = two.world.client.post(
        path, headers=two.apples.admin.headers, json={"email": "dora@example.org"}
    ).get_json()
    token = token_in(browser.get("/join").text)

    fields = {"csrf_token": token, "invitation": invited["token"], "name": "Dora", "password": PASSWORD}
    assert browser.post("/join", data=fields | {"password": "short"}).status_code == 422
    assert browser.post("/join", data=fields).status_code == 303

    assert browser.get("/api/v1/me").get_json()["email"] == "dora@example.org"


def test_a_cookie_that_was_changed_is_nobodys(two: Tenants, browser: FlaskClient) -> None:
    sign_in(browser)
    cookie = browser.get_cookie("foretopic")
    assert cookie
    content, signature = cookie.value.rsplit(".", 1)
    # Its first letter: not every bit of the last one belongs to the signature, and it may be what it is changed to.
    changed = "A" if signature[0] != "A" else "B"
    browser.set_cookie("foretopic", f"{content}.{changed}{signature[1:]}")

    assert browser.get("/api/v1/me").status_code == 401


@pytest.mark.parametrize(
    "asked", [None, "", "https://evil.example", "//evil.example", "/\\evil.example", "docs", "javascript:x", "/a\nb"]
)
def test_nobody_is_sent_to_another_site(asked: str | None) -> None:
    assert own_path(asked) == "/"


def test_pages_of_a_local_gateway_are_for_this_machine_only(tmp_path_factory: pytest.TempPathFactory) -> None:
    with running(tmp_path_factory.mktemp("local"), allowed_hosts=("forecasts.lan",)) as world:
        local = own_machine(world)

    # Goes red without `require_host` and `require` in `LocalAuthenticator`.
    assert local == {
        "own page": 200,
        "program": 422,
        "program on ::1": 422,
        "own origin": 422,
        "allowed name": 200,
        "rebound name": 403,
        "no name": 403,
        "name that begins alike": 403,
        "foreign page": 403,
        "foreign page, older browser": 403,
        "form of a foreign page": 403,
        "sandboxed page": 403,
        "bad token": 401,
    }


def own_machine(world: World) -> dict[str, int]:
    def get(host: str) -> int:
        return world.client.get("/api/v1/series", headers={"Host": host}).status_code

    def post(**headers: str) -> int:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return world.client.post("/api/v1/trainings", json={}, headers=sent).status_code

    return {
        "own page": get("127.0.0.1:5000"),
        "program": post(),
        "program on ::1": post(Host="[::1]:5000"),
        "own origin": post(Host="localhost:5000", Origin="http://localhost:5000"),
        "allowed name": get("forecasts.lan"),
        "rebound name": get("evil.example:5000"),
        "no name": get(""),
        "name that begins alike": get("127.0.0.1.evil.example"),
        "foreign page": post(Sec_Fetch_Site="cross-site"),
        "foreign page, older browser": post(Origin="https://evil.example"),
        "form of a foreign page": post(Origin="https://evil.example", Content_Type="text/plain"),
        "sandboxed page": post(Origin="null"),
        "bad token": world.client.get("/api/v1/series", headers={"Authorization": "Bearer x"}).status_code,
    }
