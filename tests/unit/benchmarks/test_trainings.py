"""What a training over many series costs, as the bench tells it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmarks.trainings import measured, spec, stores
from tests.unit.forecasting.series import observations_of, prices


def test_the_stages_of_a_training_are_timed() -> None:
    series = [observations_of({"sales": prices(300, seed=seed)}, name=f"S{seed}") for seed in range(2)]

    trained, cost = measured(replace(spec("drift"), covariates={}), series)

    assert list(cost.seconds) == ["reading", "fitting", "backtest", "calibration", "export"]
    assert 0 <= cost.silence_seconds <= sum(cost.seconds.values())
    assert cost.mebibytes > 1
    assert trained.recipe.horizon == 42


def test_stores_are_read_as_a_project_loads_them(shared_data: Path) -> None:
    first, second = stores(shared_data, 2)

    assert (first.series_id, list(first.columns)) == ("rossmann/1@1d", ["sales", "promo", "schoolholiday"])
    assert (len(first), len(second)) == (781, 780)
    assert spec("auto").candidates == ("lightgbm", "linear")
