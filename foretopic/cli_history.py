"""``foretopic history``: what was asked for, and what became of it."""

from __future__ import annotations

from pathlib import Path

import click

from foretopic.cli_shared import console, gateway_client, print_json, settings
from foretopic.reporter import Reporter
from foretopic.tables import new_table

_KINDS = ("forecasts", "trainings", "ingests")
_FILES = ("csv", "parquet", "ndjson")
_SHOWN = ("requested_at", "status", "state", "series_id", "model", "version", "requester", "code", "reason")


@click.command()
@click.argument("kind", type=click.Choice(_KINDS), default="forecasts")
@click.option("--series", "series_id", help="Only of this series.")
@click.option("--model", help="Only of this model.")
@click.option("--version", help="Only of this model version.")
@click.option("--status", help="Only those, such as issued or refused.")
@click.option("--project", help="Only of this project.")
@click.option("--requester", help="Only what this user or key asked for, as records name it.")
@click.option("--cause", help="Only what was asked for this reason.")
@click.option("--from", "start", help="Asked for at this time or later, such as 2025-01-02T00:00:00Z.")
@click.option("--to", "end", help="Asked for earlier than this.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1000), help="Lines that are shown.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(("table", "json", *_FILES)),
    default="table",
    show_default=True,
    help="table and json show --limit lines, the others write everything to --out.",
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="File to write.")
def history(
    *, kind: str, format_: str, out: Path | None, limit: int, start: str | None, end: str | None, **filters: str | None
) -> None:
    """List forecasts, trainings or ingests, the newest first, or save all of them.

    Example: foretopic history forecasts --series market/AAPL@1d --format parquet --out aapl.parquet
    """
    asked = {**filters, "from": start, "to": end}
    if (format_ in _FILES) != (out is not None):
        raise click.UsageError(f"--out goes with --format {', '.join(_FILES)}, and those need it")
    with gateway_client(settings()) as client:
        if out is not None:
            size = client.save_history(kind, {**asked, "format": format_}, out)
            click.echo(f"Wrote {size} bytes to {out}.")
            return
        lines = client.history(kind, {**asked, "limit": limit})
    if format_ == "json":
        print_json(lines)
        return
    columns = [name for name in _SHOWN if any(line.get(name) not in (None, "") for line in lines)]
    table = new_table(kind.capitalize(), columns)
    for line in lines:
        table.add_row(*(str(line.get(name) or "") for name in columns))
    Reporter(console()).show(table)
