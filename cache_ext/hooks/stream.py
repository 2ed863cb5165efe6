"""Events in Redis: one bounded stream a namespace, in which each hook is a consumer group.

A group hands each event to one of the processes that have the hook. Whoever takes an event says so again
and again while it works; what nobody has touched for `ABANDONED` seconds is due: its taker was killed, or put
it back for a later try by setting that idle time on purpose. All takers go by one name in the group: nothing
here needs to tell them apart, and so none stays behind when a process ends.

All keys and the channel are of one bucket:

    shop:{00}:x:events        the stream: name, id and data (msgpack) of each event
    shop:{00}:x:aside         the events that were given up, a stream too, for people to look at
    shop:{00}:x:id:order-17   marks an id as seen
    shop:{00}:x:newest        how many events there have been: the number of the newest
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cache_ext.coherence.messages import encode_names
from cache_ext.errors import PayloadError, StoreUnavailable
from cache_ext.hooks.event import Sent
from cache_ext.hooks.registry import Hook
from cache_ext.keys import KeySpace
from cache_ext.transport.commands import Command
from cache_ext.transport.connection import RedisGateway

BUCKET = 0
MAX_EVENTS = 10_000
"""About so many events are kept in the stream; when more come, the oldest go, done or not."""
MAX_ASIDE = 1_000
MAX_EVENT_BYTES = 16 * 2**10
"""Of an event's data, encoded: with `MAX_EVENTS` it bounds the stream to 160 MiB."""
REMEMBERED = 86_400
"""Seconds for which an id is not accepted again."""
REMEMBERED_BRIEFLY = 60
"""Seconds for an id that nobody gave: it comes again only if Redis took the event and could not say so."""
ABANDONED = 10.0
"""Seconds; an event that its taker has not touched for so long is given to another."""
FIRST_LOOK_BACK = 60
"""Seconds; a hook that Redis never heard of starts with the events of the last minute: processes start at
different times."""
MAX_PASSED = 50
"""Events of other names that one command may pass over; Redis does nothing else meanwhile."""
TAKER = "hooks"
UNSETTLED = "*"
"""Among the names in a message: an event invalidates something that its emitter did not see to."""
TOO_ODD = (ValueError, TypeError, IndexError, KeyError, AttributeError)


class Taken(NamedTuple):
    """An event that this process is to run a hook for, for the *tries*-th time that somebody does."""

    hook: Hook
    place: bytes
    tries: int
    fields: dict[bytes, bytes]

    @property
    def event(self) -> Sent:
        """The event.

        Raises:
            PayloadError: it is none.
        """
        return event_in(self.fields)

    @property
    def at(self) -> float:
        """When it was emitted, Unix seconds by the clock of Redis."""
        return emitted_at(self.place)


def event_in(fields: Mapping[bytes, bytes]) -> Sent:
    """Return the event that an entry of the stream is.

    Raises:
        PayloadError: it is none.
    """
    try:
        sent = Sent(fields[b"n"].decode(), fields[b"i"].decode(), fields[b"d"], True)
    except TOO_ODD as error:
        raise PayloadError(f"not an event: {error!r}") from error
    if len(sent.payload) > MAX_EVENT_BYTES:
        raise PayloadError(f"{len(sent.payload)} bytes are more than an event may have")
    return sent


def emitted_at(place: bytes) -> float:
    """Return when the event at *place* was emitted, Unix seconds by the clock of Redis."""
    return int(place.partition(b"-")[0]) / 1000


class Look(NamedTuple):
    """What a look at the stream brought: an event or None, whether there is *more*, how many were *lost*."""

    taken: Taken | None
    more: bool
    lost: int


