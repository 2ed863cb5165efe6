"""Loads what of many pairs is asked for, a few at a time, as fast as the origin lets anybody ask."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from msgspec import Struct

from shivx.errors import ModelUnavailable, OriginUnavailable, ShivxError, UnknownPair
from shivx.models import Pair
from shivx.warming.steps import STEPS
from shivx.warming.targets import Target
from shivx.wiring import Services

AT_ONCE = 2
"""Pairs: an origin that is metered hands out its slots in turn, so no client waits for more than so many."""
TRIES = 3
LONGEST_WAIT = 30.0
"""Seconds between them, if the origin says when to come again."""
TOGETHER = 100
"""Prices that are asked for at once."""
CATALOGUE, PRICES = "catalogue", "prices"
Tell = Callable[[float], None]


class Failure(Struct, frozen=True):
    """What could not be loaded, and why; `pair` is null if nothing of the source could."""

    source: str
    pair: str | None
    step: str
    error: str

    def __str__(self) -> str:
        return f"{self.pair or self.source} {self.step}: {self.error}"


class Warmed(Struct, frozen=True):
    """What became of it.

    Args:
        pairs: of which something was loaded.
        loaded: answers that lie in the cache now.
        skipped: that cannot be made yet: their model is not trained.
        failed: the others.
    """

    pairs: int
    loaded: int
    skipped: int
    failed: tuple[Failure, ...]


class Warmer:
    """Loads ahead.

    Args:
        services: whose cache is to be filled.
        tell: is told the share that is done, 0 to 1.
        wait: waits for so many seconds; a thread's wait if not given.
    """

    def __init__(
        self,
        services: Services,
        tell: Tell = lambda share: None,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self._services = services
        self._tell = tell
        self._wait = threading.Event().wait if wait is None else wait
        self._lock = threading.Lock()
        self._done = self._loaded = self._skipped = 0
        self._failed: list[Failure] = []
        self._all = 1

    def warm(self, targets: Sequence[Target]) -> Warmed:
        """Load what is usually asked for of *targets*; what is in the cache already costs nothing."""
        self._all = max(1, len(targets) * (len(STEPS) + 1))
        listed = [
            target
            for source in dict.fromkeys(target.source for target in targets)
            for target in self._priced(source, [each for each in targets if each.source == source])
        ]
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="warming") as pool:
            found = list(pool.map(self._steps, listed))
        return Warmed(sum(found), self._loaded, self._skipped, tuple(self._failed))

    def _priced(self, source: str, targets: Sequence[Target]) -> Iterator[Target]:
        """Load the prices of *targets*, all of *source*, and return those that it trades."""
        market, whole = self._services.market, len(STEPS) + 1
        if not self._does(source, None, CATALOGUE, lambda: market.catalogue(source)):
            self._count(len(targets) * whole)
            return
        prices: dict[Pair, object] = {}
        for first in range(0, len(targets), TOGETHER):
            some = [target.pair for target in targets[first : first + TOGETHER]]
            prices |= self._prices(source, some)
        for target in targets:
            price = prices.get(target.pair)
            if isinstance(price, Exception):
                self._fail(source, target.pair, PRICES, price)
            elif price is not None:
                self._loaded += 1
            unknown = isinstance(price, UnknownPair)
            self._count(whole if unknown else 1)
            if not unknown:
                yield target

    def _prices(self, source: str, pairs: Sequence[Pair]) -> dict[Pair, object]:
        found: dict[Pair, object] = {}
        ask = self._services.market.prices
        self._does(source, None, PRICES, lambda: found.update(ask(source, pairs)))
        return found

    def _steps(self, target: Target) -> bool:
        """Load all of one pair; tell whether anything was."""
        before = self._loaded
        for name, step in STEPS.items():
            if self._does(*target, name, partial(step, self._services, target)):
                with self._lock:
                    self._loaded += 1
            self._count(1)
        return self._loaded > before

    def _does(self, source: str, pair: Pair | None, name: str, step: Callable[[], object]) -> bool:
        """Tell whether *step* succeeded, tried again when the origin says that it may be."""
        for left in range(TRIES)[::-1]:
            try:
                step()
            except ModelUnavailable:
                with self._lock:
                    self._skipped += 1
                return False
            except OriginUnavailable as error:
                if not left or error.retry_after > LONGEST_WAIT:
                    self._fail(source, pair, name, error)
                    return False
                self._wait(error.retry_after)
            except ShivxError as error:
                self._fail(source, pair, name, error)
                return False
            else:
                return True
        return False

    def _fail(self, source: str, pair: Pair | None, step: str, error: Exception) -> None:
        with self._lock:
            self._failed.append(Failure(source, None if pair is None else str(pair), step, str(error)))

    def _count(self, steps: int) -> None:
        with self._lock:
            self._done += steps
            self._tell(self._done / self._all)
