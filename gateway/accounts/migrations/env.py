"""What Alembic runs for the accounts database; its revisions are counted apart from those of the projection."""

from __future__ import annotations

from alembic import context

from gateway.accounts.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"], target_metadata=METADATA, version_table="accounts_version"
)
with context.begin_transaction():
    context.run_migrations()
