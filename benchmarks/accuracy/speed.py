"""How long the default net takes beside neuralforecast's LSTM, in one run on one machine.

Both learn eight stocks from the rows before the last 110 days, from windows of 60 rows, and forecast 10 steps from
every cutoff whose steps all lie in those days: the peer in 200 steps with its own defaults, ours until it stops.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.accuracy import data
from benchmarks.accuracy.table import Row, at_most
from forecasting.fits import fit_cut, plan_of
from forecasting.losses import mean_absolute_percentage_error
from forecasting.panel import FloatArray, Observations
from forecasting.serving import LoadedModel
from forecasting.training import train
from forecasting.training_panel import panel_of
from forecasting.training_spec import TrainingSpec

TEST_DAYS, HORIZON, WINDOW_SIZE, PEER_STEPS = 110, 10, 60, 200
SPEC = TrainingSpec(horizon=HORIZON, window_size=WINDOW_SIZE)
#: Share of the peer's time that is allowed.
_ALLOWED = 0.5

Forecasts = Mapping[str, FloatArray]


class Spent(NamedTuple):
    """What a piece of work took: seconds by the clock, and by the processors."""

    seconds: float
    cpu_seconds: float


def run(data_dir: Path, report: Callable[[str], None]) -> list[Row]:
    """Return the times, and how good the forecasts are that they were spent on."""
    series = data.stocks(data_dir)
    peer_name = f"neuralforecast's LSTM, {PEER_STEPS} steps"
    work: dict[str, Callable[[Mapping[str, Observations]], tuple[Forecasts, Spent]]] = {
        peer_name: _peer,
        f"{SPEC.algorithm}, fitted once": _fitted_once,
        f"{SPEC.algorithm}, whole training": _trained,
    }
    done = {}
    for name, task in work.items():
        report(name)
        done[name] = task(series)
    peer = done[peer_name][1]
    naive = _error(series, {name: _lasts(one) for name, one in series.items()})
    rows = []
    for name, task in work.items():
        forecasts, spent = done[name]
        # The whole training does five times the peer's work: bands, a test and the skill come of it.
        target = at_most(_ALLOWED) if task is _fitted_once else None
        share = spent.seconds / peer.seconds
        rows += [
            Row(
                dataset="speed",
                model=name,
                measure="time, of the peer's",
                value=share,
                target=target,
                seconds=spent.seconds,
                note=f"{spent.cpu_seconds:.1f} s of CPU, {spent.cpu_seconds / peer.cpu_seconds:.2f} of the peer's",
            ),
            Row(
                dataset="speed",
                model=name,
                measure="MAPE",
                value=_error(series, forecasts),
                unit=" %",
                naive=naive,
            ),
        ]
    return rows


def _timed(started: float, cpu_started: float) -> Spent:
    return Spent(time.perf_counter() - started, time.process_time() - cpu_started)


def _before(series: Mapping[str, Observations]) -> list[Observations]:
    return [one.slice(0, len(one) - TEST_DAYS) for one in series.values()]


def _fitted_once(series: Mapping[str, Observations]) -> tuple[Forecasts, Spent]:
    started = time.perf_counter(), time.process_time()
    panel = panel_of(SPEC, _before(series))
    recipe, graph = fit_cut(SPEC, panel, plan_of(SPEC, panel).release)
    forecasts = _walk(LoadedModel.load(recipe, graph), series)
    return forecasts, _timed(*started)


def _trained(series: Mapping[str, Observations]) -> tuple[Forecasts, Spent]:
    started = time.perf_counter(), time.process_time()
    released = train(SPEC, _before(series))
    forecasts = _walk(LoadedModel.load(released.recipe, released.graph), series)
    return forecasts, _timed(*started)


def _walk(model: LoadedModel, series: Mapping[str, Observations]) -> Forecasts:
    """Return the median forecasts from every cutoff, shape (cutoffs, horizon) a series."""
    found = {}
    for name, one in series.items():
        windows = [model.window_of(one.slice(0, cutoff + 1)) for cutoff in _cutoffs(one)]
        found[name] = np.array([numbers.median for numbers in model.forecast(windows, HORIZON, ())])
    return found


def _cutoffs(one: Observations) -> range:
    return range(len(one) - TEST_DAYS - 1, len(one) - HORIZON)


def _lasts(one: Observations) -> FloatArray:
    return np.repeat(one.columns["close"][list(_cutoffs(one)), None], HORIZON, axis=1)


def _error(series: Mapping[str, Observations], forecasts: Forecasts) -> float:
    """Return the mean absolute percentage error over all series, cutoffs and steps."""
    errors = []
    for name, one in series.items():
        steps = np.array(_cutoffs(one))[:, None] + np.arange(1, HORIZON + 1)
        errors.append(mean_absolute_percentage_error(one.columns["close"][steps], forecasts[name]))
    return float(np.mean(errors))


def _peer(series: Mapping[str, Observations]) -> tuple[Forecasts, Spent]:
    """Return the same of neuralforecast's LSTM, on all cores; imports are not counted, here or there."""
    import pandas as pd  # noqa: PLC0415  # these take seconds to import
    import torch  # noqa: PLC0415
    from neuralforecast import NeuralForecast  # noqa: PLC0415
    from neuralforecast.models import LSTM  # noqa: PLC0415

    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    frames = [
        pd.DataFrame({"unique_id": name, "ds": np.arange(len(one)), "y": one.columns["close"]})
        for name, one in series.items()
    ]
    model = LSTM(
        h=HORIZON,
        input_size=WINDOW_SIZE,
        max_steps=PEER_STEPS,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
        enable_checkpointing=False,
        accelerator="cpu",
    )
    started = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = NeuralForecast(models=[model], freq=1).cross_validation(
            pd.concat(frames), n_windows=None, test_size=TEST_DAYS, step_size=1, refit=False
        )
    spent = _timed(*started)
    torch.set_num_threads(threads)
    return {
        str(name): group.sort_values(["cutoff", "ds"])["LSTM"].to_numpy(np.float64).reshape(-1, HORIZON)
        for name, group in found.groupby("unique_id")
    }, spent
