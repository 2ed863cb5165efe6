"""An invalidation that passes while a load is under way kills that load's result, at whatever step it passes.

Each test stops a load (a miss, a batch, an early refresh, a refresh behind a stale answer, a `set`) at one
step, invalidates in one of several ways from one of several places, lets the load go on, and then looks
from a process that has nothing of its own, from the one that loaded, and from one that had a copy.
"""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from cache_ext import MISS, CachePolicy, Receipt
from cache_ext.coherence.backplane import BOUND
from tests.caches import begin, connected, deaf, due, stop_after, stop_before
from tests.races import KEY, LATE_STEPS, STEPS, TAG, Source, has_heard, last_outdated
from tests.waiting import until

PLAIN = CachePolicy(ttl=60, early_refresh=False)
EAGER = CachePolicy(ttl=60, name="eager")
PATIENT = CachePolicy(ttl=0.05, stale_while_revalidate=60, early_refresh=False)

SET_STEPS = [step for step in STEPS if step not in ("before begin", "in the loader")]
INVALIDATIONS = {
    "tag": lambda cache: cache.invalidate_tags(TAG),
    "key": lambda cache: cache.delete(KEY),
    "clear": lambda cache: cache.clear(),
}
PROGRAM = """
import sys
from cache_ext import open_cache
cache = open_cache(sys.argv[1], namespace=sys.argv[2], op_timeout=2.0)
print({"tag": lambda: cache.invalidate_tags("pair"), "key": lambda: cache.delete("price"),
       "clear": cache.clear}[sys.argv[3]]())
cache.close()
"""


@pytest.fixture
def source():
    """A source whose value is "old"."""
    return Source()


def read(cache, source, policy=PLAIN):
    """Read the key as every caller here does."""
    return cache.get_or_load(KEY, source.load, policy=policy, tags=[TAG])


def read_batch(cache, source):
    """Read the key in a batch."""
    return cache.get_or_load_many(["other", KEY], source.load_many, policy=PLAIN, tags_for=lambda _: [TAG])


def invalidate(how, where, cache, make_cache, url, namespace):
    """Invalidate in the given way: here, through another cache object, or in another process."""
    if where == "here":
        return INVALIDATIONS[how](cache)
    if where == "elsewhere":
        return INVALIDATIONS[how](make_cache(url))
    command = [sys.executable, "-c", PROGRAM, url, namespace, how]
    return Receipt.parse(
        subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    )


def nobody_serves_the_old(loader, make_cache, url, source):
    """Assert that no process gives out what was loaded before the invalidation."""
    assert connected(make_cache(url)).get(KEY) is MISS  # it has nothing but L2
    has_heard(loader, make_cache(url))
    assert loader.get(KEY) is MISS
    assert read(loader, source) == "new"


@pytest.mark.parametrize("where", ["here", "elsewhere"])
@pytest.mark.parametrize("how", INVALIDATIONS)
@pytest.mark.parametrize("step", LATE_STEPS)
def test_a_miss_is_fenced(make_cache, redis_url, namespace, source, step, how, where):
    """The result of a load that an invalidation passed is served to nobody who comes after it."""
    cache = connected(make_cache(redis_url))
    stop = STEPS[step](cache, source)
    loading = begin(lambda: read(cache, source))
    stop.wait()
    assert invalidate(how, where, cache, make_cache, redis_url, namespace).applied
    stop.go()
    assert loading.result(10) == "old"  # he asked before the invalidation
    source.value = "new"
    nobody_serves_the_old(cache, make_cache, redis_url, source)


def test_an_invalidation_before_begin_kills_nothing(make_cache, redis_url, source):
    """A load that has not noted its versions yet brings what is new, and is kept."""
    cache = connected(make_cache(redis_url))
    stop = stop_before(cache.runtime.store, "begin")
    loading = begin(lambda: read(cache, source))
    stop.wait()
    source.value = "new"
    cache.invalidate_tags(TAG)
    stop.go()
    assert loading.result(10) == "new"
    assert connected(make_cache(redis_url)).get(KEY) == "new"


