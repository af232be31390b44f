"""How long all features take for a million rows, beside pandas and TA-Lib doing the same in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.accuracy.features_peers import PEERS
from benchmarks.accuracy.table import Row, at_most
from forecasting.artefact import TIME_COLUMN, FeatureRecipe, IntervalRecipe, Recipe, StepFeatureRecipe, VolatilityRecipe
from forecasting.features import FEATURE_KINDS, feature_of
from forecasting.features_calendar import DAY
from forecasting.panel import FloatArray
from forecasting.step_features import STEP_FEATURES, StepContext, step_feature_of

ROWS = 1_000_000
#: Of every feature, in the run that is told: the machine may be busy in another.
_RUNS = 3
_TARGET_SECONDS = 2.0
_DATASET = f"{ROWS:,} minute bars"
_WINDOWS = {"macd-line": 26, "macd-signal": 26, "macd-histogram": 26, "relative-strength-index": 14}
_WINDOW = 20
_PARAMETERS: Mapping[str, dict[str, float | str]] = {
    "fourier-sin": {"option": "year"},
    "fourier-cos": {"option": "week", "order": 2},
    "holiday": {"option": "US"},
    "days-to-holiday": {"option": "US"},
    "days-since-holiday": {"option": "US"},
}
Columns = Mapping[str, FloatArray]


def run(_: Path, report: Callable[[str], None]) -> list[Row]:
    """Return the seconds of all features of the rows and those of the peers, and the microseconds of step features."""
    columns = bars(ROWS)
    names = list(FEATURE_KINDS)
    report(f"{len(names)} features of {ROWS:,} rows")
    ours = {name: _best(feature_of(recipe_of(name)).transform, columns) for name in names}
    frame = pd.DataFrame(dict(columns), index=pd.to_datetime(columns[TIME_COLUMN], unit="s"))
    report("the same by pandas and TA-Lib")
    theirs = {name: _best(PEERS[name], frame) for name in names if name in PEERS}
    shared = sum(ours[name] for name in theirs)
    slowest = max(ours, key=lambda name: ours[name])
    return [
        Row(
            dataset=_DATASET,
            model=f"all {len(names)} features of the rows",
            measure="time",
            value=sum(ours.values()),
            unit=" s",
            target=at_most(_TARGET_SECONDS),
            note=f"one thread; the slowest is {slowest}, {ours[slowest]:.2f} s",
        ),
        Row(
            dataset=_DATASET,
            model=f"the {len(theirs)} that pandas or TA-Lib have",
            measure="time",
            value=shared,
            unit=" s",
            naive=sum(theirs.values()),
            naive_name="pandas and TA-Lib",
        ),
        _steps(report),
    ]


def bars(rows: int) -> Columns:
    """Return invented minute bars from 2018 on, with their times."""
    rng = np.random.default_rng(1)
    close = 100 * np.exp(np.cumsum(rng.normal(scale=2e-4, size=rows)))
    spread = np.abs(rng.normal(scale=1e-4, size=(2, rows)))
    start = int(datetime(2018, 1, 1, tzinfo=UTC).timestamp())
    return {
        "close": close,
        "high": close * (1 + spread[0]),
        "low": close / (1 + spread[1]),
        "volume": np.floor(rng.lognormal(mean=10, size=rows)),
        TIME_COLUMN: start + 60.0 * np.arange(rows),
    }


def recipe_of(name: str) -> FeatureRecipe:
    """Return a feature with common parameters."""
    kind = FEATURE_KINDS[name]
    known = {"value": "close", "price": "close", "other": "low"}
    return FeatureRecipe(
        name=name,
        columns=tuple(known.get(column, column) for column in kind.columns),
        window_size=1 if kind.least is None else _WINDOWS.get(name, _WINDOW),
        parameters=dict(_PARAMETERS.get(name, {})),
        scaling="standard",
    )


def _best(compute: Callable[..., object], given: object) -> float:
    """Return the seconds of the fastest of some runs."""
    found = []
    for _ in range(_RUNS):
        started = time.perf_counter()
        compute(given)
        found.append(time.perf_counter() - started)
    return min(found)


def _steps(report: Callable[[str], None]) -> Row:
    recipe, context = _window()
    report(f"{len(STEP_FEATURES)} step features of one window")
    found: dict[str, float] = {}
    for name, parameters in _step_parameters().items():
        compute = step_feature_of(StepFeatureRecipe(name=name, **parameters), recipe).compute
        found[name] = _best(lambda given, compute=compute: [compute(given) for _ in range(_STEP_CALLS)], context)
    slowest = max(found, key=lambda name: found[name])
    micro = 1e6 / _STEP_CALLS
    return Row(
        dataset=f"a window of {_STEP_ROWS} days, {_STEPS} steps",
        model=f"each of {len(found)} step features",
        measure="mean time",
        value=micro * sum(found.values()) / len(found),
        unit=" µs",
        note=f"the slowest is {slowest}, {micro * found[slowest]:.0f} µs",
    )


_STEP_CALLS, _STEP_ROWS, _STEPS = 200, 365, 42


def _step_parameters() -> dict[str, dict[str, Any]]:
    known: dict[str, dict[str, Any]] = {
        "fourier-sin": {"option": "year"},
        "fourier-cos": {"option": "week"},
        **{name: {"option": "US"} for name in ("holiday", "days-to-holiday", "days-since-holiday")},
        "known": {"columns": ("promo",)},
        "static": {"columns": ("size",)},
        "seasonal-mean": {"order": 4},
        "matched-mean": {"columns": ("day-of-week", "promo"), "order": 4},
    }
    return {name: known.get(name, {}) for name in STEP_FEATURES}


def _window() -> tuple[Recipe, StepContext]:
    rng = np.random.default_rng(1)
    days = int(datetime(2023, 1, 1, tzinfo=UTC).timestamp()) + DAY * np.arange(_STEP_ROWS + _STEPS)
    promo = rng.integers(0, 2, len(days)).astype(np.float64)
    sales = rng.normal(size=_STEP_ROWS)
    recipe = Recipe(
        algorithm="linear",
        target="sales",
        columns=("sales", "promo", "size"),
        freq="1d",
        calendar="24/7",
        season_length=7,
        window_size=_STEP_ROWS,
        horizon=_STEPS,
        transform="difference",
        volatility=VolatilityRecipe(decay=0.94, shrinkage=0.1, long_run=1.0),
        drift=0.0,
        intervals=IntervalRecipe(is_symmetric=True, scores=((0.0,),) * _STEPS),
        future_columns=("promo",),
        static_columns=("size",),
    )
    columns = {"sales": sales, "promo": promo[:_STEP_ROWS], "size": np.ones(_STEP_ROWS)}
    known = {"promo": promo[_STEP_ROWS:]}
    return recipe, StepContext(columns, days[:_STEP_ROWS], sales, days[_STEP_ROWS:], known, _STEPS, 7)
