"""What a test may leave behind: no thread, no child process, no socket."""

from __future__ import annotations

import gc
import os
import socket
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.waiting import until

GRACE_SECONDS = 2.0

# Name prefix of a thread -> why it may outlive a test.
ALLOWED_THREADS = {
    "pydevd.": "a debugger, started by the developer",
}
# Part of a command line -> why the child process may outlive a test.
ALLOWED_PROCESSES = {
    "multiprocessing.resource_tracker": "one for the life of the process, by design of the standard library",
    "multiprocessing.forkserver": "likewise",
}


@dataclass(frozen=True)
class Census:
    """The threads, child processes and sockets of this process at one moment."""

    threads: frozenset[threading.Thread]
    children: frozenset[int]
    sockets: frozenset[str]


def take_census() -> Census:
    """Count what this process has now."""
    return Census(frozenset(threading.enumerate()), _children(), frozenset(_sockets()))


def find_leaks(
    before: Census, *, allowed_children: Iterable[int] = (), grace: float = GRACE_SECONDS
) -> list[str]:
    """Return a line for each thread, child process and socket that is new since *before*.

    Args:
        before: what was there when the test began.
        allowed_children: process numbers that are no leak.
        grace: seconds that new ones have to end.
    """
    if not _new(before, allowed_children):
        return []
    gc.collect()  # connections and pools often sit in reference cycles
    try:
        until(lambda: not _new(before, allowed_children), "nothing is left", grace)
    except TimeoutError:
        return _new(before, allowed_children)
    return []


def _new(before: Census, allowed_children: Iterable[int]) -> list[str]:
    now = take_census()
    threads = [thread for thread in now.threads - before.threads if not _is_allowed(thread)]
    children = [pid for pid in now.children - before.children - set(allowed_children) if not _may_stay(pid)]
    return [
        *(f"thread {thread.name!r}{' (daemon)' if thread.daemon else ''}" for thread in threads),
        *(f"child process {pid}: {_command_line(pid)}" for pid in children),
        *(f"socket {_describe(link)}" for link in now.sockets - before.sockets),
    ]


def _is_allowed(thread: threading.Thread) -> bool:
    return thread.name.startswith(tuple(ALLOWED_THREADS))


def _may_stay(pid: int) -> bool:
    return any(part in _command_line(pid) for part in ALLOWED_PROCESSES)


def _children() -> frozenset[int]:
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            found.update(map(int, (task / "children").read_text().split()))
        except FileNotFoundError:  # the thread has just ended
            continue
    return frozenset(found)


def _command_line(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return "(ended)"
    return b" ".join(words).decode(errors="replace").strip() or "(ended, but nobody waited for it)"


def _sockets() -> dict[str, int]:
    """Return the file descriptor of each open socket by the kernel's name for it."""
    found = {}
    for entry in os.listdir("/proc/self/fd"):  # noqa: PTH208 (half the cost of Path.iterdir, once a test)
        try:
            link = os.readlink(f"/proc/self/fd/{entry}")  # noqa: PTH115
        except OSError:
            continue
        if link.startswith("socket:"):
            found[link] = int(entry)
    return found


def _describe(link: str) -> str:
    number = _sockets().get(link)
    if number is None:
        return link
    with socket.socket(fileno=os.dup(number)) as twin:
        try:
            return f"{link} {twin.getsockname()} -> {twin.getpeername()}"
        except OSError:
            return f"{link} {twin.getsockname()}"
