"""Rossmann: daily sales of 400 stores, the last six weeks as the test, by one global LightGBM model.

A row is a day on which a store sold something, so step *k* is the *k*-th open day after the cutoff. The model is
trained and served by the product's own code: a spec with covariates and step features, `fit_cut`, `LoadedModel`.

Settings were chosen on the six weeks before the test (`FOLD`), which the command measures beside the test: features by
what they added there, 600 rounds as the loss no longer fell. The number of rounds is the only thing that a validation
part would choose, so the fit of a part sees every row before it, and its "validation" is a part of the fit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.accuracy.data import rossmann
from benchmarks.accuracy.table import Row, at_most
from forecasting.artefact import StepFeatureRecipe
from forecasting.fits import fit_cut
from forecasting.folds import Cut, Part
from forecasting.panel import FloatArray, Observations
from forecasting.serving import LoadedModel
from forecasting.training_panel import Panel, panel_of
from forecasting.training_spec import TrainingSpec

DATASET = "Rossmann, 400 stores, last 6 weeks"
WEEKS = timedelta(days=42)
TEST = datetime(2015, 6, 20, tzinfo=UTC)
#: The six weeks before the test: settings were chosen on these alone.
FOLD = TEST - WEEKS
HORIZON = 42
#: A year of open days, so that a window has seen the season of its steps once.
WINDOW_SIZE = 330
#: Open days between the cutoffs that are learnt from: neighbours say nearly the same.
STRIDE = 10
_DAY = 86_400
_MOST_CLOSED_DAYS, _MOST_PROMOTION_DAYS = 5, 12
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sept", "Oct", "Nov", "Dec")

_KNOWN = ("weekday", "promo", "state_holiday", "school_holiday", "opens_in", "promo2_runs", "promo_day")
_STATIC = ("store_type", "assortment", "competition", "promo2")
_TERMS = ("step", "day-of-month", "days-to-month-end", "week-of-year", "month", "day-of-year", "gap")
_HOLIDAYS = ("days-to-holiday", "days-since-holiday")
#: Rows of the window that agree with a step in these columns, and how many of the newest (0: all).
_MATCHES: tuple[tuple[tuple[str, ...], int], ...] = (
    (("weekday", "promo"), 0),
    (("weekday", "promo"), 3),
    (("weekday", "promo"), 8),
    (("weekday", "promo"), 16),
    (("weekday",), 0),
    (("weekday",), 12),
    (("promo",), 0),
    (("promo",), 24),
    (("weekday", "promo", "school_holiday"), 0),
    (("weekday", "promo", "opens_in"), 0),
    (("weekday", "promo_day"), 8),
    (("school_holiday", "promo"), 0),
    (("day-of-month",), 0),
    (("day-of-month", "promo"), 0),
    (("month",), 0),
    (("week-of-year",), 0),
    (("week-of-year", "promo"), 0),
)
_MEAN_ROWS = (6, 12, 24, 48, 100, 200)
_DEVIATION_ROWS = (0, 36)


def spec() -> TrainingSpec:
    """Return what is trained."""
    of_target = [
        *(StepFeatureRecipe(name="window-mean", order=rows, scaling="window") for rows in _MEAN_ROWS),
        *(StepFeatureRecipe(name="window-deviation", order=rows, scaling="standard") for rows in _DEVIATION_ROWS),
        *(
            StepFeatureRecipe(name="matched-mean", columns=columns, order=order, scaling="window")
            for columns, order in _MATCHES
        ),
    ]
    return TrainingSpec(
        algorithm="lightgbm",
        target="sales",
        columns=("sales",),
        horizon=HORIZON,
        window_size=WINDOW_SIZE,
        season_length=6,
        covariates={**dict.fromkeys(_KNOWN, "known-future"), **dict.fromkeys(_STATIC, "static")},
        step_features=(
            *(StepFeatureRecipe(name=name) for name in _TERMS),
            *(StepFeatureRecipe(name=name, option="DE") for name in _HOLIDAYS),
            *(StepFeatureRecipe(name="known", columns=(name,)) for name in _KNOWN),
            *(StepFeatureRecipe(name="static", columns=(name,)) for name in _STATIC),
            *of_target,
        ),
        hyperparameters={
            "anchor": "mean",
            "lags": 6,
            "rounds": 600,
            "patience": 600,
            "learning_rate": 0.04,
            "leaves": 63,
            "min_leaf": 50,
            "l2": 5.0,
            "row_share": 0.8,
            "column_share": 0.5,
            "max_rows": 400_000,
            "threads": 1,
        },
        seed=1,
    )


def run(data_dir: Path, report: Callable[[str], None]) -> list[Row]:
    """Return the figures of the test part, and those of the fold that settings were chosen on, without targets.

    Args:
        data_dir: The folder of the real data.
        report: Told what is being done.
    """
    stores = [_observations(store, frame) for store, frame in _prepared(rossmann(data_dir)).groupby("Store")]
    rows = []
    for name, start, is_test in (
        ("the 6 weeks before, on which settings were chosen", FOLD, False),
        (DATASET, TEST, True),
    ):
        started = time.perf_counter()
        forecasts, naives, actual = measured(stores, start, report)
        seconds = time.perf_counter() - started
        for measure, loss, target in (("MAPE", _mape, 9.5), ("RMSPE", _rmspe, 12.0)):
            best = min(naives, key=lambda one: loss(naives[one], actual))
            rows.append(
                Row(
                    dataset="Rossmann" if is_test else "Rossmann, earlier fold",
                    model="lightgbm, one for all stores",
                    measure=measure,
                    value=loss(forecasts, actual),
                    unit=" %",
                    target=at_most(target) if is_test else None,
                    naive=loss(naives[best], actual),
                    naive_name=best,
                    seconds=seconds,
                    note=f"{len(actual)} open days; {name}",
                )
            )
            report(f"{name}: {measure} {rows[-1].value:.2f} %, {best} {rows[-1].naive:.2f} %")
    return rows


def measured(
    stores: Sequence[Observations], start: datetime, report: Callable[[str], None]
) -> tuple[FloatArray, dict[str, FloatArray], FloatArray]:
    """Return the forecasts of all open days of six weeks, those of the naive ways, and what happened."""
    first, end = int(start.timestamp()), int((start + WEEKS).timestamp())
    chosen = spec()
    known = panel_of(chosen, [one.slice(0, int(np.searchsorted(one.time, first))) for one in stores])
    report(f"fitting on {sum(map(len, known.series))} open days before {start:%Y-%m-%d}")
    model = LoadedModel.load(*fit_cut(chosen, known, _cut(known)))
    whole = panel_of(chosen, [one.slice(0, int(np.searchsorted(one.time, end))) for one in stores])
    report("forecasting")
    return _forecasts(model, whole, first)


def _cut(panel: Panel) -> Cut:
    """Return the cutoffs to learn from: every tenth open day of each store whose steps are all known."""
    parts = []
    for series, values in enumerate(panel.values):
        cutoffs = np.arange(len(values) - 1 - HORIZON, WINDOW_SIZE - 2, -STRIDE)[::-1]
        parts.append(Part(series, cutoffs[cutoffs >= WINDOW_SIZE - 1]))
    return Cut(
        fit=[part for part in parts if len(part.cutoffs)],
        validation=[Part(part.series, part.cutoffs[-1:]) for part in parts if len(part.cutoffs)],
        folds=[],
    )


def _forecasts(model: LoadedModel, panel: Panel, first: int) -> tuple[FloatArray, dict[str, FloatArray], FloatArray]:
    recipe = model.recipe
    weekday = recipe.columns.index("weekday")
    target = recipe.columns.index(recipe.target)
    found, actual = [], []
    naives: dict[str, list[FloatArray]] = {"last value": [], "same weekday a week before": []}
    for series, values in enumerate(panel.values):
        cutoff = int(np.searchsorted(panel.series[series].time, first)) - 1
        steps = len(values) - 1 - cutoff
        window = panel.window(recipe, series, cutoff)
        found.append(model.forecast([window], steps, ())[0].median)
        actual.append(values[cutoff + 1 :, target])
        before = values[: cutoff + 1]
        naives["last value"].append(np.full(steps, before[-1, target]))
        newest = {float(row[weekday]): float(row[target]) for row in before[-60:]}
        naives["same weekday a week before"].append(
            np.array([newest.get(float(day), before[-1, target]) for day in values[cutoff + 1 :, weekday]])
        )
    return (
        np.concatenate(found),
        {name: np.concatenate(parts) for name, parts in naives.items()},
        np.concatenate(actual),
    )


def _mape(forecast: FloatArray, actual: FloatArray) -> float:
    return float(100 * np.mean(np.abs(forecast / actual - 1)))


def _rmspe(forecast: FloatArray, actual: FloatArray) -> float:
    return float(100 * np.sqrt(np.mean((forecast / actual - 1) ** 2)))


def _prepared(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the columns as numbers: letters by their place in the alphabet, and what the calendar of a store says."""
    dates = frame["Date"].dt
    before_next = frame.groupby("Store")["Date"].diff(-1).dt.days.mul(-1)
    distance = frame["CompetitionDistance"]
    return pd.DataFrame(
        {
            "Store": frame["Store"],
            "time": frame["Date"].astype("datetime64[s]").astype(np.int64),
            "sales": frame["Sales"],
            "weekday": frame["DayOfWeek"],
            "promo": frame["Promo"],
            "state_holiday": frame["StateHoliday"].astype(str).map({"0": 0, "a": 1, "b": 2, "c": 3}),
            "school_holiday": frame["SchoolHoliday"],
            # When a store opens next is in its calendar; the last row of the set has no next one.
            "opens_in": before_next.fillna(1).clip(upper=_MOST_CLOSED_DAYS),
            "promo2_runs": _promo2_runs(frame, dates.month, dates.isocalendar()),
            "promo_day": _days_in_a_row(frame["Promo"].to_numpy(), frame["Store"].to_numpy()),
            "store_type": frame["StoreType"].map({"a": 0, "b": 1, "c": 2, "d": 3}),
            "assortment": frame["Assortment"].map({"a": 0, "b": 1, "c": 2}),
            "competition": np.log1p(distance.fillna(distance.max())),
            "promo2": frame["Promo2"],
        }
    )


