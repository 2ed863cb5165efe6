"""What can happen to one process of a history from within: stops at steps, a cut line, lost messages."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from cache_ext import StoreUnavailable, TieredCache
from cache_ext.coherence.backplane import BOUND
from tests.waiting import until

UNCHECKED_LIFE = 1.0
"""Seconds, instead of the product's five, so that histories may outlast it."""
LINGER = 0.5
"""Seconds after a failure to ask the store for which an answer may still come from those it concerned."""


class Stage:
    """Wraps the parts of a cache so that threads stop where they are told to, and faults can be played.

    Stops are of a thread: `stops` maps the name of a point to what is called there, once.
    """

    def __init__(self, cache: TieredCache) -> None:
        self._cache = cache
        self._here = threading.local()
        self._away_at = float("-inf")
        self._cut = self._losing = False
        self._muted, self._subscribing = threading.Event(), threading.Event()
        self._muted.set()
        self._subscribing.set()
        runtime = cache.runtime
        for thing, method in (
            (runtime.outbox, "settle"),
            (runtime.store, "read"),
            (runtime.store, "begin"),
            (runtime.store, "fill"),
            (runtime.near, "put"),
            (runtime.flights, "board"),
            (runtime.looks, "_board"),
        ):
            self._stop_at(thing, method)
        self._watch(cache.gateway, "run")
        self._watch(runtime.outbox, "settle")
        self._wrap_line()

    def stop(self, stops: dict[str, Callable[[], None]]) -> None:
        """Let the calling thread stop where *stops* says, from now on."""
        self._here.stops = stops

    def away_since(self, moment: float) -> bool:
        """Tell whether the store could not be asked, by anybody here, about *moment* or later."""
        return self._away_at > moment - LINGER

    def do(self, what: str) -> None:
        """Play the fault called *what*, or end it."""
        {
            "cut": lambda: setattr(self, "_cut", True),
            "mend": lambda: setattr(self, "_cut", False),
            "lose": lambda: setattr(self, "_losing", True),
            "hear": lambda: setattr(self, "_losing", False),
            "mute": self._muted.clear,
            "unmute": self._muted.set,
            "hold subscribing": self._subscribing.clear,
            "subscribe": self._subscribing.set,
            "be deaf": self._await_deafness,
            "sync": self._sync,
            "settle": lambda: until(lambda: not self._cache.runtime.outbox.waiting, "all is told"),
            "outlast bound": lambda: _outlast(BOUND),
            "outlast unchecked": lambda: _outlast(UNCHECKED_LIFE),
            "outlast ttl": lambda: _outlast(0.2),
        }[what]()

    def clear(self) -> None:
        """End all faults, so that the cache can be closed."""
        for what in ("mend", "hear", "unmute", "subscribe"):
            self.do(what)

    def _sync(self) -> None:
        """Return when a TIME asked after this call was answered: all that was published before is here."""
        trust, now = self._cache.runtime.trust, time.monotonic()
        until(lambda: trust.live_until > now + BOUND, "the backplane has caught up")

    def _await_deafness(self) -> None:
        trust = self._cache.runtime.trust
        until(lambda: trust.live_until < time.monotonic(), "the backplane is down")

    def _stop_at(self, thing: Any, method: str) -> None:
        original = getattr(thing, method)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self._pass(f"before {method}")
            result = original(*args, **kwargs)
            self._pass(f"after {method}")
            return result

        setattr(thing, method, wrapped)

    def _pass(self, point: str) -> None:
        stop = getattr(self._here, "stops", {}).pop(point, None)
        if stop is not None:
            stop()

    def _watch(self, thing: Any, method: str) -> None:
        original = getattr(thing, method)

        def watched(*args: Any, **kwargs: Any) -> Any:
            try:
                if self._cut and method == "run":
                    raise StoreUnavailable("cut")
                return original(*args, **kwargs)
            except StoreUnavailable:
                self._away_at = time.monotonic()
                raise

        setattr(thing, method, watched)

    def _wrap_line(self) -> None:
        backplane = self._cache.runtime._backplane
        publish, answered, subscribe = backplane._publish, backplane._answered, backplane._subscribe

        def hears(received: Any) -> None:
            self._muted.wait(20)
            if not self._losing:
                publish(received)

        def answers(*beat: float) -> None:
            self._muted.wait(20)
            answered(*beat)

        def subscribes(channels: Any) -> Any:
            self._subscribing.wait(20)
            return subscribe(channels)

        backplane._publish, backplane._answered, backplane._subscribe = hears, answers, subscribes


def _outlast(seconds: float) -> None:
    end = time.monotonic() + seconds + 0.01
    until(lambda: time.monotonic() > end, "the time is over")
