"""L1: bounded in bytes that are honestly counted, asked without a lock, and refusing what is too old."""

from __future__ import annotations

import gc
import threading
import tracemalloc

import pytest

from cache_ext.entry import Version
from cache_ext.reading import remembered
from cache_ext.reading.near import NearCache
from cache_ext.testing import FakeClock
from tests.slots import LARGE, assert_whole, slot


def test_the_bound_holds():
    """However much is put, the bytes stay below the bound, and are of what is there and its order."""
    cache = NearCache(20_000)
    for number in range(500):
        cache.put(slot(f"k{number}", size=number), cache.mark())
        assert cache.sizes()[1] <= 20_000
    assert_whole(cache)
    assert 10 < cache.sizes()[0] < 50


@pytest.mark.parametrize("how", ["invalidate", "delete", "drop"])
def test_the_bound_holds_when_slots_go(how):
    """What is remembered of a slot that was invalidated takes no room that is not there."""
    cache = NearCache(1_000_000)
    number = 0
    while cache.sizes()[1] < 999_000:
        cache.put(slot(f"k{number}", tags=[("t", 1)] if number == 7 else ()), cache.mark())
        cache.get(f"k{number}")
        number += 1
    cache.drop("k7") if how == "drop" else getattr(cache, how)(["t" if how == "invalidate" else "k7"])
    assert cache.get("k7") is None
    assert cache.sizes()[1] <= 1_000_000


def test_putting_a_key_again_counts_it_once():
    """The former slot's bytes are given back."""
    cache = NearCache(LARGE)
    for _ in range(10):
        cache.put(slot("k", tags=[("t", 1)]), cache.mark())
    assert (cache._shelf._bytes, len(cache._slots)) == (cache.get("k").size, 1)
    assert_whole(cache)


def test_what_is_larger_than_the_bound_is_not_kept():
    """And does not push out everything else; an older slot of that key goes all the same."""
    cache = NearCache(5_000)
    cache.put(slot("other"), cache.mark())
    cache.put(slot("k"), cache.mark())
    cache.put(slot("k", size=6_000), cache.mark())
    assert cache.get("k") is None
    assert cache.get("other") is not None


def test_reading_keeps_a_slot():
    """What was asked for stays, what was not goes, though it came later."""
    cache = NearCache(4_000)
    for key in "abcdefgh":
        cache.put(slot(key), cache.mark())
        cache.get("a")
    assert cache.get("a") is not None
    assert cache.get("h") is not None
    assert [key for key in "bcde" if cache.get(key)] == []


def test_a_hit_takes_no_lock():
    """A read does not wait for whoever changes something."""
    cache = NearCache(LARGE)
    cache.put(slot(), cache.mark())
    found = []
    reader = threading.Thread(target=lambda: found.append(cache.get("k")), daemon=True)
    with cache._lock:
        reader.start()
        reader.join(5)
        assert len(found) == 1


def test_what_is_past_all_use_goes_first():
    """Who may not even be served stale makes room before anyone else, and is not evicted but expired."""
    clock, gone = FakeClock(), []
    cache = NearCache(4 * (slot().size + 200), clock.monotonic, lambda key, size: gone.append(key))
    cache.put(slot("old", loaded=clock.monotonic() - 55), cache.mark())
    cache.put(slot("young", loaded=clock.monotonic()), cache.mark())
    cache.get("old")
    clock.advance(10)
    for key in ("new", "newer", "newest"):
        cache.put(slot(key, loaded=clock.monotonic()), cache.mark())
    assert [key for key in ("old", "young", "new", "newer", "newest") if cache.get(key)] == [
        "young",
        "new",
        "newer",
        "newest",
    ]
    assert gone == []


def test_who_made_room_is_told_with_no_lock_held():
    """The callable gets each key and size, and may use the cache."""
    gone = []

    def evicted(key, size):
        assert not cache._lock.locked()
        gone.append((key, size, cache.get(key)))
        cache.delete([key])

    cache = NearCache(3_000, evicted=evicted)
    one = slot("k0").size
    for number in range(6):
        cache.put(slot(f"k{number}"), cache.mark())
    assert gone == [(f"k{number}", one, None) for number in range(6 - cache.sizes()[0])]
    cache.delete(["k5"])
    cache.invalidate(["t"])
    cache.clear()
    assert len(gone) < 6


def test_what_a_slot_comes_to_hold_counts():
    """Bytes that it holds later are added wherever its place is, and may cost others theirs."""
    cache = NearCache(10 * slot("k0").size)
    for number in range(8):
        cache.put(slot(f"k{number}"), cache.mark())
    kept = cache.get("k7")
    cache.settle("k7", kept.take, lambda: None, 2_000)
    assert_whole(cache)
    assert cache.sizes()[1] <= 10 * slot("k0").size
    assert cache.get("k0") is None


def test_a_cache_of_no_bytes_keeps_nothing():
    """0 turns L1 off."""
    cache = NearCache(0)
    cache.put(slot(), cache.mark())
    assert cache.get("k") is None


