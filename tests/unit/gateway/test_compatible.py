"""The doors for clients of the systems that this replaces; ids are those of docs/compatibility.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas.topics import DEPLOYMENTS, MODELS, OBSERVATIONS
from tests import factories
from tests.unit.gateway.tenants import tenants
from tests.unit.gateway.world import Responder, World, running

_LEVELS = {"open": 100.0, "high": 110.0, "low": 90.0, "close": 103.0, "volume": 5000.0, "adj_close": 103.0}
BARS: dict[str, tuple[float | None, ...]] = {
    name: tuple(level + day % 5 for day in range(30)) for name, level in _LEVELS.items()
}
ROWS = [[float(10 * row + column) for column in range(6)] for row in range(60)]
MODEL = "market/last-60-days"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("doors")) as started:
        for symbol, source in (("BTC-USD", "cryptocompare"), ("HET", "mock"), ("OLD", "yahoo")):
            series_id = f"market/{symbol}@1d"
            started.publish(OBSERVATIONS, factories.observation_batch(series_id=series_id, columns=BARS, source=source))
            if symbol != "OLD":
                deployed(started, f"market/{symbol}-1d", series_ids=(series_id,))
        # The columns as a training writes them: the target first.
        deployed(started, MODEL, columns=("close", "open", "high", "low", "volume", "adj_close"), window_size=60)
        started.settle()
        yield started


@pytest.fixture(scope="module")
def predictor(world: World) -> Iterator[Responder]:
    with Responder(world.broker) as responder:
        yield responder


def deployed(world: World, model: str, **changes: Any) -> None:
    world.publish(MODELS, factories.model_release(model=model, training_id=model.replace("/", "."), **changes))
    world.publish(DEPLOYMENTS, factories.deployment(deployment_id=model.replace("/", "."), model=model))


def test_sixty_rows_give_the_next_close(world: World, predictor: Responder) -> None:
    """S1.01."""
    answer = world.client.post("/predict", json={"last_60_days": ROWS})

    assert (answer.status_code, answer.get_json()) == (200, {"prediction": 100.5})
    asked = predictor.requests[-1]
    assert asked.window is not None
    assert (len(asked.window), asked.window[0]) == (60, (3.0, 0.0, 1.0, 2.0, 4.0, 5.0))  # in the model's order
    assert (asked.horizon, asked.model) == (1, MODEL)


@pytest.mark.parametrize(
    ("rows", "field"),
    [
        (ROWS[:59], "last_60_days"),
        ([*ROWS, ROWS[0]], "last_60_days"),
        ([*ROWS[:7], ROWS[7][:5], *ROWS[8:]], "last_60_days[7]"),
        ([*ROWS[:7], ["a"] * 6, *ROWS[8:]], "last_60_days[7][0]"),
        ("text", "last_60_days"),
        (None, "last_60_days"),
    ],
    ids=["59", "61", "five-columns", "words", "text", "null"],
)
def test_other_windows_are_refused_by_name(world: World, rows: Any, field: str) -> None:
    """S1.02."""
    answer = world.client.post("/predict", json={"last_60_days": rows})

    assert (answer.status_code, answer.get_json()["errors"][0]["field"]) == (422, field), answer.text


def test_model_that_is_missing_says_how_it_is_trained(world: World) -> None:
    with running(world.folder / "empty") as empty:
        empty.settle()
        answer = empty.client.post("/predict", json={"last_60_days": ROWS})

    assert (answer.status_code, answer.get_json()["type"]) == (404, "/problems/unknown-model")
    assert f"foretopic train market/AAPL@1d --model {MODEL} --window-size 60" in answer.get_json()["detail"]


@pytest.mark.parametrize("changes", [{"window_size": 20}, {"window_size": 60, "columns": ("close", "rsi")}])
def test_model_of_another_shape_is_named(world: World, changes: dict[str, Any]) -> None:
    with running(world.folder / f"other-{changes['window_size']}") as other:
        deployed(other, MODEL, **changes)
        other.settle()
        answer = other.client.post("/predict", json={"last_60_days": ROWS})

    assert (answer.status_code, answer.get_json()["type"]) == (409, "/problems/model-mismatch")


@pytest.mark.parametrize(("symbol", "simulated"), [("BTC", False), ("btc", False), ("HET", True)])
def test_symbol_has_price_and_direction(world: World, predictor: Responder, symbol: str, simulated: bool) -> None:
    """S2.16, S2.17."""
    answer = world.client.get(f"/symbol/{symbol}")

    found = answer.get_json()
    assert answer.status_code == 200, answer.text
    assert (found["symbol"], found["price"], found["is_simulated"]) == (symbol.upper(), BARS["close"][-1], simulated)
    assert (found["prediction"], found["direction"], found["probability_up"]) == (100.5, "down", None)  # of 107


def test_symbol_that_is_not_there_says_how_to_add_it(world: World) -> None:
    answer = world.client.get("/symbol/DOGE")

    assert (answer.status_code, answer.get_json()["type"]) == (404, "/problems/unknown-symbol")
    assert "foretopic ingest yahoo DOGE --series market/DOGE@1d" in answer.get_json()["detail"]
    assert world.client.get("/symbol/OLD").get_json()["type"] == "/problems/unknown-model"
    assert world.client.get("/symbol/%25").status_code == 404


def test_loaded_models_are_told_and_there_is_nothing_to_reload(world: World) -> None:
    """S2.15, S2.18."""
    models = world.client.get("/models").get_json()["models"]

    assert {(one["name"], one["role"]) for one in models} >= {(MODEL, "champion"), ("market/HET-1d", "champion")}
    for method in ("get", "post"):
        answer = getattr(world.client, method)("/reload")
        assert (answer.status_code, answer.get_json()["status"]) == (200, "up-to-date")
        assert answer.get_json()["models"] == models


@pytest.mark.parametrize(
    ("method", "path", "successor"),
    [
        ("POST", "/predict", "/api/v1/forecasts"),
        ("GET", "/symbol/DOGE", "/api/v1/forecasts"),
        ("GET", "/models", "/api/v1/models"),
        ("POST", "/reload", "/api/v1/models"),
    ],
)
def test_each_door_says_that_it_is_deprecated(world: World, method: str, path: str, successor: str) -> None:
    answer = world.client.open(path, method=method)

    assert answer.headers["Deprecation"] == "@1795219200"  # 2026-11-21
    assert f'<{successor}>; rel="successor-version"' in answer.headers["Link"]


def test_doors_are_shut_to_who_has_not_signed_in(tmp_path_factory: pytest.TempPathFactory) -> None:
    """S3.07. A tenant sees no model of another one."""
    with tenants(tmp_path_factory.mktemp("shut")) as both:
        model = f"{both.apples.project_id}/1-1d"
        deployed(both.world, model)
        both.world.settle()
        client = both.world.client
        for method, path in (("POST", "/predict"), ("GET", "/symbol/BTC"), ("GET", "/models"), ("POST", "/reload")):
            assert client.open(path, method=method).status_code == 401, path
        for path in ("/models", "/reload"):
            own = client.get(path, headers=both.apples.viewer.headers).get_json()["models"]
            assert [one["name"] for one in own] == [model]
            assert client.get(path, headers=both.pears.admin.headers).get_json()["models"] == []


def test_a_door_to_a_private_model_does_not_tell_others_that_it_stands(tmp_path: Path) -> None:
    """Red without `tenancy.require` before the model is looked at: 409 would tell it from one that is missing."""
    with tenants(tmp_path, last_60_days_model="shops-abcdef/last") as both:
        caller = both.pears.editor.headers
        missing = both.world.client.post("/predict", json={"last_60_days": ROWS}, headers=caller)
        deployed(both.world, "shops-abcdef/last", window_size=30)
        both.world.settle()
        there = both.world.client.post("/predict", json={"last_60_days": ROWS}, headers=caller)
    assert (missing.status_code, there.status_code) == (404, 404)
    assert missing.get_json()["detail"] == there.get_json()["detail"]
