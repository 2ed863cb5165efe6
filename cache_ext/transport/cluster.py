"""The way to a cluster: each command goes to the node on which its keys lie, one round trip a node, in parallel.

What lies where is asked for in the background and learned from redirections. A bucket that has come to a node
is adopted there, as that of a server that was restarted, before anything on it counts. The cluster is taken as
one: while a node that keys lie on does not answer, none of it counts (see `breaker`), as the cluster itself
does where `cluster-require-full-coverage` says so.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from redis.exceptions import AskError, ConnectionError, MovedError, NoScriptError, RedisError, TryAgainError

from cache_ext.transport.commands import Command, Prepared
from cache_ext.transport.greeting import raise_first_error
from cache_ext.transport.server import Address, Server
from cache_ext.transport.slots import QUESTIONS, SLOTS, SlotMap, by_address, read_map, slot_of, slot_of_command
from cache_ext.transport.ways import Texts, whole

log = logging.getLogger(__name__)

ROUND = 1.0
"""Seconds between looks at the map while nothing is wrong."""
HURRIED = 0.1
"""The same while something is."""
MOST_TURNS = 5
"""Times that a command is sent on: a slot on its way needs two."""
_ASKING: Command = ("ASKING",)
_TIME = "TIME"
Maker = Callable[[Address, Callable[[str], bool]], Server]
"""Returns the connections to an address, given what tells which keys lie there."""


class _Errand(NamedTuple):
    """A command on its way: which of those that were given, and whether its slot is only coming there."""

    at: int
    command: Command
    asking: bool = False


class _Parcel(NamedTuple):
    """What goes to one server in one trip."""

    server: Server
    errands: tuple[_Errand, ...]
    wire: Sequence[Command]


class Cluster:
    """See `ways.Way`.

    Args:
        seeds: addresses of some nodes.
        make: returns the connections to a node.
        texts: the scripts that may be run.
        monotonic: the clock, seconds.
        patience: seconds that one node is waited for that is asked what lies where.
    """

    publish = "SPUBLISH"
    clustered = True

    def __init__(
        self,
        seeds: Sequence[Address],
        make: Maker,
        texts: Texts,
        monotonic: Callable[[], float],
        patience: float,
    ) -> None:
        self._seeds = tuple(seeds)
        self._make = make
        self._texts = texts
        self._monotonic = monotonic
        self._patience = patience
        self._nodes: dict[Address, Server] = {}
        self._owners: list[Address | None] = [None] * SLOTS
        self._version: object = object()
        self._changed: Callable[[], None] = lambda: None
        self._begin_anew()
