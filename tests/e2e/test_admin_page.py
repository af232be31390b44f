"""The pages at /admin in a real Chromium: without scripts, by keyboard, in dark and light."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from schemas import topics
from tests import factories
from tests.e2e import page_world
from tests.e2e.test_page import FAINT_TEXT, Watched, browser, watching
from tests.unit.gateway.tenants import SETTINGS, add_user, settle_tenants

pytestmark = pytest.mark.chromium
__all__ = ["browser"]
EMAIL, PASSWORD = "olga@example.org", "four random words"
SCRIPT = "<script>document.title = 'broken in'</script>"


@pytest.fixture(scope="module")
def desk(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A gateway with something of everything, and an operator who works without scripts."""
    folder = tmp_path_factory.mktemp("admin")
    with (
        page_world.page(folder, **SETTINGS) as (world, url),
        watching(browser, world, url, java_script_enabled=False) as watched,
    ):
        both = settle_tenants(world)
        hashed = world.service.sign_in.passwords.hash(PASSWORD)
        add_user(world, EMAIL, is_operator=True, password_hash=hashed)
        add_user(world, "mallory@example.org", {both.apples.organisation_id: "viewer"}, name=SCRIPT)
        world.publish(topics.QUARANTINE, factories.observations_quarantined())
        for offset, value in enumerate(
            (b'{"series_id": "market/AAPL@1d", "horizon": "ten"}', b"\x00\xff" + SCRIPT.encode())
        ):
            letter = factories.dead_letter(
                topic="training-requests",
                offset=offset,
                key=b"market/AAPL@1d",
                value=value,
                reason="not a TrainingRequested: Expected `int`, got `str` - at `$.horizon`",
                headers={"ce_type": b"foretopic.TrainingRequested.v1", "junk": b"\xff"},
            )
            world.publish(topics.DEAD_LETTERS, letter)
        world.settle()
        sign_in(watched)
        yield watched


def sign_in(watched: Watched) -> None:
    page = watched.open("/admin/dead-letters")
    expect(page).to_have_url(f"{watched.url}/login?next=%2Fadmin%2Fdead-letters")
    page.fill("#email", EMAIL)
    page.fill("#password", PASSWORD)
    page.press("#password", "Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Dead letters")


def press(page: Page, name: str) -> None:
    """Reach a link or a button by keyboard alone, and press it."""
    found = page.get_by_role("link", name=name, exact=True).or_(page.get_by_role("button", name=name, exact=True)).last
    found.focus()
    page.keyboard.press("Enter")


def test_a_dead_letter_is_looked_at_and_sent_again(desk: Watched) -> None:
    page = desk.open("/admin/dead-letters")
    page.get_by_role("link", name="training-requests").last.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("A message of training-requests")
    expect(page.locator("pre").nth(0)).to_have_text("market/AAPL@1d")
    press(page, "Replay")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Replay the message")
    page.get_by_label("Reason").fill("the reader is mended")
    page.keyboard.press("Enter")

    expect(page.get_by_role("status")).to_have_text("The message was sent again.")
    expect(page.locator(".facts")).to_contain_text("the reader is mended")
    page.reload()
    expect(page.get_by_role("status")).to_have_count(0)
    desk.require_clean()


def test_bytes_that_are_markup_stay_text(desk: Watched) -> None:
    page = desk.open("/admin/dead-letters?state=any")
    page.get_by_role("link", name="training-requests").first.click()
    expect(page.locator("pre").last).to_contain_text("00 ff 3c 73 63 72 69 70 74")
    page.goto(f"{desk.url}/admin/users?search=mallory")
    expect(page.locator("tbody")).to_contain_text(SCRIPT)
    assert page.title() == "Users - Foretopic admin"
    desk.require_clean()


def test_a_user_is_made_disabled_and_found_in_the_audit_log(desk: Watched) -> None:
    page = desk.open("/admin/users")
    press(page, "New user")
    page.get_by_label("Email").fill("nina@example.org")
    page.get_by_label("Organisation").select_option("apples")
    press(page, "Make the user")
    expect(page.locator(".secret")).to_have_text(re.compile(r"^\S{15,}$"))
    press(page, "Go on")
    press(page, "Disable")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Disable")
    press(page, "Disable")
    expect(page.get_by_role("status")).to_have_text("nina@example.org is disabled.")

    page.goto(f"{desk.url}/admin/audit?action=user.")
    expect(page.locator("tbody tr").first).to_contain_text("user.changed")
    expect(page.locator("tbody tr").nth(1)).to_contain_text("nina@example.org")
    desk.require_clean()


def test_held_rows_are_rejected(desk: Watched) -> None:
    page = desk.open("/admin/quarantine")
    page.get_by_role("link", name=factories.SERIES).click()
    expect(page.get_by_role("region", name="Rules that they break")).to_contain_text("in pence")
    press(page, "Reject")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Reject")
    press(page, "Reject")
    expect(page.get_by_role("status")).to_contain_text("are rejected")
    page.goto(f"{desk.url}/admin/quarantine")
    expect(page.locator(".empty")).to_have_text("No rows are held back.")
    desk.require_clean()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("part", ["", "/users", "/dead-letters?state=any", "/signing-keys", "/users/new"])
def test_every_text_can_be_read(desk: Watched, browser: Browser, scheme: str, part: str) -> None:
    cookies = desk.page.context.cookies()
    with watching(browser, desk.world, desk.url, color_scheme=scheme) as watched:
        watched.page.context.add_cookies(cookies)  # type: ignore[arg-type]  # what it gave is what it takes
        page = watched.open(f"/admin{part}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert page.evaluate(FAINT_TEXT) == []
        watched.require_clean()


def test_on_a_narrow_screen_nothing_hangs_over(desk: Watched, browser: Browser) -> None:
    with watching(browser, desk.world, desk.url, viewport={"width": 390, "height": 800}) as watched:
        watched.page.context.add_cookies(desk.page.context.cookies())  # type: ignore[arg-type]  # as above
        for part in ("", "/dead-letters?state=any", "/users/new", "/audit"):
            page = watched.open(f"/admin{part}")
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, part
