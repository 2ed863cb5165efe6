"""From the ring of requests to what is told of those of one id."""

from __future__ import annotations

from cache_ext.coherence.reasons import By
from cache_ext.explain.answers import ReadTold, RequestTold
from cache_ext.explain.moments import moment
from cache_ext.explain.trails import Hit, Plain, Requests, Trail

MOST = 20
"""Requests of one id that a process tells of."""


class Recall:
    """Tells of requests.

    Args:
        requests: the ring.
        me: this process.
        ahead: seconds that the wall clock (Unix time) is ahead of the monotonic one.
        door: the cache whose hits in L1 the ring notes.
    """

    def __init__(self, requests: Requests, me: By, ahead: float, door: str = "http") -> None:
        self._requests = requests
        self._me = me
        self._ahead = ahead
        self._door = door

    def of(self, id: str) -> tuple[RequestTold, ...]:
        """Return what the requests of *id* did here, oldest first, the newest `MOST` of them."""
        trails, hits, plain = self._requests.of(id)
        found = [
            *((trail.began, self._trail(trail)) for trail in trails),
            *((hit[1], self._hit(hit)) for hit in hits),
            *((each.at, self._plain(each)) for each in plain),
        ]
        found.sort(key=lambda each: each[0])
        return tuple(told for _, told in found[-MOST:])

    def _trail(self, trail: Trail) -> RequestTold:
        reads = tuple(
            ReadTold(
                read.key,
                read.cache,
                read.layer,
                read.outcome,
                max(0.0, read.at - trail.began),
                read.age,
                trail.reasons.get(read.key),
            )
            for read in list(trail.reads)
        )
        return RequestTold(
            self._me.host,
            self._me.pid,
            moment(trail.began + self._ahead),
            trail.method,
            trail.key,
            trail.outcome,
            trail.status or None,
            trail.cache_status or None,
            trail.answered - trail.began if trail.answered else None,
            reads,
            trail.hidden,
        )

    def _hit(self, hit: Hit) -> RequestTold:
        _, at, key, loaded = hit
        read = ReadTold(key, self._door, "l1", "hit", 0.0, max(0.0, at - loaded), None)
        when = moment(at + self._ahead)
        return RequestTold(self._me.host, self._me.pid, when, None, key, "HIT", None, None, None, (read,), 0)

    def _plain(self, plain: Plain) -> RequestTold:
        when, me = moment(plain.at + self._ahead), self._me
        return RequestTold(
            me.host, me.pid, when, plain.method, plain.name, "none", plain.status, None, None, (), 0
        )
