"""Walking through all that lies in a namespace, in bites that no other client of the server notices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from cache_ext.errors import ConfigurationError
from cache_ext.keys import KeySpace, check_name
from cache_ext.transport.budget import budget
from cache_ext.transport.commands import Command
from cache_ext.transport.connection import RedisGateway
from cache_ext.transport.server import Server

PAGE = 300
"""Keys of the server that one SCAN steps over; it blocks for some tens of microseconds."""
MAX_TRIP_KEYS = 64
MAX_TRIP_BYTES = 1 << 20
"""Values that one round trip brings; one that is larger comes alone."""


class Page(NamedTuple):
    """A part of what was found.

    Args:
        blobs: stored bytes by key.
        odd: how many values cannot be entries, by their name or size; they were left where they are.
        share: how much of the way is behind us, 0 to 1.
    """

    blobs: Mapping[str, bytes]
    odd: int
    share: float


class Sizes(NamedTuple):
    """Bytes of stored values by key, and how much of the way is behind us, 0 to 1."""

    sizes: Mapping[str, int]
    share: float


class Walk:
    """Reads the values of a namespace one page after another. Every method may raise StoreUnavailable.

    A value that lies there from beginning to end is seen, though perhaps twice; others may be or not.

    Args:
        gateway: the way to Redis.
        space: the names of the keys.
        patience: seconds that each round trip may take; it is administrative, no request waits for it.
        max_bytes: what is larger is no entry.
    """

    def __init__(self, gateway: RedisGateway, space: KeySpace, patience: float, max_bytes: int) -> None:
        self._gateway = gateway
        self._space = space
        self._patience = patience
        self._max_bytes = max_bytes

    def everything(self) -> Iterator[Page]:
        """Return all values, in the order in which the server has them."""
        for keys, odd, share in self._names():
            yield from self._pages(keys, odd, share)

    def sizes(self) -> Iterator[Sizes]:
        """Return how large all values are."""
        for keys, _, share in self._names():
            sizes = self._ask([("STRLEN", self._space.value(key)) for key in keys])
            yield Sizes({key: size for key, size in zip(keys, sizes, strict=True) if size}, share)

    def _names(self) -> Iterator[tuple[list[str], int, float]]:
        """Return the keys of each page, how many of it cannot be keys, and how far this is."""
        servers = tuple(self._gateway.way.servers().values())
        for behind, server in enumerate(servers):
            for places, share in self._places(server):
                yield (*self._keys(places), (behind + share) / len(servers))

    def _places(self, server: Server) -> Iterator[tuple[Iterable[bytes], float]]:
        """Return where values lie on *server*, a page at a time, and how far this is."""
        (size,) = self._ask([("DBSIZE",)], server)
        cursor, passed = b"0", 0
        pattern = self._space.value_pattern
        while True:
            scan = ("SCAN", cursor, "MATCH", pattern, "COUNT", PAGE, "TYPE", "string")
            ((cursor, places),) = self._ask([scan], server)
            done = int(cursor) == 0
            passed += PAGE
            yield places, 1.0 if done else min(0.99, passed / max(1, size))
            if done:
                return

    def of(self, keys: Iterable[str]) -> Iterator[Page]:
        """Return the values of *keys*."""
        names = tuple(keys)
        for at in range(0, len(names), PAGE):
            part = names[at : at + PAGE]
            yield from self._pages(part, 0, (at + len(part)) / len(names))

    def _pages(self, keys: Sequence[str], odd: int, share: float) -> Iterator[Page]:
        """Return the values of *keys*, of one page, in as many round trips as their sizes ask for."""
        sizes = self._ask([("STRLEN", self._space.value(key)) for key in keys])
        fitting = [(key, size) for key, size in zip(keys, sizes, strict=True) if size <= self._max_bytes]
        yield Page({}, odd + len(keys) - len(fitting), share)
        for group in _groups(fitting):
            found = self._ask([("GET", self._space.value(key)) for key in group])
            yield Page(
                {key: blob for key, blob in zip(group, found, strict=True) if blob is not None}, 0, share
            )

    def _keys(self, places: Iterable[bytes]) -> tuple[list[str], int]:
        """Return the names of the keys whose values lie at *places*, and how many have none that could be."""
        keys, odd = [], 0
        for place in dict.fromkeys(places):
            try:
                key = check_name(place.decode().split(":v:", 1)[1])
            except (UnicodeDecodeError, ConfigurationError, IndexError):
                odd += 1
                continue
            if self._space.value(key).encode() == place:
                keys.append(key)
            else:
                odd += 1
        return keys, odd

    def _ask(self, commands: Sequence[Command], server: Server | None = None) -> list[Any]:
        if not commands:
            return []
        with budget(self._patience, administrative=True):
            if server is not None:
                return self._gateway.run_on(server, commands)
            return self._gateway.run(commands)


def _groups(sizes: Iterable[tuple[str, int]]) -> Iterator[list[str]]:
    """Return keys in groups that one round trip may bring, given the size of each value."""
    group: list[str] = []
    total = 0
    for key, size in sizes:
        if group and (total + size > MAX_TRIP_BYTES or len(group) == MAX_TRIP_KEYS):
            yield group
            group, total = [], 0
        group.append(key)
        total += size
    if group:
        yield group