@pytest.mark.parametrize("share", [1, 0.5], ids=["roomy", "full"])
@pytest.mark.parametrize(
    ("count", "size", "tags"), [(3000, 20, 0), (3000, 20, 2), (2000, 300, 5), (300, 20_000, 1)]
)
def test_the_counted_bytes_are_honest(count, size, tags, share):
    """What is counted is what is taken, within an eighth, whatever sizes and tags, full or not."""
    cache = NearCache(int(share * count * (size + 1_000 + 430 * tags)))
    gc.collect()
    tracemalloc.start()
    for number in range(count):
        names = [(f"tag:{number}:{n}", 1) for n in range(tags)]
        cache.put(slot(f"key:{number}", size, names), cache.mark())
        cache.get(f"key:{number - number % 3}")
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert cache.sizes()[1] == pytest.approx(taken, rel=0.125)
    assert (cache.sizes()[0] == count) == (share == 1)


@pytest.mark.parametrize(
    "event",
    [
        lambda cache: cache.invalidate(["t"]),
        lambda cache: cache.invalidate(["t"], Version(b"e", 5)),
        lambda cache: cache.delete(["k"]),
        lambda cache: cache.clear(),
        lambda cache: cache.replaced("k", b"other"),
    ],
    ids=["tag", "numbered", "key", "clear", "replaced"],
)
def test_what_started_before_an_event_is_refused(event):
    """A slot whose names were touched after its mark is not kept; one that started later is."""
    cache = NearCache(LARGE)
    mark = cache.mark()
    event(cache)
    assert not cache.put(slot(tags=[("t", 3)]), mark)
    assert cache.get("k") is None
    assert cache.put(slot(tags=[("t", 3)]), cache.mark())


def test_events_of_other_names_refuse_nothing():
    """Only its own names concern a slot."""
    cache = NearCache(LARGE)
    mark = cache.mark()
    cache.invalidate(["other"])
    cache.delete(["others"])
    cache.replaced("another", b"x")
    assert cache.put(slot(tags=[("t", 3)]), mark)


def test_a_load_does_not_overtake_itself():
    """The message of one's own fill does not refuse one's own slot."""
    cache = NearCache(LARGE)
    mark, mine = cache.mark(), slot()
    cache.replaced("k", mine.entry.token)
    assert cache.put(mine, mark)
    cache.replaced("k", mine.entry.token)
    assert cache.get("k") is mine


def test_a_late_message_of_what_was_there_before_does_not_bring_it_back():
    """The message of one's own former fill may refuse the newer slot; it must not leave the older one."""
    cache = NearCache(LARGE)
    older = slot()
    cache.put(older, cache.mark())
    mark = cache.mark()
    cache.replaced("k", older.entry.token)
    assert not cache.put(slot(), mark)
    assert cache.get("k") is None


@pytest.mark.parametrize("kind", ["invalidate", "delete", "replaced"])
def test_more_names_than_are_remembered_refuse_too_much_rather_than_too_little(monkeypatch, kind):
    """When a name is forgotten, everything that started before it was touched is refused."""
    monkeypatch.setattr(remembered, "_REMEMBERED", 10)
    cache = NearCache(LARGE)
    mark = cache.mark()
    for name in ("t" if kind == "invalidate" else "k", *map(str, range(20))):
        cache.replaced(name, b"x") if kind == "replaced" else getattr(cache, kind)([name])
    assert not cache.put(slot(tags=[("t", 3)]), mark)
    assert cache.put(slot(tags=[("t", 3)]), cache.mark())


def test_an_invalidation_spares_what_was_made_after_it():
    """A late message leaves slots of its own or a later version; another epoch has no order."""
    cache = NearCache(LARGE)
    for key, counter, epoch in (("older", 4, b"e"), ("same", 5, b"e"), ("later", 6, b"e"), ("odd", 9, b"f")):
        cache.put(slot(key, tags=[("t", counter)], epoch=epoch), cache.mark())
    cache.invalidate(["t"], Version(b"e", 5))
    assert [key for key in ("older", "same", "later", "odd") if cache.get(key)] == ["same", "later"]


def test_the_index_of_tags_does_not_leak():
    """However slots go, nothing of them stays."""
    cache = NearCache(20 * slot(tags=[("a", 1), ("b", 1)]).size)
    for number in range(200):
        cache.put(slot(f"k{number}", tags=[(f"a{number}", 1), ("b", 1)]), cache.mark())
    assert len(cache._shelf._by_tag) == len(cache._slots) + 1
    assert_whole(cache)
    cache.delete([f"k{number}" for number in range(195)])
    cache.invalidate(["b"])
    assert cache.sizes()[0] == 0
    assert_whole(cache)


def test_hostile_repetitions_of_a_tag_do_no_harm():
    """An entry that names a tag twice comes and goes like any other."""
    cache = NearCache(LARGE)
    cache.put(slot(tags=[("t", 1), ("t", 2)]), cache.mark())
    cache.invalidate(["t"], Version(b"e", 2))
    cache.delete(["k"])
    assert cache.sizes()[0] == 0
    assert_whole(cache)


def test_what_orders_slots_does_not_leak():
    """Keys that come and go, in whatever way, leave little behind, which counts; a clear leaves nothing."""
    cache = NearCache(LARGE)
    for number in range(5_000):
        key = f"k{number % 50}"
        cache.put(slot(key, tags=[("t", 1)]), cache.mark())
        cache.get(key)
        if number % 3 == 0:
            cache.delete([key])
        if number % 70 == 0:
            cache.invalidate(["t"])
    assert_whole(cache)
    assert cache.sizes()[1] < 50 * slot("k", tags=[("t", 1)]).size + 40_000
    cache.clear()
    assert cache.sizes() == (0, 0)
