"""``foretopic rebuild``: the gateway's database made anew from the log."""

from __future__ import annotations

import click

from foretopic.cli_shared import CLOCK, console, open_broker, settings
from foretopic.errors import ForetopicError
from foretopic.reporter import Reporter
from gateway.rebuilding import DatabaseInUse, RebuildFailed, default_url, rebuild
from gateway.store import StoreUnavailable


@click.command("rebuild")
@click.option("--into", "url", help="URL of a new, empty database; gateway-rebuilt.db in the home unless given.")
def rebuild_command(url: str | None) -> None:
    """Make the database of the gateway anew, from offset 0 of the log, beside the one that is in use.

    A running gateway goes on with its own database. When this has ended, stop the gateway, name the new database by
    FORETOPIC_GATEWAY_DATABASE_URL (or move the file to gateway.db, without the gateway.db-wal of the old one), and
    start it: it reads what has come since. Accounts are not in this database and stay as they are.

    Example: foretopic rebuild --into postgresql://foretopic@localhost/projection_2
    """
    found = settings()
    if url is None:
        found.home.mkdir(parents=True, exist_ok=True)
    into = url or default_url(found.home)
    reporter = Reporter(console())
    with open_broker(found) as broker, reporter.work("Rebuilding") as work:

        def show(done: int, total: int) -> None:
            work.update(done / total if total else 0.0, f"{done} of {total} messages")

        try:
            store = rebuild(into, broker=broker, clock=CLOCK, topic_prefix=found.topic_prefix, on_progress=show)
        except (DatabaseInUse, RebuildFailed, StoreUnavailable) as error:
            raise ForetopicError(str(error)) from error
    shown = store.engine.url.render_as_string(hide_password=True)
    store.engine.dispose()
    reporter.line(f"Rebuilt {shown}. Start the gateway with it by FORETOPIC_GATEWAY_DATABASE_URL.")
