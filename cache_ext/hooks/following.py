"""Invalidating what events ask for where their emitter did not: it has no rules, or Redis was away.

All processes with rules are one consumer group, which hears every event, in numbers without a gap. What was
taken from it is acknowledged when its tags are invalidated, so whoever is killed in between leaves it to
another. If a number is missing (the stream was trimmed past the group, deleted, evicted), nobody knows what
should have been invalidated; so everything is, and the group goes on from there::

    shop:{00}:x:taken         the number of the last event that the group was given; none while that is due
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from cache_ext import metrics
from cache_ext.codec.values import ValueCodec
from cache_ext.coherence.reasons import because
from cache_ext.errors import PayloadError, StoreUnavailable
from cache_ext.hooks.event import Event
from cache_ext.hooks.rules import Rules
from cache_ext.hooks.stream import ABANDONED, BUCKET, TAKER, TOO_ODD, EventStream, emitted_at, event_in
from cache_ext.keys import KeySpace
from cache_ext.transport.commands import Command
from cache_ext.transport.connection import RedisGateway

log = logging.getLogger(__name__)

GROUP = "*|invalidate"
_LOST = 1
MAX_AT_ONCE = 100
"""Events that one command may look at; Redis does nothing else meanwhile."""


class Follower:
    """Reads the stream for the rules of this process.

    Args:
        gateway: the way to the stream's Redis.
        keyspace: its namespace.
        stream: the stream.
        values: decodes events' data.
    """

    def __init__(
        self, gateway: RedisGateway, keyspace: KeySpace, stream: EventStream, values: ValueCodec
    ) -> None:
        self._gateway = gateway
        self._values = values
        self._set_aside = stream.set_aside
        self._stream, self._newest, self._taken = (
            keyspace.place(BUCKET, what) for what in ("events", "newest", "taken")
        )
        self._followed = False
        self._follow, self._follow_from = gateway.script("follow"), gateway.script("follow_from")

    def step(self, rules: Rules) -> bool:
        """Invalidate what some events ask for; return whether there may be more.

        Raises:
            StoreUnavailable: no usable answer.
        """
        pace = (GROUP, TAKER, math.ceil(ABANDONED * 1000), MAX_AT_ONCE)
        keys = (self._stream, self._newest, self._taken)
        (reply,) = self._gateway.run([("EVALSHA", self._follow, 3, *keys, *pace)])
        if isinstance(reply, bytes):
            raise StoreUnavailable(f"the stream of events: {reply!r}")
        try:
            state, first, second = reply
            taken = [] if state else second
            found = [(place, dict(zip(fields[::2], fields[1::2], strict=True))) for place, fields in taken]
        except TOO_ODD as error:
            raise StoreUnavailable(f"an odd reply: {error!r}") from error
        if state:
            lost = state == _LOST or self._followed  # else there has been no event yet
            return self._begin(first, second) if not lost or self._start_over(rules) else False
        self._followed = True
        self._settle(rules, found)
        return bool(first)

    def _start_over(self, rules: Rules) -> bool:
        """Invalidate everything; return whether that counts everywhere, else it will be asked for again."""
        log.warning("events may have been lost: everything is invalidated")
        metrics.hook_events.labels("started_over").inc()
        with because("events may have been lost"):
            return rules.invalidate_all()

    def _begin(self, newest: bytes, place: bytes) -> bool:
        """Have the group go on after the event number *newest*, at *place*."""
        where = (self._stream, self._taken, GROUP, place, newest)
        (reply,) = self._gateway.run([("EVALSHA", self._follow_from, 2, *where)])
        if reply != 1:
            raise StoreUnavailable(f"the stream of events: {reply!r}")
        return True

    def _settle(self, rules: Rules, found: Sequence[tuple[bytes, Mapping[bytes, bytes]]]) -> None:
        """Invalidate what the events *found* ask for, all at once, and end them."""
        tags: list[str] = []
        aside: list[Command] = []
        for place, fields in found:
            try:
                sent = event_in(fields)
                data: Any = self._values.decode(sent.payload)
            except (PayloadError, ValueError):
                metrics.hook_events.labels("undecodable").inc()
                continue
            try:
                tags += rules.tags_of(Event(sent.name, sent.id, emitted_at(place), data))
            except Exception:  # foreign code
                log.exception("event %s was set aside: no rule makes sense of it", sent.id)
                metrics.hook_events.labels("set_aside").inc()
                aside.append(self._set_aside(GROUP, sent))
        with because("events that were emitted while Redis was away"):
            settled = bool(found) and rules.invalidate(tags)
        if settled:
            self._gateway.run([*aside, ("XACK", self._stream, GROUP, *(place for place, _ in found))])
