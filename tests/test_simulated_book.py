"""Order books of the simulated exchange: ordered, around the last price, on a grid that stays."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from shivx.providers.simulated.book import Book
from shivx.providers.simulated.listing import LISTINGS
from tests.simulated import BUSY, DAY_MS, NOON, PAIRS, SLOT_MS, TINY, SimulatedMarket

MARKET = SimulatedMarket()
moments = st.integers(NOON - 3000 * DAY_MS, NOON + 3000 * DAY_MS)
pairs = st.sampled_from(PAIRS)


@settings(max_examples=40, deadline=None)
@given(pair=pairs, now_ms=moments, depth=st.integers(1, 500))
def test_book_is_ordered_around_the_last_price(pair, now_ms, depth):
    """Bids fall, asks rise, and the last price lies strictly between the best two; no level is empty."""
    MARKET.now_ms = now_ms
    book = MARKET.book(pair, depth)
    bids, asks = ([Decimal(price) for price, _ in side] for side in (book.bids, book.asks))
    assert all(a > b for a, b in pairwise(bids))
    assert all(a < b for a, b in pairwise(asks))
    assert bids[0] < Decimal(MARKET.trades(pair, 1).trades[0].price) < asks[0]
    assert len(asks) == depth
    assert len(bids) == depth or 0 < bids[-1] < asks[0] - bids[0]
    assert all(Decimal(amount) > 0 for _, amount in book.bids + book.asks)


@settings(max_examples=30, deadline=None)
@given(pair=pairs, now_ms=moments)
def test_ticker_quotes_the_top_of_the_book(pair, now_ms):
    """The ticker's bid and ask are the first levels of the book."""
    MARKET.now_ms = now_ms
    book, ticker = MARKET.book(pair, 1), MARKET.ticker(pair)
    assert (ticker.bid, ticker.ask) == (book.bids[0][0], book.asks[0][0])


@settings(max_examples=30, deadline=None)
@given(pair=pairs, now_ms=moments, depth=st.integers(1, 499))
def test_shallow_book_is_the_top_of_the_deep_one(pair, now_ms, depth):
    """The depth asked for changes nothing in the levels given."""
    MARKET.now_ms = now_ms
    deep, shallow = MARKET.book(pair, 500), MARKET.book(pair, depth)
    assert (shallow.bids, shallow.asks) == (deep.bids[:depth], deep.asks[:depth])


@settings(max_examples=40, deadline=None)
@given(pair=pairs, slot=st.integers(NOON // SLOT_MS - 10**7, NOON // SLOT_MS), move=st.integers(-300, 300))
def test_level_keeps_its_size_while_the_price_moves(pair, slot, move):
    """In one slot a price has one size, wherever the last trade was; all but the best levels stay."""
    listing = LISTINGS[pair]
    book = Book(listing, seed=1)
    last = int(listing.reference)
    for side in (book.bids, book.asks):
        here = dict(zip(*(part.tolist() for part in vars(side(last, slot, 400)).values()), strict=True))
        there = dict(
            zip(*(part.tolist() for part in vars(side(last + move, slot, 400)).values()), strict=True)
        )
        shared = here.keys() & there.keys()
        assert all(here[price] == there[price] for price in shared)
        assert len(shared) >= 400 - 2 - abs(move)


def test_levels_rest_for_a_while_and_not_for_ever():
    """From one slot to the next most of the book rests; after ten minutes its prices and sizes are new."""
    book, last, slot = Book(LISTINGS[BUSY], seed=1), 6_800_000, NOON // SLOT_MS

    def levels(at: int) -> dict[int, int]:
        depth = book.asks(last, at, 200)
        return dict(zip(depth.prices.tolist(), depth.sizes.tolist(), strict=True))

    before = levels(slot)
    assert len(before.items() & levels(slot + 1).items()) > 150
    assert len(before.keys() & levels(slot + 120).keys()) < 20


def test_bids_end_above_zero():
    """At the lowest price there can be, the only bid is one tick."""
    book = Book(LISTINGS[TINY], seed=1)
    assert book.bids(last=2, slot=NOON // SLOT_MS, depth=500).prices.tolist() == [1]
    assert len(book.asks(last=2, slot=NOON // SLOT_MS, depth=500).prices) == 500
