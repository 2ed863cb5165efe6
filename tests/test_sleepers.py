"""Who sleeps until he is woken, a thread or a greenlet, wakes in time and by nobody else's call."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from cache_ext.transport.greenlets import Sleeper, sleepers
from tests.caches import PATIENCE

EXPECTED = {
    "woken before": True,
    "woken twice": True,
    "nobody wakes him": False,
    "no time": False,
    "another is woken late": False,
    "woken while asleep": True,
}


def outcomes(make: Callable[[], Sleeper]) -> dict[str, bool]:
    """Return whether each was woken, in all the ways to sleep and to be woken."""
    before, twice, nobody, late, asleep = (make() for _ in range(5))
    before.wake()
    twice.wake()
    twice.wake()
    found = {
        "woken before": before.sleep(10.0),
        "woken twice": twice.sleep(10.0),
        "nobody wakes him": nobody.sleep(0.01),
        "no time": late.sleep(0.0),
    }
    late.wake()
    found["another is woken late"] = make().sleep(0.01)
    threading.Timer(0.01, asleep.wake).start()
    return found | {"woken while asleep": asleep.sleep(10.0)}


def test_threads() -> None:
    """Without gevent."""
    assert outcomes(sleepers()) == EXPECTED


def test_greenlets() -> None:
    """In a process of their own; native threads beside them may wake them, and one who is killed is gone."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.sleeping_greenlets"],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == EXPECTED | {
        "woken by a native thread": True,
        "timers left": 0,
        "killed": True,
        "asleep when another who was killed is woken": False,
    }
