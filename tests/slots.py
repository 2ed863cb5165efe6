"""Slots made up for tests of L1, and what must hold of a cache of them at any moment."""

from __future__ import annotations

import os

import msgspec

from cache_ext.codec.entries import FORMAT
from cache_ext.entry import Entry, new_stamp
from cache_ext.reading.arrivals import ARRIVAL_BYTES
from cache_ext.reading.slot import Slot

LARGE = 1 << 30
NEVER_OVER = 1e12
"""Seconds on the monotonic clock: of a slot that a test does not want to expire."""


def slot(key="k", size=100, tags=(), epoch=b"e", token=None, loaded=NEVER_OVER):
    """Return a slot with a payload of *size* bytes, which lives for 60 s since it was *loaded*."""
    payload = msgspec.Raw(os.urandom(size))
    credentials = tuple((tag, epoch, counter) for tag, counter in tags)
    entry = Entry(FORMAT, token or new_stamp(), b"e", 0, 60_000, 0, 5, credentials, False, payload)
    return Slot(key, entry, loaded, 0, lambda: None)


def assert_whole(cache):
    """Compare what *cache* counts and indexes with what is there."""
    shelf = cache._shelf
    slots, ranking, deadlines = shelf.slots, shelf._ranking, shelf._deadlines
    assert all(key == each.key for key, each in slots.items())
    assert cache._shelf._bytes == sum(each.size for each in slots.values())
    arrivals = shelf.arrivals
    assert arrivals.waiting.keys() == arrivals._batches.keys()
    assert slots.keys().isdisjoint(arrivals.waiting)
    assert arrivals.bytes == sum(
        len(key) + len(blob) + ARRIVAL_BYTES for key, blob in arrivals.waiting.items()
    )
    taken = shelf._bytes + ranking.bytes + deadlines.bytes + arrivals.bytes
    assert cache.sizes() == (len(slots) + len(arrivals.waiting), taken)
    tags = {(tag, key) for key, each in slots.items() for tag, _, _ in each.entry.tags}
    assert {(tag, key) for tag, keys in cache._shelf._by_tag.items() for key in keys} == tags
    assert all(cache._shelf._by_tag.values())
    ranked = {key for _, number, key in ranking._tickets if key in slots and slots[key].ticket == number}
    assert sorted([*ranking._queue, *ranked]) == sorted(slots)
    assert ranking._queue_bytes == sum(slots[key].size for key in ranking._queue)
    assert not any(slots[key].ticket for key in ranking._queue)
    assert len(ranking._tickets) <= 1.25 * (len(ranked) + 1) + 8 + 1
    assert {(each.stale_until, key) for key, each in slots.items()} <= set(deadlines._deadlines)
    assert len(deadlines._deadlines) <= 1.25 * (len(slots) + 1) + 8
