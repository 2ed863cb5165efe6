"""Make the tables of the audit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them, and the head of a chain without rows."""
    op.create_table(
        "audit",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        *_counted(),
        sa.Column("of", sa.BigInteger()),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("key_id", sa.String(8), nullable=False),
        sa.Column("mac", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_audit"),
    )
    op.create_index("ix_audit_outcome_at", "audit", ["outcome", "at"])
    op.create_table(
        "audit_counts",
        sa.Column("minute", sa.BigInteger(), autoincrement=False, nullable=False),
        *_counted(),
        sa.Column("signature", sa.String(72), nullable=False),
        sa.PrimaryKeyConstraint("minute", "outcome", "subject", "action", name="pk_audit_counts"),
    )
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("mac", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
    )
    op.bulk_insert(head, [{"id": 1, "number": 0, "mac": ""}])


def _counted() -> list[sa.Column[object]]:
    """Return the columns of an event, which the chain and the counts share."""
    return [
        sa.Column("outcome", sa.String(128), nullable=False),
        sa.Column("subject", sa.String(128), nullable=False),
        sa.Column("action", sa.String(128), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("target", sa.String(256), nullable=False),
        sa.Column("address", sa.String(128), nullable=False),
        sa.Column("request_id", sa.String(128), nullable=False),
        sa.Column("tier", sa.String(128), nullable=False),
        sa.Column("via", sa.String(128), nullable=False),
        sa.Column("account", sa.BigInteger()),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("key", sa.BigInteger()),
        sa.Column("count", sa.BigInteger(), nullable=False),
    ]
