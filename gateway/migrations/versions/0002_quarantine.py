"""Rows that are held back, and the decisions about them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "quarantine",
        sa.Column("quarantine_id", sa.String(length=128), nullable=False),
        sa.Column("series_id", sa.String(length=200), nullable=False),
        sa.Column("ingest_id", sa.String(length=128), nullable=False),
        sa.Column("held_ms", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(length=80), nullable=False),
        sa.Column("first_time", sa.BigInteger(), nullable=False),
        sa.Column("last_time", sa.BigInteger(), nullable=False),
        sa.Column("broken", sa.LargeBinary(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("quarantine_id"),
    )
    op.create_index("quarantine_by_time", "quarantine", ["held_ms", "quarantine_id"], unique=False)
    op.create_table(
        "quarantine_decisions",
        sa.Column("quarantine_id", sa.String(length=128), nullable=False),
        sa.Column("decided_ms", sa.BigInteger(), nullable=False),
        sa.Column("decision", sa.String(length=20), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("quarantine_id"),
    )


def downgrade() -> None:
    """Drop them; the log has everything that they say."""
    op.drop_table("quarantine_decisions")
    op.drop_index("quarantine_by_time", table_name="quarantine")
    op.drop_table("quarantine")
