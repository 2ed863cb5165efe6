"""The thread that runs hooks: one event at a time, again after a while if it failed, until it is given up."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from cache_ext import metrics
from cache_ext.codec.values import ValueCodec
from cache_ext.errors import CircuitOpen, PayloadError, StoreUnavailable
from cache_ext.hooks.backlog import Backlog, Run
from cache_ext.hooks.event import Event, Sent
from cache_ext.hooks.following import Follower
from cache_ext.hooks.registry import Hook, Registry
from cache_ext.hooks.stream import EventStream, Taken
from cache_ext.transport.budget import budget
from cache_ext.transport.commands import Command

log = logging.getLogger(__name__)

LOOK = 1.0
"""Seconds after which the thread looks by itself: for retries, what killed processes left, and, without a
backplane, for what is new."""
PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds before an event that a hook failed on is tried again; after one more failure it is set aside."""
LONGEST = 300.0
"""Seconds that a hook may take. Later the event counts as abandoned, so another process may take it too."""
REPORTS = 3
"""How often Redis is told again what it did not take; later it must find out by itself."""


class Runner:
    """Takes events for this process' hooks and runs them, in one thread.

    Args:
        registry: the hooks.
        backlog: what waits in this process; goes first.
        stream: what waits in Redis; None without one.
        follower: invalidates what events in Redis ask for; None without one.
        values: decodes events' data.
        patience: seconds that Redis may take for one answer.
        monotonic: the clock, seconds.
    """

    def __init__(
        self,
        registry: Registry,
        backlog: Backlog,
        stream: EventStream | None,
        follower: Follower | None,
        values: ValueCodec,
        patience: float,
        monotonic: Callable[[], float],
    ) -> None:
        self._registry = registry
        self._backlog = backlog
        self._stream = stream
        self._follower = follower
        self._values = values
        self._patience = patience
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._running: Taken | None = None
        self._since = 0.0
        self._owed: list[Command] = []
        self._reports = 0
        self._turn = 0

    def start(self) -> None:
        """Start the thread, unless it runs or there is nothing for it to do."""
        if self._thread is not None and self._thread.is_alive():
            return
        with self._lock:
            alive = self._thread is not None and self._thread.is_alive()
            if alive or self._stopped.is_set() or not (self._registry.listens or len(self._backlog)):
                return
            self._thread = threading.Thread(target=self._run, name="cache-ext-hooks", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Let the thread look now."""
        self._woken.set()

    def prolong(self) -> None:
        """Tell Redis that the event under way still is; to be called each second."""
        with self._lock:
            running = self._running
            if running is None or self._stream is None or self._monotonic() - self._since > LONGEST:
                return
            try:
                self._stream.prolong(running)
            except StoreUnavailable:
                log.debug("an event could not be prolonged")

    def stop(self, patience: float) -> None:
        """End the thread after the hook under way, at most *patience* seconds from now."""
        self._stopped.set()
        self._woken.set()
        with self._lock:  # somebody may be starting it
            thread = self._thread
        if thread is not None:
            thread.join(patience)
        if left := len(self._backlog):
            log.warning("%d events end with this process", left)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._woken.clear()
            try:
                while not self._stopped.is_set() and self._step():
                    pass
            except StoreUnavailable as error:
                log.debug("no events: %s", error)
            except Exception:
                log.exception("the thread of the hooks failed")
            self._woken.wait(min(LOOK, max(0.0, self._backlog.rest())))
        self._leave()

    def _leave(self) -> None:
        """Run what waits here once more, and tell Redis what is done."""
        while (run := self._backlog.due()) is not None:
            self._run_here(run)
        if self._stream is not None and self._owed:
            try:
                with budget(self._patience, administrative=True):
                    self._stream.take([], self._owed)
            except StoreUnavailable as error:
                log.debug("events that are done will run again: %s", error)

    def _step(self) -> bool:
        """Do one thing; return whether there may be another.

        Raises:
            StoreUnavailable: Redis is away.
        """
        if (run := self._backlog.due()) is not None:
            self._run_here(run)
            return True
        if self._stream is None:
            return False
        if (sent := self._backlog.unsent()) is not None:
            with budget(self._patience, administrative=True):
                self._stream.emit([sent])
            self._backlog.sent()
            return True
        more = self._follow()
        return self._look(self._stream) or more

    def _follow(self) -> bool:
        rules = self._registry.rules
        if self._follower is None or rules is None:
            return False
        with budget(self._patience, administrative=True):
            return self._follower.step(rules)

    def _look(self, stream: EventStream) -> bool:
        hooks = self._registry.hooks()
        if not hooks and not self._owed:
            return False
        self._turn = (self._turn + 1) % max(1, len(hooks))  # no hook is always the last to be looked after
        try:
            with budget(self._patience, administrative=True):
                look = stream.take(hooks[self._turn :] + hooks[: self._turn], self._owed)
        except CircuitOpen:
            raise
        except StoreUnavailable:
            self._reports += 1
            if self._reports >= REPORTS:
                self._paid()
            raise
        self._paid()
        if look.lost:
            metrics.hook_events.labels("lost").inc(look.lost)
        if look.taken is not None:
            self._run_taken(look.taken, stream)
        return look.more

    def _paid(self) -> None:
        self._owed.clear()
        self._reports = 0

    def _run_taken(self, taken: Taken, stream: EventStream) -> None:
        try:
            sent = taken.event
            event = Event(sent.name, sent.id, taken.at, self._values.decode(sent.payload))
        except (PayloadError, ValueError):
            metrics.hook_events.labels("undecodable").inc()
            self._owed.append(stream.done(taken))
            return
        with self._lock:
            self._running, self._since = taken, self._monotonic()
        try:
            # whoever took it more often than that did not survive it
            done = taken.tries <= len(PAUSES) + 1 and self._call(taken.hook, event, taken.tries)
        finally:
            with self._lock:
                self._running = None
        if done:
            self._owed.append(stream.done(taken))
        elif taken.tries <= len(PAUSES):
            self._owed.append(stream.hold(taken, PAUSES[taken.tries - 1]))
        else:
            self._give_up(taken.hook, sent)
            self._owed.append(stream.done(taken))

    def _run_here(self, run: Run) -> None:
        event = Event(run.sent.name, run.sent.id, run.at, self._values.decode(run.sent.payload))
        if self._call(run.hook, event, run.tries):
            return
        if run.tries <= len(PAUSES) and not self._stopped.is_set():
            self._backlog.again(run._replace(tries=run.tries + 1), PAUSES[run.tries - 1])
        else:
            self._give_up(run.hook, run.sent)

    def _call(self, hook: Hook, event: Event, tries: int) -> bool:
        try:
            with hook.within():
                hook.function(event)
        except Exception:  # foreign code
            log.warning("hook %s failed on event %s, try %d", hook.name, event.id, tries, exc_info=True)
            metrics.hook_events.labels("failed").inc()
            return False
        metrics.hook_events.labels("done").inc()
        return True

    def _give_up(self, hook: Hook, sent: Sent) -> None:
        log.error("event %s was set aside: hook %s failed on it too often", sent.id, hook.name)
        metrics.hook_events.labels("set_aside").inc()
        if self._stream is not None:
            self._owed.append(self._stream.set_aside(hook.group, sent))
