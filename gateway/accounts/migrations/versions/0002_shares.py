"""What an organisation and a project may have at once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ADDED = (
    ("organisations", "projects", sa.Integer()),
    ("organisations", "upload_bytes", sa.BigInteger()),
    ("organisations", "api_keys", sa.Integer()),
    ("organisations", "members", sa.Integer()),
    ("projects", "series", sa.Integer()),
    ("projects", "schedules", sa.Integer()),
)


def upgrade() -> None:
    """Add the quotas; what is there has none of its own."""
    for table, name, type_ in _ADDED:
        op.add_column(table, sa.Column(name, type_, nullable=True))


def downgrade() -> None:
    """Drop them."""
    for table, name, _ in reversed(_ADDED):
        op.drop_column(table, name)
