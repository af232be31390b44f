"""Recipes and artefacts: what names them, and what is refused."""

from __future__ import annotations

import hashlib
import pickle

import msgspec
import numpy as np
import pytest

from forecasting.artefact import (
    Artefact,
    FeatureRecipe,
    IntervalRecipe,
    Recipe,
    VolatilityRecipe,
    recipe_from_json,
    recipe_to_json,
)
from forecasting.errors import ForecastingError, InvalidArtefact, LevelNotCalibrated
from forecasting.intervals import calibrate
from forecasting.serving import LoadedModel
from schemas.identity import canonical_bytes


def recipe_of(**changes) -> Recipe:
    settings = {
        "algorithm": "last-value",
        "target": "close",
        "columns": ("close",),
        "freq": "1d",
        "calendar": "24/7",
        "season_length": 7,
        "window_size": 8,
        "horizon": 2,
        "transform": "log-return",
        "volatility": VolatilityRecipe(decay=0.94, shrinkage=0.1, long_run=0.02),
        "drift": 0.001,
        "intervals": calibrate(np.linspace(-1, 1, 40).reshape(20, 2)),
    }
    return Recipe(**(settings | changes))


def test_digest_is_over_the_canonical_recipe_a_nul_and_the_graph() -> None:
    recipe = recipe_of()
    form = canonical_bytes(recipe_to_json(recipe))

    assert Artefact(recipe, b"graph").digest == hashlib.sha256(form + b"\0graph").hexdigest()
    assert Artefact(recipe).version == hashlib.sha256(form + b"\0").hexdigest()[:16]


def test_recipe_keeps_its_digest_through_json() -> None:
    recipe = recipe_of(drift=1.0, seed=3, hyperparameters={"rate": 0.1, "layers": "8", "deep": True, "size": 4})
    travelled = msgspec.json.decode(msgspec.json.encode(recipe_to_json(recipe)))

    assert recipe_from_json(travelled) == recipe
    assert Artefact(recipe_from_json(travelled)).digest == Artefact(recipe).digest


def test_a_recipe_that_names_nothing_of_what_came_later_has_the_digest_that_it_always_had() -> None:
    # Red when a new field is not among `LATER`: every released version would get another name.
    recipe = Recipe(
        algorithm="lstm",
        target="close",
        columns=("close", "volume"),
        freq="1d",
        calendar="XNYS",
        season_length=5,
        window_size=20,
        horizon=2,
        transform="log-return",
        features=(
            FeatureRecipe(name="log-return", columns=("close",), scaling="volatility"),
            FeatureRecipe(
                name="macd-line", columns=("close",), window_size=26, scaling="standard", mean=0.25, scale=2.0
            ),
        ),
        has_volatility_input=True,
        volatility=VolatilityRecipe(decay=0.94, shrinkage=0.1, long_run=0.02),
        quantiles=(0.1, 0.5, 0.9),
        drift=0.001,
        intervals=IntervalRecipe(is_symmetric=True, scores=((0.5, 1.0), (0.25, 2.0))),
        hyperparameters={"layers": "32"},
        seed=7,
    )

    assert Artefact(recipe, b"graph").digest == "f76a0d8d1ff421644dfce47d4fb8ea954486841a06a8b522489c9417c01d505d"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target": "open"}, "target must be one of the columns close"),
        ({"columns": ("close", "close")}, "must not repeat"),
        ({"horizon": 3}, "intervals must have 3 steps"),
        ({"quantiles": (0.1, 0.9)}, "quantiles must ascend and have 0.5"),
        ({"window_size": 1}, "window_size"),
        ({"transform": "pickle"}, "transform"),
        ({"format": 2}, "format"),
        ({"code": "os.system"}, "code"),  # an unknown field: what it means would go unread
    ],
)
def test_recipe_that_breaks_a_rule_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidArtefact, match="a recipe of format 1, was one that breaks a rule") as caught:
        recipe_from_json(recipe_to_json(recipe_of()) | changes)
    assert said in caught.value.found
    assert caught.value.code == "invalid-recipe"


def test_unsorted_scores_are_refused() -> None:
    form = recipe_to_json(recipe_of())
    form["intervals"] = {"is_symmetric": True, "scores": [[1.0, 0.0], [0.0, 1.0]]}
    with pytest.raises(InvalidArtefact, match="scores must ascend, those of step 1 do not"):
        recipe_from_json(form)


def test_graph_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidArtefact, match="an ONNX graph that this version of ONNX Runtime can load") as caught:
        LoadedModel.load(recipe_of(algorithm="lstm", quantiles=(0.1, 0.5, 0.9)), b"\x80\x04not a graph")
    assert caught.value.code == "invalid-graph"
    with pytest.raises(InvalidArtefact, match="an ONNX graph for lstm, was none"):
        LoadedModel.load(recipe_of(algorithm="lstm", quantiles=(0.1, 0.5, 0.9)), None)
    with pytest.raises(InvalidArtefact, match="absent for last-value, was present"):
        LoadedModel.load(recipe_of(), b"graph")


def test_errors_keep_their_facts_between_processes() -> None:
    error = LevelNotCalibrated("level-not-calibrated", field="levels", expected="at most 95", found="99", advice="less")
    again = pickle.loads(pickle.dumps(error))

    assert type(again) is LevelNotCalibrated
    assert isinstance(again, ForecastingError)
    assert (again.code, again.field, again.expected, again.found, again.advice, str(again)) == (
        "level-not-calibrated",
        "levels",
        "at most 95",
        "99",
        "less",
        "levels must be at most 95, was 99; less",
    )
