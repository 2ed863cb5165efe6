"""Which calls a range of candles takes, and from when the answer is complete."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from shivx.models import TIMEFRAMES, Candle
from shivx.providers.ccxt_profiles import CcxtClient, Profile

DEFAULT_PER_CALL = 100  # every exchange gives so many


def per_call(client: CcxtClient, profile: Profile) -> int:
    """Return how many candles one call gives at most."""
    if profile.per_call is not None:
        return profile.per_call
    features = client.features or {}
    limit = ((features.get("spot") or {}).get("fetchOHLCV") or {}).get("limit")
    return limit if isinstance(limit, int) and limit > 0 else DEFAULT_PER_CALL


@dataclass(frozen=True)
class CandleRange:
    """The candles that open in [since, until), as asked at *now*; all in Unix ms."""

    timeframe: str
    since: int
    until: int
    now: int
    profile: Profile

    @property
    def step(self) -> int:
        """Length of a candle, ms."""
        return TIMEFRAMES[self.timeframe]

    @property
    def horizon(self) -> int:
        """The first candle that the exchange still gives, open time in Unix ms."""
        if self.profile.max_history is None:
            return 0
        return self.now // self.step * self.step - (self.profile.max_history - 1) * self.step

    def pages(self, size: int, found: Mapping[int, Candle]) -> Iterator[tuple[int, int]]:
        """Yield (open time of the first, number of candles) for each call.

        Args:
            size: candles that one call gives at most.
            found: what the calls before gave, by open time; grows while this runs.
        """
        start = max(self.since, self.horizon)
        end = min(self.until, (self.now // self.step + 1) * self.step)
        while start < end:
            count = min(size, (end - start) // self.step)
            yield start, count
            start += count * self.step
            if found:  # an exchange that skips to its first candle has answered for all before it
                start = max(start, max(found) + self.step)

    def covered_since(self, kept: Sequence[Candle]) -> int:
        """Return from when on *kept*, the answer, has every candle there is."""
        if self.profile.max_history is not None:
            return min(max(self.since, self.horizon), self.until)
        if self.profile.whole_history:
            return self.since
        # Of an exchange that we do not know, only what it gave is sure.
        return kept[0][0] if kept else self.until
