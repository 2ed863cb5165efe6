"""The database: its version, its rules, many workers at once, and what happens when it is away."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from shivx.accounts.database import AT_ONCE
from shivx.accounts.dialects import read_url
from shivx.accounts.models import Base
from shivx.accounts.upgrading import Versions
from shivx.accounts.version import NEEDED
from shivx.audit import tables as audit_tables
from shivx.errors import ConfigurationError, DatabaseUnavailable
from shivx.identity import Tier
from tests.accounts_stage import Office, sqlite_url
from tests.caches import all_at_once, begin
from tests.waiting import until

ROOT = Path(__file__).parent.parent
TABLES = (Base, audit_tables)  # imported, so that their metadata say all


def tables(office):
    """Return the names of the tables that there are."""
    return set(inspect(office.database.engine).get_table_names())


def test_migrations_make_what_the_models_say(office):
    """No column, index or constraint more or less, of accounts and of the audit."""
    office.database.upgrade()
    assert set(inspect(office.database.engine).get_table_names()) == {
        *Base.metadata.tables,
        "alembic_version",
    }
    with office.database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_the_needed_version_is_the_last_migration():
    """Who adds a migration names it where starts look without Alembic."""
    assert Versions().needed == NEEDED


WITHOUT_ALEMBIC = """
import sys
from tests.accounts_stage import SECRET, Office
from cache_ext import open_cache
with Office(open_cache("memory://", secret_keys=(SECRET,)), sys.argv[1]) as office:
    office.database.prepare()
    assert office.accounts.list() == []
assert "alembic" not in sys.modules
"""


def test_a_database_that_is_current_is_used_without_alembic(office):
    """It takes longer to load than all the rest of a start's look at the database."""
    office.database.upgrade()
    url = office.settings.database_url.get_secret_value()
    subprocess.run([sys.executable, "-c", WITHOUT_ALEMBIC, url], check=True, cwd=ROOT)


@pytest.fixture
def bare_office(make_cache, empty_database_url):
    """The accounts of a database without tables."""
    with Office(make_cache(secret_keys=("s" * 32,)), empty_database_url) as office:
        yield office


def test_an_upgrade_again_changes_nothing(bare_office):
    """Nor does one by many at once, to an empty database."""
    office = bare_office
    assert set(all_at_once(4, lambda _: office.database.upgrade())) == {Versions().needed}
    office.accounts.create("stays", Tier.PREMIUM)
    office.database.upgrade()
    assert len(office.accounts.list()) == 1


def test_postgresql_out_of_date_serves_nothing_until_it_is_upgraded(bare_office):
    """It may be shared by hosts: the operator says when. SQLite's tables are made when first asked for."""
    if bare_office.database.engine.dialect.name == "sqlite":
        assert bare_office.accounts.list() == []
        return
    for call in (bare_office.database.prepare, bare_office.accounts.list):
        with pytest.raises(ConfigurationError, match="flask db upgrade"):
            call()
    bare_office.database.upgrade()
    assert bare_office.accounts.list() == []


def test_a_failed_upgrade_leaves_nothing_half_done(bare_office, monkeypatch):
    """All its steps are one transaction."""
    office = bare_office
    monkeypatch.setattr("alembic.op.create_index", broken)
    with pytest.raises(RuntimeError):
        office.database.upgrade()
    assert tables(office) <= {"alembic_version"}
    monkeypatch.undo()
    office.database.upgrade()
    assert "api_keys" in tables(office)


def broken(*_, **__):
    """Stand for a step that fails."""
    raise RuntimeError("failed halfway")


def test_a_database_of_a_newer_program_serves_on(office, caplog):
    """Hosts are updated one after another; the older program changes nothing, and says so."""
    office.database.upgrade()
    newer = text("UPDATE alembic_version SET version_num = '9999'")
    office.database.write(lambda session: session.execute(newer) and None)
    office.database._ready = False
    office.accounts.create("works", Tier.PREMIUM)
    assert "newer ShivX" in caplog.text


