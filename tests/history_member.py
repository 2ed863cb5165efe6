"""A process of a history: ``-m tests.history_member NUMBER FOLDER``. It plays its part of plan after plan.

A plan comes as a line of JSON on the standard input; the answer is ``ready``, and after the line ``go`` its
threads begin; ``done`` when they have ended. What happened is appended to ``events-NUMBER`` in FOLDER, a
line each, at once, so that it is there even if this process is killed.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from cache_ext import open_cache
from cache_ext.loading import host
from cache_ext.reading import found
from tests.caches import connected
from tests.history_actor import Actor
from tests.history_breaks import broken
from tests.history_keys import NAMES
from tests.history_stage import UNCHECKED_LIFE, Stage
from tests.history_truth import Truth


class Notes:
    """Where this process writes what happened."""

    def __init__(self, path: Path, member: int) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._member = member

    def note(self, what: str, **facts: Any) -> None:
        """Append one event."""
        line = json.dumps({"what": what, "member": self._member, "pid": os.getpid(), **facts})
        os.write(self._file, line.encode() + b"\n")


def play(plan: dict[str, Any], truth: Truth, notes: Notes, number: int, folder: Path) -> None:
    """Open a cache and let this process' threads do what *plan* says."""
    with broken(*plan["broken"]):
        settings = plan["settings"]
        host_dir = folder / "host" if settings.pop("host") else None
        cache = connected(open_cache(plan["url"], namespace=plan["namespace"], host_dir=host_dir, **settings))
        stage = Stage(cache)
        try:
            tell("ready")
            if sys.stdin.readline() != "go\n":
                return
            parts = plan["members"][number]
            crew = [
                threading.Thread(target=Actor(cache, stage, truth, notes, each).act, args=(part,))
                for each, part in enumerate(parts)
            ]
            for thread in crew:
                thread.start()
            for thread in crew:
                thread.join()
        finally:
            stage.clear()
            cache.close()
    tell("done")


def tell(word: str) -> None:
    """Answer whoever reads our standard output."""
    print(word, flush=True)


def main() -> None:
    """Play until the standard input ends."""
    faulthandler.register(signal.SIGUSR1)
    number, folder = int(sys.argv[1]), Path(sys.argv[2])
    found.UNCHECKED_LIFE = host.UNCHECKED_LIFE = UNCHECKED_LIFE  # nobody wants to wait for five seconds
    truth, notes = Truth(folder / "truth", NAMES), Notes(folder / f"events-{number}", number)
    tell("here")
    while line := sys.stdin.readline():
        try:
            play(json.loads(line), truth, notes, number, folder)
        except Exception as error:
            notes.note("failure", error=f"{type(error).__name__}: {error}", at=time.monotonic())
            raise


if __name__ == "__main__":
    main()
