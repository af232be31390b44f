"""Forecasts and backtests as tables."""

from __future__ import annotations

import pytest
from rich.console import Console

from foretopic.tables import (
    backtest_table,
    folds_table,
    forecast_table,
    leaderboard_table,
    metrics_table,
    new_table,
    number,
    p_text,
    parts_table,
    skill_text,
    steps_table,
    verdict,
)

FORECAST = {
    "series_id": "market/AAPL@1d",
    "target": "close",
    "cutoff": "2025-06-27T00:00:00Z",
    "steps": [
        {
            "time": "2025-06-30T00:00:00Z",
            "median": 201.5,
            "quantiles": {"0.025": 195.0, "0.1": 198.0, "0.9": 205.0, "0.975": 208.0},
        },
        {
            "time": "2025-07-01T13:30:00Z",
            "median": 202.0,
            "quantiles": {"0.025": 194.0, "0.1": 197.0, "0.9": 207.0, "0.975": 210.0},
        },
    ],
    "baselines": {"last-value": [201.08, 201.08], "drift": [201.2, 201.3]},
}
VERSION = {
    "folds": 490,
    "metrics": {
        "model": {"mae": 2.33, "mape": 3.4, "crps": 1.78, "coverage-80": 82.9, "coverage-80-step-1": 81.0},
        "last-value": {"mae": 2.30, "mape": 3.3, "crps": 1.74, "coverage-80": 80.6},
    },
    "skill": {"last-value": -0.012, "seasonal-naive": 0.16},
}


def shown(table) -> str:
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    try:
        console.print(table)
        return console.export_text()
    finally:
        console.file.close()


def test_forecast_shows_bands_from_the_narrowest_and_the_last_value():
    text = shown(forecast_table(FORECAST))
    assert text.index("80 % band") < text.index("95 % band") < text.index("last-value")
    row = next(line for line in text.splitlines() if "2025-06-30" in line)
    assert [cell.strip() for cell in row.strip("│\n ").split("│")] == [
        "2025-06-30",
        "201.50",
        "198.00 … 205.00",
        "195.00 … 208.00",
        "201.08",
    ]


def test_a_long_sentence_takes_no_room_from_other_columns():
    table = new_table("Sources", ["series", "newest", "last error"], prose=["last error"])
    table.add_row("market/AAPL@1d", "2013-03-01 00:00", "unreachable " * 20)
    first = next(line for line in shown(table).splitlines() if "AAPL" in line)
    # Goes red where the sentence is not allowed to wrap.
    assert "market/AAPL@1d" in first
    assert "2013-03-01 00:00" in first
    assert shown(table).count("unreachable") == 20


def test_time_of_day_is_shown_where_there_is_one():
    assert "2025-07-01T13:30:00Z" in shown(forecast_table(FORECAST))


def test_backtest_shows_the_skill_beside_each_baseline():
    text = shown(backtest_table(VERSION))
    row = next(line for line in text.splitlines() if "last-value" in line)
    assert "-1.2%" in row
    assert "in 80 % band" in text
    assert "step-1" not in text
    assert "490 walk-forward folds" in text


def test_every_metric_has_a_row():
    text = shown(metrics_table(VERSION))
    assert all(name in text for name in ("mae", "mape", "crps", "coverage-80"))


def test_verdict_names_the_baselines_that_win():
    told = verdict(VERSION)

    assert told == (
        "On these folds the model has no larger error than seasonal-naive; it has a larger error than last-value."
    )
    assert verdict({"skill": {}}) == "This release is not compared with any baseline."


def test_verdict_tells_what_stands_in_where_the_history_was_short():
    reason = "lstm needs at least 157 complete rows, there are 48: theta stands in with a window of 12 rows"

    assert verdict(VERSION | {"fallback_reason": reason}) == f"{verdict(VERSION)} The history was short: {reason}."


@pytest.mark.parametrize(
    ("skill", "p_value", "words"),
    [
        (0.02, 0.004, "is better than last-value (p 0.004)"),
        (0.02, 0.05, "shows no difference to last-value (p 0.050)"),
        (-0.02, 0.4, "shows no difference to last-value (p 0.40)"),
        (-0.02, 0.0001, "is worse than last-value (p < 0.001)"),
    ],
)
def test_verdict_calls_nothing_better_or_worse_that_chance_does_as_well(skill, p_value, words):
    metrics = {"model": {"dm-p-value-last-value": p_value}, "last-value": {"mae": 2.0}}
    version = {"skill": {"last-value": skill}, "metrics": metrics}

    assert verdict(version) == f"On these folds the model {words}."
    assert skill_text(version, "last-value").startswith(f"{skill:+.1%} (p")
    assert p_text(p_value) in shown(backtest_table(TESTED | version))


