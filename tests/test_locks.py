"""A lock on a file is waited for by one greenlet, not by all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROGRAM = """
from gevent import monkey
monkey.patch_all()
import fcntl, sys, threading, time
from cache_ext.coherence.locks import free_lock, take_lock

first, second = open(sys.argv[1], "w"), open(sys.argv[1], "w")
fcntl.flock(first, fcntl.LOCK_EX)
got = []
waiting = threading.Thread(target=lambda: got.append(take_lock(second.fileno(), 30.0, 0.001)))
waiting.start()
time.sleep(0.01)
assert not got, "it waits"
free_lock(first.fileno())
waiting.join(10)
assert got == [True]
assert not take_lock(first.fileno(), 0.0, 0.001)
started = time.monotonic()
assert not take_lock(first.fileno(), 0.05, 0.001)
assert time.monotonic() - started < 5
print("fine")
"""


def test_waiting_for_a_lock_lets_other_greenlets_go_on(tmp_path: Path) -> None:
    """Who holds it gets on and frees it; and nobody waits for longer than he said."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "lock")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "fine\n", done.stderr
