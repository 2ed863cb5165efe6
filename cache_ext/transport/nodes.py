"""The nodes of a cluster, and which slots lie on which: asked in the background, told by redirections."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence

from redis.exceptions import ConnectionError, RedisError

from cache_ext.transport.budget import budget, without_budget
from cache_ext.transport.server import Address, Server
from cache_ext.transport.slots import QUESTIONS, SLOTS, SlotMap, by_address, read_map, slot_of
from cache_ext.transport.watch import Watch

log = logging.getLogger(__name__)

ROUND = 1.0
"""Seconds between looks while nothing is in doubt."""
HURRIED = 0.1
"""The same while something is."""
_TOO_ODD = (ValueError, TypeError, IndexError)
Make = Callable[[Address, Callable[[str], bool]], Server]
"""Returns the connections to a node, given what tells which keys lie there."""


class Nodes:
    """Knows where each slot lies.

    Args:
        seeds: addresses of some nodes.
        make: makes the connections to a node.
        monotonic: the clock, seconds.
        patience: seconds that a node which is asked is waited for.
    """

    def __init__(
        self, seeds: Sequence[Address], make: Make, monotonic: Callable[[], float], patience: float
    ) -> None:
        self._seeds = tuple(seeds)
        self._make = make
        self._monotonic = monotonic
        self._patience = patience
        self._known: dict[Address, Server] = {}
        self._owners: list[Address | None] = [None] * SLOTS
        self._epoch = -1
        self.primaries: Mapping[Address, Server] = {}
        """On which slots lie."""
        self.version = object()
        """Another as soon as a slot lies elsewhere."""
        self._changed: Callable[[], None] = lambda: None
        self.watch = Watch("cache-ext-nodes", self._look, ROUND, HURRIED)

    def start(self, changed: Callable[[], None]) -> None:
        """Look from now on in a thread; *changed* is called when a slot has come to lie elsewhere."""
        self._changed = changed
        self.watch.start()

    def close(self) -> None:
        """End the thread, and all connections."""
        self.watch.stop()
        for server in list(self._known.values()):
            server.pool.disconnect()

    def of_slot(self, slot: int, left: float | None = None) -> tuple[Address, Server]:
        """Return the primary of *slot*, and where it is.

        Args:
            left: seconds that the first look may be waited for; otherwise as long as one node is.
        Raises:
            ConnectionError: none is known.
        """
        owner = self._owners[slot]
        if owner is None:
            self.watch.settle(self._patience if left is None else left)
            owner = self._owners[slot]
        if owner is None:
            self.watch.doubt()
            raise ConnectionError(f"no node of the cluster is known to serve slot {slot}")
        return owner, self.at(owner)

    def move(self, slot: int, owner: Address) -> None:
        """Note that *slot* lies with *owner*, as a node said; look whether others moved too."""
        self.watch.doubt()
        if self._owners[slot] != owner:
            owners = list(self._owners)
            owners[slot] = owner
            self._adopt(owners)

    def at(self, address: Address) -> Server:
        """Return the node at *address*."""
        server = self._known.get(address)
        if server is None:
            server = self._make(address, lambda key: self._owners[slot_of(key)] == address)
            server = self._known.setdefault(address, server)
        return server

    def _look(self) -> bool:
        """Ask all that are known; return whether every slot is served and each primary answers."""
        asked = [*self._known, *(seed for seed in self._seeds if seed not in self._known)]
        found = {address: self._ask(address) for address in asked}
        maps = [told for told in found.values() if told is not None]
        if not maps:
            return False
        best = max(maps, key=lambda told: (told.epoch, told.ok))
        if best.epoch >= self._epoch or len(maps) > len(asked) // 2:
            self._epoch = best.epoch
            if list(best.owners) != self._owners:
                self._adopt(list(best.owners))
        self._part(keep={*self.primaries, *self._seeds})
        return best.ok and all(found.get(address) for address in self.primaries)

    def _ask(self, address: Address) -> SlotMap | None:
        try:
            with without_budget(), budget(self._patience):
                deadline = self._monotonic() + self._patience
                return read_map(self.at(address).converse(QUESTIONS, deadline), address)
        except (RedisError, OSError, *_TOO_ODD):
            return None

    def _adopt(self, owners: list[Address | None]) -> None:
        """Have slots lie where *owners* says."""
        before, after = by_address(self._owners), by_address(owners)
        servers = {address: self.at(address) for address in after}
        self._owners = owners
        for address, server in servers.items():
            if after[address] - before.get(address, frozenset()):
                server.reception.forget()
        for address in before.keys() - after.keys():
            self.at(address).renew()  # it has been replaced: what is still asked of it counts no more
        self.primaries, self.version = servers, object()
        if before and before.keys() != after.keys():
            log.warning("primaries of the cluster: %s", ", ".join(map(str, sorted(after))))
        self._changed()

    def _part(self, keep: Collection[Address]) -> None:
        """Forget the nodes on which nothing lies any more."""
        for address in [*self._known]:
            if address not in keep:
                self._known.pop(address).pool.disconnect()
