"""Transactions on PostgreSQL that would undo each other wait for each other, and nobody waits for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from shivx.accounts.api_keys import MAX_KEYS
from shivx.accounts.dialects import BUSY_SECONDS
from shivx.accounts.models import AccountRow
from shivx.errors import Conflict, DatabaseUnavailable
from shivx.identity import Tier
from tests.accounts_stage import Office
from tests.caches import PATIENCE, begin
from tests.waiting import until

WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest.fixture
def empty_database_url(postgres_url: str) -> str:
    """SQLite has one writer at a time, so there is nothing to be locked."""
    return postgres_url


def waiting(office: Office) -> int:
    """Return how many transactions wait for another's locks."""
    return int(office.database.read(lambda session: session.scalar(text(WAITING))) or 0)


@contextmanager
def half_done(office: Office, work: Callable[[Session], object]) -> Iterator[Callable[[], None]]:
    """Give what commits a transaction that has done *work* until then, as another process would."""
    done, go = threading.Event(), threading.Event()

    def held(session: Session) -> None:
        work(session)
        session.flush()
        done.set()
        assert go.wait(PATIENCE)

    writing = begin(lambda: office.database.write(held))
    assert done.wait(PATIENCE)

    def commit() -> None:
        go.set()
        writing.result(PATIENCE)

    yield commit
    commit()


def waits(office: Office, call: Callable[[], Any]) -> Future[Any]:
    """Begin *call* and return when it waits for a lock."""
    future = begin(call)
    until(lambda: waiting(office), "it waits for the other transaction")
    return future


def test_the_last_key_is_had_by_one_of_two_who_make_it(make_office: Callable[..., Office]) -> None:
    """An account that has all but one of its keys gets one more, not two."""
    one, other = make_office(), make_office()
    owner = one.accounts.create("owner", Tier.PREMIUM).id
    for number in range(MAX_KEYS - 1):
        one.keys.create(owner, f"key {number}")
    copy = text(
        "INSERT INTO api_keys (account_id, name, digest, hint, scopes, created_at)"
        " SELECT account_id, 'the last', sha256('another'), hint, scopes, created_at FROM api_keys LIMIT 1"
    )

    def take_the_last(session: Session) -> None:
        session.get(AccountRow, owner, with_for_update=True)
        session.execute(copy)

    with half_done(one, take_the_last) as commit:
        late = waits(other, lambda: other.keys.create(owner, "one too many"))
        commit()
        with pytest.raises(Conflict):
            late.result(PATIENCE)
    assert len(one.keys.list(owner)) == MAX_KEYS


def test_a_change_of_an_account_sees_the_one_before(make_office: Callable[..., Office]) -> None:
    """Who is disabled while his tier changes is told with the tier that he has then."""
    one, other = make_office(), make_office()
    owner = one.accounts.create("owner", Tier.PREMIUM).id

    def promote(session: Session) -> None:
        row = session.get(AccountRow, owner, with_for_update=True)
        assert row is not None
        row.tier = Tier.ADMIN

    with half_done(one, promote) as commit:
        late = waits(other, lambda: other.accounts.disable(owner))
        commit()
        changed = late.result(PATIENCE)
    assert (changed.tier, changed.disabled) == (Tier.ADMIN, True)


def test_a_statement_that_takes_too_long_is_ended(make_office: Callable[..., Office]) -> None:
    """Each connection says so to the server; whoever asked is told to come again, and the next is served."""
    office = make_office()
    asked = office.database.read(lambda session: session.scalar(text("SHOW statement_timeout")))
    assert asked == f"{BUSY_SECONDS:g}s"

    def too_long(session: Session) -> None:
        session.execute(text("SET LOCAL statement_timeout = 20"))
        session.execute(text("SELECT pg_sleep(60)"))

    with pytest.raises(DatabaseUnavailable):
        office.database.read(too_long)
    assert office.accounts.list() == []


def test_a_connection_of_long_ago_is_made_anew(make_office: Callable[..., Office]) -> None:
    """Before something on the way forgets it."""
    office = make_office()

    def session_of_server() -> object:
        return office.database.read(lambda session: session.scalar(text("SELECT pg_backend_pid()")))

    first = session_of_server()
    assert session_of_server() == first
    (idle,) = office.database.engine.pool._idle  # type: ignore[attr-defined]
    idle.starttime -= 3600.0
    assert session_of_server() != first
