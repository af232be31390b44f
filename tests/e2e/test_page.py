"""The first page in a real Chromium, on the real gateway: what it shows is what the API says."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from schemas.models import LeaderboardEntry
from schemas.topics import (
    DEPLOYMENTS,
    INGEST_EVENTS,
    INGEST_REQUESTS,
    INGEST_SCHEDULES,
    MODELS,
    OBSERVATIONS,
    TRAINING_EVENTS,
    TRAINING_REQUESTS,
)
from tests import factories
from tests.e2e import page_world
from tests.e2e.page_world import CHAMPION, MODEL, SERIES
from tests.unit.gateway.world import World, wait_until

pytestmark = pytest.mark.chromium

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# The page asks anew every five seconds, and the machine may be busy.
expect.set_options(timeout=120_000)
SECOND = "fedcba9876543210"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium found on this machine; install Debian's package chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=FLAGS, timeout=120_000)
        yield started
        started.close()


@dataclass
class Watched:
    """A page, and everything in it that must not happen."""

    page: Page
    url: str
    world: World
    requests: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def open(self, path: str = "/") -> Page:
        self.page.goto(self.url + path)
        return self.page

    def require_clean(self, *expected: str) -> None:
        """Fail on any console error but the ``expected`` ones, and on any request to somewhere else."""
        assert [fault for fault in self.faults if not any(text in fault for text in expected)] == []
        inside = (self.url, "data:", f"blob:{self.url}")
        assert [request for request in self.requests if not request.startswith(inside)] == []


@contextmanager
def watching(browser: Browser, world: World, url: str, **options: Any) -> Iterator[Watched]:
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "locale": "de-DE", **options})
    page = context.new_page()
    page.set_default_timeout(120_000)
    watched = Watched(page, url, world)
    page.on("request", lambda request: watched.requests.append(request.url))
    page.on("pageerror", lambda error: watched.faults.append(str(error)))
    page.on("console", lambda line: watched.faults.append(line.text) if line.type in ("error", "warning") else None)
    yield watched
    context.close()


@pytest.fixture
def empty(browser: Browser, tmp_path: Path) -> Iterator[Watched]:
    """A gateway that has read nothing."""
    with page_world.page(tmp_path) as (world, url), watching(browser, world, url) as watched:
        world.settle()
        yield watched


@pytest.fixture
def full(empty: Watched) -> Watched:
    """History, a champion that loses to the last value, and a forecast."""
    page_world.publish_market(empty.world)
    answer = empty.world.client.post("/api/v1/forecasts", json={"series_id": SERIES, "horizon": 10})
    assert answer.status_code == 200, answer.text
    empty.world.settle()
    return empty


def training_event(world: World, sequence: int, **changes: Any) -> None:
    event = factories.training_event("t1", model=MODEL, series_id=SERIES, sequence=sequence, **changes)
    world.publish(TRAINING_EVENTS, event)


def running_training(world: World, fraction: float = 0.2) -> None:
    request = factories.training_request("t1", model=MODEL, series_ids=(SERIES,), algorithm="lstm")
    world.publish(TRAINING_REQUESTS, request)
    training_event(world, 1, state="progress", fraction=fraction, stage="fitting", epoch=3, losses={"train": 0.5})


def traces(page: Page) -> dict[str, dict[str, Any]]:
    plotted = page.evaluate("document.getElementById('chart').data.map(({x, y, name}) => ({x, y, name}))")
    return {trace["name"]: trace for trace in plotted if "name" in trace}


def number(value: float) -> str:
    return f"{value:,.2f}"


def test_page_shows_the_numbers_of_the_api(full: Watched) -> None:
    forecast = full.world.client.get(f"/api/v1/series/{SERIES}/forecasts/latest").json
    page = full.open()

    rows = page.locator("#steps tbody tr")
    expect(rows).to_have_count(10)
    for step, cells, last in zip(forecast["steps"], rows.all(), forecast["baselines"]["last-value"], strict=True):
        texts = cells.locator("td").all_inner_texts()
        quantiles = step["quantiles"]
        assert texts[1:5] == [
            number(step["median"]),
            f"{number(quantiles['0.1'])} \u2013 {number(quantiles['0.9'])}",
            f"{number(quantiles['0.025'])} \u2013 {number(quantiles['0.975'])}",
            number(last),
        ]
    full.require_clean()


def test_chart_draws_history_fan_and_baseline_from_the_api(full: Watched) -> None:
    forecast = full.world.client.get(f"/api/v1/series/{SERIES}/forecasts/latest").json
    batch = page_world.history()
    page = full.open()
    expect(page.locator("#chart .plotly").first).to_be_visible()
    wait_until(lambda: "Median" in traces(page), "the fan")

    drawn = traces(page)
    last = batch.columns["close"][-1]
    assert drawn["History"]["y"] == list(batch.columns["close"][-60:])
    assert drawn["Median"]["y"] == [last, *(step["median"] for step in forecast["steps"])]
    assert drawn["Last value"]["y"] == [last, *forecast["baselines"]["last-value"]]
    assert drawn["80 % band"]["y"] == [last, *(step["quantiles"]["0.9"] for step in forecast["steps"])]
    assert drawn["95 % band"]["y"] == [last, *(step["quantiles"]["0.975"] for step in forecast["steps"])]
    assert drawn["Median"]["x"][1:] == [step["time"] for step in forecast["steps"]]

    page.get_by_role("button", name="All", exact=True).click()
    assert len(traces(page)["History"]["y"]) == page_world.ROWS
    full.require_clean()


def test_skill_below_zero_is_said_plainly(full: Watched) -> None:
    page = full.open()
    expect(page.locator("#skill")).to_contain_text(
        "Worse than repeating the last value: mean absolute error 1.3\u00a0% higher"
    )
    expect(page.locator("#metrics tbody tr")).to_have_count(4)
    champion = page.locator("#metrics tbody tr").first
    assert page.locator("#metrics thead th").all_inner_texts() == METRIC_HEADINGS
    assert champion.locator("td").all_inner_texts() == [
        "2.31",
        "3.12",
        "3.39\u00a0%",
        "0.961",
        "79.3\u00a0%",
        "94.8\u00a0%",
    ]


METRIC_HEADINGS = ["", "MAE", "RMSE", "MAPE", "R²", "In 80\u00a0% band", "In 95\u00a0% band"]


def test_skill_above_zero_is_said(empty: Watched) -> None:
    page_world.publish_market(empty.world, skill=0.021)
    expect(empty.open().locator("#skill")).to_contain_text(
        "Better than repeating the last value: mean absolute error 2.1\u00a0% lower over 250 walk-forward folds"
    )


def test_what_the_champion_was_chosen_from_and_its_folds_are_shown(empty: Watched) -> None:
    board = (
        LeaderboardEntry(
            algorithm="lstm",
            hyperparameters={"dropout": 0.2},
            state="chosen",
            rung=2,
            folds=600,
            skill={"last-value": 0.012},
            metrics={"mae": 4.8, "mase": 2.401},
            reason="the least loss of 4",
        ),
        LeaderboardEntry(algorithm="ets", state="dropped", rung=1, folds=200, skill={"last-value": -0.05}),
        LeaderboardEntry(algorithm="theta", state="not-possible", reason="<b>one series</b>"),
    )
    page_world.publish_market(empty.world, leaderboard=board, **factories.folds_of_a_release())
    page = empty.open()

    page.get_by_text("What the champion was chosen from").click()

    rows = page.locator("#leaderboard tbody tr")
    expect(rows).to_have_count(3)
    assert rows.nth(0).locator("td").all_inner_texts() == ["chosen: the least loss of 4", "2.401", "1.2\u00a0%"]
    assert rows.nth(0).locator("th").inner_text() == "lstm (dropout 0.2)"
    assert rows.nth(1).locator("td").first.inner_text() == "dropped at rung 1"
    assert rows.nth(2).locator("td").first.inner_text() == "not possible: <b>one series</b>"
    page.get_by_text("The champion fold by fold").click()
    folds = page.locator("#folds tbody tr")
    assert folds.locator("th").all_inner_texts() == [
        "Mean of 250",
        "Deviation of 250",
        "Tue, 7 Jan 2025",
        "Thu, 2 Jan 2025",
    ]
    assert folds.nth(0).locator("td").all_inner_texts() == ["", "", "2.00", "\u2013", "\u2013"]
    assert folds.nth(2).locator("td").all_inner_texts() == ["Fri, 17 Jan 2025", "1", "2.50", "90.0\u00a0%", "2.00"]


def test_a_champion_that_was_named_has_no_leaderboard_and_one_of_before_no_folds(full: Watched) -> None:
    page = full.open()
    expect(page.locator("#metrics tbody tr")).to_have_count(4)
    expect(page.locator("#leaderboard-box")).to_be_hidden()
    expect(page.locator("#folds-box")).to_be_hidden()


def test_skill_that_chance_does_as_well_is_said(empty: Watched) -> None:
    tested = {
        "dm-p-value-last-value": 0.41,
        "dm-p-value-drift": 0.0004,
        "direction-accuracy": 52.34,
        "direction-accuracy-lower": 47.2,
        "direction-accuracy-upper": 57.4,
        "coverage-80-step-1": 81.0,
    }
    page_world.publish_market(empty.world, skill=0.021, tested=tested)
    page = empty.open()
    expect(page.locator("#skill")).to_contain_text(
        "No difference to repeating the last value is shown: mean absolute error 2.1\u00a0% lower over 250 walk-forward "
        "folds, which chance does as well (p 0.41)."
    )
    expect(page.locator("#skill")).to_contain_text("below that of drift (p < 0.001)")
    expect(page.locator("#metrics tbody tr").first).to_contain_text("52.3\u00a0% (47\u201357)")
    assert "step" not in page.locator("#metrics thead").inner_text()


def test_source_and_its_reason_are_said(full: Watched) -> None:
    event = factories.ingest_event(
        series_id=SERIES, state="succeeded", source="sample", reason="yahoo could not be reached within 5 s"
    )
    full.world.publish(INGEST_EVENTS, event)
    full.world.settle()
    page = full.open()
    source = page.locator("#source")
    expect(source).to_contain_text("sample that comes with the installation, not from Yahoo")
    expect(page.locator("#source-note")).to_contain_text("yahoo could not be reached within 5 s")
    expect(source).to_contain_text("500 observations, the last of Tue, 2 Dec 2025")


def test_asked_forecast_replaces_table_and_fan(full: Watched) -> None:
    page = full.open()
    expect(page.locator("#steps tbody tr")).to_have_count(10)
    page.get_by_label("Horizon, in steps").fill("3")
    page.get_by_label("Levels, in percent").fill("50 90")
    page.get_by_role("button", name="Forecast", exact=True).click()

    expect(page.locator("#steps tbody tr")).to_have_count(3)
    expect(page.locator("#steps thead")).to_contain_text("50 % band")
    expect(page.locator("#ask-state")).to_contain_text("Answered in")
    assert len(traces(page)["90 % band"]["y"]) == 4
    full.require_clean()


def test_refusal_is_readable_and_can_be_dismissed_by_keyboard(full: Watched) -> None:
    page = full.open()
    expect(page.locator("#steps tbody tr")).to_have_count(10)
    page.get_by_label("Levels, in percent").fill("80, 101")
    page.get_by_role("button", name="Forecast", exact=True).click()

    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Invalid body")
    expect(alert).to_contain_text("levels")
    expect(alert).to_contain_text("found 101")
    alert.get_by_role("button", name="Dismiss").press("Enter")
    expect(alert).to_be_hidden()
    expect(page.locator("#steps tbody tr")).to_have_count(10)
    full.require_clean("status of 422")


def test_training_progress_moves_by_events(full: Watched) -> None:
    running_training(full.world)
    full.world.settle()
    page = full.open()
    expect(page.locator("#training-state")).to_have_text(f"Training of {MODEL}: 20\u00a0%, fitting.")
    expect(page.locator("#training-detail")).to_contain_text("epoch 3, train loss 0.5")

    training_event(full.world, 2, state="progress", fraction=0.7, stage="backtest")
    expect(page.locator("#training-state")).to_have_text(f"Training of {MODEL}: 70\u00a0%, backtest.")
    assert page.locator("#training-progress").evaluate("bar => bar.value") == 0.7
    assert any(request.endswith("/trainings/t1/events") for request in full.requests)

    training_event(full.world, 3, state="succeeded", fraction=1.0, version=SECOND)
    expect(page.locator("#training-state")).to_contain_text(f"succeeded: version {SECOND}")
    expect(page.get_by_role("button", name="Cancel it")).to_be_disabled()
    full.require_clean()


def test_training_is_started_and_cancelled(full: Watched) -> None:
    page = full.open()
    page.get_by_label("Algorithm").select_option("linear")
    page.get_by_label("Window size").fill("30")
    page.get_by_role("button", name="Start a training").click()
    expect(page.locator("#training-state")).to_contain_text("waiting for the trainer")

    training = full.world.client.get("/api/v1/trainings").json["trainings"][0]
    assert (training["model"], training["state"]) == (MODEL, "queued")
    page.get_by_role("button", name="Cancel it").click()
    expect(page.locator("#training-detail")).to_have_text("Cancellation asked for.")
    assert full.world.client.get(f"/api/v1/trainings/{training['training_id']}").json["is_cancel_requested"]
    full.require_clean()


def test_series_of_a_project_has_the_model_of_all_and_its_own_target(empty: Watched) -> None:
    series_ids = ("shop/1@1d", "shop/2@1d")
    rows = {"customers": tuple(range(500, 530)), "sales": tuple(range(4000, 4030))}
    for series_id in series_ids:
        empty.world.publish(OBSERVATIONS, factories.observation_batch(series_id=series_id, columns=rows))
    empty.world.publish(
        MODELS, factories.model_release(model="shop/sales", version=SECOND, series_ids=series_ids, target="sales")
    )
    empty.world.publish(DEPLOYMENTS, factories.deployment(model="shop/sales", version=SECOND))
    empty.world.settle()
    page = empty.open("/?series_id=shop/2@1d")

    # The first column, `customers`, unless the page takes the target of the model that learnt from the series.
    expect(page.get_by_label("Target")).to_have_value("sales")
    expect(page.locator("#last-value")).to_contain_text("4,029")
    with page.expect_request(lambda asked: asked.method == "POST" and asked.url.endswith("/forecasts")) as forecast:
        page.get_by_role("button", name="Forecast", exact=True).click()
    # The model that is named after the series, and does not exist, unless the page names the one that learnt from it.
    assert forecast.value.post_data_json["model"] == "shop/sales"
    page.get_by_label("Algorithm").select_option("auto")
    with page.expect_request(lambda asked: asked.method == "POST" and asked.url.endswith("/trainings")) as training:
        page.get_by_role("button", name="Start a training").click()
    assert training.value.post_data_json["target"] == "sales"
    expect(page.locator("#training-state")).to_contain_text("waiting for the trainer")


def test_another_version_is_made_champion(full: Watched) -> None:
    full.world.publish(MODELS, page_world.release(SECOND, skill=0.02, training_id="t2"))
    full.world.settle()
    page = full.open()
    page.get_by_text("Versions of this model").click()
    page.get_by_role("button", name=f"Make {SECOND} the champion").click()

    expect(page.get_by_role("button", name=f"Make {CHAMPION} the champion")).to_be_visible()
    assert full.world.client.get("/api/v1/models").json["models"][0]["champion"] == SECOND
    full.require_clean()


def test_empty_gateway_says_what_is_missing(empty: Watched) -> None:
    page = empty.open()
    expect(page.locator("#source")).to_have_text("No observations of this series have arrived yet.")
    expect(page.locator("#empty")).to_contain_text("No observations of market/AAPL@1d yet")
    expect(page.locator("#steps-empty")).to_have_text("No forecast of this series yet.")
    expect(page.locator("#skill")).to_have_text("No model has been released for this series yet.")
    empty.require_clean()


def test_first_training_is_shown_where_a_champion_will_be(empty: Watched) -> None:
    empty.world.publish(OBSERVATIONS, page_world.history())
    running_training(empty.world, 0.4)
    empty.world.settle()
    page = empty.open()
    expect(page.locator("#skill")).to_contain_text("No champion yet.")
    expect(page.locator("#skill")).to_contain_text("40\u00a0%")
    expect(page.locator("#steps-empty")).to_contain_text("the first model is being trained")
    expect(page.locator("#chart .plotly").first).to_be_visible()
    empty.require_clean()


def test_page_fills_by_itself_once_observations_arrive(empty: Watched) -> None:
    page = empty.open()
    expect(page.locator("#empty")).to_be_visible()
    page_world.publish_market(empty.world)
    expect(page.locator("#last-value")).to_contain_text(number(page_world.history().columns["close"][-1]))
    expect(page.locator("#empty")).to_be_hidden()


def test_sources_are_shown_with_their_state_and_last_error(full: Watched) -> None:
    page = full.open()
    expect(page.locator("#sources-empty")).to_be_visible()
    full.world.publish(INGEST_SCHEDULES, factories.schedule(series_id=SERIES, is_paused=True))
    full.world.publish(INGEST_REQUESTS, factories.ingest_request(series_id=SERIES))
    failure = factories.ingest_event(series_id=SERIES, state="failed", reason="<b>no</b> answer")
    full.world.publish(INGEST_EVENTS, failure)

    cells = page.locator("#sources tbody tr").first
    expect(cells).to_contain_text("<b>no</b> answer")
    expect(cells).to_contain_text("paused")
    expect(cells).to_contain_text("failed")
    expect(page.locator("#sources-empty")).to_be_hidden()
    full.require_clean()


def test_service_that_is_down_is_shown_down(full: Watched) -> None:
    page = full.open()
    line = page.locator("#services > li", has_text="trainer")
    expect(line.locator(".state")).to_have_text("down")
    member = full.world.broker.consumer(group="trainer", topics=[TRAINING_REQUESTS.name])
    member.poll(0.1)
    expect(line.locator(".state")).to_have_text("up")
    member.close()


def test_gateway_that_does_not_answer_is_said(full: Watched) -> None:
    page = full.open()
    expect(page.locator("#steps tbody tr")).to_have_count(10)
    page.route("**/status", lambda route: route.abort())
    page.route("**/api/**", lambda route: route.abort())
    expect(page.locator("#services")).to_contain_text("no answer")
    expect(page.locator("#source")).to_contain_text("The gateway does not answer")
    expect(page.locator("#steps tbody tr")).to_have_count(10)


def test_text_from_the_log_is_never_markup(empty: Watched) -> None:
    """Red when a value is put into the page as HTML (`innerHTML` in elements.js)."""
    markup = "<img/src=x/onerror=window.hit=1>"
    empty.world.publish(OBSERVATIONS, page_world.history(source=markup))
    empty.world.settle()
    page = empty.open()
    expect(page.locator("#source")).to_contain_text(markup)
    assert page.locator("#source img").count() == 0
    assert page.evaluate("window.hit") is None


def test_script_inside_the_html_is_not_run(full: Watched) -> None:
    """Red without the Content-Security-Policy: the line `blueprint.after_request(...)` of gateway/pages.py."""
    page = full.open()
    expect(page.locator("#steps tbody tr")).to_have_count(10)
    with page.expect_console_message(lambda line: "Content Security Policy" in line.text):
        page.evaluate("document.head.append(Object.assign(document.createElement('script'), {text: 'window.hit = 1'}))")
    assert page.evaluate("window.hit") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_page_fits_and_is_legible(browser: Browser, full: Watched, scheme: str, width: int) -> None:
    options = {"viewport": {"width": width, "height": 844}, "color_scheme": scheme}
    with watching(browser, full.world, full.url, **options) as watched:
        page = watched.open()
        expect(page.locator("#steps tbody tr")).to_have_count(10)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(FAINT_TEXT) == []
        watched.require_clean()


#: Texts whose contrast with their background is below 4.5 (WCAG 2.2 AA), the chart's own apart.
FAINT_TEXT = """() => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = (rgb) => rgb.slice(0, 3).map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, index) => sum + c * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const found = channels(getComputedStyle(at).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const faint = [];
  for (const element of document.querySelectorAll("body *")) {
    const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!hasText || element.disabled || !element.checkVisibility() || element.closest("#chart, .skip, noscript")) continue;
    const [one, other] = [luminance(channels(getComputedStyle(element).color)), luminance(behind(element))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) faint.push(`${element.tagName} ${element.textContent.slice(0, 40)}: ${contrast.toFixed(2)}`);
  }
  return faint;
}"""


def test_every_control_has_a_name_and_is_reached_by_keyboard(full: Watched) -> None:
    page = full.open()
    expect(page.locator("#steps tbody tr")).to_have_count(10)
    controls = page.locator("button:visible:enabled, input:visible, select:visible, a:visible")
    names = [
        control.evaluate("(c) => (c.labels?.[0] ?? c).textContent.trim() || c.ariaLabel") for control in controls.all()
    ]
    assert all(names)
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
    assert {"series", "horizon", "levels", "algorithm", "window-size", "Forecast", "Start a training"} <= reached


def test_chosen_theme_is_remembered(full: Watched) -> None:
    page = full.open()
    button = page.get_by_role("button", name="Theme")
    button.click()
    button.click()
    expect(button).to_have_text("Theme: dark")
    page.reload()
    expect(button).to_have_text("Theme: dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(11, 17, 32)"


def test_swagger_ui_renders_and_answers_without_internet(full: Watched) -> None:
    page = full.open("/docs")
    operation = page.locator("#operations-series-listSeries")
    operation.get_by_role("button").first.click()
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table")).to_contain_text(SERIES)
    full.require_clean()


def test_redoc_renders_without_internet(full: Watched) -> None:
    """Red when ReDoc's logo is asked from its maker's host: the replacement `_NO_LOGO` in gateway/docs.py."""
    page = full.open("/redoc")
    expect(page.get_by_role("heading", name="Ask for a forecast of a series").first).to_be_visible()
    expect(page.get_by_text("API docs by Redocly")).to_be_visible()
    full.require_clean()