@pytest.mark.parametrize("how", INVALIDATIONS)
@pytest.mark.parametrize("step", LATE_STEPS)
def test_a_batch_is_fenced(make_cache, redis_url, namespace, source, step, how):
    """Each value of a batch is fenced as a single one is."""
    cache = connected(make_cache(redis_url))
    stop = STEPS[step](cache, source)
    loading = begin(lambda: read_batch(cache, source))
    stop.wait()
    assert invalidate(how, "elsewhere", cache, make_cache, redis_url, namespace).applied
    stop.go()
    assert loading.result(10)[KEY] == "old"
    source.value = "new"
    nobody_serves_the_old(cache, make_cache, redis_url, source)


@pytest.mark.parametrize("how", INVALIDATIONS)
@pytest.mark.parametrize("step", LATE_STEPS)
@pytest.mark.parametrize("policy", [EAGER, PATIENT], ids=["early refresh", "stale while revalidate"])
def test_a_refresh_in_the_background_is_fenced(make_cache, redis_url, namespace, source, policy, step, how):
    """What a refresh brings that an invalidation passed is served to nobody."""
    cache = connected(make_cache(redis_url))
    read(cache, source, policy)
    slot = cache.runtime.near.get(KEY)
    if policy is EAGER:
        due(slot)
    else:
        until(lambda: cache.get(KEY) is MISS, "the value is stale")
    stop = STEPS[step](cache, source)
    if step == "before the L1 put" and policy is PATIENT:
        # The read that starts the refresh puts a copy itself; the second put is the refresh's.
        stop.go()
        stop = stop_after(cache.runtime.store, "fill")
    assert read(cache, source, policy) == "old"
    stop.wait()
    assert invalidate(how, "elsewhere", cache, make_cache, redis_url, namespace).applied
    stop.go()
    cache.runtime.refreshes.close(5.0)
    source.value = "new"
    nobody_serves_the_old(cache, make_cache, redis_url, source)


@pytest.mark.parametrize("how", INVALIDATIONS)
@pytest.mark.parametrize("step", SET_STEPS)
def test_a_set_is_fenced(make_cache, redis_url, namespace, source, step, how):
    """A `set` that an invalidation overtakes is as if it had come first."""
    cache = connected(make_cache(redis_url))
    stop = STEPS[step](cache, source)
    setting = begin(lambda: cache.set(KEY, "old", policy=PLAIN, tags=[TAG]))
    stop.wait()
    assert invalidate(how, "elsewhere", cache, make_cache, redis_url, namespace).applied
    stop.go()
    setting.result(10)
    source.value = "new"
    nobody_serves_the_old(cache, make_cache, redis_url, source)


@pytest.mark.parametrize("how", INVALIDATIONS)
def test_an_invalidation_by_another_process_counts(make_cache, redis_url, namespace, source, how):
    """A program of its own, started for this, invalidates while the loader is at work."""
    cache = connected(make_cache(redis_url))
    stop = stop_after(source, "look")
    loading = begin(lambda: read(cache, source))
    stop.wait()
    assert invalidate(how, "program", cache, make_cache, redis_url, namespace).applied
    stop.go()
    assert loading.result(10) == "old"
    source.value = "new"
    nobody_serves_the_old(cache, make_cache, redis_url, source)


@pytest.mark.parametrize("how", INVALIDATIONS)
def test_a_copy_elsewhere_ends_within_the_bound(make_cache, redis_url, source, how):
    """Another process' L1 copy is gone as soon as the message is there, at most a second later."""
    one, two = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    read(one, source)
    assert read(two, source) == "old"
    source.value = "new"
    assert INVALIDATIONS[how](one).applied
    applied = time.monotonic()
    assert read(one, source) == "new"
    assert last_outdated(lambda: read(two, source) == "old") <= applied + BOUND


