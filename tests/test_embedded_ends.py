"""Every end that a user, keeper or server of the embedded Valkey can come to, and what follows."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shivx.embedded.paths import RuntimeDir
from tests.embedded_holder import server_pid
from tests.embedded_stage import (
    Hold,
    Make,
    alive,
    connected,
    holders_of,
    kill,
    open_inodes,
    parent,
    processes_at,
    run_id,
    until_gone,
    users_of,
)
from tests.waiting import until

CROWD = 12


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make users of this test's instance folder."""
    with users_of(tmp_path) as make:
        yield make


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Hold]:
    """Start processes that use this test's instance folder."""
    with holders_of(tmp_path) as hold:
        yield hold


def test_ends_with_the_last_holder_and_leaves_nothing(make: Make, hold: Hold):
    """The server stays while one process holds it, then ends, and its directory with it."""
    valkey, holder = make(), hold()
    pid = int(holder.ask("ensure"))
    valkey.ensure()
    holder.close()
    assert run_id(valkey)
    valkey.release()
    until_gone(valkey)
    assert not alive(pid)
    until(lambda: not valkey.log.parent.exists(), "the directory is gone")


def test_stays_a_while_after_the_last_holder(make: Make):
    """Within the linger time the next user finds the same server."""
    first, second = make(linger=30.0), make(linger=30.0)
    first.ensure()
    before = run_id(first)
    first.release()
    second.ensure()
    assert run_id(second) == before
    os.kill(parent(server_pid(second)), signal.SIGTERM)  # the fixture need not wait for 30 s


def test_killed_holder_counts_as_gone(make: Make, hold: Hold):
    """SIGKILL of the last holder ends keeper and server too."""
    valkey, holder = make(), hold()
    holder.ask("ensure")
    holder.process.kill()
    until_gone(valkey)
    assert not valkey.log.parent.exists()


def test_killed_server_is_started_again(make: Make):
    """After SIGKILL of the server the next `ensure` brings a new one that takes data; three times over."""
    valkey = make()
    valkey.ensure()
    keeper = parent(server_pid(valkey))
    seen = {run_id(valkey)}
    for death in range(3):
        kill(server_pid(valkey))
        valkey.ensure()
        with connected(valkey) as client:
            client.set("deaths", death)
            assert client.get("deaths") == str(death).encode()
        seen.add(run_id(valkey))
    assert len(seen) == 4
    assert parent(server_pid(valkey)) == keeper


def test_log_of_a_server_that_died_is_kept(make: Make):
    """What the log says about a death can still be read when all has ended."""
    valkey = make()
    valkey.ensure()
    kill(server_pid(valkey))
    valkey.ensure()
    valkey.release()
    until_gone(valkey)
    assert "died by SIGKILL" in valkey.log.read_text()
    assert {file.name for file in valkey.log.parent.iterdir()} == {valkey.log.name}


def test_killed_keeper_takes_the_server_along(make: Make):
    """After SIGKILL of the keeper no server is left without one, and the next `ensure` starts both."""
    valkey = make()
    valkey.ensure()
    server = server_pid(valkey)
    kill(parent(server))
    until(lambda: not alive(server), "the server is gone")
    valkey.ensure()
    assert run_id(valkey)
    assert len(processes_at(valkey.log.parent)) == 2


def test_interrupt_from_the_terminal_reaches_neither(make: Make, hold: Hold):
    """Ctrl-C in the holder's terminal ends the holder alone."""
    valkey, holder = make(), hold()
    server = int(holder.ask("ensure"))
    valkey.ensure()
    os.killpg(holder.process.pid, signal.SIGINT)
    holder.process.wait()
    assert os.getsid(server) not in (os.getsid(0), holder.process.pid)
    assert server_pid(valkey) == server
    assert alive(parent(server))


def test_crowd_after_a_killed_keeper_gets_one_server(make: Make, hold: Hold):
    """Twelve threads that lose the keeper at once start exactly one new one."""
    valkey = make()
    valkey.ensure()
    kill(parent(server_pid(valkey)))
    until_gone(valkey)
    threads = [threading.Thread(target=valkey.ensure) for _ in range(CROWD)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert run_id(valkey)
    assert len(processes_at(valkey.log.parent)) == 2


def test_files_left_by_the_dead_block_nothing(make: Make):
    """Sockets, locks and a log that nobody owns any more do not keep the next server from starting."""
    valkey = make()
    runtime = RuntimeDir(valkey.log.parent)
    runtime.prepare()
    for path in (runtime.server_socket, runtime.control_socket):
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
    for path in (runtime.holders_lock, runtime.keeper_lock, runtime.start_lock):
        path.write_text("4711")
    valkey.ensure()
    assert run_id(valkey)


def test_removed_directory_is_made_anew(make: Make):
    """When somebody clears /tmp, the next `ensure` starts a new server and the old one ends."""
    valkey = make()
    valkey.ensure()
    old = server_pid(valkey)
    aside = valkey.log.parent.rename(f"{valkey.log.parent}-aside")
    valkey.ensure()
    assert server_pid(valkey) != old
    until(lambda: not processes_at(aside), "the old keeper and server are gone")
    shutil.rmtree(aside)
    assert run_id(valkey)


def test_forked_child_outlives_its_parent(make: Make, hold: Hold):
    """A forked child keeps the server when its parent lets go and ends, before and after it asks itself."""
    valkey, holder = make(), hold()
    server = int(holder.ask("ensure"))
    child = int(holder.ask("fork"))
    holder.process.wait()
    assert alive(child)
    with (valkey.log.parent / "holders.lock").open() as probe:
        inode = os.fstat(probe.fileno()).st_ino
        with pytest.raises(BlockingIOError):
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert int(holder.ask("ensure")) == server
    assert open_inodes(child).count(inode) == 1
    holder.ask("release")
    until_gone(valkey)


def test_program_run_by_a_holder_does_not_hold(make: Make, hold: Hold):
    """A program that a holder ran, with whatever it inherits, does not keep the server."""
    valkey, holder = make(), hold()
    holder.ask("ensure")
    program = int(holder.ask("spawn"))
    try:
        holder.process.kill()
        until_gone(valkey)
        assert alive(program)
    finally:
        os.kill(program, signal.SIGKILL)
