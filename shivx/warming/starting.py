"""Starting the process that warms: when it is asked for, and when the service starts."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Sequence

from cache_ext.errors import StoreUnavailable
from shivx.accounts.offload import later
from shivx.errors import Conflict
from shivx.jobs.launching import Launcher
from shivx.jobs.record import Job
from shivx.jobs.store import Jobs

log = logging.getLogger(__name__)

PROGRAM = "shivx.warming.run"
THING = "warm"
ONCE_SECONDS = 60.0
"""Workers that start within so long of the end of a warming, on whichever host, do it no more."""
AGAIN_SECONDS = 3.0
"""Between looks whether one has come to its end."""
MOST_STARTS = 2
"""Processes that one worker starts: who is killed is replaced, who dies each time not for ever."""


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
        """Have it done once for all workers that start now, while they serve; see `note_end`."""
        later(self._until_done, "warming")

    def close(self) -> None:
        """Start no more; what runs goes on."""
        self._closed.set()

    def _until_done(self) -> None:
        """Start it, unless another worker has, until one has come to its end."""
        jobs, started = self._launcher.jobs, 0
        while not self._closed.is_set():
            try:
                if jobs.tried(THING) or (started == MOST_STARTS and not jobs.running(THING)):
                    return
                with contextlib.suppress(Conflict):
                    self.start()
                    started += 1
            except (StoreUnavailable, OSError) as error:
                log.info("nothing can be warmed yet: %s", error)
            self._closed.wait(AGAIN_SECONDS)


@contextlib.contextmanager
def note_end(jobs: Jobs, was_cancelled: Callable[[], bool]) -> Iterator[None]:
    """Run the body, a warming; however it ends, no worker does it again that starts now.

    Not so if its process was told to end for another reason than that somebody cancelled it: its service has
    stopped, say, and the next one is to be warm too. A process that was killed notes nothing either.
    """
    ended = False
    try:
        yield
        ended = True
    except Exception:
        ended = True
        raise
    finally:
        if ended or was_cancelled():
            with contextlib.suppress(StoreUnavailable):
                jobs.claim(THING, ONCE_SECONDS)
