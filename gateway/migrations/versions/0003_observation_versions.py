"""Every version of an observation, with when it was received, its kind and its reason.

What the tables said lacks that, and the log has it: the observations are dropped and read from the log again, which
the gateway does before it calls itself caught up.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of observations anew."""
    _drop()
    op.create_table(
        "observations",
        sa.Column("series_id", sa.String(length=200), nullable=False),
        sa.Column("time", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("columns", sa.Text(), nullable=False),
        sa.Column("log_offset", sa.BigInteger(), nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("series_id", "time"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "observation_versions",
        sa.Column("series_id", sa.String(length=200), nullable=False),
        sa.Column("time", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("log_offset", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("columns", sa.Text(), nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("replaced_by", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("series_id", "time", "log_offset"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "observation_versions_by_replacement",
        "observation_versions",
        ["series_id", "replaced_by", "time"],
        unique=False,
    )
    op.create_table(
        "observation_batches",
        sa.Column("batch_id", sa.String(length=40), nullable=False),
        sa.Column("series_id", sa.String(length=200), nullable=False),
        sa.Column("log_offset", sa.BigInteger(), nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("source", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("batch_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("observation_batches_by_series", "observation_batches", ["series_id", "log_offset"], unique=False)


def downgrade() -> None:
    """Make the tables as they were; they are read from the log again."""
    op.drop_index("observation_batches_by_series", table_name="observation_batches")
    op.drop_index("observation_versions_by_replacement", table_name="observation_versions")
    op.drop_table("observation_versions")
    _drop()
    op.create_table(
        "observations",
        sa.Column("series_id", sa.String(length=200), nullable=False),
        sa.Column("time", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("columns", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("series_id", "time"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "observation_batches",
        sa.Column("batch_id", sa.String(length=40), nullable=False),
        sa.Column("series_id", sa.String(length=200), nullable=False),
        sa.Column("log_offset", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("batch_id"),
        sqlite_with_rowid=False,
    )


def _drop() -> None:
    op.drop_table("observations")
    op.drop_table("observation_batches")
    op.execute("DELETE FROM series")
    # The name may carry a prefix; no other topic ends so.
    op.execute("DELETE FROM positions WHERE topic LIKE '%observations'")
