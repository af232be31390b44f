"""Forecasts and backtests as tables."""

from __future__ import annotations

import pytest
from rich.console import Console

from foretopic.tables import backtest_table, forecast_table, leaderboard_table, metrics_table, number, verdict

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
    assert "coverage-80-step-1" in text


def test_verdict_names_the_baselines_that_win():
    assert verdict(VERSION) == "On these folds the model loses to last-value (skill below 0)."
    assert "beats every baseline" in verdict({"skill": {"last-value": 0.01}})


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
