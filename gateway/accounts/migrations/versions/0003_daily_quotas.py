"""Rows a day, and what an organisation may use in a day over all its projects."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ADDED = (
    ("projects", "rows_a_day"),
    ("organisations", "forecasts_a_day"),
    ("organisations", "trainings_a_day"),
    ("organisations", "rows_a_day"),
)
#: A project that was removed, and what nobody has registered, belong to nobody.
_OF_OWNER = """
UPDATE used SET organisation_id = COALESCE(
    (SELECT organisation_id FROM projects WHERE projects.project_id = used.project_id), ''
)
"""
#: What is asked of a public project counts for who asks: `organisation/user/ID`.
_OF_REQUESTER = """
UPDATE used SET organisation_id = COALESCE(
    (
        SELECT asking.organisation_id FROM organisations AS asking
        WHERE SUBSTR(used.requester, 1, LENGTH(asking.organisation_id) + 1) = asking.organisation_id || '/'
    ),
    ''
)
WHERE project_id = 'market'
"""


def upgrade() -> None:
    """Add the quotas, and whose each count is; what is there has no quota of its own."""
    for table, name in _ADDED:
        op.add_column(table, sa.Column(name, sa.Integer(), nullable=True))
    op.add_column("used", sa.Column("organisation_id", sa.String(length=40), nullable=False, server_default=""))
    op.execute(_OF_OWNER)
    op.execute(_OF_REQUESTER)
    op.create_index("used_by_day", "used", ["day"], unique=False)


def downgrade() -> None:
    """Drop them."""
    op.drop_index("used_by_day", table_name="used")
    op.drop_column("used", "organisation_id")
    for table, name in reversed(_ADDED):
        op.drop_column(table, name)
