"""The choice of an ensemble on M3 looks at nothing of the test part."""

from __future__ import annotations

import numpy as np

from benchmarks.accuracy.data import CompetitionSeries
from benchmarks.accuracy.m3 import ENSEMBLES, HORIZON, MODELS, Figures, best_of, folds_of, forecasts_of


def test_folds_end_before_the_test_part_and_do_not_overlap() -> None:
    series = CompetitionSeries("M", np.arange(100.0), np.arange(100.0, 118.0))

    newest, older = folds_of(series)

    assert newest.followed.tolist() == list(range(82, 100))
    assert older.followed.tolist() == list(range(64, 82))
    for fold in (newest, older):
        assert fold.known[-1] + 1 == fold.followed[0]
        assert fold.followed[-1] < series.test[0]
    # 48 rows leave 30 to know before the newest fold, and too few before the older one.
    assert len(folds_of(CompetitionSeries("M", np.arange(48.0), series.test))) == 1


def test_the_ensemble_with_the_least_losses_is_chosen() -> None:
    names = list(ENSEMBLES)
    figures = {name: Figures(14.0, 0.9) for name in names} | {"seasonal-naive": Figures(17.0, 1.1)}
    figures[names[2]] = Figures(13.9, 0.89)
    # Models that are no ensembles, and better, are not what is chosen between.
    figures["theta"] = Figures(1.0, 0.1)

    assert best_of(figures) == names[2]


def test_every_model_and_ensemble_of_the_leaderboard_is_served() -> None:
    # As few rows as a fold knows at least.
    rows = 100 + np.arange(30.0) + 10 * np.sin(np.arange(30) * 2 * np.pi / 12)

    found = forecasts_of(rows)

    assert set(found) == {*MODELS, *ENSEMBLES, "last-value", "drift", "seasonal-naive"}
    assert all(forecast.shape == (HORIZON,) and np.isfinite(forecast).all() for forecast in found.values())
    median = np.median([found[name] for name in ("theta", "ets", "ces")], axis=0)
    np.testing.assert_allclose(found["median of theta, ets, ces"], median, rtol=1e-9)
    mean = np.exp(np.mean([np.log(found[name]) for name in ("theta", "ets", "ces")], axis=0))
    np.testing.assert_allclose(found["mean of theta, ets, ces"], mean, rtol=1e-9)
