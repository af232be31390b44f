"""``foretopic upload``: a file to the gateway, its columns shown, its series loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from foretopic.cli_shared import CLOCK, console, gateway_client, json_option, print_json, settings
from foretopic.errors import ForetopicError
from foretopic.reporter import Reporter
from foretopic.tables import new_table

_FINAL_STATES = ("succeeded", "failed")
_POLL_SECONDS = 0.5
_SHOWN_FAILURES = 10


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--project", default="uploads", show_default=True, help="First part of the name of each series.")
@click.option("--name", default="", help="Name of the only series of a file.  [default: that of the file]")
@click.option("--time", help="Column with the times.")
@click.option("--series", help="Column that names the series; an empty text: the file holds one.")
@click.option("--target", help="Column that is to be forecast.")
@click.option("--column", "columns", multiple=True, help="Column that is loaded; may be repeated.")
@click.option("--known-future", multiple=True, help="Column that is known in the future; may be repeated.")
@click.option("--freq", help="Length of one observation, e.g. 1d.")
@click.option("--calendar", help="Exchange calendar code, 24/5 or 24/7.")
@click.option("--force", is_flag=True, help="Let in what the quality gate would hold back.")
@click.option("-y", "--yes", is_flag=True, help="Load without asking.")
@click.option("--no-wait", is_flag=True, help="Return once the ingests are asked for.")
@json_option
def upload(file: Path, *, yes: bool, no_wait: bool, as_json: bool, **options: Any) -> None:
    """Upload a CSV or Parquet file and load its series.

    What the columns are taken for is shown first; options say what is to be otherwise.

    Example: foretopic upload stores.parquet --project shops --known-future Promo --yes
    """
    if not file.is_file():
        raise ForetopicError(f"a CSV or Parquet file is expected, there is none at {file}")
    changes = {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
    body = {name: value for name, value in changes.items() if value}
    if changes["series"] == "":
        body["series"] = None
    with gateway_client(settings()) as client:
        found = client.upload(file)
        if not as_json:
            _show(found, found["mapping"] | body)
        if not yes and (as_json or not click.confirm("Load it so?")):
            _tell(found, "Not loaded.", as_json=as_json)
            return
        loaded = client.load_upload(found["upload_id"], body)
        while not no_wait and any(line["ingest"]["state"] not in _FINAL_STATES for line in loaded["series"]):
            CLOCK.sleep(_POLL_SECONDS)
            loaded = client.upload_state(found["upload_id"])
    states = Counter(line["ingest"]["state"] for line in loaded["series"])
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    _tell(loaded, f"Upload {found['upload_id']}: {counts}.", as_json=as_json)
    failed = [line["ingest"] for line in loaded["series"] if line["ingest"]["state"] == "failed"]
    if failed:
        told = "\n".join(f"  {ingest['series_id']}: {ingest['reason']}" for ingest in failed[:_SHOWN_FAILURES])
        raise ForetopicError(f"{len(failed)} of {len(loaded['series'])} series were not loaded:\n{told}")
    if not as_json:
        first = loaded["series"][0]["ingest"]["series_id"]
        click.echo(f"Next: `foretopic series show {first}`, then `foretopic train {first} --target COLUMN`.")


def _show(found: dict[str, Any], mapping: Mapping[str, Any]) -> None:
    inspection = found["inspection"]
    title = f"{found['filename']}: {inspection['rows']} rows, {inspection['series_count']} series"
    table = new_table(title, ["column", "holds", "missing", "is", "first values"], prose=["first values"])
    for index, column in enumerate(inspection["columns"]):
        cells = ("-" if row[index] is None else str(row[index]) for row in inspection["preview"])
        part = _part_of(column["name"], mapping)
        table.add_row(column["name"], column["kind"], str(column["missing"]), part, ", ".join(cells))
    Reporter(console()).show(table)
    click.echo(f"from    {inspection['first_time']} to {inspection['last_time']}")
    others = [name for name in inspection["target_candidates"] if name != mapping["target"]]
    click.echo(f"target  {mapping['target']} (others: {', '.join(others) or 'none'})")
    click.echo(f"freq    {mapping['freq']}, calendar {mapping['calendar']}")
    for note in inspection["notes"]:
        click.echo(f"note: {note}")


def _part_of(name: str, mapping: Mapping[str, Any]) -> str:
    """Return what a column is taken for."""
    for part in ("time", "series", "target"):
        if mapping[part] == name:
            return part
    if name in mapping["known_future"]:
        return "known in the future"
    return "loaded" if name in mapping["columns"] else "left out"


def _tell(document: dict[str, Any], sentence: str, *, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        click.echo(sentence)
