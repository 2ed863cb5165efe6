"""A thread that looks again and again where something is; sooner while that is in doubt."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)


class Watch:
    """Calls *look*; nobody else needs to, once it runs.

    Args:
        name: of the thread.
        look: finds out; returns whether nothing is in doubt.
        calm: seconds between looks.
        hurried: seconds between looks while something is in doubt, and after `doubt`.
    """

    def __init__(self, name: str, look: Callable[[], bool], calm: float, hurried: float) -> None:
        self._name = name
        self._look = look
        self._calm = calm
        self._hurried = hurried
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._looking = threading.Lock()
        self._looked = threading.Event()
        self._doubts = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, unless it runs: a forked child has none."""
        if self._thread is None or not self._thread.is_alive():
            self._begin_anew()
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End it; returns when the thread has ended."""
        self._stopped.set()
        self._doubts.set()
        if self._thread is not None:
            self._thread.join()

    def doubt(self) -> None:
        """Have it look soon."""
        self._doubts.set()

    def settle(self, left: float) -> None:
        """Return after a look: the first one of the thread, or one of one's own where there is no thread.

        Args:
            left: seconds that the thread is waited for.
        """
        if self._thread is not None:
            self._looked.wait(max(0.0, left))
        elif self._doubts.is_set() or not self._looked.is_set():
            self._look_once()

    def _look_once(self) -> bool:
        with self._looking:
            self._doubts.clear()
            calm = self._look()
            self._looked.set()
            return calm

    def _run(self) -> None:
        pause = 0.0
        while not self._stopped.wait(pause):
            calm = False
            try:
                calm = self._look_once()
            except Exception:
                log.exception("%s failed", self._name)
                self._looked.set()
            if calm:
                self._doubts.wait(self._calm)
            pause = self._hurried
