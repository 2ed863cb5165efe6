"""What the cache's tests share: callers in threads of their own, and stops at chosen steps of a load."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from cache_ext import TieredCache
from cache_ext.reading.slot import Slot
from tests.waiting import until

PATIENCE = 10.0
"""Seconds that anything in these tests may take before it counts as hanging."""


def begin(call: Callable[[], Any]) -> Future[Any]:
    """Call *call* in a thread of its own and return its result to come."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 (whoever asks for the result gets it)
            future.set_exception(error)

    threading.Thread(target=run, name="test-caller", daemon=True).start()
    return future


def all_at_once(count: int, call: Callable[[int], Any]) -> list[Any]:
    """Return the results of *count* calls, made by as many threads that start together."""
    gate = threading.Barrier(count)

    def passing(number: int) -> Any:
        gate.wait(PATIENCE)
        return call(number)

    futures = [begin(lambda number=number: passing(number)) for number in range(count)]
    return [future.result(PATIENCE) for future in futures]


class Stop:
    """A point that the first who passes it stops at, until told to go on; all others pass freely."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._used = False
        self._reached = threading.Event()
        self._open = threading.Event()

    def passes(self) -> None:
        """Stop here, if nobody has yet."""
        with self._lock:
            first, self._used = not self._used, True
        if first:
            self._reached.set()
            if not self._open.wait(PATIENCE):
                raise TimeoutError("nobody told the stopped thread to go on")

    def wait(self) -> None:
        """Return when somebody stands here."""
        if not self._reached.wait(PATIENCE):
            raise TimeoutError("nobody came to the stop")

    def go(self) -> None:
        """Let whoever stands here go on."""
        self._open.set()


def stop_before(thing: Any, method: str) -> Stop:
    """Return a stop for the first caller of *method* of *thing*, ahead of the call."""
    stop, original = Stop(), getattr(thing, method)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        stop.passes()
        return original(*args, **kwargs)

    setattr(thing, method, wrapped)
    return stop


def stop_after(thing: Any, method: str) -> Stop:
    """Return a stop for the first caller of *method* of *thing*, after the call."""
    stop, original = Stop(), getattr(thing, method)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        stop.passes()
        return result

    setattr(thing, method, wrapped)
    return stop


def connected(cache: TieredCache) -> TieredCache:
    """Return *cache* when its backplane hears."""
    cache.start()
    trust = cache.runtime.trust
    until(lambda: trust.live_until > time.monotonic(), "the backplane hears")
    return cache


def deaf(cache: TieredCache) -> TieredCache:
    """Return *cache* with its backplane stopped for good: nothing tells it what others do."""
    connected(cache)
    backplane = cache.runtime._backplane
    assert backplane is not None
    backplane.stop()
    backplane._interrupted()
    return cache


def due(slot: Slot) -> Slot:
    """Return *slot* as if its load had taken nearly all of its ttl: whoever reads it has it refreshed."""
    slot.early_at = slot.serve_until = 0.0
    return slot
