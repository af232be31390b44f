"""The command that shows the models, how they did, and what they were chosen from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from foretopic.cli_shared import console, gateway_client, json_option, print_json, settings
from foretopic.errors import ForetopicError
from foretopic.reporter import Reporter
from foretopic.tables import (
    backtest_table,
    candidate_name,
    candidate_state,
    folds_table,
    leaderboard_table,
    metrics_table,
    new_table,
    parts_table,
    skill_text,
    steps_table,
    verdict,
)

#: Models that an error names.
_SHOWN_NAMES = 20


@click.command()
@click.option("--model", help="Only this one, with its whole backtest.")
@click.option("--leaderboard", "with_leaderboard", is_flag=True, help="What each version was chosen from, if it was.")
@click.option("--folds", "with_folds", is_flag=True, help="The backtest of each version cutoff by cutoff.")
@json_option
def models(*, model: str | None, with_leaderboard: bool, with_folds: bool, as_json: bool) -> None:
    """List models, their versions and their skill: how much smaller the error is, and how often chance does as much.

    Example: foretopic models --model market/AAPL-1d
    """
    with gateway_client(settings()) as client:
        known = client.models()
    found = [entry for entry in known if model in (None, entry["model"])]
    if model is not None and not found:
        names = ", ".join(entry["model"] for entry in known[:_SHOWN_NAMES]) or "none"
        raise ForetopicError(f"a model with a release was expected, found {model!r}; there are {names}")
    if as_json:
        print_json(found)
        return
    reporter = Reporter(console())
    baselines = sorted({name for entry in found for version in entry["versions"] for name in version["skill"] or {}})
    table = new_table("Models", ["model", "version", "role", "algorithm", *(f"skill / {name}" for name in baselines)])
    for entry in found:
        for version in entry["versions"]:
            told = (skill_text(version, name) for name in baselines)
            table.add_row(entry["model"], version["version"], version["role"] or "", version["algorithm"], *told)
    reporter.show(table)
    if model is not None:
        for version in (version for entry in found for version in entry["versions"]):
            reporter.line(f"{version['version']}: {verdict(version)}")
            reporter.show(backtest_table(version))
            reporter.show(parts_table(version))
            reporter.show(steps_table(version))
            reporter.show(metrics_table(version))
    if with_folds:
        for version in (version for entry in found for version in entry["versions"] if version.get("fold_metrics")):
            reporter.line(f"{version['version']}:")
            reporter.show(folds_table(version))
    if with_leaderboard:
        _show_leaderboards(reporter, [version for entry in found for version in entry["versions"]])


def _show_leaderboards(reporter: Reporter, versions: Sequence[Mapping[str, Any]]) -> None:
    for version in versions:
        if version.get("leaderboard"):
            reporter.line(f"{version['version']}:")
            reporter.show(leaderboard_table(version))
            for entry in version["leaderboard"]:
                if entry.get("reason"):
                    reporter.line(f"{candidate_name(entry)}: {candidate_state(entry)}: {entry['reason']}")