def _promo2_runs(frame: pd.DataFrame, month: pd.Series, iso: pd.DataFrame) -> npt.NDArray[np.float64]:
    """Return 1 in the months in which a store's repeated promotion starts anew, once it takes part, else 0."""
    named = frame["PromoInterval"].fillna("").str.split(",")
    starts = np.array([_MONTHS[number - 1] in names for names, number in zip(named, month, strict=True)])
    weeks = iso["year"].to_numpy(np.int64) * 53 + iso["week"].to_numpy(np.int64)
    since = (frame["Promo2SinceYear"].fillna(9999) * 53 + frame["Promo2SinceWeek"].fillna(0)).to_numpy()
    return (starts & (weeks >= since) & (frame["Promo2"] == 1).to_numpy()).astype(np.float64)


def _days_in_a_row(promo: npt.NDArray[np.int64], store: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return which open day of a promotion a row is, counted from 1; 0 without one."""
    found = np.zeros(len(promo))
    for row in np.flatnonzero(promo):
        continues = row > 0 and store[row] == store[row - 1]
        found[row] = min(found[row - 1] + 1 if continues else 1, _MOST_PROMOTION_DAYS)
    return found


def _observations(store: int, frame: pd.DataFrame) -> Observations:
    return Observations(
        series_id=f"rossmann/{store}@1d",
        freq="1d",
        calendar="24/7",
        unit="EUR",
        source="file",
        time=frame["time"].to_numpy(np.int64),
        columns={name: frame[name].to_numpy(np.float64) for name in frame.columns if name not in ("Store", "time")},
        newest_offset=0,
    )
