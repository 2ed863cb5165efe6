"""Who is told of a read: the metrics, the trail of the request that it is for, and whoever listens."""

from __future__ import annotations

from collections.abc import Callable

from cache_ext import events
from cache_ext.explain.trails import Read, current_trail
from cache_ext.policy import CachePolicy
from cache_ext.reading.sight import Sight
from cache_ext.tally import Reads

_SIGNALS = {"hit": events.hit, "stale": events.stale}


class Noting:
    """Tells of reads.

    Args:
        tally: counts them.
        announce: calls the receivers of signals.
        monotonic: the clock, seconds.
    """

    def __init__(self, tally: Reads, announce: events.Announce, monotonic: Callable[[], float]) -> None:
        self._tally = tally
        self._announce = announce
        self._monotonic = monotonic

    def count(self, key: str, policy: CachePolicy, layer: str, outcome: str, age: float) -> None:
        """Count a read of *key* under *policy*, and tell who wants to know."""
        self._tally.count(policy.name, layer, outcome)
        if (trail := current_trail()) is not None:
            read = Read(key, policy.name, layer, outcome, self._monotonic(), age)
            trail.note(read, sensitive=policy.sensitive)
        signal = _SIGNALS.get(outcome, events.miss)
        if signal.receivers:
            self._announce(signal, events.Read(key, layer, policy.name, age))

    def plain(self, sight: Sight, name: str) -> None:
        """Count the plain hits of *sight*, which are never of sensitive values and nobody listens to."""
        count = self._tally.counting(name, "l2", "hit")
        for _ in sight.values:
            count()
        if (trail := current_trail()) is not None:
            now = self._monotonic()
            for key in sight.values:
                trail.note(Read(key, name, "l2", "hit", now, sight.fetched(key, now).age))
