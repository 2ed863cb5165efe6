"""Imports that come late: native threads of gevent's pool that want the same module all get it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shivx import importing
from tests.service import ROOT

MODULES = 400
"""Without the lock one in some fifty is waited for for ever."""
CROWD = 8
PROGRAM = f"""
from gevent import monkey
monkey.patch_all()
import os, sys
import gevent
from shivx.accounts.offload import off_hub
from shivx.importing import load
for number in range({MODULES}):
    asked = [gevent.spawn(off_hub, lambda: load(f"late{{number}}").VALUE) for _ in range({CROWD})]
    if len(gevent.joinall(asked, timeout=20)) < {CROWD}:
        print("late", number)
        sys.stdout.flush()
        os._exit(1)
    assert [each.value for each in asked] == [sum(range(20000))] * {CROWD}
print("all")
"""


def test_a_crowd_of_native_threads_imports_a_module_at_once(tmp_path: Path) -> None:
    """None of them waits for ever for another."""
    for number in range(MODULES):
        (tmp_path / f"late{number}.py").write_text("VALUE = sum(range(20000))\n")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("all\n", 0), done.stderr


def test_what_is_not_there_is_an_import_error() -> None:
    """As by the import statement; the next import goes on."""
    with pytest.raises(ImportError):
        importing.load("shivx.no_such_module")
    assert importing.load("shivx.errors").__name__ == "shivx.errors"


def test_a_child_forked_during_an_import_imports() -> None:
    """The thread that held the lock is not there to give it back."""
    reading, writing = os.pipe()
    with importing.lock:
        if (child := os.fork()) == 0:
            os.write(writing, importing.load("shivx.errors").__name__.encode())
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 99) == b"shivx.errors"
    os.close(reading)
    os.close(writing)
