"""Users of embedded Valkeys for tests, in this process and in others, and what becomes of the servers."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import redis

from shivx.embedded import EmbeddedValkey
from tests.waiting import until

LINGER = 0.05
Make = Callable[..., EmbeddedValkey]
Hold = Callable[[], "Holder"]


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


def script(path: Path, text: str) -> Path:
    """Write a shell script to stand in for the server's program."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(stat.S_IRWXU)
    return path


@contextlib.contextmanager
def users_of(folder: Path) -> Iterator[Make]:
    """Make users of instance folders under *folder*; at the end they let go, and no process may be left."""
    made: list[EmbeddedValkey] = []

    def make(instance: str = "instance", linger: float = LINGER, **options: object) -> EmbeddedValkey:
        made.append(EmbeddedValkey(folder / instance, linger=linger, **options))
        return made[-1]

    yield make
    for valkey in made:
        valkey.release()
    for valkey in made:
        until_gone(valkey)
        shutil.rmtree(valkey.log.parent, ignore_errors=True)


@contextlib.contextmanager
def holders_of(folder: Path) -> Iterator[Hold]:
    """Start processes that use the instance folder under *folder*."""
    started: list[Holder] = []

    def start() -> Holder:
        started.append(Holder(folder / "instance"))
        return started[-1]

    yield start
    for holder in started:
        holder.close()
