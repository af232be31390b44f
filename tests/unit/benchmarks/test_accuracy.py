"""The accuracy bench: its table, its data, and how it judges a model, on invented series."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from benchmarks.accuracy import __main__ as bench
from benchmarks.accuracy import data, markets, worker
from benchmarks.accuracy.table import Row, at_least, at_most, markdown, rich_table, verdict, within
from forecasting.losses import mean_absolute_error
from forecasting.training import TrainingSpec
from tests.unit.forecasting.series import observations_of, prices

SPEC = TrainingSpec(algorithm="drift", horizon=5)


def row(value: float, target=None, **changes) -> Row:
    return Row(dataset="M3 monthly", model="ets", measure="sMAPE", value=value, target=target, **changes)


@pytest.mark.parametrize(
    ("target", "reached", "missed"),
    [
        (at_most(13.4), (13.4, -1.0), (13.401,)),
        (at_least(-0.5), (-0.5, 3.0), (-0.51,)),
        (within(80.0, 2.0), (78.0, 80.0, 82.0), (77.9, 82.1)),
    ],
)
def test_target_is_judged(target, reached, missed):
    assert all(row(value, target).is_reached is True for value in reached)
    assert all(row(value, target).is_reached is False for value in missed)
    assert row(1.0).is_reached is None


def test_a_figure_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="sMAPE of ets on M3 monthly must be finite, was nan"):
        row(float("nan"))


def test_tables_show_target_naive_and_mark():
    rows = [
        row(13.41234, at_most(13.4), naive=17.23, naive_name="seasonal naive", unit=" %", seconds=2.0, note="a | b"),
        row(0.83, at_most(0.84)),
    ]
    console = Console(width=200, record=True)
    console.print(rich_table(rows))
    shown, written = console.export_text(), markdown(rows)
    for text in (shown, written):
        for cell in ("13.41 %", "at most 13.4 %", "17.23 % (seasonal naive)", "2.0 s", "✗", "✓"):
            assert cell in text
    assert "a \\| b" in written
    assert len({line.count("|") - line.count("\\|") for line in written.splitlines()}) == 1


def test_verdict_counts_and_names_what_is_missed():
    rows = [row(13.5, at_most(13.4)), row(13.3, at_most(13.4)), row(99.0)]
    assert verdict(rows) == "1 of 2 targets reached; missed: M3 monthly, ets, sMAPE."
    assert verdict(rows[1:]) == "1 of 1 targets reached."


def test_rows_travel_between_processes():
    import msgspec

    rows = [row(1.0, within(1.0, 0.5), naive=2.0, seconds=0.1)]
    assert msgspec.json.decode(msgspec.json.encode(rows), type=list[Row]) == rows


def test_missing_data_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv(data.VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(data.MissingData, match=f"nowhere: set {data.VARIABLE}"):
        data.data_folder()
    monkeypatch.setenv(data.VARIABLE, str(tmp_path))
    with pytest.raises(data.MissingData, match=r"AAPL.csv.gz is missing"):
        data.stocks(data.data_folder())


def test_real_sets_have_the_published_sizes(shared_data: Path):
    m3, m4 = data.m3_monthly(shared_data), data.m4_hourly(shared_data)
    assert (len(m3), sum(len(one.train) + len(one.test) for one in m3)) == (1428, 167_562)
    assert {len(one.test) for one in m3} == {18}
    assert (len(m4), {len(one.train) for one in m4}, {len(one.test) for one in m4}) == (414, {700, 960}, {48})
    assert {name: len(one) for name, one in data.crypto_hourly(shared_data).items()} == {
        "BTC": 65_590,
        "ETH": 65_590,
        "ADA": 63_076,
    }
    assert [len(one) for one in data.stocks(shared_data).values()] == [1883] * 8
    assert data.rossmann(shared_data).shape == (301_764, 18)


def test_seasonal_naive_has_its_published_accuracy(shared_data: Path):
    """sMAPE 13.912 and MASE 1.193: what M4 prints for seasonal naive on its hourly series."""
    from forecasting.losses import (
        mean_absolute_scaled_error,
        seasonal_scale,
        symmetric_mean_absolute_percentage_error,
    )

    smape, mase = [], []
    for one in data.m4_hourly(shared_data):
        forecast = np.tile(one.train[-24:], 2)
        smape.append(symmetric_mean_absolute_percentage_error(one.test, forecast))
        mase.append(mean_absolute_scaled_error(one.test, forecast, seasonal_scale(one.train, 24)))
    assert np.mean(smape) == pytest.approx(13.912, abs=5e-4)
    assert np.mean(mase) == pytest.approx(1.193, abs=5e-4)


def test_series_without_dates_get_steps():
    monthly = data.indexed("M1", np.arange(14.0), "1mo")
    months = monthly.time.astype("datetime64[s]").astype("datetime64[M]")
    assert np.diff(months).astype(int).tolist() == [1] * 13


def test_model_is_trained_before_the_test_part_alone():
    series = observations_of({"close": prices(300)})
    other = series.columns["close"].copy()
    other[260:] *= 1.5
    trained, test = markets.assess(SPEC, series, test_rows=40)
    changed, _ = markets.assess(SPEC, replace(series, columns={"close": other}), test_rows=40)

    assert trained.recipe == changed.recipe  # red when `assess` trains on more than `known` rows
    assert (test.folds.cutoffs[0], test.folds.cutoffs[-1]) == (259, 294)
    assert test.folds.y[0].tolist() == series.columns["close"][260:265].tolist()
    assert test.ends[-1] == series.time[-1]


def test_the_last_value_has_no_skill_and_every_cutoff_counts():
    series = {"HET": observations_of({"close": prices(300)})}
    specs = {"last-value": replace(SPEC, algorithm="last-value")}
    lines: list[str] = []
    rows, tests = markets.compared("walk", series, specs, lines.append, test_rows=60)
    [test] = tests["last-value"]

    assert test.skill == 0.0
    errors = [mean_absolute_error(test.folds.y.ravel(), one.ravel()) for one in (test.folds.median, test.naive)]
    assert errors[0] == errors[1]
    measures = [row.measure for row in rows]
    assert measures == ["MASE skill", "MASE skill", "MAPE, step 1", "coverage of 80", "coverage of 95"]
    assert rows[2].value == rows[2].naive
    assert "settings from rows to 2020-" in lines[0]
    thinned = markets.assess(SPEC, series["HET"], test_rows=60, stride=7)[1]
    assert len(thinned.starts) == 8


def test_direction_is_beside_the_more_frequent_one():
    series = {"HET": observations_of({"close": prices(300)})}
    _, tests = markets.compared("walk", series, {"drift": SPEC}, lambda _: None, test_rows=60)
    [row] = markets.direction_rows("walk", "drift", tests["drift"])
    assert row.measure == "direction accuracy"
    assert 0 <= row.value <= 100
    assert 50 <= row.naive <= 100
    assert "95 % interval" in row.note


def test_every_set_has_its_module():
    from importlib import import_module

    for module in worker.SETS.values():
        assert callable(import_module(module).run)


def test_unknown_set_and_missing_data_end_the_bench(tmp_path):
    environment = os.environ | {data.VARIABLE: str(tmp_path / "nowhere")}
    command = [sys.executable, "-m", "benchmarks.accuracy"]
    wrong = subprocess.run([*command, "no-such-set"], capture_output=True, text=True, check=False, env=environment)
    missing = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (wrong.returncode, missing.returncode) == (2, 1)
    assert "SET must be one of" in wrong.stderr
    assert "the real data is not in" in missing.stderr


def test_report_is_a_page(tmp_path):
    page = bench.report([row(13.3, at_most(13.4))], ["a machine"], 90.0)
    assert page.startswith("a machine\n\n| set |")
    assert "1 of 1 targets reached. Total time 1.5 minutes." in page


class _Looked(subprocess.Popen):
    """Is let go at the second look, so the first one has seen it as it was."""

    looks = 0

    def poll(self) -> int | None:
        self.looks += 1
        if self.looks == 2:
            self.stdin.close()
        return super().poll()


def test_memory_of_a_process_and_its_children_is_seen():
    hungry = "import sys; held = bytearray(80 * 2**20); print('held', flush=True); sys.stdin.read()"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hungry!r}])"
    with _Looked([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        peak = bench._peak_mebibytes(process)
    assert peak > 80
