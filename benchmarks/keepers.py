"""Ways to choose what an L1 of so many bytes keeps, behind one face; the engine's own among them."""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections import OrderedDict

from msgspec import Raw

from benchmarks.traces import Request
from cache_ext.codec.entries import FORMAT
from cache_ext.entry import Entry
from cache_ext.reading.near import NearCache
from cache_ext.reading.slot import SLOT_OVERHEAD_BYTES, Slot

TOP = 3
"""S3-FIFO counts hits up to this."""


class Item:
    """What a keeper knows of a key."""

    __slots__ = ("ends", "hits", "in_main", "key", "size", "ticket")

    def __init__(self, request: Request) -> None:
        self.key = request.key
        self.size = request.size + SLOT_OVERHEAD_BYTES
        self.ends = request.at + request.ttl
        self.hits = 0
        self.ticket = 0
        self.in_main = False


class Near:
    """The engine's own: probation, ghosts, ranks by size and age, the expired first."""

    def __init__(self, max_bytes: int, mean: float) -> None:
        self.now = 0.0
        self._cache = NearCache(max_bytes, lambda: self.now)
        self._payload = Raw(b"")

    def ask(self, request: Request) -> bool:
        """Tell whether *request* is a hit; put the value if it is not."""
        self.now = request.at
        slot = self._cache.get(request.key)
        if slot is not None and self.now < slot.stale_until:
            return True
        ttl = round(request.ttl * 1000)
        entry = Entry(FORMAT, b"12345678", b"e", 0, ttl, 0, 1, (), False, self._payload)
        self._cache.put(Slot(request.key, entry, self.now, 0, int, request.size), self._cache.mark())
        return False

    def forget(self, key: str) -> None:
        """Invalidate *key*."""
        self._cache.delete([key])


class Lru:
    """The least recently used goes first."""

    def __init__(self, max_bytes: int, mean: float) -> None:
        self._left = max_bytes
        self._items: OrderedDict[str, Item] = OrderedDict()

    def ask(self, request: Request) -> bool:
        """As `Near.ask`."""
        item = self._items.get(request.key)
        if item is not None and request.at < item.ends:
            self._items.move_to_end(request.key)
            return True
        self.forget(request.key)
        item = self._items[request.key] = Item(request)
        self._left -= item.size
        while self._left < 0:
            self._left += self._items.popitem(last=False)[1].size
        return False

    def forget(self, key: str) -> None:
        """As `Near.forget`."""
        item = self._items.pop(key, None)
        if item is not None:
            self._left += item.size


class Flagged(ABC):
    """What Sieve, S3Fifo and Gds have in common: a hit only counts, a miss makes room first."""

    def __init__(self, max_bytes: int, mean: float) -> None:
        self.left = max_bytes
        self.items: dict[str, Item] = {}

    def ask(self, request: Request) -> bool:
        """As `Near.ask`."""
        item = self.items.get(request.key)
        if item is not None:
            item.hits = min(item.hits + 1, TOP)
            fresh = request.at < item.ends
            item.ends = item.ends if fresh else request.at + request.ttl
            return fresh
        item = Item(request)
        while self.left < item.size and self.items:
            self.evict(request.at)
        if self.left >= item.size:
            self.left -= item.size
            self.items[item.key] = item
            self.admit(item)
        return False

    def forget(self, key: str) -> None:
        """As `Near.forget`."""
        item = self.items.pop(key, None)
        if item is not None:
            self.left += item.size
            self.unlink(item)

    @abstractmethod
    def admit(self, item: Item) -> None:
        """Give *item* its place."""

    def unlink(self, item: Item) -> None:  # noqa: B027 (where places end by themselves there is nothing to do)
        """Take its place."""

    @abstractmethod
    def evict(self, now: float) -> None:
        """Make some room, or come nearer to it."""


class Sieve(Flagged):
    """A hand goes round and takes who was not asked for since it came by (Zhang et al., NSDI 2024)."""

    def __init__(self, max_bytes: int, mean: float) -> None:
        super().__init__(max_bytes, mean)
        self._ahead: OrderedDict[str, None] = OrderedDict()
        self._behind: OrderedDict[str, None] = OrderedDict()

    def admit(self, item: Item) -> None:
        """Put it where the hand comes last."""
        self._ahead[item.key] = None

    def unlink(self, item: Item) -> None:
        """Take it from either side of the hand."""
        self._ahead.pop(item.key, None)
        self._behind.pop(item.key, None)

    def evict(self, now: float) -> None:
        """Move the hand by one."""
        key, _ = self._ahead.popitem(last=False)
        item = self.items[key]
        if item.hits == 0 or item.ends <= now:
            self.forget(key)
        else:
            item.hits = 0
            self._behind[key] = None
        if not self._ahead:
            self._ahead, self._behind = self._behind, self._ahead


class S3Fifo(Flagged):
    """Three queues by bytes, as the paper has them (Yang et al., SOSP 2023)."""

    def __init__(self, max_bytes: int, mean: float) -> None:
        super().__init__(max_bytes, mean)
        self._share, self._small_bytes = max_bytes / 10, 0
        self._small: OrderedDict[str, None] = OrderedDict()
        self._main: OrderedDict[str, None] = OrderedDict()
        self._ghosts: OrderedDict[str, None] = OrderedDict()

    def admit(self, item: Item) -> None:
        """Queue it; in the main queue if it was there lately."""
        item.in_main = item.key in self._ghosts
        self._ghosts.pop(item.key, None)
        (self._main if item.in_main else self._small)[item.key] = None
        self._small_bytes += 0 if item.in_main else item.size

    def unlink(self, item: Item) -> None:
        """Take it from its queue."""
        del (self._main if item.in_main else self._small)[item.key]
        self._small_bytes -= 0 if item.in_main else item.size

    def evict(self, now: float) -> None:
        """Look at the head of one queue."""
        queued = self._small and (self._small_bytes > self._share or not self._main)
        item = self.items[next(iter(self._small if queued else self._main))]
        if queued and item.hits > 1:
            self.unlink(item)
            item.in_main, item.hits = True, 0
            self._main[item.key] = None
        elif queued:
            self.forget(item.key)
            self._ghosts[item.key] = None
            while len(self._ghosts) > len(self.items) + 1:
                self._ghosts.popitem(last=False)
        elif item.hits and now < item.ends:
            item.hits -= 1
            self._main.move_to_end(item.key)
        else:
            self.forget(item.key)


class Gds(Flagged):
    """GreedyDual-Size alone, its hits noted lazily: no probation, no ghosts."""

    def __init__(self, max_bytes: int, mean: float) -> None:
        super().__init__(max_bytes, mean)
        self._age, self._last = 0.0, 0
        self._ranks: list[tuple[float, int, str]] = []

    def admit(self, item: Item) -> None:
        """Rank it by age and size."""
        self._last += 1
        item.ticket, item.hits = self._last, 0
        heapq.heappush(self._ranks, (self._age + 1 / item.size, item.ticket, item.key))

    def evict(self, now: float) -> None:
        """Look at the lowest."""
        rank, ticket, key = heapq.heappop(self._ranks)
        item = self.items.get(key)
        if item is None or item.ticket != ticket:
            return
        if item.hits and now < item.ends:
            self.admit(item)
        else:
            self._age = rank
            self.forget(key)
