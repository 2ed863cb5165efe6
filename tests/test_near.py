"""L1: bounded in bytes that are honestly counted, least recently used first, and refusing what is too old."""

from __future__ import annotations

import gc
import os
import tracemalloc

import msgspec
import pytest

from cache_ext.codec.entries import FORMAT
from cache_ext.entry import Entry, Version, new_stamp
from cache_ext.reading import near as near_module
from cache_ext.reading.near import NearCache
from cache_ext.reading.slot import Slot

LARGE = 1 << 30


def slot(key="k", size=100, tags=(), epoch=b"e", token=None):
    """Return a slot with a payload of *size* bytes."""
    payload = msgspec.Raw(os.urandom(size))
    credentials = tuple((tag, epoch, counter) for tag, counter in tags)
    entry = Entry(FORMAT, token or new_stamp(), b"e", 0, 60_000, 0, 5, credentials, False, payload)
    return Slot(key, entry, 0.0, 0, lambda: None)


def test_the_bound_holds():
    """However much is put, the bytes stay below the bound, and are those of what is there."""
    cache = NearCache(20_000)
    for number in range(500):
        cache.put(slot(f"k{number}", size=number), cache.mark())
        assert cache.sizes()[1] <= 20_000
    count, size = cache.sizes()
    assert size == sum(cache.get(f"k{n}").size for n in range(500) if cache.get(f"k{n}"))
    assert 10 < count < 50


def test_putting_a_key_again_counts_it_once():
    """The former slot's bytes are given back."""
    cache = NearCache(LARGE)
    for _ in range(10):
        cache.put(slot("k", tags=[("t", 1)]), cache.mark())
    assert cache.sizes() == (1, cache.get("k").size)


def test_what_is_larger_than_the_bound_is_not_kept():
    """And does not push out everything else; an older slot of that key goes all the same."""
    cache = NearCache(5_000)
    cache.put(slot("other"), cache.mark())
    cache.put(slot("k"), cache.mark())
    cache.put(slot("k", size=6_000), cache.mark())
    assert cache.get("k") is None
    assert cache.get("other") is not None


def test_the_least_recently_used_goes_first():
    """Reading keeps a slot."""
    one = slot("a").size
    cache = NearCache(3 * one)
    for key in "abc":
        cache.put(slot(key), cache.mark())
    cache.get("a")
    cache.put(slot("d"), cache.mark())
    assert [key for key in "abcd" if cache.get(key)] == ["a", "c", "d"]


def test_a_cache_of_no_bytes_keeps_nothing():
    """0 turns L1 off."""
    cache = NearCache(0)
    cache.put(slot(), cache.mark())
    assert cache.get("k") is None


@pytest.mark.parametrize(
    ("count", "size", "tags"), [(3000, 20, 0), (3000, 20, 2), (2000, 300, 5), (300, 20_000, 1)]
)
def test_the_counted_bytes_are_honest(count, size, tags):
    """What slots are counted with is what they take, within a quarter, whatever their size and tags."""
    cache = NearCache(LARGE)
    gc.collect()
    tracemalloc.start()
    for number in range(count):
        names = [(f"tag:{number}:{n}", 1) for n in range(tags)]
        cache.put(slot(f"key:{number}", size, names), cache.mark())
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert cache.sizes()[1] == pytest.approx(taken, rel=0.25)


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


@pytest.mark.parametrize("kind", ["invalidate", "delete", "replaced"])
def test_more_names_than_are_remembered_refuse_too_much_rather_than_too_little(monkeypatch, kind):
    """When a name is forgotten, everything that started before it was touched is refused."""
    monkeypatch.setattr(near_module, "_REMEMBERED", 10)
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
    assert len(cache._by_tag) == len(cache._slots) + 1
    cache.delete([f"k{number}" for number in range(195)])
    cache.invalidate(["b"])
    assert (cache._by_tag, cache.sizes()) == ({}, (0, 0))


def test_hostile_repetitions_of_a_tag_do_no_harm():
    """An entry that names a tag twice comes and goes like any other."""
    cache = NearCache(LARGE)
    cache.put(slot(tags=[("t", 1), ("t", 2)]), cache.mark())
    cache.invalidate(["t"], Version(b"e", 2))
    cache.delete(["k"])
    assert (cache._by_tag, cache.sizes()) == ({}, (0, 0))
