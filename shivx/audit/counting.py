"""Counting denials and reads: in memory first, written soon after, so that no request waits for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

import msgspec

from shivx.audit.bounds import as_others
from shivx.audit.events import Event
from shivx.errors import ShivxError

PAUSE = 1.0
"""Seconds between two writes of a process: what is repeated meanwhile is one write."""
MAX_WAITING = 1000
"""Different events that wait in memory, say while the database is away."""
_log = logging.getLogger(__name__)


class Counting:
    """Collects events and writes them from a thread that is there only while there is something to write.

    The first of its kind is written at once, so a process that dies loses at most the repetitions of the
    last `PAUSE` seconds. While nothing can be written all is kept, up to `MAX_WAITING`, and tried again.

    Args:
        write: adds events to the counts; blocks.
    """

    def __init__(self, write: Callable[[Sequence[Event]], None]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._waiting: dict[tuple[object, ...], Event] = {}
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._failing = False

    def add(self, event: Event) -> None:
        """Count *event*. Never raises, never waits for the database."""
        with self._lock:
            self._put(event)
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._run, name="audit-counting", daemon=True)
                self._thread.start()

    def flush(self) -> None:
        """Write what waits, now, if it can be written."""
        with self._writing:
            with self._lock:
                events, self._waiting = list(self._waiting.values()), {}
            if not events:
                return
            try:
                self._write(events)
            except ShivxError as error:
                with self._lock:
                    for event in events:
                        self._put(event)
                if not self._failing:
                    _log.error("the audit cannot be written; it is tried again: %s", error)
                self._failing = True
            else:
                if self._failing:
                    _log.warning("the audit can be written again")
                self._failing = False

    def close(self) -> None:
        """Write what waits and end the thread."""
        self._closed.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join()
        self.flush()

    def _put(self, event: Event) -> None:
        kind = (event.minute, event.outcome, event.subject, event.action)
        if kind not in self._waiting and len(self._waiting) >= MAX_WAITING:
            event = as_others(event)
            kind = (event.minute, event.outcome, event.subject, event.action)
        known = self._waiting.get(kind)
        if known is not None:
            event = msgspec.structs.replace(known, count=known.count + event.count)
        self._waiting[kind] = event

    def _run(self) -> None:
        while True:
            self.flush()
            self._closed.wait(PAUSE)
            with self._lock:
                if not self._waiting or self._closed.is_set():
                    self._thread = None
                    return
