"""What users do with events: have functions called for them, and emit them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from cache_ext import metrics
from cache_ext.codec.values import ValueCodec
from cache_ext.entry import new_stamp
from cache_ext.errors import StoreUnavailable, UnsupportedValue
from cache_ext.hooks.backlog import Backlog, Run
from cache_ext.hooks.event import Emitted, Event, Fate, Sent
from cache_ext.hooks.registry import Registry
from cache_ext.hooks.running import Runner
from cache_ext.hooks.stream import MAX_EVENT_BYTES, EventStream
from cache_ext.keys import check_name
from cache_ext.settings import CacheSettings
from cache_ext.transport.budget import budget

F = TypeVar("F", bound=Callable[[Event], Any])


class Hooks:
    """The events of one cache in one process; ``cache.hooks``.

    Args:
        registry: the hooks.
        stream: the way through Redis; None without one.
        values: encodes and decodes events' data.
        settings: how the cache is set up.
        start: connects and starts what this process needs.
        monotonic: the clock, seconds.
    """

    def __init__(
        self,
        registry: Registry,
        stream: EventStream | None,
        values: ValueCodec,
        settings: CacheSettings,
        start: Callable[[], None],
        monotonic: Callable[[], float],
    ) -> None:
        self.registry = registry
        self._stream = stream
        self._values = values
        self._settings = settings
        self._start = start
        self._backlog = Backlog(monotonic)
        self._runner = Runner(registry, self._backlog, stream, values, settings.timeout, monotonic)

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
        payload = self._values.encode(data)
        if len(payload) > MAX_EVENT_BYTES:
            raise UnsupportedValue(
                f"{len(payload)} bytes are more than an event may have ({MAX_EVENT_BYTES})"
            )
        given = new_stamp().decode() if id is None else check_name(id)
        sent = Sent(check_name(name), given, payload, named=id is not None)
        self._start()
        fate = Fate.REPEATED if self._backlog.repeats(sent) else self._pass_on(sent)
        metrics.hook_events.labels(fate).inc()
        return Emitted(sent.id, fate)

    def _pass_on(self, sent: Sent) -> Fate:
        if self._stream is not None:
            try:
                with budget(self._settings.op_timeout, of_call=True):
                    new = self._stream.emit(sent)
            except StoreUnavailable:
                return self._keep(sent)
            self.wake(sent.name)
            return Fate.ACCEPTED if new else Fate.REPEATED
        return self._keep(sent)

    def _keep(self, sent: Sent) -> Fate:
        runs = [Run(hook, sent, time.time(), 1) for hook in self.registry.of(sent.name)]
        if not runs and self._stream is None:
            return Fate.HERE
        self._backlog.add(sent, runs)
        self._runner.start()
        self._runner.wake()
        return Fate.HERE if runs else Fate.QUEUED

    def wake(self, *names: str) -> None:
        """Look for events now, if there are hooks for one of *names*."""
        if any(self.registry.of(name) for name in names):
            self._runner.wake()

    def tick(self) -> None:
        """Do what is due each second: start the thread when there is work for it, keep hold of its event."""
        self._runner.start()
        self._runner.prolong()

    def close(self, patience: float) -> None:
        """Stop running hooks, after the one under way, waiting at most *patience* seconds."""
        self._runner.stop(patience)