TESTED = {
    "folds": 250,
    "metrics": {
        "model": {
            "mae": 2.0,
            "r2": 0.9,
            "train-mae": 1.5,
            "validation-mae": 1.75,
            "direction-accuracy": 52.34,
            "direction-accuracy-lower": 47.2,
            "direction-accuracy-upper": 57.4,
            "mae-step-1": 1.25,
            "mae-step-2": 2.75,
            "dm-p-value-last-value-step-1": 0.03,
            "coverage-80-step-1": 81.0,
            "direction-accuracy-step-1": 51.0,
        },
        "last-value": {"mae": 2.1, "mae-step-1": 1.26, "mae-step-2": 2.9},
    },
    "skill": {"last-value": 0.05},
}


def test_direction_stands_with_its_interval():
    assert "52.3 % (47 to 57)" in shown(backtest_table(TESTED))


def test_parts_stand_apart():
    row = next(line for line in shown(parts_table(TESTED)).splitlines() if "mae" in line)

    assert [cell.strip() for cell in row.strip("│\n ").split("│")] == ["mae", "1.5000", "1.7500", "2.0000"]


def test_folds_stand_line_by_line_above_their_mean_and_deviation():
    fold = {
        "cutoff": "2025-01-02T00:00:00Z",
        "first_time": "2025-01-03T00:00:00Z",
        "last_time": "2025-01-16T09:30:00Z",
        "forecasts": 3,
        "metrics": {"model": {"mae": 1.5, "rmse": 2.5, "mape": 0.75, "coverage-80": 90.0}, "last-value": {"mae": 1.25}},
    }
    spread = {
        "model": {"mae": {"mean": 2.0, "deviation": 0.5, "folds": 250}},
        "last-value": {"mae": {"mean": 2.25, "deviation": 0.25, "folds": 250}},
    }

    text = shown(folds_table({"fold_metrics": [fold], "fold_spread": spread}))

    first, mean, deviation = (
        [cell.strip() for cell in line.strip("│\n ").split("│")] for line in text.splitlines() if line.startswith("│")
    )
    assert first == ["2025-01-02", "2025-01-16T09:30:00Z", "3", "1.50", "1.25", "2.50", "0.8 %", "-", "90.0 %"]
    assert mean == ["mean of 250", "", "", "2.00", "2.25", "-", "-", "-", "-"]
    assert deviation[:5] == ["deviation of 250", "", "", "0.50", "0.25"]
    assert folds_table({"fold_metrics": [fold]}).row_count == 1


def test_steps_stand_apart_from_the_whole():
    first, second = (
        [cell.strip() for cell in line.strip("│\n ").split("│")]
        for line in shown(steps_table(TESTED)).splitlines()
        if line.startswith(("│ 1", "│ 2"))
    )

    assert first == ["1", "1.25", "1.26", "p 0.030", "51.0 %", "81.0 %"]
    assert second == ["2", "2.75", "2.90", "-", "-", "-"]
    whole = shown(metrics_table(TESTED))
    assert "step-1" not in whole
    assert "train-" not in whole


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (1234.5, "1,234.50"), (0, "0.00"), (0.00001234, "1.23e-05"), (-0.5, "-0.50")]
)
def test_numbers_are_readable(value, text):
    assert number(value) == text


def test_leaderboard_tells_the_winner_first_and_what_became_of_each() -> None:
    board = [
        {
            "algorithm": "ensemble",
            "members": ["theta", "lstm"],
            "hyperparameters": {"combination": "mean", "lstm.epochs": 5},
            "state": "chosen",
            "rung": 2,
            "folds": 120,
            "skill": {"last-value": 0.031, "drift": 0.02},
            "metrics": {"mase": 0.871},
            "reason": "the least loss of 4 on 120 folds before the test part",
        },
        {"algorithm": "ets", "state": "dropped", "rung": 1, "folds": 40, "skill": {"last-value": -0.2}},
        {"algorithm": "nhits", "state": "not-reached"},
        {"algorithm": "linear", "state": "not-possible", "reason": "too-little-history: 144 rows"},
    ]

    text = shown(leaderboard_table({"leaderboard": board}))

    lines = [line for line in text.splitlines() if "│" in line]
    assert "ensemble of theta, lstm (combination=mean)" in lines[0]
    assert "+3.1%" in lines[0]
    assert "0.871" in lines[0]
    assert "dropped at rung 1" in lines[1]
    assert "not reached in the budget" in lines[2]
    assert "not possible" in lines[3]
