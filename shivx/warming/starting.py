"""Starting the process that warms: when it is asked for, and when the service starts."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Sequence

from cache_ext.errors import StoreUnavailable
from shivx.accounts.offload import later
from shivx.errors import Conflict
from shivx.jobs.launching import Launcher
from shivx.jobs.record import Job

log = logging.getLogger(__name__)

PROGRAM = "shivx.warming.run"
THING = "warm"
ONCE_SECONDS = 60.0
"""Workers that start within so long of each other, on whichever host, warm once."""
AGAIN_SECONDS = 3.0


class Warming:
    """Starts it.

    Args:
        launcher: of jobs.
    """

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._closed = threading.Event()

    def start(self, pairs: Sequence[str] = ()) -> Job:
        """Load *pairs* ahead; without any those that are set, and the hottest.

        Raises:
            Conflict: it is being done.
            StoreUnavailable: Redis gives no usable answer.
            OSError: the system starts no process.
        """
        return self._launcher.launch(THING, PROGRAM, *(["--pairs", ",".join(pairs)] if pairs else []))

    def begin(self) -> None:
        """Do it once, by one of all workers that start now, while they serve."""
        later(self._until_begun, "warming")

    def close(self) -> None:
        """Start no more; what runs goes on."""
        self._closed.set()

    def _until_begun(self) -> None:
        while not self._closed.is_set():
            try:
                if self._launcher.jobs.claim(THING, ONCE_SECONDS):
                    with contextlib.suppress(Conflict):
                        self.start()
            except (StoreUnavailable, OSError) as error:
                log.info("nothing can be warmed yet: %s", error)
                self._closed.wait(AGAIN_SECONDS)
            else:
                return
