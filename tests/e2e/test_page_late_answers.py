"""What the page shows and lets ask where answers come late, out of order, cut off or not at all."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from schemas.topics import OBSERVATIONS
from tests import factories
from tests.e2e.page_world import MODEL, SERIES
from tests.e2e.test_page import SECOND, Watched, browser, empty, full, running_training, training_event
from tests.listening import listening
from tests.unit.gateway.world import World

__all__ = ["browser", "empty", "full"]
pytestmark = pytest.mark.chromium


class Held:
    """What the page asks of one method and path, unanswered until it is let through."""

    def __init__(self, page: Page, method: str, path: str) -> None:
        self._page = page
        self._method = method
        self._routes: list[Route] = []
        self._is_open = False
        page.route(re.compile(rf"{re.escape(path)}(\?.*)?$"), self._hold)

    def _hold(self, route: Route) -> None:
        if self._is_open or route.request.method != self._method:
            route.continue_()
        else:
            self._routes.append(route)

    def wait(self) -> None:
        """Return once something is held; what the page asks is only heard while something of it is waited for."""
        while not self._routes:
            self._page.evaluate("new Promise(requestAnimationFrame)")

    def release(self) -> None:
        self._is_open = True
        for route in self._routes:
            route.continue_()

    def answer(self, document: Any, **more: Any) -> None:
        """Answer with ``document`` in the gateway's place; ``more`` is for `Route.fulfill`, e.g. a status."""
        self._is_open = True
        for route in self._routes:
            route.fulfill(json=document, **more)


def publish_another_series(world: World) -> str:
    batch = factories.observation_batch(series_id="shop/1@1d", columns={"sales": tuple(range(4000, 4030))})
    world.publish(OBSERVATIONS, batch)
    world.settle()
    return "shop/1@1d"


def test_cancellation_that_is_asked_for_stays_asked_for(full: Watched) -> None:
    running_training(full.world)
    full.world.settle()
    page = full.open()
    page.get_by_role("button", name="Cancel it").click()
    expect(page.locator("#training-detail")).to_have_text("Cancellation asked for.")

    # The trainer goes on for a while. Red without `isCancelAsked` in `display`.
    training_event(full.world, 2, state="progress", fraction=0.7, stage="backtest", epoch=4)
    expect(page.locator("#training-state")).to_have_text(f"Training of {MODEL}: 70\u00a0%, backtest.")
    expect(page.locator("#training-detail")).to_have_text("Cancellation asked for.")
    expect(page.get_by_role("button", name="Cancel it")).to_be_disabled()

    training_event(full.world, 3, state="cancelled", fraction=0.7)
    expect(page.locator("#training-state")).to_contain_text("was cancelled")
    expect(page.locator("#training-detail")).to_have_text("")
    full.require_clean()


def test_training_that_ends_while_its_cancellation_is_asked_for_cannot_be_cancelled(full: Watched) -> None:
    running_training(full.world)
    full.world.settle()
    page = full.open()
    asked = Held(page, "DELETE", "/api/v1/trainings/t1")
    page.get_by_role("button", name="Cancel it").click()
    asked.wait()
    training_event(full.world, 2, state="failed", reason="it is over")
    expect(page.locator("#training-state")).to_contain_text("failed")

    asked.release()
    expect(page.get_by_role("alert")).to_contain_text("has ended")
    # Red where the refusal alone says that the button can be pressed again.
    expect(page.get_by_role("button", name="Cancel it")).to_be_disabled()
    full.require_clean("status of 409")


def test_nothing_is_asked_for_before_the_page_knows_the_series(full: Watched) -> None:
    # Both go red without `disabled` at the field sets of the forms.
    ask = full.page.get_by_role("button", name="Forecast", exact=True)
    train = full.page.get_by_role("button", name="Start a training")
    held = Held(full.page, "GET", "/observations")
    full.open()
    held.wait()
    expect(ask).to_be_disabled()
    expect(train).to_be_disabled()
    held.release()
    expect(ask).to_be_enabled()
    expect(train).to_be_enabled()
    full.require_clean()


def test_chosen_series_is_asked_about_once_the_page_knows_it(full: Watched) -> None:
    other = publish_another_series(full.world)
    page = full.open()
    target = page.get_by_label("Target")
    expect(target).to_have_value("close")
    asked = Held(page, "POST", "/api/v1/forecasts")
    page.get_by_role("button", name="Forecast", exact=True).click()
    asked.wait()

    history = Held(page, "GET", "/observations")
    page.get_by_label("Series").select_option(other)
    history.wait()
    # The target of the series before, for this one: goes red without `showForms(false)` in `choose`.
    expect(page.get_by_role("button", name="Start a training")).to_be_disabled()
    history.release()
    expect(target).to_have_value("sales")
    expect(page.get_by_role("button", name="Start a training")).to_be_enabled()

    # The answer about the series before is not shown here: goes red without the comparison in `ask`.
    with page.expect_response(lambda answer: answer.request.method == "POST"):
        asked.release()
    expect(page.get_by_role("button", name="Forecast", exact=True)).to_be_enabled()
    expect(page.locator("#steps-empty")).to_have_text("No forecast of this series yet.")
    expect(page.locator("#ask-state")).to_have_text("")
    full.require_clean()


