"""The chain in the database: one appends at a time, whoever and wherever it is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

import msgspec
from sqlalchemy import ColumnElement, RowMapping, and_, delete, insert, select, update
from sqlalchemy.orm import Session

from shivx.accounts.offload import off_hub
from shivx.audit.anchor import Anchor, AnchorDamaged
from shivx.audit.bounds import within_bounds
from shivx.audit.events import MINUTE_MS, Event, Head, Outcome, Row
from shivx.audit.keys import ChainKeys
from shivx.audit.tables import HEAD_ID, chain, columns_of, counts, event_of, head, row_of
from shivx.errors import AuditUnavailable

T = TypeVar("T")
SETTLED_AT_ONCE = 1000
COUNTS = "counts"
"""What the signature of a count is for."""
CHANGED = "audit.count_changed"
"""The action of a row which says that the count in the row before it was changed while it was open."""
_log = logging.getLogger(__name__)


class Transactions(Protocol):
    """The database, as the audit needs it: `read` and `write` run in one transaction, a write alone."""

    def read(self, work: Callable[[Session], T]) -> T:
        """Return what *work* finds."""
        ...

    def write(self, work: Callable[[Session], T]) -> T:
        """Return what *work* returns, when what it changed is committed."""
        ...


class Ledger:
    """Appends events and counts. Each method is one transaction.

    Args:
        database: where the tables are.
        keys: sign the rows.
        anchor: is told of each new head.
        clock: Unix seconds.
    """

    def __init__(
        self, database: Transactions, keys: ChainKeys, anchor: Anchor, clock: Callable[[], float]
    ) -> None:
        self._database = database
        self._keys = keys
        self._anchor = anchor
        self._clock = clock
        self._lost_anchor = False

    def append(self, *events: Event) -> tuple[int, ...]:
        """Add *events* to the chain, after the counts of minutes that are over; return their numbers.

        Raises:
            AuditUnavailable: the head is gone, or the anchor cannot be written.
        """
        return self._write(lambda session: [*self._settled(session), *events], len(events))

    def count(self, events: Sequence[Event]) -> None:
        """Add each of *events* to the count of its like in its minute.

        Raises:
            AuditUnavailable: as for `append`.
        """

        def work(session: Session) -> list[Event]:
            for event in events:
                self._add(session, event)
            return self._settled(session)

        self._write(work, 0)

    def _write(self, work: Callable[[Session], list[Event]], told: int) -> tuple[int, ...]:
        """Append what *work* returns while nobody else appends; return the last *told* numbers."""

        def transact(session: Session) -> tuple[Head, bool]:
            reached = _locked_head(session)
            holds = self._holds_anchor(session)
            rows = list(_linked(self._keys, reached, work(session)))
            if rows:
                session.execute(insert(chain), [columns_of(row) for row in rows])
                reached = Head(rows[-1].number, rows[-1].mac)
                session.execute(update(head).values(number=reached.number, mac=reached.mac))
            return reached, holds

        reached, holds = self._database.write(transact)
        if holds and reached.number:
            self._move_anchor(reached)
        return tuple(range(reached.number - told + 1, reached.number + 1))

    def _holds_anchor(self, session: Session) -> bool:
        """Tell whether the chain still has the row that is anchored; if not the anchor stays, as evidence."""
        try:
            anchored = self._anchor.read()
        except AnchorDamaged:
            holds = False
        except OSError as error:
            raise AuditUnavailable("the anchor of the audit cannot be read") from error
        else:
            holds = anchored is None or anchored.number == 0 or has_row(session, anchored)
        if not holds and not self._lost_anchor:
            _log.error("the audit is not what its anchor says; see: flask accounts audit --verify")
        self._lost_anchor = not holds
        return holds

    def _move_anchor(self, reached: Head) -> None:
        try:
            off_hub(lambda: self._anchor.advance(reached))
        except AnchorDamaged:
            _log.error("the anchor of the audit was changed; see: flask accounts audit --verify")
        except OSError as error:
            raise AuditUnavailable("the anchor of the audit cannot be written") from error

    def _add(self, session: Session, event: Event) -> None:
        found = _counted(session, event)
        if found is None:
            event = within_bounds(session, event)
            found = _counted(session, event)
        if found is None:
            content = msgspec.structs.asdict(event)
            content.pop("of")
            signature = self._keys.sign(COUNTS, event)
            session.execute(insert(counts).values(**content, minute=event.minute, signature=signature))
            return
        known = event_of(found)
        if not self._keys.is_signed(COUNTS, known, found["signature"]):
            return  # it was changed: it stays as it is until it is settled, which tells
        sum_ = msgspec.structs.replace(known, count=known.count + event.count)
        session.execute(
            update(counts)
            .where(_like(event))
            .values(count=sum_.count, signature=self._keys.sign(COUNTS, sum_))
        )

    def _settled(self, session: Session) -> list[Event]:
        """Take the counts of minutes that are over out of their table, and return them."""
        now = int(self._clock() * 1000)
        names = (counts.c.minute, counts.c.outcome, counts.c.subject, counts.c.action)
        over = select(counts).where(counts.c.minute < now // MINUTE_MS)
        found = session.execute(over.order_by(*names).limit(SETTLED_AT_ONCE)).mappings().all()
        events: list[Event] = []
        for each in found:
            event = event_of(each)
            events.append(event)
            if not self._keys.is_signed(COUNTS, event, each["signature"]):
                events.append(
                    msgspec.structs.replace(event, outcome=str(Outcome.FAILED), action=CHANGED, count=1)
                )
            session.execute(delete(counts).where(*(column == each[column.name] for column in names)))
        return events


def has_row(session: Session, anchored: Head) -> bool:
    """Tell whether the chain has the row that *anchored* names."""
    mac = session.execute(select(chain.c.mac).where(chain.c.number == anchored.number)).scalar_one_or_none()
    return mac == anchored.mac


def read_page(session: Session, limit: int, before: int | None) -> list[Row]:
    """Return at most *limit* rows, newest first, of those numbered below *before*."""
    query = select(chain).order_by(chain.c.number.desc()).limit(limit)
    if before is not None:
        query = query.where(chain.c.number < before)
    return [row_of(found) for found in session.execute(query).mappings()]


def read_counts(session: Session, limit: int) -> list[Event]:
    """Return what is still being counted, newest first."""
    query = select(counts).order_by(counts.c.at.desc()).limit(limit)
    return [event_of(found) for found in session.execute(query).mappings()]


def _locked_head(session: Session) -> Head:
    """Return the end of the chain, which nobody else moves until the transaction ends."""
    taken = update(head).where(head.c.id == HEAD_ID).values(number=head.c.number)
    found = session.execute(taken.returning(head.c.number, head.c.mac)).one_or_none()
    if found is None:
        raise AuditUnavailable("the head of the audit is gone")
    return Head(found.number, found.mac)


def _linked(keys: ChainKeys, begin: Head, events: Iterable[Event]) -> Iterable[Row]:
    for event in events:
        row = keys.link(begin, event)
        begin = Head(row.number, row.mac)
        yield row


def _like(event: Event) -> ColumnElement[bool]:
    return and_(
        counts.c.minute == event.minute,
        counts.c.outcome == event.outcome,
        counts.c.subject == event.subject,
        counts.c.action == event.action,
    )


def _counted(session: Session, event: Event) -> RowMapping | None:
    return session.execute(select(counts).where(_like(event))).mappings().one_or_none()
