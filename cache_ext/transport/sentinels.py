"""A primary that sentinels name: found through them, left as soon as they name another.

A process watches all sentinels. What the one with the newest configuration says counts; and that counts for
`CONFIRMED` seconds if a majority, asked at that moment, did not take the primary for down. A failover needs a
majority that does. So a process that is cut off together with an old primary leaves it about when another can
have been made at the earliest, and never goes on to serve what was invalidated there.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import redis
from redis.exceptions import ConnectionError, RedisError

from cache_ext.transport.commands import Command
from cache_ext.transport.server import Address, Server
from cache_ext.transport.watch import Watch
from cache_ext.transport.ways import Single, Texts

log = logging.getLogger(__name__)

CONFIRMED = 0.75
"""Seconds for which the word of a majority counts."""
ROUND = 0.2
"""Seconds between rounds of questions: two may be missed."""
HURRIED = 0.05
"""The same while no majority knows the primary to be up."""
PATIENCE = 0.1
"""Seconds that one sentinel is waited for."""
REST = 2.0
"""Seconds for which one that did not answer in time is not asked again."""


class _Word(NamedTuple):
    """What a sentinel says."""

    epoch: int
    address: Address
    up: bool


class Sentinels:
    """What the sentinels of *service* say.

    Args:
        clients: redis-py's, one for each sentinel.
        service: the name under which they watch the primary.
        monotonic: the clock, seconds.
    """

    def __init__(self, clients: Sequence[redis.Redis], service: str, monotonic: Callable[[], float]) -> None:
        self._clients = tuple(clients)
        self.service = service
        self._monotonic = monotonic
        self._majority = len(self._clients) // 2 + 1
        self._rested = [-math.inf] * len(self._clients)
        self._epoch = -1
        self._confirmed = -math.inf
        self.address: Address | None = None

    @property
    def sure(self) -> bool:
        """Whether the word of a majority still counts."""
        return self._monotonic() < self._confirmed + CONFIRMED

    def ask(self) -> bool:
        """Ask all; return whether they name another primary than before."""
        asked = self._monotonic()
        words = [word for at in range(len(self._clients)) if (word := self._word(at)) is not None]
        if not words:
            return False
        newest = max(words)
        if newest.epoch < self._epoch and len(words) < self._majority:
            return False  # few, who have not heard what others said
        before, self.address, self._epoch = self.address, newest.address, newest.epoch
        behind = sum(word.epoch < newest.epoch for word in words)  # who will hear of it within seconds
        same = [word for word in words if word.epoch == newest.epoch]
        agree = sum(word.up and word.address == newest.address for word in same)
        if agree and agree + behind >= self._majority:
            self._confirmed = asked
        return newest.address != before

    def _word(self, at: int) -> _Word | None:
        if self._monotonic() < self._rested[at]:
            return None
        try:
            state: Any = self._clients[at].sentinel_master(self.service)
            down = state["is_sdown"] or state["is_odown"]
            return _Word(int(state["config-epoch"]), Address(str(state["ip"]), int(state["port"])), not down)
        except (RedisError, OSError) as error:
            if isinstance(error, redis.TimeoutError):
                self._rested[at] = self._monotonic() + REST
            return None
        except (KeyError, TypeError, ValueError):
            return None  # it says what no sentinel says

    def close(self) -> None:
        """End the connections."""
        for client in self._clients:
            client.close()


class Primary(Single):
    """The way to the primary that *sentinels* name.

    Args:
        sentinels: name it.
        make: returns the server whose connections lead to where the function given says.
        texts: the scripts that may be run.
        monotonic: the clock, seconds.
    """

    def __init__(
        self,
        sentinels: Sentinels,
        make: Callable[[Callable[[float], Address]], Server],
        texts: Texts,
        monotonic: Callable[[], float],
    ) -> None:
        super().__init__(make(self._find), texts)
        self._sentinels = sentinels
        self._monotonic = monotonic
        self._changed: Callable[[], None] = lambda: None
        self._watch = Watch("cache-ext-sentinels", self._look, ROUND, HURRIED)

    def converse(self, commands: Sequence[Command], deadline: float) -> list[Any]:
        """See `Way.converse`."""
        if not self._sentinels.sure:
            self._require(deadline - self._monotonic())
        return super().converse(commands, deadline)

    def confirm(self) -> object:
        """See `Way.confirm`."""
        if not self._sentinels.sure:
            self._require(CONFIRMED)
        return self.server.pool.era

    def doubt(self) -> None:
        """See `Way.doubt`."""
        self._watch.doubt()

    def watch(self, changed: Callable[[], None]) -> None:
        """See `Way.watch`."""
        self._changed = changed
        self._watch.start()

    def close(self) -> None:
        """See `Way.close`."""
        self._watch.stop()
        self._sentinels.close()
        super().close()

    def _find(self, left: float) -> Address:
        """Return where the primary is, for a connection that is to be made."""
        if not self._sentinels.sure:
            self._require(left)
        if self._sentinels.address is None:
            raise ConnectionError("no sentinel names the primary")
        return self._sentinels.address

    def _require(self, left: float) -> None:
        """Ask the sentinels, or let the watch do it.

        Raises:
            ConnectionError: no majority of them knows the primary to be up.
        """
        self._watch.doubt()
        self._watch.settle(left)
        if not self._sentinels.sure:
            service = self._sentinels.service
            raise ConnectionError(f"no majority of sentinels knows a primary of {service} to be up")

    def _look(self) -> bool:
        first, unsure = self._sentinels.address is None, not self._sentinels.sure
        if self._sentinels.ask():
            level = logging.INFO if first else logging.WARNING
            log.log(level, "the primary of %s is %s", self._sentinels.service, self._sentinels.address)
            self.server.renew()
        elif not (unsure and self._sentinels.sure):
            return self._sentinels.sure
        self._changed()
        return self._sentinels.sure
