"""``foretopic raw list`` and ``foretopic raw purge``: what providers answered, as this machine's ingestor keeps it."""

from __future__ import annotations

import os

import click

from foretopic.cli_shared import Commands, console, json_option, print_json, settings
from foretopic.files import raw_directory
from foretopic.reporter import Reporter
from foretopic.tables import new_table
from ingestor.raw_responses import RawResponses


def _kept() -> RawResponses:
    return RawResponses(directory=raw_directory(settings().home, os.environ), max_bytes=0)


@click.group(cls=Commands)
def raw() -> None:
    """See and delete the raw answers of providers that are kept for audit."""


@raw.command("list")
@json_option
def list_kept(as_json: bool) -> None:
    """List what is kept of each source.

    Example: foretopic raw list
    """
    found = _kept().sizes()
    if as_json:
        print_json([{"source": name, "files": files, "bytes": size} for name, (files, size) in found.items()])
        return
    table = new_table("Raw answers", ["source", "files", "bytes"])
    for name, (files, size) in found.items():
        table.add_row(name, str(files), str(size))
    Reporter(console()).show(table)


@raw.command("purge")
@click.option("--source", help="Only of this source.")
def purge(source: str | None) -> None:
    """Delete raw answers; observations stay.

    Example: foretopic raw purge --source yahoo
    """
    kept = _kept()
    if source is not None and source not in (known := kept.sizes()):
        raise click.UsageError(f"source must be one of {', '.join(known) or 'none'}, was {source!r}")
    files, size = kept.purge(source)
    click.echo(f"Deleted {files} raw answers, {size} bytes, below {kept.directory}.")