@pytest.mark.parametrize(
    ("status", "document"),
    [
        # Not yet; where the forecast would be asked for is not there. Red without the series in `awaitForecast`.
        (202, {"state": "pending"}),
        # Red without the comparison where `ask` is refused.
        (422, {"title": "Invalid body", "detail": "of the series before"}),
    ],
)
def test_what_is_told_late_of_a_series_is_not_shown_with_the_next_one(
    full: Watched, status: int, document: dict[str, str]
) -> None:
    other = publish_another_series(full.world)
    page = full.open()
    asked = Held(page, "POST", "/api/v1/forecasts")
    page.get_by_role("button", name="Forecast", exact=True).click()
    asked.wait()
    page.get_by_label("Series").select_option(other)
    expect(page.get_by_label("Target")).to_have_value("sales")

    with page.expect_response(lambda answer: answer.request.method == "POST"):
        asked.answer(document, status=status, headers={"Location": "/api/v1/forecasts/none"})
    expect(page.get_by_role("button", name="Forecast", exact=True)).to_be_enabled()
    expect(page.locator("#ask-state")).to_have_text("")
    expect(page.locator("#problem")).to_be_hidden()
    full.require_clean("status of 422")


def test_series_that_is_left_and_chosen_again_is_shown_once_all_of_it_is_known(full: Watched) -> None:
    other = publish_another_series(full.world)
    page = full.page
    first = Held(page, "GET", "/observations")
    full.open()
    first.wait()
    page.get_by_label("Series").select_option(other)
    again = Held(page, "GET", "/api/v1/series")
    page.get_by_label("Series").select_option(SERIES)
    again.wait()

    # Red where `isOld` compares the series: the page would have its history, and not what kind of series it is.
    with page.expect_response(lambda answer: "AAPL" in answer.url and "/observations" in answer.url):
        first.release()
    page.evaluate("new Promise(requestAnimationFrame)")
    expect(page.get_by_role("button", name="Forecast", exact=True)).to_be_disabled()
    again.release()
    expect(page.locator("#steps tbody tr")).to_have_count(10)
    expect(page.locator("#last-value")).to_have_text(re.compile(r"\d"))
    full.require_clean()


def test_training_that_was_started_while_the_page_asked_for_others_is_followed(full: Watched) -> None:
    running_training(full.world)
    training_event(full.world, 2, state="succeeded", fraction=1.0, version=SECOND)
    full.world.settle()
    page = full.open()
    expect(page.locator("#training-state")).to_contain_text("succeeded")
    # The end of a training begins a round: a later one is held, as nothing can be asked for before the first has ended.
    expect(page.get_by_role("button", name="Start a training")).to_be_enabled()
    known = Held(page, "GET", "/api/v1/trainings")
    known.wait()
    page.get_by_role("button", name="Start a training").click()
    expect(page.locator("#training-state")).to_contain_text("waiting for the trainer")

    # The list names it or not, as it was read after or before: goes red without the second `isRunning` of `findTraining`.
    older = full.world.client.get("/api/v1/trainings").json["trainings"][1:]
    next_round = Held(page, "GET", "/status")
    known.answer({"trainings": older})
    next_round.wait()
    assert "waiting for the trainer" in page.locator("#training-state").inner_text()
    full.require_clean()


def test_page_goes_on_after_an_answer_that_was_cut_off(full: Watched) -> None:
    page = full.open()
    expect(page.locator("#steps tbody tr")).to_have_count(10)
    source = page.locator("#source")
    with listening(cut_off) as url:
        # Red without `text` in the `try` of api.js: the page would ask for nothing any more.
        page.route("**/api/v1/models", lambda route: route.continue_(url=url))
        expect(source).to_contain_text("The gateway does not answer")
        page.unroute("**/api/v1/models")
        # Red where `shown` stays: nothing is new, so the line would stay too.
        expect(source).to_contain_text("500 observations")
    full.require_clean("ERR_CONTENT_LENGTH_MISMATCH")


def cut_off(_environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Answer as a gateway does that is stopped while it answers."""
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", "1000")])
    return [b'{"models": [']


def test_series_that_is_removed_leaves_the_page_empty(full: Watched) -> None:
    page = full.open()
    expect(page.locator("#steps tbody tr")).to_have_count(10)
    # Red without `history = null` in `loadSeries`.
    page.route("**/api/v1/series", lambda route: route.fulfill(json={"series": []}))
    expect(page.locator("#empty")).to_contain_text("No observations of market/AAPL@1d yet")
    page.unroute("**/api/v1/series")
    expect(page.locator("#empty")).to_be_hidden()
    expect(page.locator("#last-value")).to_have_text(re.compile(r"\d"))
    full.require_clean()
