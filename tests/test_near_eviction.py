"""What makes room in L1: hit ratios on seeded courses of requests, and the rules that they come from."""

from __future__ import annotations

from array import array

import pytest

from benchmarks.eviction import ratios
from benchmarks.keepers import Lru, Near
from benchmarks.traces import Mix, Trace
from cache_ext.reading.eviction import Ghosts, Ranking
from cache_ext.reading.expiry import Deadlines
from cache_ext.reading.near import NearCache
from tests.slots import slot

KEYS, LENGTH = 2_000, 20_000


def points(skew, mix, share):
    """Return by how many points, of hits per request, ours is better than the least recently used."""
    trace = Trace(skew, KEYS, LENGTH, mix)
    return 100 * (ratios(Near, trace, share)[0] - ratios(Lru, trace, share)[0])


@pytest.mark.parametrize(
    ("skew", "mix", "share", "margin"),
    [
        (0.9, Mix(scan_every=500), 0.1, 5),
        (0.9, Mix(scan_every=500), 0.05, 6),
        (0.7, Mix(scan_every=500, mixed=True), 0.1, 12),
        (0.9, Mix(scan_every=500, mixed=True), 0.1, 11),
        (1.2, Mix(scan_every=500, mixed=True), 0.05, 7),
        (0.9, Mix(shifts=5, mixed=True), 0.1, 5),
        (0.9, Mix(invalidate_every=50), 0.1, 1),
    ],
)
def test_it_beats_lru_by_a_margin(skew, mix, share, margin):
    """With scans, mixed sizes, shifts or invalidations it has so many points more, its own books paid for."""
    assert points(skew, mix, share) > margin


@pytest.mark.parametrize("mix", [Mix(shifts=5), Mix(expiring=True, rate=50.0), Mix(expiring=True, rate=10.0)])
def test_it_is_not_much_below_lru_where_lru_is_at_home(mix):
    """When all that counts is what was asked for last, what ours loses is what its books take."""
    assert points(0.9, mix, 0.1) > -2


def test_a_scan_pushes_out_nothing_that_was_asked_for_twice():
    """However many keys pass that nobody asks for again."""
    cache = NearCache(100 * slot("k000").size)
    kept = [f"k{number:03}" for number in range(60)]
    for key in kept:
        cache.put(slot(key), cache.mark())
        cache.get(key)
    for number in range(5_000):
        cache.put(slot(f"scan{number}"), cache.mark())
    assert [key for key in kept if not cache.get(key)] == []


def test_who_comes_back_soon_is_ranked_at_once():
    """A key that had to go and is wanted again does not pass probation a second time."""
    cache = NearCache(20 * slot("k00").size)
    for number in range(30):
        cache.put(slot(f"k{number:02}"), cache.mark())
    assert cache.get("k05") is None
    cache.put(slot("k05"), cache.mark())
    assert cache._shelf.slots["k05"].ticket > 0
    for number in range(500):
        cache.put(slot(f"scan{number}"), cache.mark())
    assert cache.get("k05") is not None


def test_what_was_in_demand_is_so_after_its_invalidation():
    """Loaded anew it is ranked at once; what nobody had asked for is not."""
    cache = NearCache(1 << 20)
    for key in ("asked", "unasked"):
        cache.put(slot(key, tags=[("t", 1)]), cache.mark())
    cache.get("asked")
    cache.invalidate(["t"])
    for key in ("asked", "unasked"):
        cache.put(slot(key), cache.mark())
    assert cache._shelf.slots["asked"].ticket > 0
    assert cache._shelf.slots["unasked"].ticket == 0


def ranked(*sizes):
    """Return a ranking of slots of *sizes*, all asked for, and the slots."""
    slots = {}
    ranking = Ranking(slots, 1)
    for number, size in enumerate(sizes):
        each = slots[f"k{number}"] = slot(f"k{number}", size)
        ranking.enter(each)
        each.asked = True
    return ranking, slots


def evict(ranking, slots):
    """Let the next one go; return its key."""
    gone = ranking.evict()
    del slots[gone.key]
    return gone.key


def test_the_large_go_before_the_small_and_equals_in_turn():
    """Each byte has to earn its place."""
    ranking, slots = ranked(100, 5_000, 100, 50_000)
    assert [evict(ranking, slots) for _ in range(4)] == ["k3", "k1", "k0", "k2"]
    assert ranking.evict() is None


def test_who_was_asked_for_is_ranked_anew():
    """A hit is noted when its slot's turn comes, and saves it for another round."""
    ranking, slots = ranked(100, 100, 100)
    assert evict(ranking, slots) == "k0"
    slots["k1"].asked = True
    assert [evict(ranking, slots) for _ in range(2)] == ["k2", "k1"]


def test_small_and_idle_goes_at_last():
    """Age catches up with what is small but was long not asked for."""
    ranking, slots = ranked(10)
    for number in range(100):
        each = slots[f"new{number}"] = slot(f"new{number}", 5_000)
        ranking.enter(each)
        each.asked = True
        gone = evict(ranking, slots) if len(slots) > 3 else None
        if gone == "k0":
            break
    assert "k0" not in slots
    assert number > 5


def test_ghosts_take_the_bytes_that_they_say():
    """A table that follows what is asked of it; keys that were never added are not found."""
    ghosts = Ghosts()
    assert (ghosts.take("k"), ghosts.bytes) == (False, 0)
    for number in range(1_000):
        ghosts.add(f"k{number}", 1_000)
    assert ghosts.bytes == 1_000 * array("I").itemsize
    assert not any(ghosts.take(f"other{number}") for number in range(1_000))
    assert 500 < sum(ghosts.take(f"k{number}") for number in range(1_000)) < 800
    assert not ghosts.take("k999")
    ghosts.add("few", 10)
    assert ghosts.bytes == 10 * array("I").itemsize
    assert ghosts.take("few")


def test_deadlines_give_the_ended_once_and_the_living_never():
    """In the order in which they end; a slot that was put anew counts by its new end."""
    slots = {}
    deadlines = Deadlines(slots)
    for key, loaded in (("b", 20.0), ("a", 10.0), ("c", 30.0), ("a", 40.0)):
        slots[key] = slot(key, loaded=loaded)
        deadlines.add(slots[key])
    assert deadlines.past(79.9) is None
    found = deadlines.past(95.0)
    assert found is slots.pop("b")
    assert deadlines.past(95.0) is slots.pop("c")
    assert deadlines.past(95.0) is None
    assert deadlines.past(100.0) is slots["a"]
