"""How far back candles are read for an indicator: as far as its values reach, whoever asks."""

from __future__ import annotations

from collections.abc import Iterable

from shivx.errors import NotComputable
from shivx.indicators.prices import Prices
from shivx.indicators.settling import LEAST, memory_of
from shivx.indicators.specs import MAX_CANDLES, Spec
from shivx.models import TIMEFRAMES, Candles, Catalogue, Pair
from shivx.services.answer import Answer
from shivx.services.candles import CandleService

SERIES = 500
"""Values that there are to be at most."""
BLOCK = 100
"""History begins at a multiple of so many candles, so that it does not move with each."""
DOUBLE = 2


class History:
    """The candles of one pair and timeframe up to now, read once, and further only if they have gaps.

    None that is past its ttl is taken as long as the origin answers: values would be marked stale.

    Args:
        candles: where they are read.
        catalogue: which has the pair.
        include_open: with the candle that may still change.
    """

    def __init__(
        self,
        candles: CandleService,
        catalogue: Answer[Catalogue],
        source: str,
        pair: Pair,
        timeframe: str,
        *,
        include_open: bool,
    ) -> None:
        self._candles = candles
        self._catalogue = catalogue
        self._of = (source, pair, timeframe)
        self._closed = not include_open
        self._length = TIMEFRAMES[timeframe]
        moment = candles.moment(timeframe)
        self._cut = moment.cut
        self._end = moment.now + 1 if include_open else self._cut
        self.seconds_left = moment.seconds_left
        """From the beginning until the next candle closes."""
        self._since = self._end
        self._read: Candles | None = None
        self._prices: Prices | None = None

    @property
    def candles(self) -> Candles:
        """What was read."""
        if self._read is None:
            raise AssertionError("read_for comes first")
        return self._read

    def read_for(self, specs: list[Spec]) -> None:
        """Read at once what *specs* need, if the market has no gaps."""
        self._back_to(self._begin(max(wanted(spec) for spec in specs)))

    def prices_for(self, spec: Spec) -> Prices:
        """Return the candles that *spec* is computed from: the same ones, whatever else is asked for."""
        need = slots = wanted(spec)
        while True:
            since = self._begin(slots)
            prices = self._back_to(since)
            known = self.candles.covered_since
            first = since if known <= since else self._aligned(known)
            found = prices.since(int(prices.times.searchsorted(first)))
            if len(found) >= need or known > since or slots >= MAX_CANDLES or since == 0:
                return found
            slots = min(DOUBLE * slots, MAX_CANDLES)

    def _begin(self, slots: int) -> int:
        return max(0, (self._cut // self._length - slots) // BLOCK * BLOCK * self._length)

    def _aligned(self, moment: int) -> int:
        block = BLOCK * self._length
        return -(-moment // block) * block

    def _back_to(self, since: int) -> Prices:
        if self._prices is None or since < self._since:
            found = self._candles.candles(
                *self._of, since, self._end, closed=self._closed, fresh=True, catalogue=self._catalogue
            )
            self._since, self._read = since, found.fact.candles
            self._prices = Prices.of(self._read.candles)
        return self._prices


def wanted(spec: Spec) -> int:
    """Return how many candles *spec* needs for `SERIES` values that do not depend on older ones."""
    return min(MAX_CANDLES, memory_of(spec) + LEAST + SERIES)


def require_computable(specs: Iterable[Spec]) -> None:
    """Find out how much history *specs* need, which may take a while for new ones.

    Raises:
        NotComputable: one is made of more candles than are read.
    """
    for spec in specs:
        if spec.lookback >= MAX_CANDLES:
            raise NotComputable(f"{spec} is made of more than {MAX_CANDLES} candles")
        memory_of(spec)
