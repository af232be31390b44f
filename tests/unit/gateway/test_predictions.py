"""Predictions of a project: rows of a table in, the next values out, and each fault named by row and column."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from schemas.forecasts import ForecastRequested
from schemas.topics import DEPLOYMENTS, MODELS, OBSERVATIONS
from tests import factories
from tests.unit.gateway.world import Responder, World, issued, running

ROWS = 30
SALES: dict[str, tuple[float | None, ...]] = {
    "sales": tuple(float(100 + day % 7) for day in range(ROWS)),
    "promo": (0.0,) * ROWS,
    "visits": (5.0,) * ROWS,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("predictions")) as started:
        yield started


@pytest.fixture(scope="module")
def predictor(world: World) -> Iterator[Responder]:
    with Responder(world.broker) as responder:
        yield responder


@pytest.fixture(scope="module")
def shops(world: World) -> str:
    return two_shops(world)


def two_shops(world: World) -> str:
    """Make a project of two shops with one model for both that knows promotions."""
    project_id = new_project(world)
    for name in ("1", "2"):
        world.publish(OBSERVATIONS, factories.observation_batch(series_id=f"{project_id}/{name}@1d", columns=SALES))
    released(world, project_id, f"{project_id}/sales", (f"{project_id}/1@1d", f"{project_id}/2@1d"), ("promo",))
    world.settle()
    return project_id


@pytest.fixture(scope="module")
def shop(world: World) -> str:
    """A project of one series whose target has fractions, and whose model knows nothing of the future."""
    project_id = new_project(world)
    series_id = f"{project_id}/only@1d"
    prices: dict[str, tuple[float | None, ...]] = {"price": tuple(1.5 + day for day in range(ROWS))}
    world.publish(OBSERVATIONS, factories.observation_batch(series_id=series_id, columns=prices))
    released(world, project_id, f"{project_id}/only-1d", (series_id,), (), target="price")
    world.settle()
    return project_id


def new_project(world: World) -> str:
    project_id: str = world.client.post("/api/v1/projects", json={"name": "Shops"}).get_json()["project_id"]
    return project_id


def released(  # noqa: PLR0917
    world: World, project_id: str, model: str, series: tuple[str, ...], future: tuple[str, ...], target: str = "sales"
) -> None:
    recipe = {"algorithm": "lightgbm", "future_columns": list(future)}
    columns = (target, *future)
    release = factories.model_release(
        model=model,
        series_ids=series,
        target=target,
        columns=columns,
        recipe=recipe,
        training_id=f"t-{model}".replace("/", "."),
    )
    world.publish(MODELS, release)
    world.publish(DEPLOYMENTS, factories.deployment(deployment_id=f"d-{model}".replace("/", "."), model=model))


def day(number: int) -> str:
    """Return a day after the last known one, counted from 1."""
    return f"{factories.START + timedelta(days=ROWS - 1 + number):%Y-%m-%d}"


def predict(world: World, project_id: str, **body: Any) -> Any:
    return world.client.post(f"/api/v1/projects/{project_id}/predict", json=body)


def test_rows_ahead_are_answered_with_whole_numbers_where_the_target_counts(
    world: World, predictor: Responder, shops: str
) -> None:
    rows = [{"Date": day(2), "Promo": 0}, {"Date": day(1), "Promo": 1}]

    answer = predict(world, shops, series="1", rows=rows)

    found = answer.get_json()
    assert answer.status_code == 200, answer.text
    assert (found["previsao_de_vendas"], found["values"], found["is_rounded"]) == (101, [101, 101], True)  # of 100.5
    assert (found["series"], found["series_id"], found["model"]) == ("1", f"{shops}/1@1d", f"{shops}/sales")
    assert found["forecast"]["steps"][0]["median"] == 100.5
    asked = predictor.requests[-1]
    assert asked.future is not None
    assert asked.future.columns == {"promo": (1.0, 0.0)}  # by date
    assert [time.day for time in asked.future.time] == [int(day(1)[-2:]), int(day(2)[-2:])]
    assert (asked.horizon, asked.model) == (2, f"{shops}/sales")


def test_target_with_fractions_is_not_rounded(world: World, predictor: Responder, shop: str) -> None:
    found = predict(world, shop, horizon=2).get_json()

    assert (found["previsao_de_vendas"], found["values"], found["is_rounded"]) == (100.5, [100.5, 100.5], False)
    assert found["series"] == "only"


def test_rows_of_several_series_are_answered_together(world: World, predictor: Responder, shops: str) -> None:
    rows = [{"series": name, "date": day(number), "promo": 1} for number in (1, 2, 3) for name in (1, "2")]

    found = predict(world, shops, rows=rows).get_json()["predictions"]

    assert [one["series"] for one in found] == ["1", "2"]
    assert all(len(one["values"]) == 3 for one in found)


def test_one_of_several_that_is_refused_says_why_beside_the_others(world: World) -> None:
    def refuse_second(request: ForecastRequested) -> Any:
        if str(request.series_id).endswith("/2@1d"):
            return factories.forecast_refused(
                request.request_id, series_id=request.series_id, code="too-little-history"
            )
        return issued(request)

    with running(world.folder / "second") as other, Responder(other.broker, refuse_second):
        rows = [{"series": name, "date": day(1), "promo": 0.25} for name in ("1", "2")]
        found = predict(other, two_shops(other), rows=rows).get_json()["predictions"]

    assert found[0]["values"] == [101]
    assert found[1]["problem"]["type"] == "/problems/too-little-history"


def test_columns_that_the_model_does_not_read_are_told(world: World, predictor: Responder, shops: str) -> None:
    found = predict(world, shops, series="1", rows=[{"date": day(1), "promo": True, "visits": 7, "sales": None}])

    assert found.get_json()["ignored_columns"] == ["visits"]


def test_repeat_with_a_key_is_the_same_request(world: World, predictor: Responder, shops: str) -> None:
    body = {"series": "1", "rows": [{"date": day(1), "promo": 0.5}]}
    answers = [
        world.client.post(f"/api/v1/projects/{shops}/predict", json=body, headers={"Idempotency-Key": "again"})
        for _ in range(2)
    ]

    assert answers[0].get_json() == answers[1].get_json()
    assert answers[0].get_json()["forecast"]["request_id"] == "again"


def test_what_is_not_answered_in_time_is_202_with_its_place(world: World, shops: str) -> None:
    with running(world.folder / "silent") as silent:
        project_id = new_project(silent)
        series_id = f"{project_id}/1@1d"
        silent.publish(OBSERVATIONS, factories.observation_batch(series_id=series_id, columns=SALES))
        released(silent, project_id, f"{project_id}/1-1d", (series_id,), ())
        silent.settle()
        answer = silent.client.post(
            f"/api/v1/projects/{project_id}/predict", json={"horizon": 1}, headers={"Prefer": "wait=0"}
        )

    assert (answer.status_code, answer.get_json()["state"]) == (202, "pending")
    assert answer.headers["Location"].startswith("/api/v1/forecasts/")


BAD: list[tuple[str, dict[str, Any], int, str, str]] = [
    ("missing-column", {"series": "1", "rows": [{"date": day(1)}]}, 422, "rows[0].promo", "future-missing"),
    ("null", {"series": "1", "rows": [{"date": day(1), "promo": None}]}, 422, "rows[0].promo", "future-missing"),
    ("text", {"series": "1", "rows": [{"date": day(1), "promo": "yes"}]}, 422, "rows[0].promo", "invalid-body"),
    ("infinite", {"series": "1", "rows": [{"date": day(1), "promo": "inf"}]}, 422, "rows[0].promo", "invalid-body"),
    (
        "unknown",
        {"series": "1", "rows": [{"date": day(1), "promo": 1, "promi": 1}]},
        422,
        "rows[0].promi",
        "unknown-column",
    ),
    ("no-date", {"series": "1", "rows": [{"promo": 1}]}, 422, "rows[0].date", "invalid-body"),
    ("wrong-date", {"series": "1", "rows": [{"date": "31.07.2015", "promo": 1}]}, 422, "rows[0].date", "invalid-body"),
    ("number-as-date", {"series": "1", "rows": [{"date": 20250101, "promo": 1}]}, 422, "rows[0].date", "invalid-body"),
    ("past", {"series": "1", "rows": [{"date": day(0), "promo": 1}]}, 422, "rows[0]", "invalid-body"),
    ("twice", {"series": "1", "rows": [{"date": day(1), "promo": 1}] * 2}, 422, "rows[1]", "invalid-body"),
    (
        "same-column",
        {"series": "1", "rows": [{"date": day(1), "promo": 1, "PROMO": 0}]},
        422,
        "rows[0].promo",
        "invalid-body",
    ),
    (
        "target",
        {"series": "1", "rows": [{"date": day(1), "promo": 1, "sales": 9}]},
        422,
        "rows[0].sales",
        "invalid-body",
    ),
    ("no-series", {"rows": [{"date": day(1), "promo": 1}]}, 422, "series", "invalid-body"),
    ("other-series", {"series": "3", "rows": []}, 404, "series", "unknown-series"),
    ("foreign-series", {"series": "market/AAPL@1d"}, 404, "series", "unknown-series"),
    ("other-model", {"series": "1", "model": "shop/x"}, 404, "model", "unknown-model"),
    (
        "too-few-rows",
        {"series": "1", "rows": [{"date": day(1), "promo": 1}], "horizon": 2},
        422,
        "horizon",
        "invalid-body",
    ),
    ("too-far", {"series": "1", "horizon": 11}, 422, "horizon", "horizon-too-long"),
    ("table", {"series": "1", "rows": [[1, 2]]}, 422, "rows[0]", "invalid-body"),
    ("misspelt", {"series": "1", "row": []}, 422, "row", "invalid-body"),
]


@pytest.mark.parametrize(("body", "status", "field", "code"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
def test_fault_is_named(  # noqa: PLR0917
    world: World, shops: str, body: dict[str, Any], status: int, field: str, code: str
) -> None:
    answer = predict(world, shops, **body)

    problem = answer.get_json()
    assert (answer.status_code, problem["type"]) == (status, f"/problems/{code}"), answer.text
    assert problem["errors"][0]["field"] == field


def test_date_that_the_calendar_does_not_have_next_is_named(world: World, predictor: Responder, shop: str) -> None:
    answer = predict(world, shop, rows=[{"date": day(2)}])

    assert (answer.status_code, answer.get_json()["errors"][0]["field"]) == (422, "rows[0]")
    assert day(1) in answer.get_json()["detail"]


def test_project_without_a_model_says_how_to_train_one(world: World) -> None:
    project_id = new_project(world)
    world.publish(OBSERVATIONS, factories.observation_batch(series_id=f"{project_id}/1@1d", columns=SALES))
    world.settle()

    answer = predict(world, project_id, horizon=1)

    assert (answer.status_code, answer.get_json()["type"]) == (409, "/problems/not-trained")
    assert f"POST /api/v1/projects/{project_id}/train" in answer.get_json()["detail"]


def test_new_series_is_forecast_by_the_model_of_the_others(world: World, predictor: Responder, shops: str) -> None:
    world.publish(OBSERVATIONS, factories.observation_batch(series_id=f"{shops}/new@1d", columns=SALES))
    world.settle()

    found = predict(world, shops, series="new", rows=[{"date": day(1), "promo": 0}]).get_json()

    assert found["model"] == f"{shops}/sales"
