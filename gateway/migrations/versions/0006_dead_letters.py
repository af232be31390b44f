"""Dead letters, and what was decided about them; the gateway has not read their topic before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "dead_letters",
        sa.Column("dead_letter_id", sa.String(length=40), nullable=False),
        sa.Column("died_ms", sa.BigInteger(), nullable=False),
        sa.Column("topic", sa.String(length=100), nullable=False),
        sa.Column("service", sa.String(length=100), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("value_bytes", sa.BigInteger(), nullable=False),
        sa.Column("replay_of", sa.String(length=40), nullable=True),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("dead_letter_id"),
    )
    op.create_index("dead_letters_by_time", "dead_letters", ["died_ms", "dead_letter_id"], unique=False)
    op.create_table(
        "dead_letter_decisions",
        sa.Column("dead_letter_id", sa.String(length=40), nullable=False),
        sa.Column("decided_ms", sa.BigInteger(), nullable=False),
        sa.Column("decision", sa.String(length=20), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("dead_letter_id"),
    )


def downgrade() -> None:
    """Drop them, and forget how far their topic was read."""
    op.drop_table("dead_letter_decisions")
    op.drop_table("dead_letters")
    # The name may carry a prefix; no other topic ends so.
    op.execute("DELETE FROM positions WHERE topic LIKE '%dead-letters'")
