"""``foretopic quotas``: what a project or an organisation may have and use, and what it has and has used."""

from __future__ import annotations

import click

from foretopic.cli_shared import console, gateway_client, json_option, print_json, settings
from foretopic.reporter import Reporter
from foretopic.tables import new_table, number

_A_DAY = "_a_day"


@click.command()
@click.argument("owner_id", metavar="PROJECT_ID")
@click.option("--organisation", is_flag=True, help="What is named is an organisation: over all its projects.")
@json_option
def quotas(owner_id: str, *, organisation: bool, as_json: bool) -> None:
    """Show what a project, or an organisation over all its projects, may have and use, and what it has and has used.

    Example: foretopic quotas shops-k3m9wz

    Example: foretopic quotas org_5f2b1c9e0d7a46338b1f0a9c --organisation
    """
    kind = "organisations" if organisation else "projects"
    with gateway_client(settings()) as client:
        found = client.quotas(kind, owner_id)
    if as_json:
        print_json(found)
        return
    there = {**found["in_use"], **{f"{name}{_A_DAY}": used for name, used in found["used_today"].items()}}
    table = new_table(f"Quotas of {owner_id} (a day ends at {found['resets_at']})", ["what", "there is", "at most"])
    for name, limit in found["in_force"].items():
        used = there.get(name)
        at_most = number(limit, digits=0) if limit else "any number"
        table.add_row(name.replace("_", " "), "-" if used is None else number(used, digits=0), at_most)
    Reporter(console()).show(table)
