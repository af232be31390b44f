"""``foretopic series``: which there are, what was known of them when, and what was restated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from foretopic.cli_shared import Commands, console, gateway_client, json_option, print_json, settings
from foretopic.gateway_client import GatewayClient
from foretopic.reporter import Reporter
from foretopic.tables import new_table, number


def _client() -> GatewayClient:
    return gateway_client(settings())


@click.group(cls=Commands, invoke_without_command=True)
@json_option
@click.pass_context
def series(context: click.Context, as_json: bool) -> None:
    """List the series; show one as it is or as it was known, and what was restated in it.

    Example: foretopic series
    """
    if context.invoked_subcommand is not None:
        return
    with _client() as client:
        found = client.series()
    if as_json:
        print_json(found)
        return
    table = new_table("Series", ["series", "freq", "calendar", "unit", "source", "rows", "first", "last"])
    for entry in found:
        texts = (entry[name] or "" for name in ("series_id", "freq", "calendar", "unit", "source"))
        extent = (_day(str(entry[name] or "")) for name in ("first_time", "last_time"))
        table.add_row(*texts, number(entry["rows"], digits=0), *extent)
    Reporter(console()).show(table)


@series.command()
@click.argument("series_id")
@click.option("--known-at", help="As it was known at this time, e.g. 2025-01-02T21:00:00Z; now unless given.")
@click.option("--known-at-offset", type=click.IntRange(0), help="As it was known at this end offset of its partition.")
@click.option("--after", help="Only rows later than this time.")
@click.option("--before", help="Only rows earlier than this time.")
@click.option("--rows", default=20, show_default=True, type=click.IntRange(1, 10_000), help="The newest so many.")
@click.option("--versions", is_flag=True, help="Say when each row was received, of which kind it is, and why.")
@json_option
def show(
    *,
    series_id: str,
    known_at: str | None,
    known_at_offset: int | None,
    after: str | None,
    before: str | None,
    rows: int,
    versions: bool,
    as_json: bool,
) -> None:
    """Show the newest rows of a series, as they are or as they were known.

    Example: foretopic series show market/AAPL@1d --known-at 2025-01-02T21:00:00Z --versions
    """
    asked = {
        "known_at": known_at,
        "known_at_offset": known_at_offset,
        "after": after,
        "before": before,
        "limit": rows,
        "order": "newest",
        "versions": "true" if versions else None,
    }
    with _client() as client:
        found = client.observations(series_id, asked)
    if as_json:
        print_json(found)
        return
    columns = found["observations"]["columns"]
    origins = ("received_at", "kind", "reason") if versions else ()
    point = known_at or (f"offset {known_at_offset}" if known_at_offset is not None else "now")
    table = new_table(f"{found['series_id']}, as known at {point}", ["time", *columns, *origins], prose=["reason"])
    times = found["observations"]["time"]
    # The newest rows were asked for; a reader expects them in the order of time.
    for row in reversed(range(len(times))):
        values = ("-" if values[row] is None else f"{values[row]:.12g}" for values in columns.values())
        table.add_row(_day(times[row]), *values, *(found["versions"][name][row] for name in origins))
    Reporter(console()).show(table)


@series.command()
@click.argument("series_id")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1000), help="The newest so many.")
@json_option
def restatements(*, series_id: str, limit: int, as_json: bool) -> None:
    """Show which values were replaced by others: when, from what to what, and why.

    Example: foretopic series restatements market/AAPL@1d
    """
    with _client() as client:
        found = client.restatements(series_id, {"limit": limit, "order": "newest"})
    if as_json:
        print_json(found)
        return
    heads = ["received", "time", "column", "from", "to", "offset", "reason"]
    table = new_table(f"{series_id}: restatements", heads, prose=["reason"])
    for line in found["restatements"]:
        for name, change in line["columns"].items():
            table.add_row(*_change(line, name, change))
    Reporter(console()).show(table)


def _change(line: Mapping[str, Any], name: str, change: Mapping[str, float | None]) -> list[str]:
    values = ("-" if value is None else f"{value:.12g}" for value in (change["from"], change["to"]))
    return [line["received_at"], _day(line["time"]), name, *values, str(line["log_offset"]), line["reason"]]


def _day(time: str) -> str:
    return time.removesuffix("T00:00:00Z")
