"""Putting a value that is at hand into the cache, over whatever lies there or is being loaded."""

from __future__ import annotations

from collections.abc import Callable

from cache_ext.coherence.outbox import Outbox
from cache_ext.entry import new_stamp
from cache_ext.errors import CacheError, StoreUnavailable
from cache_ext.loading.filling import Filler
from cache_ext.loading.flights import Flights
from cache_ext.loading.host import HostOrigin
from cache_ext.loading.loads import Loading
from cache_ext.loading.origin import Departure, Job
from cache_ext.reading.near import NearCache
from cache_ext.stores.base import Store


class Putter:
    """Stores values that need no loader."""

    def __init__(
        self,
        store: Store,
        near: NearCache,
        loading: Loading,
        origin: HostOrigin,
        filler: Filler,
        flights: Flights,
        outbox: Outbox,
        monotonic: Callable[[], float],
    ) -> None:
        self._store = store
        self._near = near
        self._loading = loading
        self._origin = origin
        self._filler = filler
        self._flights = flights
        self._outbox = outbox
        self._monotonic = monotonic

    def put(self, key: str, job: Job) -> bool:
        """Store what *job* gives for *key*; return False if it could be stored nowhere.

        Raises:
            UnsupportedValue: the value cannot be kept exactly.
        """
        since, began, token = self._loading.moment(), self._monotonic(), new_stamp()
        try:
            self._outbox.settle(self._store)
            versions = self._store.begin({key: None}, job.tags([key]), token, job.policy.lifetime).versions
        except StoreUnavailable as error:
            self._filler.orphan(token, [key], error)
            versions = None
        departure = Departure(began, token, versions)
        slot = self._origin.call([key], job, departure)[key]
        try:
            if isinstance(slot, Exception):
                raise slot
            self._filler.refuse_oversize(slot)
        except CacheError:
            self._filler.release([key], token)
            raise
        stored = None if versions is None else self._filler.fill({key: slot}, departure)
        if stored is None:
            self._outbox.add(keys=[key])  # else what lies there, which is older, would come back
        self._near.replaced(key, token)
        self._flights.outdate([key])
        if stored is not None:
            slot.generation = since.generation
        return (stored is None or key in stored) and self._near.put(slot, since.mark)
