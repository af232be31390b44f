"""Commands for series that are fetched by themselves."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from foretopic.cli_shared import Commands, console, gateway_client, json_option, print_json, settings
from foretopic.files import files_directory, place_file
from foretopic.gateway_client import GatewayClient
from foretopic.reporter import Reporter
from foretopic.tables import new_table

#: Sources of US stocks.
_STOCK_SOURCES = frozenset({"yahoo", "sample"})
_DAY, _HOUR, _MINUTE = 86_400, 3600, 60


def _client() -> GatewayClient:
    return gateway_client(settings())


@click.group(cls=Commands, invoke_without_command=True)
@click.pass_context
def sources(context: click.Context) -> None:
    """See and schedule the series that are fetched by themselves; without a command, list them."""
    if context.invoked_subcommand is None:
        context.invoke(list_sources, as_json=False)


@sources.command("list")
@json_option
def list_sources(*, as_json: bool) -> None:
    """List every scheduled series with its state, next run, last ingest and last error.

    Example: foretopic sources list
    """
    with _client() as client:
        found = client.sources()
    if as_json:
        print_json(found)
        return
    columns = ["series", "state", "schedule", "next run", "last ingest", "newest", "late", "last error"]
    table = new_table("Sources", columns, numbers_from=len(columns), prose=["last error"])
    for source in found:
        last, error = source["last_ingest"], source["last_error"]
        table.add_row(
            source["series_id"],
            source["state"],
            schedule_text(source["schedule"]),
            _time(source["next_run"]),
            "-" if last is None else last["state"],
            _time(source["newest_observation"]),
            duration_text(source["late_seconds"]),
            source["reason"] or ("-" if error is None else f"{_time(error['time'])} {error['reason']}"),
        )
    Reporter(console()).show(table)


@sources.command("set")
@click.argument("series_id")
@click.argument("names", metavar="SOURCES")
@click.argument("symbol")
@click.option("--cron", default="", help='Five fields, e.g. "30 18 * * 1-5".')
@click.option("--timezone", default="UTC", show_default=True, help="In which the cron expressions are read.")
@click.option("--after-close", type=click.IntRange(0, 10_080), help="Minutes after each close of the calendar.")
@click.option(
    "--jitter", default=0.0, type=click.FloatRange(0, 3600), help="Put each run off by up to so many seconds."
)
@click.option("--calendar", help="Exchange calendar code, or 24/7. XNYS for yahoo and sample, else 24/7.")
@click.option("--adjust", is_flag=True, help="Adjust prices for dividends too, not for splits alone.")
@click.option("--known-future", multiple=True, metavar="COLUMN", help="A column known in the future; repeat.")
@click.option("--paused", is_flag=True, help="Do not begin yet.")
@click.option(
    "--retrain",
    "retrain",
    multiple=True,
    metavar="MODEL=RULE",
    help='E.g. shop/x-1d=20, shop/x-1d="0 3 * * 0"; repeat.',
)
@json_option
def set_source(
    *,
    series_id: str,
    names: str,
    symbol: str,
    cron: str,
    timezone: str,
    after_close: int | None,
    jitter: float,
    calendar: str | None,
    adjust: bool,
    known_future: tuple[str, ...],
    paused: bool,
    retrain: tuple[str, ...],
    as_json: bool,
) -> None:
    """Schedule a series, in place of the schedule that it has: by --cron or --after-close.

    SOURCES are yahoo, file and so on; several with commas are tried in order. SYMBOL is what they call the series.
    --retrain trains a model again after so many new observations, or by a cron expression.

    Example: foretopic sources set market/MSFT@1d yahoo MSFT --after-close 30 --retrain market/MSFT-1d=20

    Example: foretopic sources set shop/berlin@1d file sales.csv --cron "15 6 * * 1-5" --timezone Europe/Berlin
    """
    if bool(cron) == (after_close is not None):
        raise click.UsageError("give one of --cron and --after-close")
    listed = [name.strip() for name in names.split(",")]
    if "file" in listed:
        symbol = place_file(Path(symbol), files_directory(settings().home, os.environ))
    body = {
        "sources": listed,
        "symbol": symbol,
        "calendar": calendar or ("XNYS" if set(listed) <= _STOCK_SOURCES else "24/7"),
        "adjust": adjust,
        "known_future": list(known_future),
        "cron": cron,
        "timezone": timezone,
        "after_close_minutes": after_close,
        "jitter_seconds": jitter,
        "is_paused": paused,
        "retrain": [_rule(text) for text in retrain],
    }
    with _client() as client:
        _tell(client.set_source(series_id, body), as_json=as_json)


@sources.command("pause")
@click.argument("series_id")
@json_option
def pause(*, series_id: str, as_json: bool) -> None:
    """Fetch and train nothing by itself any more.

    Example: foretopic sources pause market/MSFT@1d
    """
    _change(lambda client: client.change_source(series_id, "pause"), as_json=as_json)


@sources.command("resume")
@click.argument("series_id")
@json_option
def resume(*, series_id: str, as_json: bool) -> None:
    """Go on; what was due meanwhile is not made up for.

    Example: foretopic sources resume market/MSFT@1d
    """
    _change(lambda client: client.change_source(series_id, "resume"), as_json=as_json)


@sources.command("run")
@click.argument("series_id")
@json_option
def run(*, series_id: str, as_json: bool) -> None:
    """Fetch now, whatever the schedule says.

    Example: foretopic sources run market/MSFT@1d
    """
    with _client() as client:
        asked = client.change_source(series_id, "run")
    if as_json:
        print_json(asked)
    else:
        click.echo(f"Asked: ingest {asked['ingest_id']}.")


def schedule_text(schedule: Mapping[str, Any]) -> str:
    """Return when a schedule is due, in words."""
    if schedule["cron"]:
        return f"{schedule['cron']} ({schedule['timezone']})"
    return f"{schedule['calendar']} close + {schedule['after_close_minutes']} min"


def duration_text(seconds: int) -> str:
    """Return a lateness in its largest unit; nothing is on time."""
    for length, unit in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min"), (1, "s")):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return "-"


def _rule(text: str) -> dict[str, object]:
    model, _, rule = text.partition("=")
    if not model or not rule:
        raise click.UsageError(f"--retrain must be MODEL=COUNT or MODEL=CRON, was {text!r}")
    if rule.isdecimal():
        return {"model": model, "every_observations": int(rule)}
    return {"model": model, "cron": rule}


def _change(change: Callable[[GatewayClient], dict[str, Any]], *, as_json: bool) -> None:
    with _client() as client:
        _tell(change(client), as_json=as_json)


def _tell(source: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(source)
    else:
        click.echo(f"{source['series_id']}: {source['state']}, {schedule_text(source['schedule'])}.")


def _time(text: str | None) -> str:
    return "-" if text is None else text[:16].replace("T", " ")
