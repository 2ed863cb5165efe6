"""The limiter: never more than so many units in any trailing window, whoever asks and wherever.

Redis counts, by its own clock. Without it each host goes on from the last figure it was told (see `shares`).
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from functools import lru_cache, partial

from cache_ext.errors import ConfigurationError, StoreUnavailable
from cache_ext.keys import KeySpace, bucket_of
from cache_ext.limits.counting import Counts
from cache_ext.limits.debts import Debts
from cache_ext.limits.decision import Answer, Check, Decision, decide, width_of
from cache_ext.limits.shares import Shares
from cache_ext.settings import CacheSettings
from cache_ext.transport.connection import RedisGateway
from cache_ext.transport.trips import Trips

WINDOW = 60.0
MOST_UNITS = 2**31
CHUNK = 100
"""Subjects of whom Redis is told at once, on its return."""
_LONG_SUBJECT = 80
_ODD = re.compile(r"[^\x21-\x7e]|[{}]")
_KNOWN_SUBJECTS = 16_384


class Limiter:
    """Checks limits. One per namespace and process is enough; any thread or greenlet may ask.

    Args:
        gateway: the way to the Redis that counts; None counts in this process.
        settings: namespace, host folder and time for Redis.
        start: called before Redis is asked; starts whatever probes it.
        clock: Unix time, seconds, to count by instead of Redis' own and the host's.
        monotonic: the clock that the processes of this host share, seconds.
    """

    def __init__(
        self,
        gateway: RedisGateway | None,
        settings: CacheSettings,
        *,
        start: Callable[[], None] = lambda: None,
        clock: Callable[[], float] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gateway = gateway
        self._settings = settings
        self._start = start
        self._clock = clock
        self._monotonic = monotonic
        self._check = lru_cache(_KNOWN_SUBJECTS)(self._planned)
        self._keys = KeySpace(settings.namespace)
        self._begin()
        myself = weakref.ref(self)

        def after_fork() -> None:
            if limiter := myself():
                limiter._begin()

        os.register_at_fork(after_in_child=after_fork)

    def _begin(self) -> None:
        self._opening = threading.Lock()
        self._shares: Shares | None = None
        self._counts: Counts | None = None
        if self._gateway is not None:
            counter = self._clock
            now = None if counter is None else lambda: int(counter() * 1000)
            self._counts = Counts(self._gateway, now)
            ask = partial(self._ask, self._counts)
            self._trips = Trips(ask, self._settings.op_timeout, self._monotonic)

    def check(self, subject: str, limit: int, cost: int = 1, window: float = WINDOW) -> Decision:
        """Take *cost* units of *subject*'s quota, if they are there; a refusal takes none.

        Args:
            subject: whose quota it is.
            limit: units within any trailing *window*, >= 1.
            cost: units, 0 to see what is left.
            window: seconds, 0.1 to a year; a unit frees at most a sixtieth of it late.
        Raises:
            ConfigurationError: a limit, cost or window of no sense.
        """
        check = self._check(subject, limit, cost, window)
        shares, counts = self._shares or self.shares, self._counts
        if counts is not None:
            self._start()
            try:
                told = not shares.debts.any or self._settles(shares.debts, counts, check)
                answer = self._trips.ask(check) if told else None
            except StoreUnavailable:
                answer = None
            if answer is not None:
                return decide(answer, limit, window)
        return decide(shares.admit(check), limit, window, alone=True)

    @staticmethod
    def _settles(debts: Debts, counts: Counts, check: Check) -> bool:
        """Tell Redis what was admitted without it; return whether it may be asked now."""
        counts.require()
        return debts.settle(check.place, CHUNK, counts.merge)

    def forget(self, subject: str, window: float = WINDOW) -> None:
        """Let the quota of *subject* be unused; without Redis nothing happens."""
        if self._counts is not None:
            self._start()
            self._counts.forget(self._check(subject, 1, 0, window).place)

    def close(self) -> None:
        """Close what is open."""
        if self._shares is not None:
            self._shares.close()

    @property
    def shares(self) -> Shares:
        """This host's table; opened in the process that first asks."""
        if self._shares is None:
            with self._opening:
                if self._shares is None:
                    clock = self._clock or time.time
                    folder = None if self._gateway is None else self._settings.meeting_place
                    self._shares = Shares(folder, self._monotonic, clock, self._settings.op_timeout)
        return self._shares

    def _ask(self, counts: Counts, checks: Sequence[Check]) -> Sequence[Answer]:
        """Return what Redis answers; this host goes on from there, should it go away."""
        answers = counts.ask(checks)
        for check, newest in dict(zip(checks, answers, strict=True)).items():
            self.shares.note(check, newest)
        return answers

    def _planned(self, subject: str, limit: int, cost: int, window: float) -> Check:
        if not 1 <= limit <= MOST_UNITS or not 0 <= cost <= MOST_UNITS or not 0.1 <= window <= 31_622_400:
            raise ConfigurationError(f"no limit: {limit} units in {window} s, {cost} at once")
        if len(subject) > _LONG_SUBJECT or _ODD.search(subject):
            subject = (
                "~" + hashlib.blake2b(subject.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
            )
        bucket = bucket_of(subject)
        place = self._keys.place(bucket, f"limit:{window:g}:{subject}")
        return Check(place, bucket, limit, cost, width_of(window))
