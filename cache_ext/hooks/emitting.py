"""What users do with events: have functions called for them, and emit them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from cache_ext import metrics
from cache_ext.codec.values import ValueCodec
from cache_ext.coherence.reasons import because
from cache_ext.entry import new_stamp
from cache_ext.errors import StoreUnavailable, UnsupportedValue
from cache_ext.hooks.backlog import Backlog, Run
from cache_ext.hooks.event import Emission, Emitted, Event, Fate, Sent
from cache_ext.hooks.following import GROUP, Follower
from cache_ext.hooks.registry import Registry
from cache_ext.hooks.rules import Invalidates, Rules, TagsOf
from cache_ext.hooks.running import Runner
from cache_ext.hooks.stream import MAX_EVENT_BYTES, UNSETTLED, EventStream
from cache_ext.keys import KeySpace, check_name
from cache_ext.settings import CacheSettings
from cache_ext.transport.budget import budget
from cache_ext.transport.connection import RedisGateway

F = TypeVar("F", bound=Callable[[Event], Any])


class Hooks:
    """The events of one cache in one process; ``cache.hooks``.

    Args:
        registry: the hooks.
        gateway: the way to Redis; None without one.
        keyspace: the namespace.
        values: encodes and decodes events' data.
        settings: how the cache is set up.
        start: connects and starts what this process needs.
        monotonic: the clock, seconds.
    """

    def __init__(
        self,
        registry: Registry,
        gateway: RedisGateway | None,
        keyspace: KeySpace,
        values: ValueCodec,
        settings: CacheSettings,
        start: Callable[[], None],
        monotonic: Callable[[], float],
    ) -> None:
        self.registry = registry
        self._stream = follower = None
        if gateway is not None:
            self._stream = EventStream(gateway, keyspace)
            follower = Follower(gateway, keyspace, self._stream, values)
        self._values = values
        self._settings = settings
        self._start = start
        self._backlog = Backlog(monotonic)
        self._runner = Runner(
            registry, self._backlog, self._stream, follower, values, settings.timeout, monotonic
        )

    def on(self, event: str, *, name: str | None = None) -> Callable[[F], F]:
        """Return a decorator that has its function called with each `Event` of the name *event*.

        Of all processes that have the hook, one calls it, at least once for each event; in no order. If it
        raises, it is tried again after 0.5, 1, 2 and 4 seconds, then the event is set aside.

        Args:
            name: tells hooks of one event apart, in all processes; the function's module and qualified name
                if None.
        Raises:
            ConfigurationError: this event has a hook of that name, or the function has no name of its own.
            TypeError: the function is async.
        """
        return self.registry.on(event, name=name)

    def invalidate_by(self, tags_of: TagsOf, cache: Invalidates) -> None:
        """Have events invalidate tags in *cache*.

        What is emitted here is invalidated before `emit` returns and before a hook is called; what processes
        without rules emit is invalidated by one that has some.

        Args:
            tags_of: returns the tags that an event invalidates, always the same. If it raises, the event is
                not emitted, or set aside.
        """
        self.registry.rules = Rules(tags_of, cache)

    def emit(self, name: str, data: Any = None, *, id: str | None = None) -> Emitted:
        """Have the hooks of *name* called, wherever they are; return at once what became of the event.

        Args:
            data: what the cache could keep as a value; at most 16 KiB, encoded.
            id: an id that was seen in the last 24 hours does nothing; a random one if None.
        Raises:
            UnsupportedValue: *data* cannot be kept exactly, or are too large.
            StoreUnavailable: Redis is away, and too many events wait in this process already.
            ConfigurationError: *name* or *id* is no name.
        """
        (receipt,) = self.emit_many([Emission(name, data, id)])
        return receipt

    def emit_many(self, events: Iterable[Emission]) -> list[Emitted]:
        """Emit *events* together, each as `emit` does, and return a receipt for each; or refuse them all."""
        prepared = [self._prepare(event) for event in events]
        self._start()
        with budget(self._settings.op_timeout, of_call=True):
            new = self._unseen(prepared)
            with because(_reason(sent for sent, _ in new)):
                settled = self._settle([tag for _, tags in new for tag in tags])
            fates = self._pass_on([sent._replace(settled=settled) for sent, _ in new])
        receipts = {
            sent.id: Emitted(sent.id, fate, tags) for (sent, tags), fate in zip(new, fates, strict=True)
        }
        found = [receipts.pop(sent.id, Emitted(sent.id, Fate.REPEATED)) for sent, _ in prepared]
        for receipt in found:
            metrics.hook_events.labels(receipt.fate).inc()
        return found

    def _prepare(self, event: Emission) -> tuple[Sent, tuple[str, ...]]:
        """Return *event* as it travels, and the tags that it invalidates."""
        payload = self._values.encode(event.data)
        if len(payload) > MAX_EVENT_BYTES:
            raise UnsupportedValue(
                f"{len(payload)} bytes are more than an event may have ({MAX_EVENT_BYTES})"
            )
        id = new_stamp().decode() if event.id is None else check_name(event.id)
        sent = Sent(check_name(event.name), id, payload, named=event.id is not None)
        rules = self.registry.rules
        return sent, () if rules is None else rules.tags_of(Event(sent.name, id, time.time(), event.data))

    def _unseen(self, prepared: Iterable[tuple[Sent, tuple[str, ...]]]) -> list[tuple[Sent, tuple[str, ...]]]:
        """Return the first of each id that, as far as anybody can tell, did not come before.

        Redis is asked only if it matters before it is told: two that come at once may both invalidate, and
        one of them is an event.
        """
        new: dict[str, tuple[Sent, tuple[str, ...]]] = {}
        for sent, tags in prepared:
            if not self._backlog.repeats(sent):
                new.setdefault(sent.id, (sent, tags))
        asked = [sent.id for sent, tags in new.values() if sent.named and tags]
        if asked and self._stream is not None:
            with suppress(StoreUnavailable):
                for id in self._stream.seen(asked):
                    del new[id]
        return list(new.values())

    def _settle(self, tags: Iterable[str]) -> bool:
        """Invalidate *tags*; return whether that counts everywhere, so that nobody else has to."""
        rules = self.registry.rules
        return rules is not None and rules.invalidate(tags)

    def _pass_on(self, events: Sequence[Sent]) -> list[Fate]:
        if self._stream is not None and events:
            try:
                new = self._stream.emit(events)
            except StoreUnavailable:
                return [self._keep(sent) for sent in events]
            unsettled = [] if all(sent.settled for sent in events) else [UNSETTLED]
            self.wake(*(sent.name for sent in events), *unsettled)
            return [Fate.ACCEPTED if each else Fate.REPEATED for each in new]
        return [self._keep(sent) for sent in events]

    def _keep(self, sent: Sent) -> Fate:
        runs = [Run(hook, sent, time.time(), 1) for hook in self.registry.of(sent.name)]
        if not runs and self._stream is None:
            self._backlog.remember(sent)
            return Fate.HERE
        self._backlog.add(sent, runs)
        self._runner.start()
        self._runner.wake()
        return Fate.HERE if runs else Fate.QUEUED

    def wake(self, *names: str) -> None:
        """Look for events now, if there are hooks for one of *names*, or rules to be followed."""
        follows = self.registry.rules is not None and UNSETTLED in names
        if follows or any(self.registry.of(name) for name in names):
            self._runner.wake()

    def tick(self) -> None:
        """Do what is due each second: start the thread when there is work for it, keep hold of its event."""
        self._runner.start()
        self._runner.prolong()
        self._measure()
        if self.registry.each_second is not None:
            self.registry.each_second()

    def _measure(self) -> None:
        if self._stream is None or not self.registry.listens:
            return
        groups = [hook.group for hook in self.registry.hooks()]
        if self.registry.rules is not None:
            groups.append(GROUP)
        with suppress(StoreUnavailable):
            metrics.event_lag.set(self._stream.lag(groups))

    def close(self, patience: float) -> None:
        """Stop running hooks, after the one under way, waiting at most *patience* seconds."""
        self._runner.stop(patience)


def _reason(events: Iterable[Sent]) -> str:
    """Return why something is invalidated: the events that ask for it."""
    return ", ".join(f"event {sent.name} {sent.id}" for sent in events)
