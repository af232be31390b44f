"""The projection of the log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "alarms",
        sa.Column("topic", sa.String(length=200), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("log_offset", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=60), nullable=False),
        sa.Column("subject", sa.String(length=400), nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition", "log_offset"),
    )
    op.create_table(
        "deployments",
        sa.Column("deployment_id", sa.String(length=128), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("version", sa.String(length=20), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("is_only_if_first", sa.Boolean(), nullable=False),
        sa.Column("log_offset", sa.BigInteger(), nullable=False),
        sa.Column("deployed_ms", sa.BigInteger(), nullable=False),
        sa.Column("deployment", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("deployment_id"),
    )
    op.create_index("deployments_by_model", "deployments", ["model", "log_offset"], unique=False)
    op.create_table(
        "forecast_contents",
        sa.Column("forecast_id", sa.String(length=128), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("forecast_id"),
        sqlite_with_rowid=False,
    )
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
    op.create_table(
        "forecasts",
        sa.Column("request_id", sa.String(length=128), nullable=False),
        sa.Column("forecast_id", sa.String(length=128), nullable=True),
        sa.Column("series_id", sa.String(length=200), nullable=True),
        sa.Column("log_partition", sa.Integer(), nullable=False),
        sa.Column("log_offset", sa.BigInteger(), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("request_id"),
    )
    op.create_index("forecasts_by_forecast_id", "forecasts", ["forecast_id"], unique=False)
    op.create_index("forecasts_by_series", "forecasts", ["series_id", "log_offset"], unique=False)
    op.create_table(
        "ingest_events",
        sa.Column("event_id", sa.String(length=40), nullable=False),
        sa.Column("ingest_id", sa.String(length=128), nullable=False),
        sa.Column("log_offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ingests",
        sa.Column("ingest_id", sa.String(length=128), nullable=False),
        sa.Column("series_id", sa.String(length=200), nullable=False),
        sa.Column("requested_ms", sa.BigInteger(), nullable=True),
        sa.Column("request", sa.LargeBinary(), nullable=True),
        sa.Column("event", sa.LargeBinary(), nullable=True),
        sa.Column("event_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("ingest_id"),
    )
    op.create_table(
        "model_versions",
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("version", sa.String(length=20), nullable=False),
        sa.Column("log_offset", sa.BigInteger(), nullable=False),
        sa.Column("release", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("model", "version"),
    )
    op.create_table(
        "observation_batches",
        sa.Column("batch_id", sa.String(length=40), nullable=False),
        sa.Column("series_id", sa.String(length=200), nullable=False),
        sa.Column("log_offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("batch_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "observations",
        sa.Column("series_id", sa.String(length=200), nullable=False),
        sa.Column("time", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("columns", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("series_id", "time"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "positions",
        sa.Column("topic", sa.String(length=200), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.Column("last_record_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("topic", "partition"),
    )
    op.create_table(
        "series",
        sa.Column("series_id", sa.String(length=200), nullable=False),
        sa.Column("freq", sa.String(length=20), nullable=False),
        sa.Column("calendar", sa.String(length=40), nullable=False),
        sa.Column("unit", sa.String(length=40), nullable=False),
        sa.Column("source", sa.String(length=80), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("first_time", sa.BigInteger(), nullable=False),
        sa.Column("last_time", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("series_id"),
    )
    op.create_table(
        "training_events",
        sa.Column("event_id", sa.String(length=40), nullable=False),
        sa.Column("training_id", sa.String(length=128), nullable=False),
        sa.Column("log_offset", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_index("training_events_by_training", "training_events", ["training_id", "log_offset"], unique=False)
    op.create_table(
        "trainings",
        sa.Column("training_id", sa.String(length=128), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("series_id", sa.String(length=200), nullable=False),
        sa.Column("requested_ms", sa.BigInteger(), nullable=True),
        sa.Column("request", sa.LargeBinary(), nullable=True),
        sa.Column("is_cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("event", sa.LargeBinary(), nullable=True),
        sa.Column("event_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("training_id"),
    )


def downgrade() -> None:
    """Drop them; the log has everything that they say."""
    op.drop_table("trainings")
    op.drop_index("training_events_by_training", table_name="training_events")
    op.drop_table("training_events")
    op.drop_table("series")
    op.drop_table("positions")
    op.drop_table("observations")
    op.drop_table("observation_batches")
    op.drop_table("model_versions")
    op.drop_table("ingests")
    op.drop_table("ingest_events")
    op.drop_index("forecasts_by_series", table_name="forecasts")
    op.drop_index("forecasts_by_forecast_id", table_name="forecasts")
    op.drop_table("forecasts")
    op.drop_table("forecast_requests")
    op.drop_table("forecast_contents")
    op.drop_index("deployments_by_model", table_name="deployments")
    op.drop_table("deployments")
    op.drop_table("alarms")
