"""What one process remembers so that it can be explained later, and what it tells others who ask."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from cache_ext.coherence.backplane import Trust
from cache_ext.coherence.messages import Message
from cache_ext.coherence.reasons import myself
from cache_ext.explain.answers import Answer, Copy
from cache_ext.explain.inquiries import Inquiries
from cache_ext.explain.invalidations import Invalidations
from cache_ext.explain.recalling import Recall
from cache_ext.explain.trails import Requests
from cache_ext.keys import KeySpace
from cache_ext.reading.near import NearCache
from cache_ext.transport.connection import RedisGateway

KEY, REQUEST = "key", "request"
"""Kinds of subjects that can be asked about."""
CLOSE_PATIENCE = 1.0


class Memory:
    """The memory of one cache in one process; after a fork the child has a new one.

    Args:
        signature: of this process' own messages.
        near: its L1.
        monotonic: the clock, seconds.
    """

    inquiries: Inquiries | None = None
    """Asks other processes; None where there are none."""

    def __init__(self, signature: str, near: NearCache, monotonic: Callable[[], float]) -> None:
        self.signature = signature
        self._near = near
        self._monotonic = monotonic
        self.requests = Requests()
        self.note, self.follow = self.requests.note, self.requests.follow
        """Add a request to what is remembered."""
        self.invalidations = Invalidations(signature)
        self.trust = Trust()

    def connect(self, gateway: RedisGateway, space: KeySpace, listening: Callable[[float], bool]) -> None:
        """Let this process ask the others, and answer them; see `Inquiries`."""
        self.inquiries = Inquiries(gateway, space, self.signature, self.known, listening)

    def heard(self, message: Message) -> None:
        """Note what was invalidated elsewhere; answer questions. For the backplane's thread: never waits."""
        if message.kind in ("q", "a"):
            if self.inquiries is not None:
                self.inquiries.heard(message)
        else:
            self.invalidations.heard(message)

    def known(self, subject: Sequence[str]) -> Answer:
        """Return what this process knows of *subject*: `KEY` with a key and tags, or `REQUEST` with an id."""
        kind, name, *rest = (*subject, "")
        me = myself()
        if kind == KEY:
            return Answer(me.host, me.pid, self._copy(name), self.invalidations.last(name, rest))
        if kind == REQUEST:
            ahead = time.time() - self._monotonic()
            return Answer(me.host, me.pid, requests=Recall(self.requests, me, ahead).of(name))
        return Answer(me.host, me.pid)

    def close(self) -> None:
        """Answer nobody any more."""
        if self.inquiries is not None:
            self.inquiries.close(CLOSE_PATIENCE)

    def _copy(self, key: str) -> Copy | None:
        slot = self._near.get(key)
        if slot is None:
            return None
        me, now = myself(), self._monotonic()
        vouched = slot.generation == self.trust.generation and now < self.trust.live_until
        return Copy(
            me.host,
            me.pid,
            vouched and now < min(slot.fresh_until, slot.check_at),
            max(0.0, now - slot.loaded),
            slot.fresh_until - now,
            slot.stale_until - now,
            slot.size,
            slot.entry.token.decode("ascii", "replace"),
        )
