"""The subscriber: hears what other processes change, and knows how long silence may be trusted.

The connection proves itself by its own heartbeat. Replies come in order, so when the answer to a TIME is
here, every message published before Redis saw that TIME is here too. Hence L1 may be trusted until
`BOUND` seconds after the *sending* of the last answered TIME: no message older than that can be missing.
After a reconnect, or a hole in a bucket's numbering, the generation changes, and whatever L1 holds from an
older one must be revalidated before it counts.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from cache_ext import metrics
from cache_ext.coherence import messages
from cache_ext.entry import Version
from cache_ext.errors import PayloadError, StoreUnavailable
from cache_ext.transport.subscription import Beat, Published, Subscription

log = logging.getLogger(__name__)

BOUND = 1.0
"""Seconds that an L1 hit may lag behind an applied invalidation at most; judged at every read."""
HEARTBEAT = 0.25
"""Seconds between beats; several fit into the bound, so that one late answer costs nothing."""
PROMPT = 0.02
"""Seconds. An answer that took longer tells the store's clock too vaguely: readers ask themselves."""
RETRY = 0.25
"""Seconds between attempts to subscribe again."""


class Trust:
    """Whether what L1 holds may be served without asking: judged at every read, hence plain attributes.

    A slot counts if its generation is this one and the clock has not passed `live_until`. `positions` tells,
    by bucket, an epoch and a sequence number that the bucket has reached, as far as this process knows.
    `clock_ahead`: seconds by which the store's clock (Unix time) is ahead of the monotonic one, at most.
    """

    __slots__ = ("clock_ahead", "generation", "live_until", "positions")

    def __init__(
        self,
        live_until: float = -math.inf,
        positions: Callable[[], Mapping[int, Version]] = dict,
    ) -> None:
        self.generation = 0
        self.live_until = live_until
        self.positions = positions
        self.clock_ahead: float | None = None

    def store_clock(self, monotonic: Callable[[], float]) -> Callable[[], int] | None:
        """Return what tells the store's clock, Unix ms, rather late than early; None if unknown."""
        ahead = self.clock_ahead
        if ahead is None or monotonic() >= self.live_until:
            return None
        return lambda: int((monotonic() + ahead) * 1000) + 1


class Backplane:
    """A thread that listens, hands on what it hears, and keeps a `Trust` current.

    Args:
        subscribe: opens a `Subscription` to *channels*.
        channels: one per bucket.
        heard: called with each message, in this thread.
        gap: called after messages may have been lost.
        returning: called before L1 is trusted again, after it was not for however short a time.
        positions: asks the store how far each bucket is; see `Trust`.
        monotonic: the clock, seconds.
    """

    def __init__(
        self,
        subscribe: Callable[[Sequence[str]], Subscription],
        channels: Sequence[str],
        *,
        heard: Callable[[messages.Message], None],
        gap: Callable[[], None],
        returning: Callable[[], None],
        positions: Callable[[], Mapping[int, Version]],
        monotonic: Callable[[], float],
    ) -> None:
        self._reached: dict[int, Version] = {}
        self.trust = Trust(positions=self._reached.copy)
        self._ask_positions = positions
        self._subscribe = subscribe
        self._channels = channels
        self._buckets = {channel.encode(): bucket for bucket, channel in enumerate(channels)}
        self._heard = heard
        self._gap = gap
        self._returning = returning
        self._monotonic = monotonic
        self.connected = threading.Event()
        """Set while messages are heard."""
        self._stopped = threading.Event()
        self._sequences: dict[bytes, int] = {}
        self._asked: deque[float] = deque()
        self._last_answered = -math.inf
        self._subscribed = -math.inf
        self._subscription: Subscription | None = None
        self._thread = threading.Thread(target=self._run, name="cache-ext-backplane", daemon=True)

    def start(self) -> None:
        """Start listening."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; returns when the thread has ended."""
        self._stopped.set()
        if (subscription := self._subscription) is not None:
            subscription.interrupt()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._listen()
            except StoreUnavailable as error:
                if self.trust.live_until > -math.inf and not self._stopped.is_set():
                    log.warning("backplane lost: %s", error)
                self._interrupted()
                self._stopped.wait(RETRY)
            except Exception:
                log.exception("backplane failed")
                self._interrupted()
                self._stopped.wait(RETRY)

    def _listen(self) -> None:
        subscription = self._subscription = self._subscribe(self._channels)
        try:
            self._sequences.clear()
            self._asked.clear()
            self._subscribed = self._monotonic()
            patience = BOUND
            while not self._stopped.is_set():
                received = subscription.receive(patience)
                now = self._monotonic()
                if isinstance(received, Published):
                    self._publish(received)
                elif isinstance(received, Beat) and self._asked:
                    self._answered(self._asked.popleft(), now, received.time)
                patience = self._beat(subscription, now)
        finally:
            self._subscription = None
            subscription.close()

    def _beat(self, subscription: Subscription, now: float) -> float:
        """Ask for the time if that is due; return how long to listen until the next, seconds."""
        if not subscription.confirmed:
            if now - self._subscribed > BOUND:
                raise StoreUnavailable("not confirmed")
            return BOUND
        if self._asked and now - self._asked[0] > BOUND:
            raise StoreUnavailable("no heartbeat")
        last = self._asked[-1] if self._asked else self._last_answered
        due = last + HEARTBEAT
        if now >= due:
            subscription.ask_time()
            self._asked.append(now)
            return HEARTBEAT
        return due - now

    def _answered(self, sent: float, now: float, store_time: float) -> None:
        # As if the answer had come at once: the store's clock is not later than this tells.
        self.trust.clock_ahead = store_time - sent if now - sent <= PROMPT else None
        metrics.backplane_lag.observe(now - sent)
        if self.trust.live_until == -math.inf:
            self._reached.update(self._ask_positions())
            self.trust.generation += 1
            self._gap()
            self.connected.set()
            log.info("backplane connected")
        if now >= self.trust.live_until:
            self._returning()
        self._last_answered = sent
        self.trust.live_until = sent + BOUND

    def _publish(self, received: Published) -> None:
        try:
            message = messages.decode(received.data)
        except PayloadError as error:
            log.warning("backplane heard nonsense: %s", error)
            return
        if message.kind in messages.NUMBERED:
            self._reached[self._buckets[received.channel]] = Version(message.stamp, message.sequence)
            expected = self._sequences.get(received.channel, message.sequence - 1) + 1
            self._sequences[received.channel] = message.sequence
            if message.sequence != expected and message.kind != "e":
                self._hole()
        self._heard(message)

    def _hole(self) -> None:
        metrics.backplane_gaps.inc()
        self.trust.generation += 1
        self._gap()

    def _interrupted(self) -> None:
        """Note the end of a connection that was live; that it still is none is no news."""
        if self.trust.live_until > -math.inf:
            metrics.backplane_gaps.inc()
            self.connected.clear()
            self.trust.live_until = -math.inf
            self.trust.clock_ahead = None
            self._gap()
