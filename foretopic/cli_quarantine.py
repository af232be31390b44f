"""The commands about rows that the quality gate holds back."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from typing import Any

import click

from foretopic.cli_shared import Commands, console, gateway_client, json_option, print_json, settings
from foretopic.gateway_client import GatewayClient
from foretopic.reporter import Reporter
from foretopic.tables import new_table

_STATES = ("held", "released", "rejected", "any")
_SHOWN_ROWS = 20

_reason = click.option("--reason", default="", help="Why; it stands in the log beside the decision.")


def _client() -> GatewayClient:
    return gateway_client(settings())


@click.group(cls=Commands)
def quarantine() -> None:
    """See, release and reject the rows that the quality gate holds back."""


@quarantine.command("list")
@click.option("--series", "series_id", help="Only of this series.")
@click.option("--state", default="held", show_default=True, type=click.Choice(_STATES), help="What was decided.")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1000), help="At most so many.")
@json_option
def list_held(series_id: str | None, state: str, limit: int, as_json: bool) -> None:
    """List held rows, the newest first.

    Example: foretopic quarantine list --series market/AAPL@1d
    """
    with _client() as client:
        found = client.quarantine(series_id=series_id, state=state, limit=limit)
    if as_json:
        print_json(found)
        return
    table = new_table("Quarantine", ["id", "series", "rows", "from", "to", "source", "rules", "state"])
    for line in found:
        rules = ", ".join(dict.fromkeys(broken["rule"] for broken in line["broken"]))
        extent = (line["first_time"], line["last_time"])
        table.add_row(
            line["quarantine_id"], line["series_id"], str(line["rows"]), *extent, line["source"], rules, line["state"]
        )
    Reporter(console()).show(table)


@quarantine.command("show")
@click.argument("quarantine_id")
@json_option
def show(quarantine_id: str, as_json: bool) -> None:
    """Show held rows and the rules that they break.

    Example: foretopic quarantine show 5f2b1c9e0d7a46338b1f0a9c2e4d6b70
    """
    with _client() as client:
        found = client.quarantined(quarantine_id)
    if as_json:
        print_json(found)
        return
    for broken in found["broken"]:
        click.echo(f"{broken['rule']}: {broken['reason']}")
    observations = found["observations"]
    names = list(observations["columns"])
    title = f"{found['series_id']}, {found['state']}: {found['rows']} rows, the first {_SHOWN_ROWS}"
    table = new_table(title, ["time", *names])
    for row, time in enumerate(observations["time"][:_SHOWN_ROWS]):
        values = (observations["columns"][name][row] for name in names)
        table.add_row(time, *("-" if value is None else f"{value:g}" for value in values))
    Reporter(console()).show(table)


@quarantine.command("release")
@click.argument("quarantine_id")
@_reason
@json_option
def release(quarantine_id: str, reason: str, as_json: bool) -> None:
    """Let held rows in: they are published once.

    Example: foretopic quarantine release 5f2b1c9e0d7a46338b1f0a9c2e4d6b70 --reason "the exchange confirms it"
    """
    _tell(_decide(quarantine_id, "release", reason), as_json=as_json)


@quarantine.command("reject")
@click.argument("quarantine_id")
@_reason
@json_option
def reject(quarantine_id: str, reason: str, as_json: bool) -> None:
    """Throw held rows away; the same rows are not asked about again.

    Example: foretopic quarantine reject 5f2b1c9e0d7a46338b1f0a9c2e4d6b70 --reason "pence for pounds"
    """
    _tell(_decide(quarantine_id, "reject", reason), as_json=as_json)


def _decide(quarantine_id: str, decision: str, reason: str) -> dict[str, Any]:
    with _client() as client:
        return client.decide(quarantine_id, decision, {"decided_by": _user(), "reason": reason})


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        return ""


def _tell(decided: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(decided)
    else:
        click.echo(f"{decided['series_id']}: {decided['rows']} rows {decided['state']}.")
