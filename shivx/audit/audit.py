"""The audit, as the rest of the service uses it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from shivx.audit.anchor import Anchor
from shivx.audit.counting import Counting
from shivx.audit.events import COUNTED, Event, Outcome, Row
from shivx.audit.keys import ChainKeys
from shivx.audit.ledger import Ledger, Transactions, read_counts, read_page
from shivx.audit.verifying import Report, verify
from shivx.errors import AuditUnavailable, DatabaseUnavailable
from shivx.identity import Caller

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Change:
    """A change under way; its intent is recorded. `outcome` is what will be recorded at its end."""

    def __init__(self) -> None:
        self.outcome = Outcome.DONE


class Page(msgspec.Struct, frozen=True):
    """A page of the audit, newest first.

    Args:
        open: what is being counted still; only before the newest row, and no more than fits the page.
        next: the number below which the next page begins; None if there is none.
    """

    rows: Sequence[Row]
    open: Sequence[Event]
    next: int | None


class Audit:
    """Records who did, read or was denied what.

    Args:
        database: has the tables of `shivx.audit.tables`.
        secret_keys: newest first.
        folder: where the anchor lies.
        clock: Unix seconds.
    """

    def __init__(
        self,
        database: Transactions,
        secret_keys: Sequence[str],
        folder: Path,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._keys = ChainKeys(secret_keys)
        self._anchor = Anchor(folder, self._keys)
        self._ledger = Ledger(database, self._keys, self._anchor, clock)
        self._clock = clock
        self._counting = Counting(lambda events: _told(lambda: self._ledger.count(events)))

    def record(
        self,
        caller: Caller,
        action: str,
        target: str,
        outcome: Outcome,
        request_id: str,
        address: str,
    ) -> None:
        """Record what *caller* did.

        What is DENIED or READ is counted and written a moment later: that never raises and never waits.

        Args:
            action: one of few, such as ``cache.flush``; no part of it comes from a client.
            target: what it was about; may come from a client.
            address: where the request came from, behind the trusted proxies.
        Raises:
            AuditUnavailable: it cannot be recorded.
        """
        event = Event.by(caller, action, target, outcome, request_id, address, self._now())
        if outcome in COUNTED:
            self._counting.add(event)
        else:
            _told(lambda: self._ledger.append(event))

    @contextmanager
    def change(
        self, caller: Caller, action: str, target: str, request_id: str, address: str
    ) -> Iterator[Change]:
        """Record that *caller* is about to change something, and, after the with block, how that went.

        If the process ends in between the intent stays without outcome, and is told by `verify`. So it does,
        with a line in the log, if the outcome cannot be recorded: what is done is done.

        Raises:
            AuditUnavailable: the intent cannot be recorded, and the block is not entered.
        """
        intent = Event.by(caller, action, target, Outcome.INTENDED, request_id, address, self._now())
        (number,) = _told(lambda: self._ledger.append(intent))
        change = Change()
        try:
            yield change
        except BaseException:
            change.outcome = Outcome.FAILED
            raise
        finally:
            end = msgspec.structs.replace(
                intent, outcome=str(change.outcome), of=number, at=max(self._now(), intent.at)
            )
            try:
                _told(lambda: self._ledger.append(end))
            except AuditUnavailable as error:
                _log.error("%s was %s, which cannot be recorded: %s", action, change.outcome, error)

    def page(self, limit: int, before: int | None = None) -> Page:
        """Return at most *limit* entries: rows numbered below *before*; if None what is open and the newest.

        Raises:
            AuditUnavailable: the database does not answer.
        """
        if before is None:
            self._counting.flush()
        rows, counted = _told(
            lambda: self._database.read(
                lambda session: (
                    read_page(session, limit + 1, before),
                    read_counts(session, limit) if before is None else [],
                )
            )
        )
        shown, beyond = rows[: limit - len(counted)], rows[limit - len(counted) :]
        return Page(shown, counted, beyond[0].number + 1 if beyond else None)

    def verify(self) -> Report:
        """Check the whole chain against its keys and its anchor; takes some seconds for a million rows.

        Raises:
            AuditUnavailable: it cannot be read.
        """
        return _told(lambda: self._database.read(lambda session: verify(session, self._keys, self._anchor)))

    def flush(self) -> None:
        """Write what was counted, now, if it can be written."""
        self._counting.flush()

    def close(self) -> None:
        """Write what was counted, and end the thread that writes."""
        self._counting.close()

    def _verify(self, session: Session) -> Report:
        return verify(session, self._keys, self._anchor)

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _told(work: Callable[[], T]) -> T:
    """Return what *work* returns; any failure of the database is that of the audit."""
    try:
        return work()
    except (DatabaseUnavailable, SQLAlchemyError) as error:
        raise AuditUnavailable(f"its database: {type(error).__name__}") from error
