"""Writing the audit: many processes at once, floods of denials, and no place to write to."""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from shivx.audit import bounds
from shivx.audit.counting import MAX_WAITING
from shivx.audit.events import Outcome
from shivx.audit.tables import counts
from shivx.errors import AuditUnavailable
from shivx.identity import Caller, Tier
from tests.audit_stage import ADMIN, HERE, START, STRANGER, Books, open_books

MEMBERS = 4
ROWS = 10


@pytest.fixture
def now() -> list[float]:
    """The time, to be moved."""
    return [START]


@pytest.fixture
def books(tmp_path: Path, now: list[float]) -> Iterator[Books]:
    """An empty audit."""
    with open_books(tmp_path, clock=lambda: now[0]) as opened:
        yield opened


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_processes_that_write_at_once_make_one_chain(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """No fork, no gap, no lost row or count, and the anchor at its end."""
    url = f"sqlite:///{tmp_path}/shivx.db" if kind == "sqlite" else request.getfixturevalue("postgres_url")
    with open_books(tmp_path, url=url):
        pass  # makes the tables
    command = [sys.executable, "-m", "tests.audit_member", str(tmp_path), url, str(ROWS)]
    with ExitStack() as stack:
        members = [
            stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(MEMBERS)
        ]
        for member in members:
            assert member.stdout is not None
            assert member.stdout.readline() == "ready\n"
        for member in members:  # all, before any is waited for
            assert member.stdin is not None
            member.stdin.write("go\n")
            member.stdin.flush()
        for member in members:
            member.communicate(timeout=60)
        assert [member.returncode for member in members] == [0] * MEMBERS
    with open_books(tmp_path, url=url, clock=time.time) as books:
        report = books.audit.verify()
        rows = [row for row in books.rows() if row["action"] == "member.row"]
        denied = [row for row in [*books.rows(), *books.rows(counts)] if row["action"] == "member.denied"]
    assert report.findings == []
    assert report.anchored == report.head
    assert sorted(row["target"] for row in rows) == sorted(
        str(n) for n in range(ROWS) for _ in range(MEMBERS)
    )
    assert sum(row["count"] for row in denied) == MEMBERS * ROWS


def test_repeated_denials_of_a_minute_are_one_row_with_a_count(books: Books, now: list[float]) -> None:
    """They become a row of the chain when the minute is over; another minute is another row."""
    books.deny(times=7)
    books.deny(times=3)
    assert books.rows() == []
    (open_,) = books.audit.page(10).open
    assert (open_.count, open_.action, open_.outcome) == (10, "admin.flush", "denied")
    now[0] += 60
    books.deny()
    books.write("a")
    told = [(row["action"], row["count"], row["at"]) for row in books.rows()]
    assert told == [("admin.flush", 10, START * 1000), ("a", 1, (START + 60) * 1000)]
    assert books.findings() == []


def test_reads_are_counted_by_reader_and_minute(books: Books) -> None:
    """One row for each reader."""
    for caller in (ADMIN, ADMIN, STRANGER):
        books.audit.record(caller, "admin.read", "/api/admin/audit", Outcome.READ, *HERE)
    books.audit.flush()
    assert sorted((event.subject, event.count) for event in books.audit.page(2).open) == [
        ("account:1", 2),
        ("address:203.0.113.7", 1),
    ]


def stranger(number: int) -> Caller:
    """Return one of many strangers."""
    return Caller(Tier.ANONYMOUS, f"address:2001:db8:{number:x}::/64")


def test_a_flood_of_strangers_is_bounded_and_hides_no_account(books: Books) -> None:
    """Beyond the bound they share one row a minute; somebody with an account still has his own."""
    for number in range(bounds.ROWS_A_MINUTE + 500):
        books.audit.record(stranger(number), "admin.flush", "/x", Outcome.DENIED, *HERE)
    books.audit.flush()
    books.deny(ADMIN)
    told = {(row["subject"], row["action"]): row["count"] for row in books.rows(counts)}
    assert len(told) == bounds.ROWS_A_MINUTE + 2
    assert told["address:others", "others"] == 500
    assert told["account:1", "admin.flush"] == 1


def test_a_flood_of_requests_hides_no_denial(books: Books) -> None:
    """What is beyond a limit has bounds of its own, and is counted beyond them."""
    for number in range(bounds.ROWS_A_MINUTE + 5):
        books.audit.record(stranger(number), "unknown route", "/x", Outcome.LIMITED, *HERE)
    books.audit.flush()
    books.deny()
    told = {(row["outcome"], row["subject"]): row["count"] for row in books.rows(counts)}
    assert told["limited", "address:others"] == 5
    assert told["denied", STRANGER.subject] == 1
    assert len(told) == bounds.ROWS_A_MINUTE + 2


def test_denials_of_a_day_are_bounded(
    books: Books, now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the day's rows there is one a minute."""
    monkeypatch.setattr(bounds, "ROWS_A_DAY", 10)
    for minute in range(4):
        now[0] = START + 60 * minute
        for number in range(6):
            books.audit.record(stranger(number), "admin.flush", "/x", Outcome.DENIED, *HERE)
        books.audit.flush()
        books.write("settle")
    now[0] += 60
    books.write("settle")
    denied = [row["subject"] for row in books.rows() if row["outcome"] == "denied"]
    assert len(denied) == 10 + 1 + 1 + 1
    assert denied[-3:] == ["address:others"] * 3


def test_what_waits_in_memory_is_bounded(books: Books) -> None:
    """While nothing can be written, strangers are counted together; nothing of it is lost."""
    books.sql("ALTER TABLE audit_head RENAME TO away")
    for number in range(MAX_WAITING + 200):
        books.audit.record(stranger(number), "admin.flush", "/x", Outcome.DENIED, *HERE)
    books.audit.flush()
    assert len(books.audit._counting._waiting) <= MAX_WAITING + 1
    books.sql("ALTER TABLE away RENAME TO audit_head")
    books.audit.flush()
    assert sum(row["count"] for row in books.rows(counts)) == MAX_WAITING + 200


def test_a_denial_neither_waits_nor_fails_while_the_database_is_locked(tmp_path: Path) -> None:
    """Somebody else has the database for himself; recording returns, and the denial is written afterwards."""
    with open_books(tmp_path) as books, open_books(tmp_path) as other:
        books.write("a")
        held, free = threading.Event(), threading.Event()

        def hold(_: object) -> None:
            held.set()
            free.wait(10)

        holder = threading.Thread(target=lambda: other.database.write(hold))
        holder.start()
        assert held.wait(10)
        books.audit.record(STRANGER, "admin.flush", "/x", Outcome.DENIED, *HERE)
        free.set()
        holder.join()
        books.audit.flush()
        assert [row["count"] for row in books.rows(counts)] == [1]


@contextmanager
def full_disk(bytes_: int = 0) -> Iterator[None]:
    """Let no file of this process grow beyond *bytes_*, as a full disk does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_on_a_full_disk_no_change_is_begun_and_denials_wait(books: Books) -> None:
    """Nothing half written is left, and writing goes on when there is space again."""
    books.write("a")
    with full_disk():
        entered = []
        with pytest.raises(AuditUnavailable), books.audit.change(ADMIN, "cache.flush", "all", *HERE):
            entered.append(1)
        books.deny()
        assert not entered
    books.deny()
    books.write("b")
    assert [row["action"] for row in books.rows()] == ["a", "b"]
    assert [row["count"] for row in books.rows(counts)] == [2]
    assert books.findings() == []


def test_an_anchor_that_cannot_be_written_stops_changes(books: Books) -> None:
    """The database takes the row, the folder not the anchor: the change is not begun, and that shows."""
    books.write("a")
    (books.folder / "audit_anchor.lock").unlink()
    (books.folder / "audit_anchor.lock").mkdir()
    with pytest.raises(AuditUnavailable), books.audit.change(ADMIN, "cache.flush", "all", *HERE):
        pytest.fail("it was begun")
    (books.folder / "audit_anchor.lock").rmdir()
    books.write("b")
    assert [row.number for row in books.audit.verify().unfinished] == [2]
    assert books.findings() == []


def test_closing_writes_what_was_counted(tmp_path: Path) -> None:
    """A worker that is stopped leaves no denial in its memory."""
    with open_books(tmp_path) as books:
        for _ in range(5):
            books.audit.record(STRANGER, "admin.flush", "/x", Outcome.DENIED, *HERE)
    with open_books(tmp_path) as books:
        assert [row["count"] for row in books.rows(counts)] == [5]
