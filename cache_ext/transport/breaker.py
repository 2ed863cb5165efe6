"""The circuit breaker: after failures in a row the store is left alone, but for one probe a cooldown."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from enum import StrEnum

from cache_ext.errors import CircuitOpen

log = logging.getLogger(__name__)


class State(StrEnum):
    """Closed lets everyone through, open nobody; half-open means that the probe is under way."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class CircuitBreaker:
    """Judges a store by its last answers. Whoever asks calls `check` before, then `success` or `failure`.

    Only the probe closes an open circuit: an answer that was asked for before it opened proves nothing
    about now.

    Args:
        failures: so many in a row open the circuit, >= 1.
        cooldown: seconds from opening, or from a failed probe, to the next probe.
        monotonic: the clock, seconds.
    Source: M. Nygard, Release It!, 2nd ed., chapter 5.
    """

    def __init__(self, failures: int, cooldown: float, monotonic: Callable[[], float]) -> None:
        self._threshold = failures
        self._cooldown = cooldown
        self._monotonic = monotonic
        self.reset()

    def reset(self, changed: Callable[[State], None] = lambda state: None) -> None:
        """Start afresh, closed: in a forked child nobody ends the parent's probe or frees its lock.

        Args:
            changed: called with each new state from now on, outside of the lock.
        """
        self._changed = changed
        self._lock = threading.Lock()
        self._failures = 0
        self._probe_at = 0.0
        self._untried = False
        self.state = State.CLOSED

    def check(self) -> None:
        """Return if the store may be asked.

        Raises:
            CircuitOpen: it may not.
        """
        if self.state is not State.CLOSED:
            raise CircuitOpen(max(0.0, self._probe_at - self._monotonic()))

    def success(self) -> None:
        """Note an answer in time."""
        if self._failures and self.state is State.CLOSED:
            with self._lock:
                if self.state is State.CLOSED:
                    self._failures = 0

    def failure(self, reason: str) -> None:
        """Note that no usable answer came in time."""
        with self._lock:
            self._failures += 1
            opens = self.state is State.CLOSED and self._failures >= self._threshold
            if opens:
                self.state = State.OPEN
                self._probe_at = self._monotonic() + self._cooldown
                log.warning("cache circuit open after %d failures: %s", self._failures, reason)
        if opens:
            self._changed(State.OPEN)

    def await_probe(self) -> None:
        """Let nobody through before a first probe, which is under way, has shown that the store answers."""
        with self._lock:
            self._untried = True
            self.state = State.HALF_OPEN

    def probe_due(self) -> bool:
        """Return True to exactly one caller a cooldown: he probes and then calls `probed`."""
        with self._lock:
            if self.state is not State.OPEN or self._monotonic() < self._probe_at:
                return False
            self.state = State.HALF_OPEN
        self._changed(State.HALF_OPEN)
        return True

    def hurry(self) -> None:
        """Let a probe be due at once: the store may be elsewhere now."""
        with self._lock:
            self._probe_at = min(self._probe_at, self._monotonic())

    def probed(self, ok: bool) -> None:
        """Close the circuit, or leave it open for another cooldown."""
        with self._lock:
            self._probe_at = self._monotonic() + self._cooldown
            now = self.state = State.CLOSED if ok else State.OPEN
            first, self._untried = self._untried, False
            if ok:
                self._failures = 0
        if ok != first:  # it is news that it closes, or that it is open from the beginning
            log.warning("cache circuit %s after a probe", now)
        if not (ok and first):
            self._changed(now)
