"""Runs the migrations on the connection, in the transaction, that `shivx.accounts.upgrading` hands over."""

from __future__ import annotations

from alembic import context

from shivx.accounts.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite cannot change a column in place
)
context.run_migrations()
