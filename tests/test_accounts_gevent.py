"""Neither the database nor argon2 stops a gevent hub: other greenlets go on meanwhile."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("scene", ["log_in", "lock", "crowd"])
def test_other_greenlets_go_on(database_url, scene):
    """While passwords are compared, while the database is locked, and while many ask it at once."""
    command = [sys.executable, "-W", "error", "-m", "tests.accounts_gevent", database_url, scene]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # gevent prints what its threads raise, which may hold secrets
    found = json.loads(done.stdout)
    assert found["patched"]
    assert found["longest_gap"] < 0.2 + found["longest_gap_beside"]
    if scene != "crowd":
        assert found["seconds"] > 0.4  # else nothing here took long


HOME = """
from gevent import monkey
monkey.patch_all()
import gevent.event
from shivx.accounts.offload import later
native = monkey.get_original("_thread", "get_ident")
seen = gevent.event.AsyncResult()
later(lambda: seen.set(native()), "noted")
assert seen.get(timeout=30) == native()
"""


def test_what_is_done_later_takes_locks_where_requests_take_them():
    """gevent's locks that a native thread takes too may never be given on: then the worker stands still."""
    subprocess.run([sys.executable, "-W", "error", "-c", HOME], cwd=ROOT, timeout=60, check=True)
