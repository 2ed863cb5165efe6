"""Tags that a loader names only after its load: which versions they had before it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from cache_ext.entry import Version, new_stamp
from cache_ext.errors import StoreUnavailable
from cache_ext.keys import bucket_of
from cache_ext.stores.base import Store

Positions = Mapping[int, Version]
"""By bucket, an epoch and a sequence number that it had reached at some moment."""


class LateTags:
    """Finds versions that may be put on what was loaded since *positions* were noted.

    A tag's version now is the position of its last invalidation. If that is not above the position noted
    before the load, nothing has invalidated the tag since; else, or if it cannot be known, it has no version
    that the value could carry. Positions noted too low only refuse too much.

    Args:
        store: knows the versions.
        positions: returns the buckets' positions as far as this process knows them; never too high.
    """

    def __init__(self, store: Store, positions: Callable[[], Positions]) -> None:
        self._store = store
        self.positions = positions

    def versions(self, tags: Collection[str], noted: Positions, life: float) -> dict[str, Version]:
        """Return the version of each of *tags* that was not invalidated since *noted*.

        Args:
            life: seconds for which the versions must be remembered.
        """
        if not tags:
            return {}
        try:
            current = self._store.begin({}, tags, new_stamp(), life).versions
        except StoreUnavailable:
            return {}
        found = {}
        for tag in tags:
            version, position = current.of(tag), noted.get(bucket_of(tag))
            known = version is not None and position is not None
            if known and version.epoch == position.epoch and version.counter <= position.counter:  # type: ignore[union-attr]
                found[tag] = version
        return found  # type: ignore[return-value]
