"""The tables of the audit: the chain, its head, and what is still being counted."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Index, Integer, RowMapping, String, Table

from shivx.accounts.models import Base
from shivx.audit.events import MAX_TARGET, MAX_TEXT, Event, Row

HEAD_ID = 1
"""Of the one row of `head`, which whoever appends locks: so the chain cannot fork."""
_MAC = 64
_KEY_ID = 8


def _event_columns() -> list[Column[Any]]:
    return [
        Column("at", BigInteger, nullable=False),
        Column("target", String(MAX_TARGET), nullable=False),
        Column("address", String(MAX_TEXT), nullable=False),
        Column("request_id", String(MAX_TEXT), nullable=False),
        Column("tier", String(MAX_TEXT), nullable=False),
        Column("via", String(MAX_TEXT), nullable=False),
        Column("account", BigInteger),
        Column("name", String(MAX_TEXT), nullable=False),
        Column("key", BigInteger),
        Column("count", BigInteger, nullable=False),
    ]


chain = Table(
    "audit",
    Base.metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("outcome", String(MAX_TEXT), nullable=False),
    Column("subject", String(MAX_TEXT), nullable=False),
    Column("action", String(MAX_TEXT), nullable=False),
    *_event_columns(),
    Column("of", BigInteger),
    Column("previous", String(_MAC), nullable=False),
    Column("key_id", String(_KEY_ID), nullable=False),
    Column("mac", String(_MAC), nullable=False),
    Index("ix_audit_outcome_at", "outcome", "at"),
)

head = Table(
    "audit_head",
    Base.metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("mac", String(_MAC), nullable=False),
)

counts = Table(
    "audit_counts",
    Base.metadata,
    Column("minute", BigInteger, primary_key=True, autoincrement=False),
    Column("outcome", String(MAX_TEXT), primary_key=True),
    Column("subject", String(MAX_TEXT), primary_key=True),
    Column("action", String(MAX_TEXT), primary_key=True),
    *_event_columns(),
    Column("signature", String(_KEY_ID + _MAC), nullable=False),
)


def event_of(found: RowMapping) -> Event:
    """Return the event in a row of `chain` or `counts`."""
    return Event(**{name: found[name] for name in Event.__struct_fields__ if name in found})


def row_of(found: RowMapping) -> Row:
    """Return the row that *found*, of `chain`, is."""
    return Row(found["number"], event_of(found), found["previous"], found["key_id"], found["mac"])


def columns_of(row: Row) -> dict[str, Any]:
    """Return what `chain` keeps of *row*."""
    return {
        **msgspec.structs.asdict(row.event),
        "number": row.number,
        "previous": row.previous,
        "key_id": row.key_id,
        "mac": row.mac,
    }
