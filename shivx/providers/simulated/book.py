"""The order book: levels on an absolute price grid whose places and sizes are hashes of price and time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shivx.models import Level
from shivx.providers.simulated.chance import Bits, hash_bits, stream_key, uniform
from shivx.providers.simulated.listing import Listing
from shivx.providers.simulated.numerals import all_digits
from shivx.providers.simulated.patterns import Integers

SLOTS_OF_LIFE = 24  # an order rests for so many slots of the tape (two minutes)

_CELL_OF_PRICE = 2e-5  # each cell of this width, relative to the reference price, has one level a side
_TOUCH_OF_PRICE = 1.5e-5  # the best prices are at most so far from the last trade
_SMALLEST_SIZE, _SIZE_TAIL = 0.2, 1.02  # of (0.2 + u) / (1.02 - u): 0.2 to 60, half of all below 1.4


@dataclass(frozen=True)
class Depth:
    """Prices in ticks, strictly descending for bids and ascending for asks, and sizes in units."""

    prices: Integers
    sizes: Integers

    def levels(self, listing: Listing) -> tuple[Level, ...]:
        """Return them in the digits of *listing*."""
        prices = all_digits(self.prices.tolist(), listing.price_decimals)
        return tuple(zip(prices, all_digits(self.sizes.tolist(), listing.amount_decimals), strict=True))


class Book:
    """The books of one pair.

    Args:
        listing: the pair.
        seed: of the market.
    """

    def __init__(self, listing: Listing, seed: int) -> None:
        self._usual_amount = listing.usual_amount
        self._cell = max(1, int(listing.reference * _CELL_OF_PRICE))
        self._touch_key = stream_key(seed, "touch", listing.pair)
        self._place_key = stream_key(seed, "place", listing.pair)
        self._size_key = stream_key(seed, "size", listing.pair)
        self._life_key = stream_key(seed, "life", listing.pair)

    def touch(self, last: int, slot: int) -> tuple[int, int]:
        """Return the best bid and ask, in ticks, given the *last* trade's price: one below, one above."""
        reach = np.uint64(max(1, int(last * _TOUCH_OF_PRICE)))
        sides = np.array([2 * slot, 2 * slot + 1], dtype=np.uint64)
        below, above = (hash_bits(self._touch_key, sides) % reach + np.uint64(1)).tolist()
        return max(1, last - below), last + above

    def bids(self, last: int, slot: int, depth: int) -> Depth:
        """Return the best *depth* bids, fewer if prices end before."""
        best, _ = self.touch(last, slot)
        below = best // self._cell - 1
        cells = np.arange(below, max(-1, below - depth + 1), -1, dtype=np.int64)
        prices = self._places(cells, slot)
        return self._sized(best, prices[prices > 0], slot)

    def asks(self, last: int, slot: int, depth: int) -> Depth:
        """Return the best *depth* asks."""
        _, best = self.touch(last, slot)
        above = best // self._cell + 1
        return self._sized(best, self._places(np.arange(above, above + depth - 1), slot), slot)

    def _places(self, cells: Integers, slot: int) -> Integers:
        """Return the price of the order that rests in each of *cells*."""
        counters = cells.astype(np.uint64)
        drawn = hash_bits(self._place_key ^ self._lives(counters, slot), counters)
        return cells * self._cell + (drawn % np.uint64(self._cell)).astype(np.int64)

    def _sized(self, best: int, others: Integers, slot: int) -> Depth:
        prices = np.concatenate([np.array([best], dtype=np.int64), others])
        counters = prices.astype(np.uint64)
        chance = uniform(hash_bits(self._size_key ^ self._lives(counters, slot), counters))
        sizes = np.floor((chance + _SMALLEST_SIZE) / (_SIZE_TAIL - chance) * self._usual_amount)
        return Depth(prices, sizes.astype(np.int64) + 1)

    def _lives(self, counters: Bits, slot: int) -> Bits:
        """Return a number for each of *counters* that changes every `SLOTS_OF_LIFE`, not all at once."""
        phases = hash_bits(self._life_key, counters) % np.uint64(SLOTS_OF_LIFE)
        return (phases + np.uint64(slot)) // np.uint64(SLOTS_OF_LIFE)
