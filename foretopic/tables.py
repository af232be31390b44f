"""Forecasts, models and services as tables for a terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

LAST_VALUE = "last-value"
Document = Mapping[str, Any]


def new_table(title: str, columns: Sequence[str], *, numbers_from: int = 1) -> Table:
    """Return an empty table; columns from ``numbers_from`` on are aligned to the right."""
    table = Table(title=title, title_justify="left")
    for index, name in enumerate(columns):
        table.add_column(name, justify="right" if index >= numbers_from else "left", no_wrap=True)
    return table


def forecast_table(forecast: Document) -> Table:
    """Return the steps of a forecast: date, median, a band for each level, and the last value beside them."""
    steps = forecast["steps"]
    bands = _bands(steps[0]["quantiles"])
    title = f"{forecast['series_id'] or 'window'}: {forecast['target']} after {_day(forecast['cutoff'])}"
    table = new_table(title, ["date", "median", *(f"{level:g} % band" for level, _, _ in bands), LAST_VALUE])
    baseline = forecast["baselines"].get(LAST_VALUE, [None] * len(steps))
    for step, last_value in zip(steps, baseline, strict=True):
        quantiles = step["quantiles"]
        table.add_row(
            _day(step["time"]),
            number(step["median"]),
            *(f"{number(quantiles[low])} … {number(quantiles[high])}" for _, low, high in bands),
            number(last_value),
        )
    return table


def verdict(version: Document) -> str:
    """Return in one sentence whether a model version is worth its while; in two where it stands in for another."""
    note = f" The history was short: {version['fallback_reason']}." if version.get("fallback_reason") else ""
    return _worth(version) + note


def _worth(version: Document) -> str:
    skill: Document = version.get("skill") or {}
    losers = sorted(name for name, value in skill.items() if value < 0)
    if losers:
        return f"On these folds the model loses to {' and '.join(losers)} (skill below 0)."
    return "On these folds the model beats every baseline (skill above 0)."


def backtest_table(version: Document) -> Table:
    """Return a model version beside the baselines on the same folds: errors, coverage, and its skill against each."""
    metrics: Document = version.get("metrics") or {}
    skill: Document = version.get("skill") or {}
    coverages = sorted(name for name in metrics.get("model", {}) if re.fullmatch(r"coverage-[0-9.]+", name))
    levels = [f"in {name.removeprefix('coverage-')} % band" for name in coverages]
    title = f"Backtest over {version.get('folds')} walk-forward folds"
    table = new_table(title, ["method", "MAE", "MAPE", "CRPS", *levels, "skill of the model"])
    for method, values in metrics.items():
        table.add_row(
            method,
            number(values.get("mae")),
            _percent(values.get("mape")),
            number(values.get("crps")),
            *(_percent(values.get(name)) for name in coverages),
            f"{skill[method]:+.1%}" if method in skill else "",
        )
    return table


def leaderboard_table(version: Document) -> Table:
    """Return what a version was chosen from, the winner first, with the skill on the folds of the comparison."""
    board = version.get("leaderboard") or []
    baselines = sorted({name for entry in board for name in entry.get("skill", {})})
    heads = ["candidate", "what became of it", "folds", "MASE", *(f"skill / {name}" for name in baselines)]
    table = new_table("Leaderboard on folds before the test part", heads)
    for entry in board:
        skill = entry.get("skill", {})
        table.add_row(
            candidate_name(entry),
            candidate_state(entry),
            str(entry.get("folds", 0) or "-"),
            number(entry.get("metrics", {}).get("mase"), digits=3),
            *(f"{skill[name]:+.1%}" if name in skill else "-" for name in baselines),
        )
    return table


def candidate_name(entry: Document) -> str:
    """Return a candidate's algorithm with its members and what differs from the defaults."""
    members = f" of {', '.join(entry['members'])}" if entry.get("members") else ""
    given = entry.get("hyperparameters", {})
    settings = ", ".join(f"{name}={value}" for name, value in given.items() if "." not in name)
    return f"{entry['algorithm']}{members}" + (f" ({settings})" if settings else "")


def candidate_state(entry: Document) -> str:
    """Return what became of a candidate, in words."""
    rung = entry.get("rung", 0)
    return {
        "dropped": f"dropped at rung {rung}",
        "not-possible": "not possible",
        "not-reached": "not reached in the budget",
    }.get(entry["state"], str(entry["state"]))


def metrics_table(version: Document) -> Table:
    """Return every metric of a version, a row each, with a column for it and each baseline."""
    metrics: Document = version.get("metrics") or {}
    table = new_table("Backtest", ["metric", *metrics])
    for name in dict.fromkeys(name for values in metrics.values() for name in values):
        table.add_row(name, *(number(values.get(name), digits=4) for values in metrics.values()))
    return table


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} %"


def number(value: float | None, *, digits: int = 2) -> str:
    """Return a number for people; ``-`` for none."""
    if value is None:
        return "-"
    # A price of 0.00001234 must not become 0.00.
    return f"{value:,.{digits}f}" if value == 0 or abs(value) >= 10 ** (1 - digits) else f"{value:.{digits + 1}g}"


def _bands(quantiles: Mapping[str, float]) -> list[tuple[float, str, str]]:
    """Return (level in percent, lower key, upper key), the narrowest band first."""
    by_probability = {float(key): key for key in quantiles}
    lower = sorted((probability for probability in by_probability if probability < 0.5), reverse=True)  # noqa: PLR2004  # the median parts them
    found = []
    for low in lower:
        high = min(by_probability, key=lambda probability: abs(probability - (1 - low)))
        found.append((round((high - low) * 100, 6), by_probability[low], by_probability[high]))
    return found


def _day(time: str | None) -> str:
    """Return the date of a UTC time, with the time of day where it is not midnight."""
    if time is None:
        return "the last row"
    return time.removesuffix("T00:00:00Z")
