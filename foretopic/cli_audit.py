"""Commands that prove something about models."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from foretopic.cli_shared import CLOCK, console, json_option, open_broker, print_json, settings
from foretopic.reporter import Reporter
from foretopic.tables import new_table
from schemas.forecasts import default_model_name

if TYPE_CHECKING:  # imported late below: the other commands do without numpy and ONNX Runtime
    from forecasting.audit import Audit
    from foretopic.leakage import Subject

_SHOWN = 30


@click.group()
def audit() -> None:
    """Prove that models do not know what they must not."""


@audit.command("leakage")
@click.argument("series_id")
@click.option("--model", help="Model name, or name:version; the one named after the series unless given.")
@click.option("--algorithm", "algorithms", multiple=True, help="Train this one now and audit it instead; repeat.")
@click.option("--file", "path", type=click.Path(path_type=Path), help="CSV or Parquet.")
@click.option("--calendar", default="24/7", show_default=True, help="Exchange calendar code of --file.")
@click.option("--target", default="close", show_default=True, help="Column that --algorithm forecasts.")
@click.option("--column", "columns", multiple=True, help="Raw column that --algorithm sees; repeat.")
@click.option("--cutoffs", default=20, show_default=True, type=click.IntRange(1, 10_000), help="Random cutoffs.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of cutoffs and wild values.")
@json_option
def leakage(
    *,
    series_id: str,
    model: str | None,
    algorithms: tuple[str, ...],
    path: Path | None,
    calendar: str,
    target: str,
    columns: tuple[str, ...],
    cutoffs: int,
    seed: int,
    as_json: bool,
) -> None:
    """Take the future away, make it wild, and demand the same features, forecasts and fits to the bit.

    Reads the series and the model from the log. With --algorithm it trains with the defaults instead; --file then
    needs no stack. Exit code 1 where anything knew the future.

    Example: foretopic audit leakage market/AAPL@1d --cutoffs 50

    Example: foretopic audit leakage shop/berlin@1d --file sales.csv --target sales --algorithm linear
    """
    if path is not None and not algorithms:
        raise click.UsageError("--file has no model: name an --algorithm to train on it")
    if algorithms and model is not None:
        raise click.UsageError("--model audits a released version, --algorithm trains one: give one of them")
    from foretopic import leakage as auditing  # noqa: PLC0415  # see above

    subjects = (
        _trained(series_id, algorithms, path, calendar=calendar, target=target, columns=columns)
        if algorithms
        else [_released(series_id, model or default_model_name(series_id))]
    )
    audits = {subject.name: auditing.audited(subject, cutoffs=cutoffs, seed=seed) for subject in subjects}
    sys.exit(show(audits, as_json=as_json))


def _released(series_id: str, reference: str) -> Subject:
    from foretopic import leakage as auditing  # noqa: PLC0415  # see above

    found = settings()
    with open_broker(found) as broker:
        releases = auditing.releases_of(broker, found.topic_prefix, CLOCK)
        return auditing.released(
            reference, releases, lambda name: auditing.series_of(broker, found.topic_prefix, CLOCK, name), series_id
        )


def _trained(
    series_id: str,
    algorithms: tuple[str, ...],
    path: Path | None,
    *,
    calendar: str,
    target: str,
    columns: tuple[str, ...],
) -> list[Subject]:
    from forecasting.training import TrainingSpec  # noqa: PLC0415  # see above
    from foretopic import leakage as auditing  # noqa: PLC0415  # see above

    if path is not None:
        series = auditing.series_from_file(path, series_id, calendar, CLOCK)
    else:
        found = settings()
        with open_broker(found) as broker:
            series = auditing.series_of(broker, found.topic_prefix, CLOCK, series_id)
    seen = columns if target in columns or not columns else (target, *columns)
    return [auditing.trained(TrainingSpec(algorithm=name, target=target, columns=seen), series) for name in algorithms]


def show(audits: Mapping[str, Audit], *, as_json: bool) -> int:
    """Print what was found; return the exit code."""
    from foretopic import leakage as auditing  # noqa: PLC0415  # see above

    if as_json:
        print_json(auditing.told(audits))
    else:
        _show_tables(audits)
    return 1 if any(found.findings for found in audits.values()) else 0


def _show_tables(audits: Mapping[str, Audit]) -> None:
    reporter = Reporter(console())
    for name, found in audits.items():
        counts = ", ".join(f"{count} of {check}" for check, count in found.compared.items())
        if not found.findings:
            reporter.line(f"{name}: nothing knows the future ({counts} compared).")
            continue
        titles = ["part", "check", "cutoff", "future", "expected", "found"]
        table = new_table(f"{name} knows the future: {len(found.findings)} findings ({counts} compared)", titles)
        for finding in found.findings[:_SHOWN]:
            cutoff = finding.cutoff.isoformat().removesuffix("T00:00:00+00:00")
            table.add_row(finding.part, finding.check, cutoff, finding.world, finding.expected, finding.found)
        reporter.show(table)
        if len(found.findings) > _SHOWN:
            reporter.line(f"... and {len(found.findings) - _SHOWN} more; --json shows all.")