def test_what_is_not_served_is_refused_at_start():
    """Other databases, memory, nonsense: the variable is named, the password is not shown."""
    for url in (
        "mysql://u:hush@h/d",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///x?mode=ro",
        "x://hush",
        "",
    ):
        with pytest.raises(ConfigurationError, match=r"^SHIVX_DATABASE_URL") as refused:
            read_url(url)
        assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    "url", ["postgres://u:p@h/d", "postgresql://u:p@h/d", "postgresql+psycopg://u:p@h/d"]
)
def test_every_name_of_postgresql_means_the_driver_that_is_there(url):
    """Providers write it in several ways."""
    assert read_url(url).drivername == "postgresql+psycopg"


def test_the_password_of_the_database_is_in_no_repr(office):
    """Nor are the values of statements in errors."""
    engine = office.database.engine
    with pytest.raises(Exception) as raised, engine.connect() as connection:  # noqa: PT011 (any)
        connection.execute(text("SELECT :value FROM nowhere"), {"value": "hush-hush"})
    assert "hush-hush" not in str(raised.value)


def test_sqlite_is_set_up_for_many_workers(tmp_path, make_cache):
    """WAL, foreign keys, patience; a file and a folder for its owner only."""
    office = Office(make_cache(secret_keys=("s" * 32,)), sqlite_url(tmp_path / "new" / "folder"))
    pragmas = ("journal_mode", "foreign_keys", "busy_timeout", "synchronous")
    found = office.database.read(
        lambda session: [session.execute(text(f"PRAGMA {name}")).scalar() for name in pragmas]
    )
    assert found == ["wal", 1, 5000, 2]
    file = tmp_path / "new" / "folder" / "accounts.db"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert not [path for path in file.parent.iterdir() if stat.S_IMODE(path.stat().st_mode) & 0o077]
    office.access.close()


def test_a_reader_does_not_wait_for_a_writer(office):
    """Requests go on while somebody writes, and see what was before."""
    office.accounts.create("before", Tier.PREMIUM)
    inside, go = threading.Event(), threading.Event()

    def slow(session):
        session.execute(text("UPDATE accounts SET name = 'after'"))
        inside.set()
        assert go.wait(10)

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(office.database.write, slow)
        assert inside.wait(10)
        assert [account.name for account in office.accounts.list()] == ["before"]
        go.set()
        writing.result(10)
    assert [account.name for account in office.accounts.list()] == ["after"]


def test_writers_of_many_connections_wait_for_each_other(make_office):
    """Reading first and writing then loses no update and locks nobody out."""
    offices = [make_office() for _ in range(4)]
    made = offices[0].accounts.create("counter", Tier.PREMIUM)
    lock = " FOR UPDATE" if offices[0].database.engine.dialect.name == "postgresql" else ""

    def count_up(number):
        def add(session):
            old = session.execute(text(f"SELECT epoch FROM accounts{lock}")).scalar()
            session.execute(text("UPDATE accounts SET epoch = :new"), {"new": old + 1})

        for _ in range(10):
            offices[number].database.write(add)

    all_at_once(4, count_up)
    assert offices[0].accounts.named("counter").account.epoch == made.epoch + 40


def test_so_many_transactions_run_at_once_and_no_more(office, monkeypatch):
    """Who finds no place in time is told that the database does not answer; the places are given back."""
    monkeypatch.setattr("shivx.accounts.database.BUSY_SECONDS", 0.01)
    office.database.prepare()
    gate, full = threading.Event(), threading.Barrier(AT_ONCE + 1)

    def hold(_session):
        full.wait(10)
        assert gate.wait(10)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        held = [pool.submit(office.database.read, hold) for _ in range(AT_ONCE)]
        full.wait(10)
        with pytest.raises(DatabaseUnavailable):
            office.accounts.list()
        gate.set()
        for each in held:
            each.result(10)
    assert office.accounts.list() == []
    assert len(office.database.engine.pool._idle) <= AT_ONCE


