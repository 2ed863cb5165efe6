"""The PostgreSQL server that tests run against behaves as its fixtures promise."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.postgres import PostgresServer
from tests.processes import processes
from tests.servers import ServerAbsent
from tests.waiting import until

HOLDER = """
import sys
from tests.postgres import PostgresServer
print(PostgresServer().directory, flush=True)
sys.stdin.read()
"""


def name_in(url: str) -> str:
    """Return the database that *url* leads to."""
    found = re.fullmatch(r"postgresql\+psycopg://shivx@/(\w+)\?host=/tmp/[\w-]+", url)
    assert found, url
    return found[1]


def test_each_test_has_an_empty_database(postgres_server: PostgresServer, postgres_url: str) -> None:
    """The address leads to one without a table, where a table can be made."""
    database = name_in(postgres_url)
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    assert postgres_server.run(tables, database) == "0"
    postgres_server.run("CREATE TABLE left_over (id int)", database)
    assert postgres_server.run(tables, database) == "1"


def test_a_database_goes_though_somebody_is_connected(postgres_server: PostgresServer) -> None:
    """Dropping one ends the sessions in it."""
    database = postgres_server.new_database()
    held = subprocess.Popen(
        [postgres_server.program("psql"), "-h", postgres_server.directory, "-U", "shivx", database],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    connected = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}'"
    until(lambda: postgres_server.run(connected) == "1", "psql is connected")
    postgres_server.drop(database)
    held.communicate(b"SELECT 1;\n", timeout=10)
    assert postgres_server.run(f"SELECT count(*) FROM pg_database WHERE datname = '{database}'") == "0"


def test_nobody_else_may_enter(postgres_server: PostgresServer) -> None:
    """The socket lies in a folder that its owner alone may enter, and no port is open."""
    assert postgres_server.directory.stat().st_mode & 0o077 == 0
    assert postgres_server.run("SHOW listen_addresses") == ""


def test_it_does_not_run_as_root(postgres_server: PostgresServer) -> None:
    """Its user is nobody where pytest's is root."""
    (pid,) = postgres_server.pids
    assert Path(f"/proc/{pid}").stat().st_uid != 0


@pytest.mark.usefixtures("postgres_server")
def test_it_dies_with_pytest() -> None:
    """The process that started it is killed: a moment later neither it nor one of its children runs."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        directory = holder.stdout.readline().strip()
        sessions = {found.session for found in processes() if directory in found.command}
        assert sessions
        holder.send_signal(signal.SIGKILL)
    until(
        lambda: not [found for found in processes() if found.session in sessions and not found.ended],
        "PostgreSQL has ended",
    )
    shutil.rmtree(directory)


def test_a_machine_without_it_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that need it are then skipped with that reason."""
    monkeypatch.setattr("tests.postgres.DEBIAN_PROGRAMS", "/nowhere")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ServerAbsent, match="apt-get install postgresql"):
        PostgresServer()
