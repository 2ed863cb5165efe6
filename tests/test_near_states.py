"""L1 under any course of events, and under many threads: it holds what it may, and its books are right."""

from __future__ import annotations

import random
import sys
import threading
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cache_ext.entry import Version
from cache_ext.reading.near import NearCache
from cache_ext.reading.slot import Slot
from cache_ext.testing import FakeClock
from tests.slots import assert_whole, slot

KNOWN = [f"k{number}" for number in range(12)]
KEYS = st.sampled_from(KNOWN)
TAGS = st.sampled_from("abc")
COUNTERS = st.integers(1, 4)
LIFE = 60.0
BOUND = 20_000


class Ready(NamedTuple):
    """A batch whose slots are made already."""

    mark: int
    made: dict[str, Slot]

    def slot(self, key, blob):
        """Return the slot of *key*."""
        return self.made[key]


class Course(RuleBasedStateMachine):
    """Does anything to an L1 and notes what may be in it, and what must."""

    @initialize(bound=st.sampled_from([0, 1_500, 6_000, BOUND, 1 << 20]))
    def begin(self, bound):
        """Start with nothing."""
        self.clock = FakeClock()
        self.bound = bound
        self.evicted = set()
        self.kept = {}
        self.cache = NearCache(bound, self.clock.monotonic, lambda key, size: self.evicted.add(key))
        self.started = self.cache.mark()
        self.names_since = set()

    @rule(key=KEYS, size=st.sampled_from([10, 300, 3_000]), tags=st.dictionaries(TAGS, COUNTERS, max_size=2))
    def put(self, key, size, tags):
        """Put what was read just now."""
        made = slot(key, size, tags.items(), loaded=self.clock.monotonic())
        self.evicted.discard(key)
        assert self.cache.put(made, self.cache.mark())
        self.kept[key] = made

    @rule(key=KEYS, tags=st.dictionaries(TAGS, COUNTERS, max_size=2))
    def put_late(self, key, tags):
        """Put what was asked for at the beginning, or the last clear; refused, it takes the former along."""
        made = slot(key, 50, tags.items(), loaded=self.clock.monotonic())
        kept = self.cache.put(made, self.started)
        assert kept == self.names_since.isdisjoint({key, *tags})
        if kept:
            self.evicted.discard(key)
            self.kept[key] = made
        else:
            self.kept.pop(key, None)

    @rule(keys=st.lists(KEYS, unique=True), size=st.sampled_from([10, 2_000]))
    def put_all(self, keys, size):
        """Put a batch."""
        made = [slot(key, size, loaded=self.clock.monotonic()) for key in keys]
        self.evicted.difference_update(keys)
        self.cache.put_all(made, self.cache.mark())
        self.kept.update(zip(keys, made, strict=True))

    @rule(keys=st.lists(KEYS, unique=True), size=st.sampled_from([10, 2_000]))
    def expect(self, keys, size):
        """Have a batch arrive."""
        made = {key: slot(key, size, loaded=self.clock.monotonic()) for key in keys}
        self.evicted.difference_update(keys)
        self.cache.expect(dict.fromkeys(keys, bytes(size)), Ready(self.cache.mark(), made))
        self.kept.update(made)

    @rule(key=KEYS, size=st.sampled_from([10, 3_000]))
    def settle(self, key, size):
        """Let a slot hold more."""
        known = self.kept.get(key)
        if known is not None:
            self.cache.settle(key, known.take, lambda: None, size)

    @rule(key=KEYS)
    def read(self, key):
        """Get the newest or nothing."""
        found = self.cache.get(key)
        assert found is None or found is self.kept[key]

    @rule(tag=TAGS, counter=st.none() | COUNTERS)
    def invalidate(self, tag, counter):
        """Invalidate a tag, here or as heard."""
        self.cache.invalidate([tag], None if counter is None else Version(b"e", counter))
        self.names_since.add(tag)
        for key, each in list(self.kept.items()):
            if any(name == tag and (counter is None or made < counter) for name, _, made in each.entry.tags):
                del self.kept[key]

    @rule(tag=TAGS)
    def soften(self, tag):
        """Let a tag's slots be stale."""
        self.cache.soften([tag], self.clock.monotonic())
        for each in self.kept.values():
            if tag in each.entry.versions and self.cache.get(each.key) is each:
                assert each.fresh_until <= self.clock.monotonic()

    @rule(key=KEYS)
    def delete(self, key):
        """Delete a key."""
        there = self.cache.get(key) is not None
        assert self.cache.delete([key]) == there
        self.names_since.add(key)
        self.kept.pop(key, None)

    @rule(key=KEYS)
    def replace(self, key):
        """Hear that another process stored something newer."""
        self.cache.replaced(key, b"another!")
        self.names_since.add(key)
        self.kept.pop(key, None)

    @rule()
    def clear(self):
        """Drop everything."""
        self.cache.clear()
        assert self.cache.sizes() == (0, 0)
        self.kept.clear()
        self.started, self.names_since = self.cache.mark(), set()

    @rule(seconds=st.sampled_from([1.0, 61.0]))
    def wait(self, seconds):
        """Let slots expire."""
        self.clock.advance(seconds)

    @invariant()
    def all_is_well(self):
        """The bound holds, the books are right, and what is missing went for a reason."""
        if not hasattr(self, "cache"):
            return
        assert_whole(self.cache)
        assert self.cache.sizes()[1] <= self.bound
        held = self.cache.held(KNOWN)
        assert [
            key for key in held - self.kept.keys() if self.cache.get(key)
        ] == []  # arrivals that came to nothing
        for key in self.kept.keys() - held:
            over = self.kept[key].stale_until <= self.clock.monotonic()
            assert over or key in self.evicted or self.kept[key].size + 200 > self.bound


Course.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestCourse = Course.TestCase


def hammer(cache, seed, rounds, failures):
    """Do anything to *cache*, in an order that *seed* decides."""
    draw = random.Random(seed)
    try:
        for _ in range(rounds):
            key, tag = f"k{draw.randrange(80)}", f"t{draw.randrange(8)}"
            what = draw.random()
            if what < 0.45:
                found = cache.get(key)
                assert found is None or found.key == key
            elif what < 0.9:
                made = slot(key, draw.choice((20, 400, 2_000)), [(tag, 1), ("all", 1)])
                if what < 0.7:
                    cache.put(made, cache.mark())
                else:
                    cache.expect({key: bytes(10)}, Ready(cache.mark(), {key: made}))
            elif what < 0.94:
                cache.invalidate([tag])
            elif what < 0.97:
                cache.delete([key])
            elif what < 0.98:
                cache.soften([tag], 1.0)
            elif what < 0.995:
                cache.replaced(key, b"another!")
            else:
                cache.clear()
            assert cache.sizes()[1] <= BOUND
    except BaseException as error:
        failures.append(error)
        raise


def test_threads_that_do_everything_at_once_leave_the_books_right():
    """No update is lost, however calls of many threads interleave."""
    gone = []
    cache = NearCache(BOUND, evicted=lambda key, size: gone.append(size))
    failures = []
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [
            threading.Thread(target=hammer, args=(cache, seed, 1_500, failures), daemon=True)
            for seed in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(before)
    assert failures == []
    assert gone
    assert_whole(cache)
    assert cache.sizes()[1] <= BOUND
    cache.clear()
    assert cache.sizes() == (0, 0)
