"""How much counting may cost: what others than admins can cause must not fill the disk."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from sqlalchemy import ColumnElement, Table, func, select
from sqlalchemy.orm import Session

from shivx.audit.events import BOUNDED, MINUTE_MS, Event
from shivx.audit.tables import chain, counts

ROWS_A_MINUTE = 60
"""Of each outcome, that have a row of their own, for those with an account and for those without."""
ROWS_A_DAY = 5000
"""Likewise; with rows of some 400 bytes, at most 10 MB a day in all."""
OTHERS = "others"
_DAY_MS = 1440 * MINUTE_MS


def within_bounds(session: Session, event: Event) -> Event:
    """Return *event*, of which there is no row in its minute yet, or what it is to be counted under instead.

    Those with an account and those without have bounds of their own, so that a flood of strangers does not
    hide what an account does; and so has each outcome, so that a flood of requests hides no denial.
    """
    if event.outcome not in BOUNDED:
        return event
    if _rows(session, counts, event, counts.c.minute == event.minute) < ROWS_A_MINUTE:
        day = event.at // _DAY_MS * _DAY_MS
        rows = sum(_rows(session, table, event, table.c.at >= day) for table in (chain, counts))
        if rows < ROWS_A_DAY:
            return event
    return as_others(event)


def as_others(event: Event) -> Event:
    """Return *event* as one of many that share a row."""
    kind = "address" if event.account is None else "account"
    return msgspec.structs.replace(
        event, subject=f"{kind}:{OTHERS}", action=OTHERS, account=None, name="", key=None
    )


def _rows(session: Session, table: Table, event: Event, *when: ColumnElement[bool]) -> int:
    whose: Callable[[object], ColumnElement[bool]] = (
        table.c.account.is_ if event.account is None else table.c.account.is_not
    )
    query = select(func.count()).select_from(table)
    return session.execute(query.where(table.c.outcome == event.outcome, whose(None), *when)).scalar_one()
