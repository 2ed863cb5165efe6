"""Invalidations that Redis could not be told yet: they come first once it answers again.

With a journal they are those of all processes of the host, and outlive them. What one queues, the others do
when they look at the journal next: before they believe the store, or serve what nobody can check.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from itertools import islice

from cache_ext.coherence.journal import Journal
from cache_ext.coherence.reasons import because
from cache_ext.coherence.records import Header, Names
from cache_ext.errors import StoreUnavailable
from cache_ext.stores.base import Store

log = logging.getLogger(__name__)

MAX_NAMES = 10_000
"""More than so many names waiting are one: everything."""
CHUNK = 1_000
"""Names told at once: a fraction of what one request may spend on the store."""
REST = 0.05
"""Seconds after a failure for which nobody tries again: with thousands of names an attempt is not cheap."""


class Outbox:
    """What was invalidated without Redis. While it holds anything, the store is not believed.

    Args:
        journal: shared by the processes of the host; None: this process is alone.
        apply: does in this process what others have invalidated.
        monotonic: the clock, seconds.
    """

    def __init__(
        self,
        journal: Journal | None = None,
        apply: Callable[[Names], None] = lambda names: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._journal = journal
        self._apply = apply
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._telling = threading.Lock()
        self._own = Names()
        """In no journal."""
        self._shared = Names()
        """In the journal, and told by nobody yet."""
        self._known = b""
        self._seen: Header | None = None
        self._under_way = False
        self._waiting = False
        self._rest_until = 0.0
        self._usable = True

    @property
    def waiting(self) -> bool:
        """Whether the store must be told anything, by whichever process of the host."""
        self.catch_up()
        return self._waiting

    @property
    def outlives(self) -> bool:
        """Whether what waits is all in the journal, so that others will tell it should this process end."""
        return self._journal is not None and not self._own

    def open(self) -> None:
        """Open the journal, or the new one if somebody removed it."""
        if self._journal is None:
            return
        with self._lock:
            try:
                self._journal.open()
            except OSError as error:
                self._unusable(error)
            else:
                self._usable = True
                if self._journal.raw() != self._known:
                    self._look()

    def close(self) -> None:
        """Close the journal."""
        with self._lock:
            journal, self._journal = self._journal, None
            if journal is not None:
                journal.close()

    def add(
        self,
        *,
        tags: Iterable[str] = (),
        keys: Iterable[str] = (),
        soft: Iterable[str] = (),
        everything: bool = False,
    ) -> None:
        """Note what the store must be told.

        Args:
            soft: tags that are invalidated softly.
        """
        names = Names(set(tags), set(keys), set(soft), everything)
        with self._lock:
            self._waiting = True
            if not self._write(names):
                self._own.update(names)

    def catch_up(self) -> None:
        """Do in this process what other processes of the host have queued since it looked last."""
        journal = self._journal
        if journal is None or journal.raw() == self._known:
            return
        with self._lock:
            self._look()

    def settle(self, store: Store) -> None:
        """Tell *store* all that waits; do nothing if nothing does.

        Raises:
            StoreUnavailable: it still cannot be told, or is just being told by somebody else, so what it
                holds cannot be believed either.
        """
        self.catch_up()
        if not self._waiting:
            return
        if self._monotonic() < self._rest_until or not self._telling.acquire(blocking=False):
            raise StoreUnavailable("it has still to be told, or just being told, what was invalidated")
        try:
            with self._journal.telling() if self._journal else nullcontext(True) as mine:
                if not mine:
                    raise StoreUnavailable("another process is telling it what was invalidated")
                self.catch_up()
                self._tell(store)
        except StoreUnavailable:
            self._rest_until = self._monotonic() + REST
            raise
        finally:
            self._telling.release()

    def tend(self, store: Store) -> None:
        """Do what must be done now and then: see that the journal is the one at its path, and settle."""
        self.open()
        self.settle(store)

    def _tell(self, store: Store) -> None:
        with self._lock:
            own, shared, seen = self._own, self._shared, self._seen
            self._own, self._shared, self._under_way = Names(), Names(), True
        everything = own.everything or shared.everything or len(own) + len(shared) > MAX_NAMES
        done = False
        try:
            with because("queued while Redis was away"):
                if everything:
                    store.clear()
                else:
                    _tell_names(store, own, shared)
            done = True
        finally:
            with self._lock:
                self._under_way = False
                if not done:
                    self._own.update(own)
                    self._shared.update(shared)
                elif self._journal is not None and seen is not None:
                    self._journal.settle(seen, everything)
                    self._look()
                self._waiting = bool(self._own or self._shared)

    def _look(self) -> None:
        """Take in what is new in the journal; for who holds `_lock`."""
        if self._journal is None:
            return
        news = self._journal.news(self._seen)
        if news.raw == self._known:
            return
        if news.unseen:
            self._apply(news.unseen)
        if news.header is None or (self._seen is not None and self._seen.file != news.header.file):
            self._own.update(self._shared)
        if news.header is None:
            self._own.update(news.pending)
        elif news.anew:
            self._shared = news.pending
        else:
            self._shared.update(news.pending)
        self._seen = news.header
        self._waiting = bool(self._own or self._shared or self._under_way)
        self._known = news.raw

    def _write(self, names: Names) -> bool:
        """Write *names* to the journal, or that it overflows; return whether either was possible."""
        journal = self._journal
        if journal is None:
            return False
        try:
            journal.open()
            with journal.locked() as held:
                self._look()
                if self._seen is None:
                    raise OSError("its header is damaged")
                overflows, reason = names.everything or not held, "its lock is kept for too long"
                if not overflows:
                    try:
                        self._seen = journal.append(self._seen, names)
                    except OSError as error:
                        overflows, reason = True, str(error)
                if overflows:
                    if not names.everything and not self._shared.everything:
                        log.warning("the journal overflows, all will be invalidated: %s", reason)
                    self._seen = journal.overflow(self._seen)
                    names = Names(everything=True)
        except OSError as error:
            self._unusable(error)
            return False
        self._shared.update(names)
        return True

    def _unusable(self, error: OSError) -> None:
        if self._usable:
            self._usable = False
            log.warning("no journal, queued invalidations are lost with their process: %s", error)


def _tell_names(store: Store, *queues: Names) -> None:
    """Tell *store* the names in *queues*, a chunk at a time, and take out of these what it was told."""
    for kind, say in (
        ("tags", store.invalidate),
        ("soft", lambda tags: store.invalidate(tags, soft=True)),
        ("keys", store.delete),
    ):
        parts = [getattr(queue, kind) for queue in queues]
        names = iter(set().union(*parts))
        while chunk := set(islice(names, CHUNK)):
            say(chunk)
            for part in parts:
                part.difference_update(chunk)