@pytest.mark.parametrize("how", INVALIDATIONS)
def test_a_deaf_process_serves_no_copy_beyond_the_bound(make_cache, redis_url, source, how):
    """A process that hears nothing revalidates what it has before it serves it."""
    one, two = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    read(one, source)
    read(two, source)
    deaf(two)
    assert INVALIDATIONS[how](one).applied
    source.value = "new"
    assert read(two, source) == "new"


@pytest.mark.parametrize("how", INVALIDATIONS)
def test_without_backplane_every_read_is_revalidated(make_cache, redis_url, source, how):
    """With `pubsub` off an invalidation elsewhere is seen by the next read."""
    one, two = make_cache(redis_url, pubsub=False), make_cache(redis_url, pubsub=False)
    read(one, source)
    read(two, source)
    assert INVALIDATIONS[how](one).applied
    source.value = "new"
    assert read(two, source) == "new"


@pytest.mark.parametrize("how", INVALIDATIONS)
def test_nobody_joins_a_load_older_than_the_invalidation(make_cache, redis_url, source, how):
    """Who comes after the invalidation does not get the result of a load that started before it."""
    cache = connected(make_cache(redis_url))
    stop = stop_after(source, "look")
    early = begin(lambda: read(cache, source))
    stop.wait()
    INVALIDATIONS[how](cache)
    late = begin(lambda: read(cache, Source("new")))
    stop.go()
    assert early.result(10) == "old"
    assert late.result(10) == "new"


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_nobody_waits_for_a_load_that_counts_no_more(make_cache, redis_url, source, soft):
    """After an invalidation the next caller, elsewhere too, takes the lease from the load that it doomed."""
    one, two = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    stop, key = stop_after(source, "look"), f"price:{{{TAG}}}"
    early = begin(lambda: one.get_or_load(key, source.load, policy=PLAIN, tags=[TAG]))
    stop.wait()
    two.invalidate_tags(TAG, soft=soft)
    assert two.get_or_load(key, lambda: "new", policy=PLAIN, tags=[TAG]) == "new"
    assert not early.done()
    stop.go()
    assert early.result(10) == "old"
    assert make_cache(redis_url).get(key) == "new"


def test_a_load_that_still_counts_is_waited_for(make_cache, redis_url, source):
    """What was invalidated before it began, or has another tag, is no reason to load beside it."""
    one, two = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    key = f"price:{{{TAG}}}"
    one.invalidate_tags(TAG)
    stop = stop_after(source, "look")
    early = begin(lambda: one.get_or_load(key, source.load, policy=PLAIN, tags=[TAG]))
    stop.wait()
    one.invalidate_tags(f"other:{{{TAG}}}")
    waits = stop_after(two.runtime.store, "begin")
    late = begin(lambda: two.get_or_load(key, Source("new").load, policy=PLAIN, tags=[TAG]))
    waits.wait()
    waits.go()
    stop.go()
    assert (early.result(10), late.result(10)) == ("old", "old")


@pytest.mark.parametrize("settings", [{}, {"pubsub": False}], ids=["backplane", "no backplane"])
def test_nobody_joins_a_load_whose_inherited_tag_was_invalidated(make_cache, redis_url, source, settings):
    """A tag that the load only inherits from what it reads keeps late comers away too."""
    cache, other = make_cache(redis_url, **settings), make_cache(redis_url)
    if not settings:
        connected(cache)
    cache.get_or_load("child", source.load, policy=PLAIN, tags=[TAG])
    asked = stop_before(source, "load_many")

    def parent(source):
        child = cache.get_or_load("child", source.load, policy=PLAIN, tags=[TAG])
        source.load_many([])
        return child

    early = begin(lambda: cache.get_or_load("parent", lambda: parent(source), policy=PLAIN))
    asked.wait()
    (other if settings else cache).invalidate_tags(TAG)
    boarded = stop_after(cache.runtime.flights, "board")
    boarded.go()
    late = begin(lambda: cache.get_or_load("parent", lambda: parent(Source("new")), policy=PLAIN))
    boarded.wait()
    asked.go()
    assert early.result(10) == "old"
    assert late.result(10) == "new"


