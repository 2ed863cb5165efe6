"""Imports that come late, one at a time in a process.

gevent replaces the locks by which Python keeps two threads from importing one module at once, by such as
`shivx.native` tells of: of two native threads that import the same module for the first time one may wait for
ever. So whatever is imported late comes through here.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType
from typing import Any

from shivx import native


def load(name: str) -> ModuleType:
    """Return the module *name*, imported if it is not yet.

    Raises:
        ImportError: there is none.
    """
    with lock:
        return importlib.import_module(name)


def _begin() -> None:
    """Make the lock, in a forked child anew: whoever had it is not there."""
    global lock  # noqa: PLW0603
    lock = native.lock()


lock: Any
"""Held by whoever imports."""
_begin()
os.register_at_fork(after_in_child=_begin)
