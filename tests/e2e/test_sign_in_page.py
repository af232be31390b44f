"""Signing in, in a real Chromium, by keyboard alone; the first page then works with the cookie."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e import page_world
from tests.e2e.test_page import FAINT_TEXT, Watched, browser, watching
from tests.unit.gateway.tenants import SETTINGS, Tenants, add_user, settle_tenants

pytestmark = pytest.mark.chromium
__all__ = ["browser"]
EMAIL, NEW, PASSWORD = "ana@example.org", "new@example.org", "four random words"


def sign_in(page: Page, url: str, email: str, following: str) -> None:
    page.goto(f"{url}/login?next={following}")
    page.locator("#email").fill(email)
    page.locator("#password").fill(PASSWORD)
    page.keyboard.press("Enter")


@pytest.fixture
def closed(browser: Browser, tmp_path: Path) -> Iterator[tuple[Watched, Tenants]]:
    """A gateway at which one has to sign in."""
    with page_world.page(tmp_path, **SETTINGS) as (world, url), watching(browser, world, url) as watched:
        found = settle_tenants(world)
        hashed = world.service.sign_in.passwords.hash(PASSWORD)
        editor = {found.apples.organisation_id: "editor"}
        add_user(world, EMAIL, editor, password_hash=hashed)
        add_user(world, NEW, editor, password_hash=hashed, must_change_password=True)
        page_world.publish_market(world)
        yield watched, found


def test_who_is_not_signed_in_is_sent_to_sign_in_and_comes_back(closed: tuple[Watched, Tenants]) -> None:
    watched, _ = closed
    page = watched.page
    page.goto(watched.url)
    expect(page).to_have_url(f"{watched.url}/login?next=%2F")

    expect(page.locator("#email")).to_be_focused()
    page.keyboard.type(EMAIL)
    page.keyboard.press("Tab")
    page.keyboard.type("wrong password")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("do not go together")
    expect(page.locator("#password")).to_be_focused()
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")

    expect(page).to_have_url(f"{watched.url}/")
    expect(page.locator("#last-value")).to_have_text(re.compile(r"\d"))
    page.get_by_role("button", name="Forecast", exact=True).click()
    # Goes red without `X-CSRF-Token` in api.js.
    expect(page.locator("#steps tbody tr")).to_have_count(10)
    page.get_by_role("button", name="Sign out").click()
    # A round of the page that is told first that nobody is signed in leads there too, and back behind it.
    expect(page).to_have_url(re.compile(rf"^{re.escape(watched.url)}/login(\?next=%2F)?$"))
    expect(page.locator("#email")).to_be_focused()
    watched.require_clean("401", "404")


def test_an_invitation_is_taken_by_its_link(closed: tuple[Watched, Tenants]) -> None:
    watched, found = closed
    path = f"/api/v1/organisations/{found.apples.organisation_id}/invitations"
    invited = found.world.client.post(path, headers=found.apples.admin.headers, json={"email": "rui@example.org"})
    page = watched.open(f"/join#{invited.get_json()['token']}")
    # Out of the address, so that it is not seen over a shoulder or kept in the history.
    expect(page).to_have_url(f"{watched.url}/join")

    # The browser puts the cursor there when it draws the page, which may be after it has loaded.
    expect(page.locator("#name")).to_be_focused()
    page.keyboard.type("Rui")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")

    expect(page).to_have_url(f"{watched.url}/")
    assert page.request.get(f"{watched.url}/api/v1/me").json()["email"] == "rui@example.org"


def test_a_one_time_password_is_exchanged_on_a_page_with_its_style(closed: tuple[Watched, Tenants]) -> None:
    watched, _ = closed
    page = watched.page
    sign_in(page, watched.url, NEW, "/docs")
    expect(page).to_have_url(f"{watched.url}/login/password")
    # Goes red where somebody with a one-time password may not even see what everybody sees.
    assert page.locator("main").evaluate("(main) => getComputedStyle(main).borderTopWidth") == "1px"
    watched.require_clean()
    page.goto(watched.url)
    # Goes red without `password-change-required` in api.js.
    expect(page).to_have_url(f"{watched.url}/login/password")

    page.locator("#password").fill(PASSWORD)
    page.locator("#new-password").fill("five quite random words")
    page.keyboard.press("Enter")

    expect(page).to_have_url(f"{watched.url}/")
    expect(page.locator("#last-value")).to_have_text(re.compile(r"\d"))


def test_swagger_ui_asks_as_the_browser_that_has_signed_in_or_by_a_key(closed: tuple[Watched, Tenants]) -> None:
    watched, found = closed
    page = watched.page
    operation = page.locator("#operations-forecasts-askForecast")

    def status() -> str:
        operation.get_by_role("button").first.click()
        operation.get_by_role("button", name="Execute").click()
        answered = operation.locator(".live-responses-table tbody .response-col_status").first
        expect(answered).to_have_text(re.compile(r"\d"))
        return answered.inner_text().split()[0]

    page.goto(f"{watched.url}/docs")
    assert status() == "401"
    page.get_by_role("button", name="Authorize").first.click()
    page.locator(".auth-container input").first.fill(found.apples.editor.key)
    page.get_by_role("button", name="Apply credentials").first.click()
    page.get_by_role("button", name="Close", exact=True).first.click()
    operation.get_by_role("button", name="Clear").click()
    operation.get_by_role("button").first.click()
    assert status() == "200"

    sign_in(page, watched.url, EMAIL, "/docs")
    # Goes red without `requestInterceptor` in swagger.js.
    assert status() == "200"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_and_are_legible(browser: Browser, closed: tuple[Watched, Tenants], scheme: str) -> None:
    first, _ = closed
    options = {"viewport": {"width": 390, "height": 844}, "color_scheme": scheme}
    with watching(browser, first.world, first.url, **options) as watched:
        for path in ("/login", "/join"):
            page = watched.open(path)
            expect(page.locator("h1")).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            assert page.evaluate(FAINT_TEXT) == []
            for control in page.locator("input:visible").all():
                assert control.evaluate("(c) => c.labels[0].textContent.trim()")
        watched.require_clean()
