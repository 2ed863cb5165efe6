"""Threads for loads that outlive who asked for them."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable

from cache_ext.transport.budget import without_budget

log = logging.getLogger(__name__)

MAX_REFRESHES = 32
"""Background refreshes at once; beyond that readers keep the value they have a little longer."""
MAX_TIMED = 64
"""Loads at once whose callers wait for a limited time only; beyond that these wait for a place as well."""


class Background:
    """Runs calls in threads of their own, a bounded number at once.

    Args:
        places: calls at once.
        name: of the threads.
    """

    def __init__(self, places: int, name: str) -> None:
        self._places = threading.BoundedSemaphore(places)
        self._name = name
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._closed = False

    def run(self, call: Callable[[], None], patience: float = 0.0) -> bool:
        """Begin *call* in the caller's context, but for its budget, and return.

        Args:
            patience: seconds to wait for a free place.
        Returns:
            False if nothing was begun: there was no place, or this is closed.
        """
        if self._closed or not self._places.acquire(blocking=patience > 0, timeout=patience or None):
            return False
        context = contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(self._run, call), name=self._name, daemon=True)
        with self._lock:
            self._threads.add(thread)
        thread.start()
        return True

    def close(self, patience: float) -> None:
        """Begin no more; wait up to *patience* seconds for each call under way."""
        self._closed = True
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(patience)

    def _run(self, call: Callable[[], None]) -> None:
        try:
            with without_budget():
                call()
        except Exception:
            log.exception("a load in the background failed")
        finally:
            self._places.release()
            with self._lock:
                self._threads.discard(threading.current_thread())
