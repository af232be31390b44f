"""The projection made anew, beside the one that is in use: another database, from the first offset of the log."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine, inspect

from gateway.migrations.upgrade import upgrade
from gateway.open_requests import OpenRequests
from gateway.projection import FOLLOWED, Projection
from gateway.store import Store, open_engine, translated
from gateway.tables import METADATA
from runtime.broker import Broker
from runtime.clock import Clock
from runtime.errors import RuntimeFault

_STEP_SECONDS = 0.5
_STOP_SECONDS = 30.0


class DatabaseInUse(RuntimeFault):
    """Say that a database has a projection already: it is some gateway's, and is not touched."""


class RebuildFailed(RuntimeFault):
    """Say why the log could not be read to its end."""


def rebuild(
    url: str,
    *,
    broker: Broker,
    clock: Clock,
    topic_prefix: str,
    on_progress: Callable[[int, int], None],
) -> Store:
    """Return a store with everything that stands in the log now; its engine is the caller's to dispose of.

    Nothing else is written: no dead letters, nothing in the database of accounts, nothing in another projection. A
    gateway that is pointed at the new database before this has ended makes one of the two stop with `StoreTaken`.

    Args:
        url: A database without the tables of a projection.
        broker: The log.
        clock: Measures the time between two looks.
        topic_prefix: The installation's prefix.
        on_progress: Told how many messages are written, and how many there are.

    Raises:
        BrokerUnavailable: No broker answers; nothing is made.
        DatabaseInUse: The database has a projection; it is left as it is.
        RebuildFailed: A topic does not exist, and nothing is made; or the reading ended on an error.
        StoreUnavailable: The database cannot be reached.
    """
    _require_log(broker, topic_prefix)
    engine = open_engine(url)
    try:
        _require_fresh(engine)
        upgrade(engine)
        store = Store(engine)
        _follow(store, broker, clock, topic_prefix, on_progress)
    except BaseException:
        engine.dispose()
        raise
    return store


def _require_log(broker: Broker, topic_prefix: str) -> None:
    """Refuse at once: a projection waits for its log as long as it takes, which is right for a gateway alone."""
    for topic in FOLLOWED:
        name = topic.full_name(topic_prefix)
        if broker.partitions(name) == 0:
            raise RebuildFailed(f"topic {name} must exist, it does not; is FORETOPIC_TOPIC_PREFIX right?")


def _require_fresh(engine: Engine) -> None:
    with translated():
        found = sorted(set(inspect(engine).get_table_names()) & set(METADATA.tables))
    if found:
        raise DatabaseInUse(
            f"a database without a projection was expected, {engine.url.render_as_string(hide_password=True)} has the "
            f"tables {', '.join(found[:3])}…; name another, new one with --into"
        )


def _follow(
    store: Store, broker: Broker, clock: Clock, topic_prefix: str, on_progress: Callable[[int, int], None]
) -> None:
    projection = Projection(
        broker=broker,
        store=store,
        open_requests=OpenRequests(),
        clock=clock,
        topic_prefix=topic_prefix,
        min_write_interval_seconds=0.0,
        # The gateway buried them when it first read them.
        bury=lambda _junk: None,
        on_alarms=lambda _alarms: None,
        on_written=lambda _messages, _positions: None,
        on_failure=lambda: None,
    )
    projection.start()
    try:
        while not projection.is_caught_up:
            if projection.failure is not None:
                raise RebuildFailed(f"the log could not be projected: {projection.failure}") from projection.failure
            on_progress(*projection.progress())
            projection.wait_for_write(_STEP_SECONDS)
        on_progress(*projection.progress())
    finally:
        projection.stop(_STOP_SECONDS)


def default_url(home: Path) -> str:
    """Return where the projection of a home is made anew: beside `gateway.db`."""
    return f"sqlite:///{home.absolute() / 'gateway-rebuilt.db'}"
