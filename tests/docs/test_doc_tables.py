from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest

from forecasting.features import FEATURES
from forecasting.folds import PlanSize, min_calibration_of
from forecasting.indicators import INDICATORS
from forecasting.intervals import MIN_SIGNED_FOLDS, folds_needed
from forecasting.panel import Observations
from forecasting.step_features import STEP_FEATURES
from forecasting.training import TrainingSpec, train
from foretopic import doc_tables, subscription
from gateway.settings import GatewaySettings
from predictor.settings import PredictorSettings
from runtime.broker import partition_for
from schemas.forecasts import DEFAULT_LEVELS, AsOf
from schemas.topics import DEPLOYMENTS, MODELS, OBSERVATIONS
from tests import factories
from tests.docs.pages import ROOT
from tests.predictor_world import World, day_after, observed

_TABLE_CODE = re.compile(r"^\| `([a-z0-9-]+)` \| [0-9, ]+ \| (yes)? *\|", flags=re.MULTILINE)
MODELS_PAGE = (ROOT / "docs" / "models.md").read_text()
FORECASTS_PAGE = (ROOT / "docs" / "forecasts.md").read_text()


@pytest.mark.parametrize("name", doc_tables.TABLES)
def test_tables_in_the_page_are_those_of_the_code(name: str) -> None:
    page = (ROOT / "docs" / name).read_text()
    assert doc_tables.with_tables(page, doc_tables.TABLES[name]) == page, "run python -m foretopic.doc_tables"


def test_page_without_a_marker_is_refused() -> None:
    with pytest.raises(ValueError, match="must have the lines"):
        doc_tables.with_tables("# Topics\n", doc_tables.TABLES["topics.md"])


def refusal_codes(file: Path) -> Iterator[str]:
    """Yield the codes of the errors that a module makes: the first argument of a call with a capital."""
    for call in (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)):
        first = call.args[0] if call.args else None
        is_error = isinstance(call.func, ast.Name) and call.func.id[:1].isupper()
        text = first.value if is_error and isinstance(first, ast.Constant) else None
        if isinstance(text, str) and re.fullmatch(r"[a-z]+(-[a-z]+)+", text):
            yield text


@cache
def modules_of_serving() -> frozenset[str]:
    """Return the modules that are loaded once the predictor has been imported."""
    command = [sys.executable, "-c", "import sys, predictor.core; print(*sys.modules)"]
    return frozenset(subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout.split())


def serving_modules() -> list[Path]:
    files = [ROOT / f"{name.replace('.', '/')}.py" for name in modules_of_serving() if name.startswith("forecasting.")]
    return [file for file in files if file.exists()]  # a package has a file of another name, without code


def test_codes_of_refused_forecasts_are_those_in_predictor_and_forecasting() -> None:
    raised = {code for file in (ROOT / "predictor").glob("*.py") for code in refusal_codes(file)}
    raised |= {code for file in serving_modules() for code in refusal_codes(file)}
    # Built from two halves in `InputBuilder`.
    raised |= {"window-not-finite", "window-not-positive"}
    raised -= {"parity-broken", "irregular-series", "wrong-freq"}  # a training's

    table = _TABLE_CODE.findall(FORECASTS_PAGE)

    assert {code for code, is_in_forecasts in table if is_in_forecasts} == raised


def test_serving_loads_nothing_that_only_a_training_uses() -> None:
    libraries = {
        "torch",
        "sklearn",
        "skl2onnx",
        "onnx",
        "lightgbm",
        "statsforecast",
        "scipy",
        "optuna",
        "pandas",
        "mlflow",
    }
    ours = {"backtest", "evaluation", "folds", "losses", "preparation", "training"}

    assert not modules_of_serving() & libraries
    assert not modules_of_serving() & {f"forecasting.{name}" for name in ours}


@pytest.mark.parametrize(
    ("table", "names"),
    [("features", FEATURES), ("indicators", INDICATORS), ("step features", STEP_FEATURES)],
)
def test_features_page_has_a_row_for_every_feature_with_its_settings(table: str, names: Iterable[str]) -> None:
    rows = doc_tables.TABLES["features.md"][table]().splitlines()[2:]

    assert [re.match(r"\| `([a-z-]+)`", row)[1] for row in rows] == list(names)
    assert all(row.count(" | ") == 3 and row.split(" | ")[3].strip(" |") for row in rows)


def test_models_page_describes_every_metric_of_a_release() -> None:
    day = np.arange(300)
    series = Observations(
        series_id="shop/apples@1d",
        freq="1d",
        calendar="24/7",
        unit="",
        source="test",
        time=1_700_006_400 + 86_400 * day,
        columns={"close": 100.0 + (day * 7919) % 13},
        newest_offset=0,
    )
    trained = train(TrainingSpec(algorithm="drift", horizon=3, levels=(80.0,)), [series])
    described = set(re.findall(r"`([a-z0-9-]+)`", MODELS_PAGE))

    names = {name for metrics in trained.metrics.values() for name in metrics}

    assert {_kind(name) for name in names} <= described
    assert "mae-step-1" in described


def _kind(metric: str) -> str:
    """The name under which the page describes a metric of one step, of a part, or of the test against a baseline."""
    whole = re.sub(r"-step-\d+$", "", metric)
    of_part = re.sub(r"^(train|validation)-\w+$", r"\1-mae", whole)
    return re.sub(r"^(dm-[a-z-]+)-(drift|seasonal-naive)$", r"\1-last-value", of_part)


def test_numbers_on_the_models_page_are_those_of_the_code() -> None:
    spec = TrainingSpec()
    size = PlanSize(
        first_row=spec.window_size - 1,
        horizon=spec.horizon,
        min_calibration=min_calibration_of(spec.levels),
        refits=3,
        needs_fit=True,
    )
    assert f"With the defaults {size.rows} complete rows" in MODELS_PAGE
    assert f"95 % needs {folds_needed(95)} folds, 99 % needs {folds_needed(99)}" in MODELS_PAGE
    assert f"calibrated apart from {MIN_SIGNED_FOLDS} folds on" in MODELS_PAGE


def test_numbers_on_the_forecasts_page_are_those_of_the_code() -> None:
    gateway = GatewaySettings()
    assert (
        f"{gateway.default_wait_seconds:g} seconds unless given, at most {gateway.max_wait_seconds:g}" in FORECASTS_PAGE
    )
    assert f"{PredictorSettings().answered_limit:,} a partition" in FORECASTS_PAGE
    assert f"remembers the last {subscription._REMEMBERED:,} names" in FORECASTS_PAGE
    assert f"`levels` it is {' and '.join(f'{level:g}' for level in DEFAULT_LEVELS)}" in FORECASTS_PAGE


def test_pinned_request_written_again_under_another_id_has_the_same_forecast() -> None:
    world = World()
    observed(world, rows=30)
    partition = partition_for(factories.SERIES.encode(), 12)
    as_of = AsOf(
        observations=world.end(OBSERVATIONS, partition), models=world.end(MODELS), deployments=world.end(DEPLOYMENTS)
    )
    first = world.answer(factories.forecast_request("first-1", as_of=as_of))
    # The log goes on: the replay must not see it.
    world.learn(OBSERVATIONS, day_after(30))

    again = world.answer(factories.forecast_request("replay-1", as_of=as_of))

    assert again == msgspec.structs.replace(first, request_id="replay-1")
