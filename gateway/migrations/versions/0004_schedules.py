"""When each series is fetched again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables, and the way from a series to its ingests."""
    op.create_table(
        "schedules",
        sa.Column("series_id", sa.String(length=200), nullable=False),
        sa.Column("log_offset", sa.BigInteger(), nullable=False),
        sa.Column("scheduled_ms", sa.BigInteger(), nullable=False),
        sa.Column("schedule", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("series_id"),
    )
    op.create_table(
        "run_plans",
        sa.Column("series_id", sa.String(length=200), nullable=False),
        sa.Column("log_offset", sa.BigInteger(), nullable=False),
        sa.Column("plan", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("series_id"),
    )
    op.create_index("ingests_by_series", "ingests", ["series_id", "requested_ms"], unique=False)


def downgrade() -> None:
    """Drop them; the log has everything that they say."""
    op.drop_index("ingests_by_series", table_name="ingests")
    op.drop_table("run_plans")
    op.drop_table("schedules")
