"""Signing in, in a real Chromium, by keyboard alone; the first page then works with the cookie."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e import page_world
from tests.e2e.test_page import FAINT_TEXT, Watched, browser, watching
from tests.unit.gateway.tenants import SETTINGS, Tenants, add_user, settle_tenants

pytestmark = pytest.mark.chromium
__all__ = ["browser"]
EMAIL, PASSWORD = "ana@example.org", "four random words"


@pytest.fixture
def closed(browser: Browser, tmp_path: Path) -> Iterator[tuple[Watched, Tenants]]:
    """A gateway at which one has to sign in."""
    with page_world.page(tmp_path, **SETTINGS) as (world, url), watching(browser, world, url) as watched:
        found = settle_tenants(world)
        hashed = world.service.sign_in.passwords.hash(PASSWORD)
        add_user(world, EMAIL, {found.apples.organisation_id: "editor"}, password_hash=hashed)
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
    expect(page).to_have_url(f"{watched.url}/login")
    watched.require_clean("401", "404")


def test_an_invitation_is_taken_by_its_link(closed: tuple[Watched, Tenants]) -> None:
    watched, found = closed
    path = f"/api/v1/organisations/{found.apples.organisation_id}/invitations"
    invited = found.world.client.post(path, headers=found.apples.admin.headers, json={"email": "rui@example.org"})
    page = watched.open(f"/join#{invited.get_json()['token']}")
    # Out of the address, so that it is not seen over a shoulder or kept in the history.
    expect(page).to_have_url(f"{watched.url}/join")

    page.keyboard.type("Rui")
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")

    expect(page).to_have_url(f"{watched.url}/")
    assert page.request.get(f"{watched.url}/api/v1/me").json()["email"] == "rui@example.org"


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
