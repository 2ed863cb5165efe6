"""The audit's chain: whatever is done to its rows is found, and said of which."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from shivx.accounts.key_text import make_key
from shivx.audit.events import Head, Outcome
from shivx.audit.tables import counts, head
from shivx.errors import AuditUnavailable
from tests.audit_stage import ADMIN, HERE, NEW, OLD, START, Books, open_books

on_sqlite = pytest.mark.parametrize("books", ["sqlite"], indirect=True)
"""What does not depend on the kind of database is tried on one."""


@pytest.fixture(params=["sqlite", "postgresql"])
def books(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Books]:
    """An audit with five rows, in each kind of database."""
    url = None if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    with open_books(tmp_path, url=url) as opened:
        opened.write("a", "b", "c", "d", "e")
        yield opened


def test_a_row_tells_who_from_where_what_and_when(tmp_path: Path) -> None:
    """All that was given is kept, in the order in which it was given."""
    with open_books(tmp_path) as books:
        books.audit.record(ADMIN, "cache.flush", "why not", Outcome.DONE, *HERE)
        (row,) = books.audit.page(10).rows
    event = row.event
    assert (row.number, event.at, event.action, event.target) == (1, START * 1000, "cache.flush", "why not")
    assert (event.outcome, event.account, event.name, event.tier) == ("done", 1, "root", "admin")
    assert (event.via, event.request_id, event.address) == ("session", *HERE)


def test_an_untouched_chain_is_whole(books: Books) -> None:
    """No findings, and the head is the last row and anchored."""
    report = books.audit.verify()
    assert report.findings == []
    assert report.rows == 5
    assert report.head == report.anchored


ATTACKS: dict[str, tuple[Callable[[Books], None], set[tuple[int | None, str]]]] = {
    "another target": (lambda books: books.change(3, target="nothing"), {(3, "was changed")}),
    "another time": (lambda books: books.change(3, at=1), {(3, "was changed")}),
    "another outcome": (lambda books: books.change(1, outcome="failed"), {(1, "was changed")}),
    "somebody else": (lambda books: books.change(5, account=2), {(5, "was changed")}),
    "another count": (lambda books: books.change(5, count=2), {(5, "was changed")}),
    "nobody": (lambda books: books.change(2, account=None), {(2, "was changed")}),
    "another mac": (lambda books: books.change(2, mac="0" * 64), {(2, "was changed")}),
    "no mac at all": (lambda books: books.change(2, mac="\u00e9" * 64), {(2, "was changed")}),
    "bytes for a mac": (
        lambda books: books.sql("UPDATE audit SET mac = x'00' WHERE number = 2"),
        {(2, "was changed")},
    ),
    "no number": (
        lambda books: books.sql("UPDATE audit SET number = 'x' WHERE number = 3"),
        {(3, "row 3 is missing"), (None, "a row has no number")},
    ),
    "an unknown key": (
        lambda books: books.change(4, key_id="00000000", target="x"),
        {(4, "is signed with a key that is not listed")},
    ),
    "two of them": (
        lambda books: books.sql("UPDATE audit SET target = 'x' WHERE number IN (2, 4)"),
        {(2, "was changed"), (4, "was changed")},
    ),
    "one removed": (lambda books: books.remove(3), {(3, "row 3 is missing")}),
    "the first removed": (lambda books: books.remove(1, 2), {(1, "rows 1 to 2 are missing")}),
    "the end cut off": (
        lambda books: books.remove(4, 5),
        {(4, "rows 4 to 5 are cut off: the anchor names row 5")},
    ),
    "the last cut off": (lambda books: books.remove(5), {(5, "row 5 is cut off: the anchor names row 5")}),
    "all removed": (
        lambda books: books.remove(1, 2, 3, 4, 5),
        {(1, "rows 1 to 5 are cut off: the anchor names row 5")},
    ),
}


@on_sqlite
@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_done_to_rows_is_found(books: Books, attack: str) -> None:
    """The finding names the row and what happened to it; no other row is blamed."""
    act, found = ATTACKS[attack]
    act(books)
    assert set(books.findings()) == found


def test_rows_that_changed_places_are_found(books: Books) -> None:
    """Each says where it stood before."""
    rows = {row["number"]: row for row in books.rows()}
    books.put({**rows[2], "number": 4})
    books.put({**rows[4], "number": 2})
    assert books.findings() == [
        (2, "was moved here; it was row 4"),
        (4, "was moved here; it was row 2"),
    ]


@on_sqlite
def test_a_row_of_another_history_is_found(tmp_path: Path, books: Books) -> None:
    """It is genuine, of the same keys and the same number; neither it nor the next follows what is before."""
    with open_books(tmp_path / "elsewhere") as other:
        other.write("x", "y", "z")
        (third,) = [row for row in other.rows() if row["number"] == 3]
    books.remove(3)
    books.put(third)
    assert books.findings() == [
        (3, "does not follow the row before it"),
        (4, "does not follow the row before it"),
    ]


def test_a_removed_row_is_not_hidden_by_renumbering(books: Books) -> None:
    """Those that moved up say so, and that the end is gone."""
    books.remove(2)
    for number in (3, 4, 5):
        books.sql(f"UPDATE audit SET number = {number - 1} WHERE number = {number}")
    found = books.findings()
    assert (2, "was moved here; it was row 3") in found
    assert (5, "row 5 is cut off: the anchor names row 5") in found


def test_a_cut_is_not_hidden_by_a_new_head_and_new_rows(books: Books) -> None:
    """Who cuts the end off and sets the head back is found out however much is written afterwards."""
    (fourth,) = [row for row in books.rows() if row["number"] == 4]
    books.remove(5)
    books.sql(f"UPDATE audit_head SET number = 4, mac = '{fourth['mac']}'")
    books.write("f", "g", "h")
    assert books.findings() == [(5, "is not the row that the anchor names")]


def test_another_chain_with_the_right_keys_is_found_by_the_anchor(tmp_path: Path, books: Books) -> None:
    """A backup of an earlier state, brought back and written on, is genuine, and not what is anchored."""
    books.sql("DELETE FROM audit")
    books.sql("UPDATE audit_head SET number = 0, mac = ''")
    url = books.database.engine.url.render_as_string(hide_password=False)
    with open_books(tmp_path / "elsewhere", url=url) as other:
        other.write("x", "y", "z", "x", "y", "z")
        assert other.findings() == []
    assert books.findings() == [(5, "is not the row that the anchor names")]


@on_sqlite
@pytest.mark.parametrize(
    "content", [b"", b"{}", b"\xff", b'{"number":9,"mac":"","signature":"x"}', b"[" * 4096]
)
def test_a_changed_anchor_is_found_and_stays(books: Books, content: bytes) -> None:
    """What is no anchor of the service is never replaced by the service; rows can still be written."""
    anchor = books.folder / "audit_anchor"
    anchor.write_bytes(content)
    books.write("f")
    ((number, text_),) = books.findings()
    assert number is None
    assert str(anchor) in text_
    assert anchor.read_bytes() == content


def test_an_older_anchor_of_the_service_is_a_weaker_one(books: Books) -> None:
    """It still proves all up to its row, and moves forward with the next."""
    anchor = books.folder / "audit_anchor"
    older = anchor.read_bytes()
    books.write("f")
    anchor.write_bytes(older)
    assert books.findings() == []
    books.write("g")
    assert books.audit.verify().anchored == books.audit.verify().head


def test_the_anchor_only_moves_forward(books: Books) -> None:
    """A worker that was slower to write its head than the next one does not take the anchor back."""
    books.audit._anchor.advance(Head(4, "0" * 64))
    assert books.audit.verify().anchored == books.audit.verify().head


def test_a_lost_anchor_is_told_and_made_anew(books: Books) -> None:
    """Without it nothing is known of the end; the next row makes one."""
    (books.folder / "audit_anchor").unlink()
    assert books.findings() == [(None, "there is no anchor: whether rows at the end are gone is not known")]
    books.write("f")
    assert books.findings() == []


def test_the_anchor_is_its_owners_alone(books: Books) -> None:
    """Mode 0600, and no draft of it is left."""
    anchor = books.folder / "audit_anchor"
    assert anchor.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in books.folder.glob("*audit*")} == {"audit_anchor", "audit_anchor.lock"}


def test_a_head_that_was_changed_is_found(books: Books) -> None:
    """Behind the end nothing can be appended; beyond it the rest is gone."""
    books.sql("UPDATE audit_head SET number = 3")
    assert books.findings() == [
        (3, "is not the row that the head names"),
        (5, "is beyond the head: nothing can be appended"),
    ]
    with pytest.raises(AuditUnavailable):
        books.write("f")
    books.tamper(head.delete())
    assert books.findings() == [(None, "the head is gone: nothing can be appended")]
    with pytest.raises(AuditUnavailable):
        books.write("f")


def test_keys_rotate(tmp_path: Path) -> None:
    """Rows of an older key are checked while it is listed; later they are told apart, and none is blamed."""
    with open_books(tmp_path) as books:
        books.write("a", "b")
    with open_books(tmp_path, keys=(NEW, OLD)) as books:
        assert books.findings() == []
        books.write("c")
        assert books.findings() == []
        assert [row["key_id"] for row in books.rows()].count(books.rows()[0]["key_id"]) == 2
    with open_books(tmp_path, keys=(NEW,)) as books:
        report = books.audit.verify()
        assert (report.findings, report.unchecked) == ([], 2)
        books.change(1, target="x")
        books.remove(2)
        assert books.findings() == [(2, "row 2 is missing")]


def test_who_has_no_key_cannot_sign(tmp_path: Path) -> None:
    """A row made with another secret is found, be it that it links to the row before."""
    with open_books(tmp_path) as books:
        books.write("a")
    (tmp_path / "audit_anchor").unlink()
    with open_books(tmp_path, keys=("x" * 32,)) as forger:
        forger.write("b")
    (tmp_path / "audit_anchor").unlink()
    with open_books(tmp_path) as books:
        assert (2, "is signed with a key that is not listed") in books.findings()


def test_a_change_is_recorded_before_and_after(tmp_path: Path) -> None:
    """First the intent, then its outcome, which names the intent."""
    with open_books(tmp_path) as books:
        with books.audit.change(ADMIN, "cache.flush", "all", *HERE):
            assert [row["outcome"] for row in books.rows()] == ["intended"]
        with books.audit.change(ADMIN, "cache.flush", "all", *HERE) as change:
            change.outcome = Outcome.QUEUED
        with pytest.raises(KeyError), books.audit.change(ADMIN, "cache.flush", "all", *HERE):
            raise KeyError
        told = [(row["number"], row["outcome"], row["of"]) for row in books.rows()]
    assert told == [
        (1, "intended", None),
        (2, "done", 1),
        (3, "intended", None),
        (4, "queued", 3),
        (5, "intended", None),
        (6, "failed", 5),
    ]


def test_a_change_that_cannot_be_recorded_is_not_begun(books: Books) -> None:
    """Nothing inside the block happens."""
    books.sql("DROP TABLE audit_head")
    entered = []
    with pytest.raises(AuditUnavailable), books.audit.change(ADMIN, "cache.flush", "all", *HERE):
        entered.append(1)
    assert not entered


def test_an_outcome_that_cannot_be_recorded_leaves_the_intent(
    books: Books, caplog: pytest.LogCaptureFixture
) -> None:
    """What is done is done: it is no error to the caller; the log tells, and the intent stays open."""
    with books.audit.change(ADMIN, "cache.flush", "all", *HERE):
        books.sql("ALTER TABLE audit_head RENAME TO away")
    assert "cache.flush was done, which cannot be recorded" in caplog.text
    books.sql("ALTER TABLE away RENAME TO audit_head")
    assert [row.number for row in books.audit.verify().unfinished] == [6]
    assert books.findings() == []


def test_text_from_clients_cannot_disturb(tmp_path: Path) -> None:
    """Control characters, surrogates and length: each is stored as something harmless."""
    with open_books(tmp_path) as books:
        hostile = "a\x00b\nc\x1b[31m\ud800" + "x" * 1000
        books.audit.record(ADMIN, "cache.flush", hostile, Outcome.DONE, "id\n", "::1\0")
        (row,) = books.audit.page(1).rows
        assert books.findings() == []
    assert row.event.target == "a�b�c�[31m�" + "x" * 244 + "…"
    assert (row.event.request_id, row.event.address) == ("id�", "::1�")


def test_a_key_in_a_path_is_not_kept(tmp_path: Path) -> None:
    """Somebody took it for a part of the address; who reads the audit does not get it."""
    key = make_key()
    with open_books(tmp_path) as books:
        books.audit.record(ADMIN, "cache.flush", f"GET /api/{key}", Outcome.DONE, *HERE)
        (row,) = books.audit.page(1).rows
    assert row.event.target == "GET /api/shx_[hidden]"


def test_pages_go_back_from_the_newest(books: Books) -> None:
    """Each row once, newest first, and an end."""
    first = books.audit.page(2)
    second = books.audit.page(2, first.next)
    third = books.audit.page(2, second.next)
    told = [[row.number for row in page.rows] for page in (first, second, third)]
    assert (told, third.next) == ([[5, 4], [3, 2], [1]], None)


def test_a_page_is_never_longer_than_asked_for(books: Books) -> None:
    """What is being counted still counts for the first one; no row is lost between it and the next."""
    for action in ("x", "y", "z"):
        books.deny(action=action)
    told = []
    for limit in (1, 3, 4, 7, 8, 20):
        first = books.audit.page(limit)
        rest = books.audit.page(20, first.next).rows if first.next is not None else []
        assert len(first.open) + len(first.rows) == min(limit, 8)
        assert [row.number for row in (*first.rows, *rest)] == [5, 4, 3, 2, 1]
        told.append((len(first.open), first.next))
    assert told == [(1, 6), (3, 6), (3, 5), (3, 2), (3, None), (3, None)]


def test_a_count_that_is_changed_while_open_is_found(tmp_path: Path) -> None:
    """While it is open by verify, and when it is settled by a row of its own."""
    now = [START]
    with open_books(tmp_path, clock=lambda: now[0]) as books:
        books.deny(times=9)
        books.tamper(counts.update().values(count=1))
        assert books.findings() == [(None, "a count was changed: denied admin.flush by address:203.0.113.7")]
        books.deny()
        assert [row["count"] for row in books.rows(counts)] == [1]
        now[0] += 60
        books.write("a")
        assert [row["action"] for row in books.rows()] == ["admin.flush", "audit.count_changed", "a"]
        assert books.findings() == []


def test_a_count_with_another_time_is_settled_once(tmp_path: Path) -> None:
    """Its time says which minute it is of: a changed one neither keeps it open nor is it told again."""
    now = [START]
    with open_books(tmp_path, clock=lambda: now[0]) as books:
        books.deny(times=9)
        books.tamper(counts.update().values(at=1))
        now[0] += 60
        books.write("a", "b")
        assert books.rows(counts) == []
        assert [row["action"] for row in books.rows()] == ["admin.flush", "audit.count_changed", "a", "b"]


def test_nobody_reads_who_has_no_database(tmp_path: Path) -> None:
    """Pages and verify say that they cannot."""
    with open_books(tmp_path) as books:
        books.write("a")
        books.tamper(text("DROP TABLE audit"))
        with pytest.raises(AuditUnavailable):
            books.audit.page(1)
        with pytest.raises(AuditUnavailable):
            books.audit.verify()