def test_closing_waits_for_what_is_under_way(office):
    """And leaves no connection behind; who comes later is turned away."""
    inside, go = threading.Event(), threading.Event()

    def slow(session):
        session.execute(text("SELECT 1"))
        inside.set()
        assert go.wait(10)
        return "done"

    office.database.prepare()
    reading = begin(lambda: office.database.read(slow))
    assert inside.wait(10)
    closing = begin(office.database.close)
    until(lambda: office.database._closed, "it closes")
    with pytest.raises(DatabaseUnavailable):
        office.accounts.list()
    assert not closing.done()
    go.set()
    assert reading.result(10) == "done"
    closing.result(10)
    assert office.database.engine.pool.status() == "0 idle"


def test_a_forked_child_has_connections_of_its_own(office):
    """It reads and writes, and the parent's connections still work."""
    office.accounts.create("parent", Tier.PREMIUM)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            assert office.database.engine.pool.status() == "0 idle"
            office.accounts.create("child", Tier.PREMIUM)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert [account.name for account in office.accounts.list()] == ["parent", "child"]


def test_a_file_that_is_no_database_is_away(tmp_path, make_cache):
    """So is one that is damaged, or a folder that cannot be written: an error that says when to ask again."""
    for number, spoil in enumerate(
        (
            lambda path: path.write_bytes(b"no database at all" * 1000),
            lambda path: path.mkdir(),
        )
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        spoil(folder / "accounts.db")
        office = Office(make_cache(secret_keys=("s" * 32,)), sqlite_url(folder))
        with pytest.raises(DatabaseUnavailable) as away:
            office.accounts.list()
        assert away.value.retry_after > 0
        office.access.close()


def test_a_full_disk_is_an_error_that_says_when_to_ask_again(tmp_path, make_cache):
    """And nothing of what was asked for is half done."""
    office = Office(make_cache(secret_keys=("s" * 32,)), sqlite_url(tmp_path))
    made = office.accounts.create("before", Tier.PREMIUM)

    def fill(session):
        session.execute(text("PRAGMA max_page_count = 1"))  # the least: what there is already
        session.execute(text("CREATE TABLE more (x)"))
        session.execute(text("INSERT INTO more VALUES (zeroblob(1000000))"))

    with pytest.raises(DatabaseUnavailable):
        office.database.write(fill)
    assert office.accounts.list() == [made]
    office.access.close()


RACER = """
import sys
from tests.accounts_stage import Office
from cache_ext import open_cache
from shivx.identity import Tier
office = Office(open_cache("memory://", secret_keys=("s" * 32,)), sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for number in range(5):
    office.accounts.create(f"{sys.argv[2]}-{number}", Tier.PREMIUM)
"""


def test_processes_that_begin_at_once_make_one_database(tmp_path, make_cache):
    """The tables are made once, and nobody is turned away while others write."""
    command = [sys.executable, "-W", "error", "-c", RACER, sqlite_url(tmp_path)]
    racers = [
        subprocess.Popen(
            [*command, f"p{number}"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for number in range(4)
    ]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    for racer in racers:
        racer.communicate(timeout=30)
        assert racer.returncode == 0
    with Office(make_cache(secret_keys=("s" * 32,)), sqlite_url(tmp_path)) as office:
        assert len(office.accounts.list()) == 20


READER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(connection.execute("SELECT count(*) FROM accounts").fetchone()[0])
connection.close()
"""


def test_who_has_the_file_open_keeps_it_though_it_is_laid_out_again(tmp_path, make_cache):
    """Else another process would believe to be the last, and take the log away that both write to."""
    with Office(make_cache(secret_keys=("s" * 32,)), sqlite_url(tmp_path)) as office:
        office.accounts.create("first", Tier.PREMIUM)
        office.database.upgrade()
        for number in range(3):
            command = [sys.executable, "-c", READER, tmp_path / "accounts.db"]
            assert int(subprocess.check_output(command)) == 1 + number
            office.accounts.create(f"next-{number}", Tier.PREMIUM)


def test_an_sqlite_file_of_before_is_upgraded_in_place(tmp_path, make_cache):
    """It is empty, say, or was made by hand."""
    sqlite3.connect(tmp_path / "accounts.db").close()
    office = Office(make_cache(secret_keys=("s" * 32,)), sqlite_url(tmp_path))
    assert office.accounts.list() == []
    office.access.close()
