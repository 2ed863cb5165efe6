"""How often an origin may be asked: one meter for all processes of a fleet, kept in Redis.

The algorithm is GCRA, also known as a virtual leaky bucket: `pace.lua` keeps one number for each source, the
moment from which its next call is free, and hands out slots *interval* apart. A source that was idle has
saved up `BURST` slots, no more.

Source: ITU-T I.371, annex A.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from shivx.errors import OriginUnavailable

BURST = 3
"""A cold start asks for the assets, the markets and one price; with less it would wait on itself. Exchanges
count over several seconds, so three calls at once after a pause stay within what they allow."""
MAX_PENALTY = 3600.0
"""Longest time, seconds, for which one refusal silences a source. Bans of days exist, but asking once an
hour does not prolong them; and a Redis clock that was set back can block a source no longer than this."""
MICROSECONDS = 1_000_000

RunScript = Callable[[str, Sequence[str], Sequence[str | int]], Any]

_LUA = Path(__file__).with_name("lua")
_PACE = (_LUA / "pace.lua").read_text()
_PENALISE = (_LUA / "penalise.lua").read_text()


class Pacer(Protocol):
    """Meters the calls to origins. Safe for threads and greenlets."""

    def reserve(self, source: str, deadline_in: float, *, interval: float, cost: float = 1.0) -> float:
        """Take the next slot of *source* and return how long to wait for it.

        Args:
            deadline_in: the longest wait that makes sense, seconds, >= 0.
            interval: seconds between two calls of cost 1, >= 0.
            cost: weight of this call, > 0.
        Returns:
            Seconds to wait before the call may go out, >= 0 and <= *deadline_in*.
        Raises:
            OriginUnavailable: the slot comes too late; it was not taken. `retry_after` says when it comes.
        """

    def penalise(self, source: str, seconds: float) -> None:
        """Let nobody ask *source* for *seconds* from now, because it said that it was asked too often."""


class LocalPacer:
    """The meter of one process.

    Args:
        processes: how many share the origin without knowing of each other; each takes that part of the rate.
        burst: slots that an idle source saves up, >= 1.
        monotonic: a clock that never goes back, seconds.
    """

    def __init__(
        self, *, processes: int = 1, burst: int = BURST, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._processes = processes
        self._saved = burst - 1
        self._monotonic = monotonic
        self._free_from: dict[str, float] = {}
        self._lock = threading.Lock()

    def reserve(self, source: str, deadline_in: float, *, interval: float, cost: float = 1.0) -> float:
        """See `Pacer.reserve`."""
        step = interval * self._processes
        with self._lock:
            now = self._monotonic()
            slot = max(self._free_from.get(source, -math.inf), now - self._saved * step)
            wait = max(0.0, slot - now)
            if wait > deadline_in:
                raise _too_late(source, wait)
            self._free_from[source] = slot + step * cost
        return wait

    def penalise(self, source: str, seconds: float) -> None:
        """See `Pacer.penalise`."""
        with self._lock:
            until = self._monotonic() + min(seconds, MAX_PENALTY)
            self._free_from[source] = max(self._free_from.get(source, -math.inf), until)


class SharedPacer:
    """The meter of a fleet, kept in Redis; without Redis each process keeps to its own part of the rate.

    Args:
        run_script: runs a Lua script in Redis: (text, keys, arguments) -> what it returned.
        unavailable: what *run_script* raises when Redis gives no usable answer.
        namespace: prefix of the keys; each source has one, ``{namespace}:{pace:<source>}``.
        processes: how many processes of the fleet ask origins; for the time without Redis.
        burst: slots that an idle source saves up, >= 1.
        monotonic: a clock that never goes back, seconds; for the time without Redis.
    """

    def __init__(
        self,
        run_script: RunScript,
        *,
        unavailable: type[Exception],
        namespace: str,
        processes: int,
        burst: int = BURST,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run_script = run_script
        self._unavailable = unavailable
        self._namespace = namespace
        self._saved = burst - 1
        self._alone = LocalPacer(processes=processes, burst=1, monotonic=monotonic)

    def reserve(self, source: str, deadline_in: float, *, interval: float, cost: float = 1.0) -> float:
        """See `Pacer.reserve`."""
        step = _microseconds(interval)
        arguments = (
            _microseconds(deadline_in),
            _microseconds(interval * cost),
            step * self._saved,
            _microseconds(MAX_PENALTY),
        )
        try:
            granted, wait = self._run_script(_PACE, [self._key(source)], arguments)
        except self._unavailable:
            return self._alone.reserve(source, deadline_in, interval=interval, cost=cost)
        if not granted:
            raise _too_late(source, wait / MICROSECONDS)
        return max(0.0, min(float(wait) / MICROSECONDS, deadline_in))

    def penalise(self, source: str, seconds: float) -> None:
        """See `Pacer.penalise`."""
        # Both: should Redis go away now, this process at least still knows.
        self._alone.penalise(source, seconds)
        try:
            self._run_script(
                _PENALISE, [self._key(source)], (_microseconds(seconds), _microseconds(MAX_PENALTY))
            )
        except self._unavailable:
            return

    def _key(self, source: str) -> str:
        return f"{self._namespace}:{{pace:{source}}}"


def _microseconds(seconds: float) -> int:
    return max(0, round(seconds * MICROSECONDS))


def _too_late(source: str, wait: float) -> OriginUnavailable:
    return OriginUnavailable(f"no free slot to ask {source} in time", retry_after=wait)
