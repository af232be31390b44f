"""M4 hourly: 414 series, 48 hours ahead, by nets and trees that learn from all series at once.

N-HiTS in two forms, changes from one season before and from the mean of the window, and LightGBM in two, changes from
one day and from one week before, each with several seeds; the forecast is the mean of the members. Which forms take
part is chosen on the last 48 hours of the training part, by models that know only what lies before; the test part is
forecast once, by models fitted on the whole training part.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import chain, combinations
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.accuracy import data, m4_lightgbm
from benchmarks.accuracy.table import Row, at_most
from forecasting.artefact import Setting
from forecasting.fits import fit_cut
from forecasting.folds import Cut, Part
from forecasting.losses import (
    mean_absolute_scaled_error,
    seasonal_scale,
    symmetric_mean_absolute_percentage_error,
)
from forecasting.models.baselines import SEASONAL_NAIVE
from forecasting.panel import FloatArray, Observations
from forecasting.serving import LoadedModel
from forecasting.training_panel import panel_of
from forecasting.training_spec import TrainingSpec

TARGET, HORIZON, SEASON, WINDOW_SIZE = "y", 48, 24, 168
TARGETS = {"sMAPE": at_most(9.3), "MASE": at_most(0.80)}
_SEEDS = (0, 1, 2)
#: Fits at one time: the machine of the figures has two cores, and a fit uses one.
_PROCESSES = 2


class Scores(NamedTuple):
    """Means over all series: sMAPE in percent, and MASE with a season of a day."""

    smape: float
    mase: float

    @classmethod
    def of(cls, known: Sequence[FloatArray], outcomes: Sequence[FloatArray], forecasts: FloatArray) -> Scores:
        """Return how far forecasts, shape (series, horizon), are from what happened."""
        pairs = list(zip(outcomes, forecasts, strict=True))
        scales = [seasonal_scale(values, SEASON) for values in known]
        return cls(
            float(np.mean([symmetric_mean_absolute_percentage_error(y, forecast) for y, forecast in pairs])),
            float(
                np.mean([mean_absolute_scaled_error(*pair, scale) for pair, scale in zip(pairs, scales, strict=True)])
            ),
        )


def _spec(algorithm: str, seed: int, settings: dict[str, Setting]) -> TrainingSpec:
    return TrainingSpec(
        algorithm=algorithm,
        target=TARGET,
        horizon=HORIZON,
        window_size=WINDOW_SIZE,
        levels=(80.0,),
        hyperparameters=settings,
        seed=seed,
    )


def _nhits(anchor: str, epochs: int, seed: int) -> TrainingSpec:
    settings: dict[str, Setting] = {
        "anchor": anchor,
        "layers": "128,128",
        "epochs": epochs,
        "patience": epochs,
        "epoch_windows": 8192,
        "batch_size": 256,
    }
    return _spec("nhits", seed, settings)


#: The forms that are compared, each a mean over seeds.
FORMS: Mapping[str, tuple[TrainingSpec, ...]] = {
    "nhits, from one day before": tuple(_nhits("seasonal", 30, seed) for seed in _SEEDS),
    "nhits, from the window's mean": tuple(_nhits("mean", 40, seed) for seed in _SEEDS),
    "lightgbm, from one day before": m4_lightgbm.specs(m4_lightgbm.DAY, _SEEDS[:2]),
    "lightgbm, from one week before": m4_lightgbm.specs(m4_lightgbm.WEEK, _SEEDS[:2]),
}


def run(data_dir: Path, report: Callable[[str], None]) -> list[Row]:
    """Return the figures of every form and of the chosen combination."""
    started = time.perf_counter()
    series = data.m4_hourly(data_dir)
    train, test = [one.train for one in series], [one.test for one in series]
    earlier, held = [values[:-HORIZON] for values in train], [values[-HORIZON:] for values in train]
    report(f"{2 * sum(map(len, FORMS.values()))} fits, half of them without the last {HORIZON} hours of training")
    with ProcessPoolExecutor(_PROCESSES, mp_context=get_context("spawn")) as pool:
        found = {
            name: [[pool.submit(forecasts_of, spec, known) for spec in specs] for known in (earlier, train)]
            for name, specs in FORMS.items()
        }
        made = {
            name: [np.mean([one.result() for one in part], axis=0) for part in parts] for name, parts in found.items()
        }
    naive = Scores.of(train, test, _naive(train))
    naive_before = Scores.of(earlier, held, _naive(earlier))
    before = {
        names: Scores.of(earlier, held, np.mean([made[name][0] for name in names], axis=0)) for names in _choices()
    }
    best = min(before, key=lambda names: _loss(before[names], naive_before))
    for names, scores in before.items():
        report(f"{' + '.join(names)}: {scores.smape:.3f} % and {scores.mase:.4f} on the {HORIZON} hours before")
    rows = []
    for names in dict.fromkeys([*((name,) for name in FORMS), best]):
        scores = Scores.of(train, test, np.mean([made[name][1] for name in names], axis=0))
        seconds = time.perf_counter() - started if names == best else None
        rows += _rows(names, scores, before[names], naive, seconds, is_chosen=names == best)
    return rows


def _choices() -> list[tuple[str, ...]]:
    return list(chain.from_iterable(combinations(FORMS, count) for count in range(1, len(FORMS) + 1)))


def _loss(scores: Scores, naive: Scores) -> float:
    """Return both measures relative to the seasonal naive, in one number, as M4's OWA does."""
    return (scores.smape / naive.smape + scores.mase / naive.mase) / 2