class EventStream:
    """The stream of one namespace.

    Args:
        gateway: the way to its Redis.
        keyspace: the namespace.
    """

    def __init__(self, gateway: RedisGateway, keyspace: KeySpace) -> None:
        self._gateway = gateway
        self._keys = keyspace
        self._stream = keyspace.place(BUCKET, "events")
        self._sha = {name: gateway.script(name) for name in ("emit", "take", "hold", "lag")}
        self._cursors: dict[str, bytes] = {}

    def seen(self, ids: Sequence[str]) -> set[str]:
        """Return those of *ids* that were seen before.

        Raises:
            StoreUnavailable: no usable answer.
        """
        replies = self._gateway.run([("EXISTS", self._mark(id)) for id in ids])
        return {id for id, reply in zip(ids, replies, strict=True) if reply == 1}

    def emit(self, events: Sequence[Sent]) -> list[bool]:
        """Add events, in one round trip; return False for each whose id was seen before.

        Raises:
            StoreUnavailable: not all were, or nobody knows.
        """
        replies = self._gateway.run([self._emit(sent) for sent in events], "emit")
        if wrong := [reply for reply in replies if reply not in (0, 1)]:
            raise StoreUnavailable(f"the stream of events: {wrong[0]!r}")
        return [bool(reply) for reply in replies]

    def _emit(self, sent: Sent) -> Command:
        remember = REMEMBERED if sent.named else REMEMBERED_BRIEFLY
        keys = (self._stream, self._mark(sent.id), self._keys.place(BUCKET, "newest"))
        names = encode_names([sent.name] if sent.settled else [sent.name, UNSETTLED])
        content = (sent.name, sent.id, sent.payload, "1" if sent.settled else "0")
        channel = self._keys.channels[BUCKET]
        return ("EVALSHA", self._sha["emit"], 3, *keys, channel, remember, MAX_EVENTS, *content, names)

    def _mark(self, id: str) -> str:
        return self._keys.place(BUCKET, "id:" + id)

    def take(self, hooks: Sequence[Hook], owed: Sequence[Command]) -> Look:
        """Take one event for one of *hooks*, in one round trip with what is *owed* from before.

        Raises:
            StoreUnavailable: no usable answer.
        """
        if not hooks:
            self._gateway.run(owed)
            return Look(None, False, 0)
        wanted: list[str | bytes] = []
        for hook in hooks:
            wanted += [hook.group, hook.event, self._cursors.get(hook.group, b"")]
        *_, reply = self._gateway.run([*owed, self._take(wanted)])
        try:
            return self._look(hooks, reply)
        except TOO_ODD as error:
            raise StoreUnavailable(f"an odd reply: {error!r}") from error

    def _take(self, wanted: Sequence[str | bytes]) -> Command:
        pace = (TAKER, math.ceil(ABANDONED * 1000), FIRST_LOOK_BACK, MAX_PASSED)
        return ("EVALSHA", self._sha["take"], 1, self._stream, *pace, *wanted)

    def _look(self, hooks: Sequence[Hook], reply: Any) -> Look:
        if isinstance(reply, bytes):
            raise StoreUnavailable(f"the stream of events: {reply!r}")
        cursors, more, lost, taken = reply
        self._cursors.update({hook.group: cursor for hook, cursor in zip(hooks, cursors, strict=True)})
        if taken is None:
            return Look(None, bool(more), lost)
        number, place, tries, fields = taken
        found = dict(zip(fields[::2], fields[1::2], strict=True))
        return Look(Taken(hooks[number - 1], place, tries, found), True, lost)

    def lag(self, groups: Sequence[str]) -> float:
        """Return for how long the oldest event has waited that one of *groups* has not ended, seconds.

        Raises:
            StoreUnavailable: no usable answer.
        """
        (reply,) = self._gateway.run([("EVALSHA", self._sha["lag"], 1, self._stream, *groups)])
        if not isinstance(reply, int):
            raise StoreUnavailable(f"an odd reply: {reply!r}")
        return max(0.0, reply / 1000)

    def prolong(self, taken: Taken) -> None:
        """Say that *taken* is still being worked on.

        Raises:
            StoreUnavailable: no usable answer.
        """
        self._gateway.run([self.hold(taken, ABANDONED)])

    def hold(self, taken: Taken, seconds: float) -> Command:
        """Return the command that makes *taken* due in *seconds*, at most `ABANDONED`."""
        idle = math.floor(max(0.0, ABANDONED - seconds) * 1000)
        return ("EVALSHA", self._sha["hold"], 1, self._stream, taken.hook.group, TAKER, taken.place, idle)

    def done(self, taken: Taken) -> Command:
        """Return the command that ends *taken*."""
        return ("XACK", self._stream, taken.hook.group, taken.place)

    def set_aside(self, group: str, event: Sent) -> Command:
        """Return the command that keeps *event*, given up by *group*, for people to look at."""
        place = self._keys.place(BUCKET, "aside")
        content = ("hook", group, "n", event.name, "i", event.id, "d", event.payload)
        return ("XADD", place, "MAXLEN", "~", MAX_ASIDE, "*", *content)
