"""A process that invalidates a tag and is killed by SIGKILL at a chosen step of its two purges.

Its settings, in JSON on the command line: ``url`` and ``namespace`` of the cache, ``tag``, ``step``
(``before``: the first purge, ``between`` the two, ``during`` the second), ``again_after`` and ``patience`` in
seconds, and ``varnish`` with its ``token``, if there is one to be purged.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Collection
from typing import Any

from cache_ext import open_cache
from cache_ext.cdn import debts
from cache_ext.cdn.names import SurrogateNames
from cache_ext.cdn.purgers import VarnishPurger
from cache_ext.cdn.purging import Purging
from tests.cdn_stage import send
from tests.service import ROOT

LONGEST = 30.0


def die() -> None:
    """End without a word."""
    os.kill(os.getpid(), signal.SIGKILL)


class DyingPurger:
    """Kills its process when it is asked for the *last* time, before it does anything."""

    def __init__(self, last: int, varnish: VarnishPurger | None) -> None:
        self.done = threading.Event()
        self._left = last
        self._varnish = varnish

    def purge(self, names: Collection[str]) -> None:
        """Have *names* purged."""
        self._left -= 1
        if self._left == 0:
            die()
        if self._varnish is not None:
            self._varnish.purge(names)
        self.done.set()


def main(said: dict[str, Any]) -> None:
    """Invalidate, and be killed."""
    debts.PATIENCE = said["patience"]
    varnish = VarnishPurger(said["varnish"], said["token"], send) if "varnish" in said else None
    purger = DyingPurger(1 if said["step"] == "before" else 2, varnish)
    cache = open_cache(said["url"], namespace=said["namespace"], op_timeout=5.0)
    cache.start()
    Purging(cache, SurrogateNames(said["namespace"]), purger, again_after=said["again_after"])
    cache.invalidate_tags(said["tag"])
    if said["step"] == "between":
        purger.done.wait(LONGEST)
        die()
    threading.Event().wait(LONGEST)


def killed_while_invalidating(**said: Any) -> None:
    """Have such a process run, and wait until it was killed."""
    command = [sys.executable, "-m", "tests.cdn_debtor", json.dumps(said)]
    ended = subprocess.run(command, cwd=ROOT, timeout=2 * LONGEST, check=False)
    assert ended.returncode == -signal.SIGKILL


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
