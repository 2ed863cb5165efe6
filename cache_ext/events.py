"""What a cache lets its users observe: a signal for each kind of event, and what it carries.

    from cache_ext import events

    @events.load.connect_via(cache)                 # or .connect: of all caches in this process
    def slow(sender, event):
        if event.seconds > 1: ...

A receiver is called with the `TieredCache` as *sender* and a frozen *event*; what it returns is ignored,
what it raises is logged and stops nobody. It is called at once, in the thread in which it happened, while
no lock of the cache is held: so it should be quick. Values are never part of an event; keys and tags are,
those of sensitive values too. Nothing is prepared for a signal that nobody listens to.

    hit, miss, stale   Read             in the thread that read
    load               Load             in the thread that loaded, the reader's or one of the cache's own
    evict              Evicted          in the thread whose value needed the room
    invalidate         Invalidated      in the thread that asked for it; what others did, in the backplane's
    circuit            CircuitChanged   in the thread that noticed, often one of the cache's own
    close              Closing          in the thread that closes the cache, before its way to Redis is closed

Signals are those of this process. A forked child inherits the receivers.
"""

from __future__ import annotations

import inspect
import logging
import weakref
from collections.abc import Callable
from typing import NamedTuple

from blinker import Signal

log = logging.getLogger(__name__)

hit = Signal("A fresh value was there, in L1 or L2.")
miss = Signal("No value was there that may be served: the loader was called, or there was none to call.")
stale = Signal("A value past its ttl was served, as its policy allows.")
load = Signal("A loader was called, and has returned or raised.")
evict = Signal("A value had to leave L1 to make room for others.")
invalidate = Signal("Values were made to count no more, by this process or another.")
circuit = Signal("The circuit to Redis changed its state.")
close = Signal("The cache is about to close.")


class Read(NamedTuple):
    """A key was asked for.

    Args:
        key: its name.
        layer: where the value came from: ``l1``, ``l2``, ``origin``, or ``none`` if none came.
        cache: the name of the policy, as in the metrics; ``direct`` for reads without a loader.
        age: seconds since its loader (of nested values: the oldest one) was called; 0 if none came.
    """

    key: str
    layer: str
    cache: str
    age: float


class Load(NamedTuple):
    """A loader was called.

    Args:
        keys: what it was asked for.
        cache: the name of the policy.
        seconds: until it came back, from just before the versions of its tags were noted.
        error: what it raised; None if it returned, be it an exception in place of a value.
    """

    keys: tuple[str, ...]
    cache: str
    seconds: float
    error: Exception | None


class Evicted(NamedTuple):
    """L1 was full.

    Args:
        key: whose value had to go.
        bytes: so large it was.
    """

    key: str
    bytes: int


class Invalidated(NamedTuple):
    """Values count no more.

    Args:
        tags: what carries one of these.
        keys: or what lies at these.
        everything: or all there is.
        soft: it may still be served as stale values are.
        applied: Redis knows; False: it is told as soon as it answers, and others then hear of it.
        here: this process asked for it; False: heard from another. Then all names are of one bucket, so that
            what one call named may come in several events.
    """

    tags: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    everything: bool = False
    soft: bool = False
    applied: bool = True
    here: bool = True


class CircuitChanged(NamedTuple):
    """Redis is believed in again, or no more.

    Args:
        state: ``closed``, ``open`` or ``half-open``.
    """

    state: str


class Closing(NamedTuple):
    """The cache is about to close: loads and hooks have ended, Redis can still be reached."""


Happening = Read | Load | Evicted | Invalidated | CircuitChanged | Closing
Announce = Callable[[Signal, Happening], None]
"""Calls the receivers of a signal; ask ``signal.receivers`` before, so that it costs nothing without any."""


class Announcer:
    """Calls the receivers of signals on behalf of one cache.

    Args:
        sender: the cache; it is not kept alive.
    """

    def __init__(self, sender: object) -> None:
        self._sender = weakref.ref(sender)

    def __call__(self, signal: Signal, event: Happening) -> None:
        """Call each receiver of *signal* that listens to this cache; log what it raises."""
        sender = self._sender()
        if sender is None or signal.is_muted:
            return
        for receiver in list(signal.receivers_for(sender)):
            try:
                if inspect.iscoroutinefunction(receiver):
                    raise TypeError("the receiver is an async function; this cache is synchronous")
                receiver(sender, event=event)
            except Exception:  # foreign code; whatever it raises is no reason not to serve
                log.exception("a receiver of %s failed", type(event).__name__)


def unheard(signal: Signal, event: Happening) -> None:
    """Announce to nobody: for parts that belong to no cache."""


def evictions(announce: Announce, count: Callable[[str], None]) -> Callable[[str, int], None]:
    """Return what announces that the value of a key, of so many bytes, had to go, and has it counted."""

    def evicted(key: str, size: int) -> None:
        count(key)
        if evict.receivers:
            announce(evict, Evicted(key, size))

    return evicted


def circuit_changes(announce: Announce) -> Callable[[str], None]:
    """Return what announces that the circuit is in another state now."""

    def changed(state: str) -> None:
        if circuit.receivers:
            announce(circuit, CircuitChanged(state))

    return changed
