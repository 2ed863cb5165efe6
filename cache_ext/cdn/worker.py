"""The thread that tells a CDN what to forget, so that nobody who invalidates waits for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterable

from cache_ext import metrics
from cache_ext.cdn.ledger import Ledger
from cache_ext.cdn.purgers import BATCH, PurgeFailed, Purger

log = logging.getLogger(__name__)

PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds before a CDN that failed is tried again; the last of them from then on."""
GIVE_UP_AFTER = 300.0
"""Seconds after which a name is no longer tried. Then the answers that carry it end with their lifetime."""


class PurgeWorker:
    """Purges what is noted, in one thread, started when there is something to do.

    What comes while a request to the CDN is under way goes together in the next one. Whatever fails is tried
    again with all that has come meanwhile.

    Args:
        purger: tells the CDN.
        ledger: what it is to be told.
        monotonic: the clock of the ledger, seconds.
        confirmed: called with names that the CDN has forgotten, and when it was asked.
    """

    def __init__(
        self,
        purger: Purger,
        ledger: Ledger,
        monotonic: Callable[[], float],
        confirmed: Callable[[Collection[str], float], None] = lambda names, since: None,
    ) -> None:
        self._confirmed = confirmed
        self._purger = purger
        self._ledger = ledger
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._under_way: dict[str, float] = {}
        self._failures = 0
        self._retry_at = 0.0
        self._stopped = False

    def purge(self, names: Iterable[str]) -> None:
        """Have *names*, which were invalidated just now, purged; returns at once."""
        with self._changed:
            self._ledger.add(names, self._monotonic())
            self._go()

    def owe(self, names: Iterable[str], seconds: float) -> None:
        """Have *names* purged in so many *seconds*; returns at once.

        Raises:
            RuntimeError: this was closed.
        """
        with self._changed:
            if self._stopped:
                raise RuntimeError("this process is about to end")
            self._ledger.owe(names, self._monotonic() + seconds)
            self._go()

    def close(self, patience: float) -> dict[float, set[str]]:
        """Purge what waits, for at most *patience* seconds; return what is left, by the seconds until due."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(patience)
        with self._changed:
            self._ledger.put_back(self._under_way)
            now = self._monotonic()
            return {max(0.0, at - now): names for at, names in self._ledger.leave().items()}

    def _go(self) -> None:
        if self._thread is None and not self._stopped:
            self._thread = threading.Thread(target=self._run, name="cache-ext-cdn", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            since = self._monotonic()
            try:
                self._purger.purge(batch)
            except (OSError, PurgeFailed) as error:
                self._failed(batch, error)
            except Exception as error:  # the top of the thread: it must go on
                log.exception("a purger failed")
                self._failed(batch, error)
            else:
                self._succeeded(batch, since)

    def _next(self) -> dict[str, float] | None:
        """Wait for what is due and take it; None if nothing is to come any more."""
        with self._changed:
            while True:
                now = self._monotonic()
                rest = max(self._ledger.rest(now), self._retry_at - now)
                if self._stopped and (self._failures or not self._ledger.waits):
                    return None
                if rest <= 0:
                    self._under_way = self._ledger.take(now, BATCH)
                    return self._under_way
                self._changed.wait(min(rest, threading.TIMEOUT_MAX))

    def _succeeded(self, batch: dict[str, float], since: float) -> None:
        metrics.cdn_purges.labels("done").inc(len(batch))
        with self._changed:
            self._under_way = {}
            recovered, self._failures, self._retry_at = self._failures > 0, 0, 0.0
        if recovered:
            log.warning("the CDN takes purges again")
        self._confirmed(batch, since)

    def _failed(self, batch: dict[str, float], error: Exception) -> None:
        metrics.cdn_purges.labels("failed").inc(len(batch))
        with self._changed:
            now = self._monotonic()
            self._under_way = {}
            self._ledger.put_back(batch)
            pause = PAUSES[min(self._failures, len(PAUSES) - 1)]
            self._failures += 1
            self._retry_at = now + pause
            lost = self._ledger.give_up(now)
        if self._failures == 1:
            log.warning("the CDN takes no purges, which are tried again and again: %s", error)
        if lost:
            metrics.cdn_purges.labels("given_up").inc(len(lost))
            log.error("%d names were given up: the CDN took no purge for %.0f s", len(lost), GIVE_UP_AFTER)
