"""What one cache in one process counts."""

from __future__ import annotations

from collections.abc import Mapping

from cache_ext.stats.durations import Durations
from cache_ext.tally import Reads, Tally

Field = tuple[str, ...]
"""What is counted: a kind (READS, EVENTS, LOADS, TRIPS, HOT), and the labels of that kind."""
READS, EVENTS, LOADS, TRIPS = "read", "event", "load", "trip"
HOT = "hot"
"""About how often a tag was read in a minute, of those that were read most in it."""
EVICTED, REFRESHED, COALESCED = "evicted", "refreshed", "coalesced"
"""Kinds of events."""
MOST_FAMILIES = 1_000
"""Beginnings of keys of which it is noted whose they are; a program has some tens."""
UNKNOWN = "unknown"
"""The cache of keys that nobody is known to have loaded."""


def family_of(key: str) -> str:
    """Return the beginning of *key* that it has in common with others of its cache."""
    return key.partition(":")[0]


class Counts:
    """What one cache in one process counts: reads, events and loads by cache, round trips by operation."""

    def __init__(self) -> None:
        self.reads = Reads()
        self.loads = Durations()
        self.trips = Durations()
        self.families: dict[str, str] = {}
        """Whose keys are, by `family_of` each: the cache, by its policy's name."""
        self._events = Tally()

    def loaded(self, keys: tuple[str, ...], cache: str, seconds: float) -> None:
        """Count a load of *keys* that took *seconds*."""
        self.loads.observe(cache, seconds)
        for key in keys:
            family = family_of(key)
            if family not in self.families and len(self.families) < MOST_FAMILIES:
                self.families[family] = cache

    def evicted(self, key: str) -> None:
        """Count an entry that made room in L1."""
        self._events.count(EVICTED, self.families.get(family_of(key), UNKNOWN))

    def refreshed(self, cache: str) -> None:
        """Count a refresh that began before the end of the ttl."""
        self._events.count(REFRESHED, cache)

    def coalesced(self, cache: str) -> None:
        """Count a load that was not made since somebody was already at it: who wanted it waited for him."""
        self._events.count(COALESCED, cache)

    def totals(self) -> dict[Field, int]:
        """Return all counts since this process began."""
        kinds: Mapping[str, Tally] = {
            READS: self.reads,
            EVENTS: self._events,
            LOADS: self.loads.tally,
            TRIPS: self.trips.tally,
        }
        return {
            (kind, *labels): count
            for kind, tally in kinds.items()
            for labels, count in tally.totals().items()
        }
