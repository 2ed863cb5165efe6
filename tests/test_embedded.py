"""The embedded Valkey: who starts it, who shares it, and what it is like."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import shivx.embedded
from shivx.embedded import EmbeddedUnavailable
from shivx.embedded.binary import find_binary
from shivx.embedded.log import MAX_BYTES
from shivx.embedded.paths import RuntimeDir
from tests.embedded_holder import server_pid
from tests.embedded_stage import (
    LINGER,
    Hold,
    Make,
    alive,
    connected,
    holders_of,
    open_inodes,
    processes_at,
    run_id,
    script,
    until_gone,
    until_opened,
    users_of,
)
from tests.waiting import until

CROWD = 12
ROUNDS = 15
SUN_PATH_BYTES = 108  # unix(7)


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


def test_public_names_are_those_listed():
    """The package offers the class and its error, and nothing else."""
    assert shivx.embedded.__all__ == ["EmbeddedUnavailable", "EmbeddedValkey"]


def test_first_ensure_starts_a_server_that_keeps_nothing_and_listens_on_no_port(make: Make):
    """The server that `ensure` starts has no port and no persistence, and never evicts what has no TTL."""
    valkey = make()
    valkey.ensure()
    with connected(valkey) as client:
        assert client.ping()
        settings = client.config_get("port", "save", "appendonly", "maxmemory-policy", "unixsocketperm")
    assert settings == {
        "port": "0",
        "save": "",
        "appendonly": "no",
        "maxmemory-policy": "volatile-lru",
        "unixsocketperm": "700",
    }


def test_second_process_shares_the_server(make: Make, hold: Hold):
    """Whoever names the same folder gets the same server, with its data."""
    valkey = make()
    holder = hold()
    pid = holder.ask("ensure")
    valkey.ensure()
    assert server_pid(valkey) == int(pid)
    before = run_id(valkey)
    assert holder.ask("ensure") == pid
    assert run_id(valkey) == before


def test_link_to_the_folder_names_the_same_server(make: Make, tmp_path: Path):
    """A symbolic link to the instance folder leads to the same server."""
    (tmp_path / "link").symlink_to(tmp_path / "instance")
    assert make("link").url == make("instance").url


def test_environment_does_not_decide_which_server(make: Make, monkeypatch: pytest.MonkeyPatch):
    """A shell with other XDG_RUNTIME_DIR and TMPDIR comes to the same server."""
    before = make().url
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nowhere")
    monkeypatch.setenv("TMPDIR", "/nowhere")
    assert make().url == before


def test_two_folders_have_two_servers(make: Make):
    """Two checkouts run side by side and do not see each other's data."""
    one, two = make("one"), make("two")
    one.ensure()
    two.ensure()
    assert run_id(one) != run_id(two)
    with connected(one) as first, connected(two) as second:
        first.set("key", "value")
        assert second.get("key") is None


def test_very_long_instance_path_works(make: Make):
    """The address fits a Unix socket however long the checkout's path is."""
    valkey = make("/".join(["x" * 100] * 3))
    valkey.ensure()
    assert run_id(valkey)
    assert len(valkey.url.removeprefix("unix://")) < SUN_PATH_BYTES


def test_crowd_at_the_same_instant_gets_one_server(make: Make, hold: Hold):
    """Twelve processes that need it at once start exactly one keeper with one server."""
    valkey = make()
    crowd = [hold() for _ in range(CROWD)]
    for holder in crowd:
        holder.order("ensure")
    assert len({holder.answer() for holder in crowd}) == 1
    assert len(processes_at(valkey.log.parent)) == 2


def test_newcomer_waits_for_an_ending_keeper(make: Make, hold: Hold):
    """One who comes while the old keeper clears up gets a server of its own, not the ruins."""
    valkey, holder = make(), hold()
    runtime = RuntimeDir(valkey.log.parent)
    runtime.prepare()
    with runtime.holders_lock.open("w") as ending:  # this test plays the keeper that ends
        fcntl.flock(ending, fcntl.LOCK_EX)
        holder.order("ensure")
        until_opened(holder, ending.fileno())
        assert not runtime.control_socket.exists()
        shutil.rmtree(runtime.path)
    assert alive(int(holder.answer()))
    valkey.ensure()
    assert run_id(valkey)


