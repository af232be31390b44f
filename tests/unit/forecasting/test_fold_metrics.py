"""What a release tells of each cutoff of its test part: right, of all series together, and of a bounded size."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest

from forecasting.backtest import score
from forecasting.comparison import Judged
from forecasting.evaluation import evaluate
from forecasting.fold_metrics import MOST_FOLDS, ByFold, by_fold
from forecasting.folds import Part
from forecasting.serving import LoadedModel
from forecasting.training import TrainedModel, TrainingSpec, train
from forecasting.training_panel import panel_of
from tests.unit.forecasting.series import DAY, START, observations_of, prices

HORIZON = 3


def judged(cutoffs: list[int]) -> Judged:
    days = np.array(cutoffs)
    starts, ends = DAY * days, DAY * (days[:, None] + np.arange(1, HORIZON + 1))
    return Judged(folds={}, series=np.zeros_like(days), starts=starts, ends=ends, scale=np.ones(len(days)))


def told(cutoffs: list[int], **losses: list[float]) -> ByFold:
    return by_fold(judged(cutoffs), {"model": {name: np.array(values) for name, values in losses.items()}})


def day(number: int) -> datetime:
    return datetime.fromtimestamp(DAY * number, UTC)


@pytest.fixture(scope="module")
def trained() -> TrainedModel:
    asked = TrainingSpec(algorithm="linear", horizon=HORIZON, window_size=10, levels=(80.0,))
    return train(dataclasses.replace(asked, hyperparameters={"refits": 1}), [observations_of({"close": prices(300)})])


def test_folds_of_one_cutoff_are_told_together_whatever_their_series() -> None:
    found = told([7, 8, 7, 9], mae=[1.0, 2.0, 3.0, 6.0])

    assert [(one.cutoff, one.forecasts, one.metrics["model"]["mae"]) for one in found.folds] == [
        (day(7), 2, 2.0),
        (day(8), 1, 2.0),
        (day(9), 1, 6.0),
    ]
    assert [(one.first_time, one.last_time) for one in found.folds][:1] == [(day(8), day(10))]
    spread = found.spread["model"]["mae"]
    assert (spread.mean, spread.deviation, spread.folds) == pytest.approx((10 / 3, np.std([2, 2, 6], ddof=1), 3))


def test_times_before_1970_are_told_as_they_are() -> None:
    (fold,) = told([-400], mae=[1.0]).folds

    assert (fold.cutoff, fold.first_time, fold.last_time) == (day(-400), day(-399), day(-397))


def test_many_cutoffs_are_thinned_evenly_and_vary_as_all_of_them_do() -> None:
    # Red where `by_fold` tells of every cutoff.
    count = 4 * MOST_FOLDS + 3
    values = np.random.default_rng(0).uniform(size=count)

    found = told(list(range(count)), mae=list(values))

    assert 0.5 * MOST_FOLDS < len(found.folds) <= MOST_FOLDS
    assert found.folds[-1].cutoff == day(count - 1)
    assert len({later.cutoff - one.cutoff for one, later in zip(found.folds, found.folds[1:], strict=False)}) == 1
    spread = found.spread["model"]["mae"]
    assert (spread.mean, spread.deviation, spread.folds) == (float(values.mean()), float(values.std(ddof=1)), count)


def test_what_is_not_defined_is_left_out_and_counted() -> None:
    found = told([1, 2, 3], mae=[1.0, 1.0, 1.0], mape=[5.0, np.nan, 7.0], r2=[np.nan, np.nan, 0.5])

    assert [sorted(one.metrics["model"]) for one in found.folds] == [["mae", "mape"], ["mae"], ["mae", "mape", "r2"]]
    assert {name: one.folds for name, one in found.spread["model"].items()} == {"mae": 3, "mape": 2}
    assert told([1], mae=[1.0]).spread == {"model": {}}


def test_each_fold_has_the_metrics_that_it_has_alone(trained: TrainedModel) -> None:
    folds, times = trained.diagnostics.evaluation.folds["model"], trained.diagnostics.fold_times
    model = LoadedModel.load(trained.recipe, trained.graph)
    panel = panel_of(
        TrainingSpec(algorithm="linear", horizon=HORIZON, window_size=10),
        [observations_of({"close": prices(300, seed=seed)}, name=f"S{seed}") for seed in range(3)],
    )
    test = [Part(0, np.array([200, 201, 202])), Part(1, np.array([201, 202])), Part(2, np.array([202]))]

    found = evaluate(model, panel, calibration=test, test=test, levels=(80.0,))

    alone = [
        evaluate(model, panel, calibration=test, test=[Part(s, np.array([202]))], levels=(80.0,)) for s in range(3)
    ]
    newest = found.by_fold.folds[-1]
    assert (newest.cutoff, newest.forecasts) == (START + timedelta(days=202), 3)
    for name in ("mae", "rmse", "mape", "smape", "r2", "crps", "pinball", "coverage-80", "direction-accuracy"):
        expected = np.mean([one.metrics["model"][name] for one in alone])
        assert newest.metrics["model"][name] == pytest.approx(expected, rel=1e-12), name
    expected = np.mean([one.metrics["last-value"]["mae"] for one in alone])
    assert newest.metrics["last-value"]["mae"] == pytest.approx(expected, rel=1e-12)
    assert set(newest.metrics["last-value"]) == {"mae", "mase"}
    told = trained.by_fold.folds[-1]
    one = score(folds.part(slice(len(times) - 1, None)), [80.0], 1.0)
    assert told.cutoff.timestamp() == times[-1]
    assert told.metrics["model"]["mae"] == pytest.approx(one["mae"])


def test_the_mean_over_folds_of_one_series_is_the_metric_of_all(trained: TrainedModel) -> None:
    spread = trained.by_fold.spread["model"]

    assert spread["mae"].folds == trained.folds
    for name in ("mae", "mape", "smape", "mase", "crps", "pinball", "coverage-80"):
        assert spread[name].mean == pytest.approx(trained.metrics["model"][name], rel=1e-12), name
    assert trained.by_fold.spread["last-value"]["mae"].mean == pytest.approx(trained.metrics["last-value"]["mae"])


def test_a_release_grows_by_a_bounded_part(trained: TrainedModel) -> None:
    assert len(msgspec.json.encode((trained.by_fold.folds, trained.by_fold.spread))) < 1_000 * MOST_FOLDS
