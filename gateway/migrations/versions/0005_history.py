"""What the history is filtered by.

Requests for forecasts were kept without their time, model and asker; the log has all of them and their answers for
ever, so both are read again, which the gateway does before it calls itself caught up. Of trainings and ingests the
records stand in the rows, and the log may have let go of them: their columns are filled from there.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ROWS_AT_ONCE = 1_000
_ASKED = (
    ("time_ms", sa.BigInteger(), "0"),
    ("project", sa.String(length=200), "''"),
    ("requester", sa.String(length=128), "''"),
    ("organisation_id", sa.String(length=128), "''"),
    ("cause", sa.String(length=100), "''"),
    ("state", sa.String(length=20), "''"),
)


def upgrade() -> None:
    """Make the tables of requests anew, and fill the new columns of the others."""
    op.drop_table("forecast_requests")
    _make_requests()
    _make_usage()
    for table, key, of in (("trainings", "training_id", "model"), ("ingests", "ingest_id", "series_id")):
        with op.batch_alter_table(table) as batch:
            for name, type_, empty in _ASKED:
                batch.add_column(sa.Column(name, type_, nullable=False, server_default=sa.text(empty)))
            if table == "trainings":
                batch.add_column(sa.Column("version", sa.String(length=20), nullable=True))
        _fill(table, key, of)
        with op.batch_alter_table(table) as batch:
            for name, type_, _ in _ASKED:
                batch.alter_column(name, existing_type=type_, existing_nullable=False, server_default=None)
        op.create_index(f"{table}_by_time", table, ["time_ms"])
        op.create_index(f"{table}_by_project", table, ["project", "time_ms"])
    _read_again()


def downgrade() -> None:
    """Make the tables as they were; requests are read from the log again."""
    for table in ("trainings", "ingests"):
        op.drop_index(f"{table}_by_project", table_name=table)
        op.drop_index(f"{table}_by_time", table_name=table)
        with op.batch_alter_table(table) as batch:
            for name, *_ in _ASKED:
                batch.drop_column(name)
            if table == "trainings":
                batch.drop_column("version")
    op.drop_table("usage")
    op.drop_table("forecast_requests")
    op.create_table(
        "forecast_requests",
        sa.Column("request_id", sa.String(length=128), nullable=False),
        sa.Column("series_id", sa.String(length=200), nullable=True),
        sa.Column("wish", sa.String(length=64), nullable=False),
        sa.Column("is_pinned", sa.Boolean(), nullable=False),
        sa.Column("log_partition", sa.Integer(), nullable=False),
        sa.Column("log_offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("request_id"),
        sqlite_with_rowid=False,
    )
    _read_again()


def _make_requests() -> None:
    op.create_table(
        "forecast_requests",
        sa.Column("request_id", sa.String(length=128), nullable=False),
        sa.Column("series_id", sa.String(length=200), nullable=True),
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("requester", sa.String(length=128), nullable=False),
        sa.Column("organisation_id", sa.String(length=128), nullable=False),
        sa.Column("cause", sa.String(length=100), nullable=False),
        sa.Column("tenant", sa.String(length=300), nullable=False),
        sa.Column("model", sa.String(length=240), nullable=False),
        sa.Column("version", sa.String(length=240), nullable=True),
        sa.Column("horizon", sa.Integer(), nullable=True),
        sa.Column("batch_id", sa.String(length=128), nullable=True),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("code", sa.String(length=100), nullable=True),
        sa.Column("forecast_id", sa.String(length=128), nullable=True),
        sa.Column("cutoff", sa.BigInteger(), nullable=True),
        sa.Column("answered_ms", sa.BigInteger(), nullable=True),
        sa.Column("wish", sa.String(length=64), nullable=True),
        sa.Column("is_pinned", sa.Boolean(), nullable=True),
        sa.Column("log_partition", sa.Integer(), nullable=True),
        sa.Column("log_offset", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("request_id"),
    )
    op.create_index("forecast_requests_by_time", "forecast_requests", ["time_ms"])
    for name in ("series_id", "model", "version", "tenant"):
        index = f"forecast_requests_by_{name.removesuffix('_id')}"
        op.create_index(index, "forecast_requests", [name, "time_ms"])
    for name, column, where in (
        ("requester", "requester", "requester <> ''"),
        ("status", "status", "status <> 'issued'"),
        ("batch", "batch_id", "batch_id IS NOT NULL"),
    ):
        only = sa.text(where)
        op.create_index(
            f"forecast_requests_by_{name}",
            "forecast_requests",
            [column, "time_ms"],
            sqlite_where=only,
            postgresql_where=only,
        )


def _make_usage() -> None:
    op.create_table(
        "usage",
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("project", sa.String(length=200), nullable=False),
        sa.Column("organisation_id", sa.String(length=128), nullable=False),
        sa.Column("model", sa.String(length=240), nullable=False),
        sa.Column("requester", sa.String(length=128), nullable=False),
        sa.Column("forecasts", sa.BigInteger(), nullable=False),
        sa.Column("issued", sa.BigInteger(), nullable=False),
        sa.Column("refused", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "project", "organisation_id", "model", "requester"),
        sqlite_with_rowid=False,
    )


def _fill(table_name: str, key: str, of: str) -> None:
    """Fill the new columns from the records as they travelled."""
    connection = op.get_bind()
    table = sa.Table(table_name, sa.MetaData(), autoload_with=connection)
    after = ""
    while True:
        query = sa.select(table).where(table.c[key] > after).order_by(table.c[key]).limit(_ROWS_AT_ONCE)
        rows = connection.execute(query).mappings().all()
        if not rows:
            return
        after = rows[-1][key]
        filled = [{"of_key": row[key], **_columns(dict(row), of)} for row in rows]
        if table_name == "ingests":
            for row in filled:
                del row["version"]
        connection.execute(sa.update(table).where(table.c[key] == sa.bindparam("of_key")), filled)


def _columns(row: dict[str, Any], of: str) -> dict[str, Any]:
    request = {} if row["request"] is None else json.loads(row["request"])
    event = {} if row["event"] is None else json.loads(row["event"])
    asked_ms = row["requested_ms"]
    requester = str(request.get("requester", ""))
    # A record leaves out what is as it mostly is.
    cause = str(request.get("cause", "user")) if asked_ms is not None else ""
    return {
        "time_ms": asked_ms if asked_ms is not None else row["event_ms"] or 0,
        "project": str(row[of]).partition("/")[0],
        "requester": requester,
        "organisation_id": requester.partition("/")[0],
        "cause": cause[:100].replace("\x00", "\ufffd"),
        "state": str(event.get("state", "queued")),
        "version": event.get("version"),
    }


def _read_again() -> None:
    # The names may carry a prefix; no other topics end so.
    op.execute("DELETE FROM positions WHERE topic LIKE '%forecast-requests' OR topic LIKE '%forecasts'")