def test_what_another_process_loaded_is_not_trusted_after_a_gap(make_cache, redis_url, source):
    """An entry found while taking the lease is of that moment: a gap after it makes L1 revalidate it."""
    cache, other = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    stop = stop_before(cache.runtime.store, "begin")
    adopts = stop_before(cache.runtime.reader, "admit")
    loading = begin(lambda: read_batch(cache, source))
    stop.wait()
    read(other, source)  # so `begin` finds it changed
    stop.go()
    adopts.wait()
    deaf(cache)
    other.invalidate_tags(TAG)
    cache.runtime.trust.generation += 1  # the backplane is back, but what was said meanwhile is lost
    cache.runtime.trust.live_until = time.monotonic() + 60
    adopts.go()
    loading.result(10)
    assert cache.get(KEY) is MISS


def test_an_old_read_does_not_replace_a_newer_set(make_cache, redis_url, source):
    """A copy read before another process' `set`, and put into L1 after it, is refused."""
    cache, other = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    other.set(KEY, "old", policy=PLAIN, tags=[TAG])
    stop = stop_after(cache.runtime.store, "read")
    reading = begin(lambda: cache.get(KEY))
    stop.wait()
    other.set(KEY, "new", policy=PLAIN, tags=[TAG])
    has_heard(cache, make_cache(redis_url))
    stop.go()
    assert reading.result(10) == "old"  # he asked before
    assert cache.get(KEY) == "new"


def test_a_set_voids_a_load_under_way(make_cache, redis_url, source):
    """A load that started before a `set` answers its caller and does not overwrite what was set."""
    cache = connected(make_cache(redis_url))
    stop = stop_after(source, "look")
    loading = begin(lambda: read(cache, source))
    stop.wait()
    connected(make_cache(redis_url)).set(KEY, "set", policy=PLAIN, tags=[TAG])
    stop.go()
    assert loading.result(10) == "old"
    assert connected(make_cache(redis_url)).get(KEY) == "set"
    has_heard(cache, make_cache(redis_url))
    assert cache.get(KEY) == "set"


def test_messages_of_a_new_epoch_end_copies_of_an_old_one(make_cache, redis_server, source):
    """After the server was emptied counters start anew; copies with higher ones are gone all the same."""
    cache, other = connected(make_cache(redis_server.url)), connected(make_cache(redis_server.url))
    for _ in range(5):
        other.invalidate_tags(TAG)
    read(cache, source)
    has_heard(cache, make_cache(redis_server.url))
    cache.runtime._backplane._sequences.clear()  # as after a reconnect: a hole would not be noticed
    redis_server.ask("FLUSHALL")
    other.invalidate_tags(TAG)
    source.value = "new"
    until(lambda: read(cache, source) == "new", "the copy is gone", BOUND)


def test_an_untagged_load_is_fenced_against_a_lost_epoch(make_cache, redis_server, source):
    """A load whose epoch was lost meanwhile fills nothing that counts."""
    cache = connected(make_cache(redis_server.url))
    stop = stop_before(cache.runtime.store, "fill")
    loading = begin(lambda: cache.get_or_load(KEY, source.load, policy=PLAIN))
    stop.wait()
    redis_server.ask("FLUSHALL")
    stop.go()
    loading.result(10)
    assert connected(make_cache(redis_server.url)).get(KEY) is MISS


def test_clear_ends_what_has_no_tag(make_cache, redis_url):
    """Nothing but its epoch judges a value without tags; `clear` replaces it, for loads under way too."""
    cache = connected(make_cache(redis_url))
    cache.set("kept", 1, policy=PLAIN)
    stop = stop_before(cache.runtime.store, "fill")
    loading = begin(lambda: cache.get_or_load(KEY, lambda: "old", policy=PLAIN))
    stop.wait()
    make_cache(redis_url).clear()
    stop.go()
    assert loading.result(10) == "old"
    fresh = connected(make_cache(redis_url))
    assert [fresh.get(key) for key in ("kept", KEY)] == [MISS, MISS]
