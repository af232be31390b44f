"""Forecasts, models and services as tables for a terminal."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from rich.table import Table

LAST_VALUE = "last-value"
#: Below this p-value a difference is called one.
_SIGNIFICANCE = 0.05
_BETTER, _WORSE, _NO_DIFFERENCE = "is better than", "is worse than", "shows no difference to"
#: Of a release without tests.
_UNTESTED_GAIN, _UNTESTED_LOSS = "has no larger error than", "has a larger error than"
_STANDINGS = (_BETTER, _WORSE, _NO_DIFFERENCE, _UNTESTED_GAIN, _UNTESTED_LOSS)
#: Metrics of a part or of one step stand in tables of their own.
_PART = re.compile(r"^(train|validation)-(.+)$")
_STEP = re.compile(r"^(.+)-step-([0-9]+)$")
Document = Mapping[str, Any]


def new_table(title: str, columns: Sequence[str], *, numbers_from: int = 1, prose: Collection[str] = ()) -> Table:
    """Return an empty table.

    Args:
        title: Stands above it.
        columns: Their names.
        numbers_from: Columns from this one on are aligned to the right.
        prose: Columns of sentences: where there is no room they go on in further lines, and the others stay whole.
    """
    table = Table(title=title, title_justify="left")
    for index, name in enumerate(columns):
        is_prose = name in prose
        is_number = index >= numbers_from and not is_prose
        table.add_column(name, justify="right" if is_number else "left", no_wrap=not is_prose)
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
    found: dict[str, list[str]] = {}
    for name in sorted(skill):
        found.setdefault(standing(version, name), []).append(f"{name}{_p_note(version, name)}")
    if not found:
        return "This release is not compared with any baseline."
    told = [f"{words} {' and '.join(found[words])}" for words in _STANDINGS if words in found]
    return f"On these folds the model {'; it '.join(told)}."


def standing(version: Document, baseline: str) -> str:
    """Return how a version stands beside a baseline: a difference counts where a test says that it is no chance."""
    value, p_value = (version.get("skill") or {})[baseline], p_value_of(version, baseline)
    if p_value is None:
        return _UNTESTED_LOSS if value < 0 else _UNTESTED_GAIN
    if p_value >= _SIGNIFICANCE:
        return _NO_DIFFERENCE
    return _WORSE if value < 0 else _BETTER


def p_value_of(version: Document, baseline: str) -> float | None:
    """Return the p-value of the Diebold-Mariano test against a baseline; ``None`` for a release that has none."""
    found: float | None = (version.get("metrics") or {}).get("model", {}).get(f"dm-p-value-{baseline}")
    return found


def skill_text(version: Document, baseline: str) -> str:
    """Return the skill against a baseline with its p-value; ``-`` for none."""
    skill: Document = version.get("skill") or {}
    return f"{skill[baseline]:+.1%}{_p_note(version, baseline)}" if baseline in skill else "-"


def _p_note(version: Document, baseline: str) -> str:
    p_value = p_value_of(version, baseline)
    return "" if p_value is None else f" ({p_text(p_value)})"


def p_text(p_value: float) -> str:
    """Return a p-value for people.

    >>> p_text(0.041), p_text(0.3), p_text(0.00002)
    ('p 0.041', 'p 0.30', 'p < 0.001')
    """
    if p_value < 0.001:  # noqa: PLR2004  # what is written
        return "p < 0.001"
    return f"p {p_value:.3f}" if p_value < 0.1 else f"p {p_value:.2f}"  # noqa: PLR2004  # two digits that tell something


def backtest_table(version: Document) -> Table:
    """Return a model version beside the baselines on the same folds: errors, coverage, and its skill against each."""
    metrics: Document = version.get("metrics") or {}
    skill: Document = version.get("skill") or {}
    coverages = sorted(name for name in metrics.get("model", {}) if re.fullmatch(r"coverage-[0-9.]+", name))
    levels = [f"in {name.removeprefix('coverage-')} % band" for name in coverages]
    title = f"Backtest over {version.get('folds')} walk-forward folds"
    heads = ["method", "MAE", "MAPE", "CRPS", *levels, "direction right", "skill of the model", "by chance"]
    table = new_table(title, heads)
    for method, values in metrics.items():
        table.add_row(
            method,
            number(values.get("mae")),
            _percent(values.get("mape")),
            number(values.get("crps")),
            *(_percent(values.get(name)) for name in coverages),
            _direction(values),
            f"{skill[method]:+.1%}" if method in skill else "",
            "" if (p_value := p_value_of(version, method)) is None else p_text(p_value),
        )
    return table


def _direction(values: Document) -> str:
    """Return how often the direction was right, with its confidence interval where there is one."""
    found = values.get("direction-accuracy")
    ends = [values.get(f"direction-accuracy-{end}") for end in ("lower", "upper")]
    if found is None or None in ends:
        return _percent(found)
    return f"{found:.1f} % ({ends[0]:.0f} to {ends[1]:.0f})"


def parts_table(version: Document) -> Table:
    """Return how the model did on what its fit has learnt from and stopped by, beside the test part."""
    model: Document = (version.get("metrics") or {}).get("model", {})
    names = dict.fromkeys(match[2] for name in model if (match := _PART.match(name)))
    table = new_table("Train, validation and test apart", ["metric", "train", "validation", "test"])
    for name in names:
        table.add_row(name, *(number(model.get(prefix + name), digits=4) for prefix in ("train-", "validation-", "")))
    return table


def steps_table(version: Document) -> Table:
    """Return the model step by step: its error beside the last value, how sure the difference is, and coverage."""
    metrics: Document = version.get("metrics") or {}
    model: Document = metrics.get("model", {})
    steps = sorted({int(match[2]) for name in model if (match := _STEP.match(name))})
    levels = sorted({match[1] for name in model if (match := _STEP.match(name)) and match[1].startswith("coverage-")})
    heads = ["step", "MAE", f"MAE of {LAST_VALUE}", "by chance", "direction right"]
    table = new_table("Step by step", [*heads, *(f"in {name.removeprefix('coverage-')} % band" for name in levels)])
    for step in steps:
        of_step = {
            match[1]: value for name, value in model.items() if (match := _STEP.match(name)) and match[2] == str(step)
        }
        p_value = of_step.get(f"dm-p-value-{LAST_VALUE}")
        table.add_row(
            str(step),
            number(of_step.get("mae")),
            number(metrics.get(LAST_VALUE, {}).get(f"mae-step-{step}")),
            "-" if p_value is None else p_text(p_value),
            _direction(of_step),
            *(_percent(of_step.get(name)) for name in levels),
        )
    return table


def folds_table(version: Document) -> Table:
    """Return the backtest cutoff by cutoff beside the last value; below, mean and deviation over all cutoffs."""
    folds: Sequence[Document] = version.get("fold_metrics") or []
    spread: Document = version.get("fold_spread") or {}
    coverages = sorted({name for fold in folds for name in fold["metrics"]["model"] if name.startswith("coverage-")})
    levels = [f"in {name.removeprefix('coverage-')} % band" for name in coverages]
    heads = ["cutoff", "until", "forecasts", "MAE", f"MAE of {LAST_VALUE}", "RMSE", "MAPE", "CRPS", *levels]
    table = new_table("Backtest cutoff by cutoff", heads)

    def cells(metrics: Document) -> list[str]:
        model = metrics.get("model", {})
        return [
            number(model.get("mae")),
            number(metrics.get(LAST_VALUE, {}).get("mae")),
            number(model.get("rmse")),
            _percent(model.get("mape")),
            number(model.get("crps")),
            *(_percent(model.get(name)) for name in coverages),
        ]

    for fold in folds:
        ends = (_day(fold["cutoff"]), _day(fold["last_time"]))
        table.add_row(*ends, str(fold["forecasts"]), *cells(fold["metrics"]))
    for part in ("mean", "deviation") if spread else ():
        values = {method: {name: one[part] for name, one in found.items()} for method, found in spread.items()}
        table.add_row(f"{part} of {spread['model']['mae']['folds']}", "", "", *cells(values))
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
    """Return every metric of a version over all steps, a row each, with a column for it and each baseline."""
    metrics: Document = version.get("metrics") or {}
    table = new_table("Backtest", ["metric", *metrics])
    names = dict.fromkeys(name for values in metrics.values() for name in values)
    for name in (name for name in names if not _PART.match(name) and not _STEP.match(name)):
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