def test_one_process_at_a_time_starts_a_keeper(make: Make):
    """While one process starts a keeper, the next one that misses it waits instead of starting another."""
    valkey = make()
    runtime = RuntimeDir(valkey.log.parent)
    runtime.prepare()
    with runtime.start_lock.open("w") as starting:  # this test plays the process that starts one
        fcntl.flock(starting, fcntl.LOCK_EX)
        with pytest.raises(EmbeddedUnavailable, match=r"within 0\.3 s"):
            valkey.ensure(timeout=0.3)
        assert not processes_at(runtime.path)
    valkey.ensure()
    assert run_id(valkey)


def test_second_keeper_gives_way(make: Make, tmp_path: Path):
    """A keeper that is started beside a living one ends, and disturbs nobody."""
    valkey = make()
    valkey.ensure()
    before = run_id(valkey), processes_at(valkey.log.parent)
    line, other_end = socket.socketpair()
    with line:
        with other_end:
            arguments = [str(tmp_path / "instance"), str(LINGER), str(find_binary())]
            command = [sys.executable, "-m", "shivx.embedded.keeper", *arguments]
            subprocess.run(command, check=True, stdin=other_end)
        assert line.recv(1) == b""
    assert (run_id(valkey), processes_at(valkey.log.parent)) == before


def test_directory_may_go_while_a_newcomer_looks_at_it(make: Make, monkeypatch: pytest.MonkeyPatch):
    """One who finds the directory of an ending keeper, which is gone at the next look, makes a new one."""

    def seen_but_gone(path: Path, mode: int) -> None:
        monkeypatch.undo()
        raise FileExistsError(path)

    valkey = make()
    monkeypatch.setattr(Path, "mkdir", seen_but_gone)
    valkey.ensure()
    assert run_id(valkey)


def test_coming_and_going_never_meets_a_dead_server(make: Make):
    """Users that come in the very moment the last one goes always get a server that answers."""
    users = [make(linger=0.0), make(linger=0.0)]
    users[0].ensure()
    for turn in range(ROUNDS):
        users[turn % 2].release()
        users[(turn + 1) % 2].ensure()
        assert run_id(users[(turn + 1) % 2])


def test_keeper_inherits_no_socket_and_no_secret(make: Make, monkeypatch: pytest.MonkeyPatch):
    """The keeper takes over neither gunicorn's inheritable listening socket nor the service's environment."""
    monkeypatch.setenv("SHIVX_SECRET_KEYS", "s3cr3t" * 6)
    valkey = make()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.set_inheritable(True)
        valkey.ensure()
        inode = os.fstat(listener.fileno()).st_ino
        for pid in processes_at(valkey.log.parent):
            assert inode not in open_inodes(pid)
            assert b"s3cr3t" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_gevent_hub_runs_on_during_a_slow_start(make: Make, tmp_path: Path):
    """While eight greenlets and a native thread wait for a slow server, another greenlet keeps ticking."""
    valkey = make()
    slow = script(tmp_path / "slow", f'sleep 1; exec {find_binary()} "$@"')
    command = [
        sys.executable,
        "-m",
        "tests.embedded_gevent",
        str(tmp_path / "instance"),
        str(LINGER),
        str(slow),
    ]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=30).stdout)
    assert told["seconds"] > 1.0
    assert told["longest_gap"] < 0.5
    until_gone(valkey)


def test_log_is_bounded(make: Make):
    """A log that has grown too long is put aside, and only one such file is kept."""
    valkey = make()
    runtime = RuntimeDir(valkey.log.parent)
    runtime.prepare()
    for file in (runtime.log, runtime.old_log):
        file.write_bytes(b"x" * MAX_BYTES)
    runtime.old_log.write_bytes(b"older")
    valkey.ensure()
    until(lambda: runtime.old_log.stat().st_size >= MAX_BYTES, "the log was put aside")
    until(lambda: b"Ready" in runtime.log.read_bytes(), "server and keeper write to the new one")
    assert runtime.log.stat().st_size < MAX_BYTES