def _rows(
    names: tuple[str, ...], scores: Scores, before: Scores, naive: Scores, seconds: float | None, *, is_chosen: bool
) -> list[Row]:
    chosen = f"chosen on the {HORIZON} hours before: " if is_chosen else f"on the {HORIZON} hours before: "
    return [
        Row(
            dataset="M4 hourly",
            model=" + ".join(names),
            measure=measure,
            value=value,
            unit=unit,
            target=TARGETS[measure] if is_chosen else None,
            naive=naive_value,
            naive_name=SEASONAL_NAIVE,
            seconds=seconds,
            note=f"{chosen}{earlier:.4g}{unit}",
        )
        for measure, unit, value, earlier, naive_value in zip(TARGETS, (" %", ""), scores, before, naive, strict=True)
    ]


def _naive(known: Sequence[FloatArray]) -> FloatArray:
    return np.array([values[-SEASON:][np.arange(HORIZON) % SEASON] for values in known])


def forecasts_of(spec: TrainingSpec, known: Sequence[FloatArray]) -> FloatArray:
    """Return what one model, fitted on all series, forecasts after the end of each, shape (series, horizon)."""
    panel = panel_of(spec, [_series(f"H{number}", values) for number, values in enumerate(known, start=1)])
    recipe, graph = fit_cut(spec, panel, _cut([len(values) for values in known], spec.window_size))
    model = LoadedModel.load(recipe, graph)
    windows = [model.window_of(one) for one in panel.series]
    return np.array([numbers.median for numbers in model.forecast(windows, HORIZON, ())])


def _series(name: str, values: FloatArray) -> Observations:
    """Return a series whose column is not called like a price, which models treat in their own way."""
    return replace(data.indexed(name, values, "1h"), columns={TARGET: values})


def _cut(lengths: Sequence[int], window_size: int) -> Cut:
    """Return one fit whose cutoffs stand at the hour of the day at which each series ends: what will be asked.

    The newest cutoffs are fitted on too: how many epochs to take is a setting, chosen on the hours before the test.
    """
    newest = [np.array([length - 1 - HORIZON], dtype=np.int64) for length in lengths]
    earlier = [np.arange(last[0], window_size - 2, -SEASON, dtype=np.int64)[::-1] for last in newest]
    return Cut(
        fit=[Part(number, rows) for number, rows in enumerate(earlier)],
        validation=[Part(number, rows) for number, rows in enumerate(newest)],
        folds=[],
    )
