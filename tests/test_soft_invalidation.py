"""A soft invalidation ends a value's ttl, wherever it lies, at whatever step of its load; and no more."""

from __future__ import annotations

import time

import msgspec
import pytest
import redis

from cache_ext import MISS, CachePolicy, Outcome
from cache_ext.codec.entries import FORMAT
from cache_ext.coherence.backplane import BOUND
from cache_ext.entry import Entry, Version, new_stamp
from cache_ext.keys import KeySpace, bucket_of
from cache_ext.reading.slot import Slot
from cache_ext.reading.softened import Softened
from cache_ext.stores.base import Judgement, Standing, Versions
from tests.caches import begin, connected, deaf, stop_after, stop_before
from tests.races import KEY, LATE_STEPS, STEPS, TAG, Source, has_heard, last_outdated
from tests.servers import KINDS
from tests.waiting import until

PLAIN = CachePolicy(ttl=60, early_refresh=False)
PATIENT = CachePolicy(ttl=60, stale_while_revalidate=60, early_refresh=False)
SAFE = CachePolicy(ttl=60, stale_if_error=60, early_refresh=False)
BOTH = CachePolicy(ttl=60, stale_if_error=60, stale_while_revalidate=60, early_refresh=False)


@pytest.fixture
def source():
    """A source whose value is "old"."""
    return Source()


def fetch(cache, source, policy=PATIENT, key=KEY, tags=(TAG,)):
    """Read the key as every caller here does; return what came and how."""
    answer = cache.fetch(key, source.load, policy=policy, tags=tags)
    return answer.value, answer.outcome


def down():
    """Load nothing: the origin is away."""
    raise LookupError


def soften(cache, make_cache, url, where):
    """Invalidate softly, here or through another cache object."""
    return (cache if where == "here" else make_cache(url)).invalidate_tags(TAG, soft=True)


def settled(cache):
    """Wait until no load is under way in the process of *cache*."""
    until(lambda: not cache.runtime.flights._aloft, "all loads have landed")


def is_refreshed(cache, source):
    """Tell whether the new value is there and fresh."""
    return fetch(cache, source) == ("new", Outcome.HIT)


def test_it_is_served_stale_at_once_and_loaded_once_in_the_background(cache, source):
    """With stale-while-revalidate nobody waits: the old value, marked, until one load has brought the new."""
    assert fetch(cache, source) == ("old", Outcome.MISS)
    source.value = "new"
    assert cache.invalidate_tags(TAG, soft=True).applied
    held = stop_before(source, "look")
    assert [fetch(cache, source) for _ in range(5)] == [("old", Outcome.STALE)] * 5
    held.wait()
    held.go()
    until(lambda: is_refreshed(cache, source), "the refresh is over")
    assert source.looks == 2


def test_it_is_the_last_resort_of_a_load_that_fails(cache, source):
    """With stale-if-error the loader is asked first; if it fails, the old value serves, marked."""
    fetch(cache, source, SAFE)
    cache.invalidate_tags(TAG, soft=True)
    for _ in range(2):
        answer = cache.fetch(KEY, down, policy=SAFE, tags=[TAG])
        assert (answer.value, answer.outcome) == ("old", Outcome.STALE)
    source.value = "new"
    assert fetch(cache, source, SAFE) == ("new", Outcome.MISS)
    assert fetch(cache, source, SAFE) == ("new", Outcome.HIT)


def test_without_a_stale_window_it_is_a_miss(cache, source):
    """A policy that allows no stale value makes a soft invalidation as good as a hard one."""
    fetch(cache, source, PLAIN)
    cache.invalidate_tags(TAG, soft=True)
    with pytest.raises(LookupError):
        cache.fetch(KEY, down, policy=PLAIN, tags=[TAG])
    source.value = "new"
    assert fetch(cache, source, PLAIN) == ("new", Outcome.MISS)


def test_it_is_no_hit_for_who_has_no_loader(cache, source):
    """`get` returns fresh values only."""
    fetch(cache, source, BOTH)
    cache.invalidate_tags(TAG, soft=True)
    assert cache.get(KEY) is MISS


@pytest.mark.parametrize("order", [(True, False), (False, True), (False,)], ids=str)
def test_after_a_hard_one_nothing_is_served(cache, source, order):
    """A hard invalidation, before or after soft ones, ends the value for every purpose."""
    fetch(cache, source, BOTH)
    for soft in order:
        cache.invalidate_tags(TAG, soft=soft)
    with pytest.raises(LookupError):
        cache.fetch(KEY, down, policy=BOTH, tags=[TAG])


@pytest.mark.parametrize("how", ["delete", "clear"])
def test_deleted_and_cleared_values_do_not_come_back(cache, source, how):
    """Neither does a soft invalidation that comes after bring back what is gone."""
    fetch(cache, source, BOTH)
    cache.delete(KEY) if how == "delete" else cache.clear()
    cache.invalidate_tags(TAG, soft=True)
    with pytest.raises(LookupError):
        cache.fetch(KEY, down, policy=BOTH, tags=[TAG])


def test_what_does_not_carry_the_tag_stays_fresh(cache, source):
    """Values under other tags are hits as before."""
    fetch(cache, source, key="other", tags=("another",))
    cache.invalidate_tags(TAG, soft=True)
    assert fetch(cache, source, key="other", tags=("another",)) == ("old", Outcome.HIT)


def test_what_is_loaded_afterwards_is_fresh(cache, source):
    """Neither one nor several soft invalidations reach what is loaded after them."""
    for _ in range(3):
        cache.invalidate_tags(TAG, soft=True)
    fetch(cache, source)
    assert fetch(cache, source) == ("old", Outcome.HIT)


def test_a_batch_is_softened(cache, source):
    """Each value of a batch is served stale and refreshed as a single one is."""
    keys = ["a", "b", "c"]

    def read():
        return cache.fetch_many(keys, source.load_many, policy=PATIENT, tags_for=lambda _: [TAG])

    read()
    cache.invalidate_tags(TAG, soft=True)
    source.value = "new"
    assert {answer.outcome for answer in read().values()} == {Outcome.STALE}
    until(lambda: {answer.value for answer in read().values()} == {"new"}, "all are refreshed")


def test_made_of_stale_is_stale(cache, source):
    """A value whose loader read a softly invalidated one is itself good only as stale."""

    def read():
        answer = cache.fetch("parent", lambda: fetch(cache, source)[0], policy=PATIENT)
        return answer.value, answer.outcome

    read()
    cache.invalidate_tags(TAG, soft=True)
    held = stop_before(source, "look")
    assert read() == ("old", Outcome.STALE)
    held.wait()
    source.value = "new"
    held.go()
    until(lambda: read() == ("new", Outcome.HIT), "both are refreshed")


SHARED = pytest.mark.parametrize("where", ["here", "elsewhere"])


@SHARED
@pytest.mark.parametrize("step", LATE_STEPS)
def test_a_load_that_it_passes_brings_a_stale_value(make_cache, redis_url, source, step, where):
    """At whatever step: what the load brings is stale from birth, here and elsewhere, and serves as such."""
    cache = connected(make_cache(redis_url))
    stop = STEPS[step](cache, source)
    loading = begin(lambda: fetch(cache, source, BOTH))
    stop.wait()
    assert soften(cache, make_cache, redis_url, where).applied
    stop.go()
    assert loading.result(10)[0] == "old"  # he asked before the invalidation
    source.value = "new"
    has_heard(cache, make_cache(redis_url))
    fresh = connected(make_cache(redis_url))  # it has nothing but L2
    for each in (fresh, cache):
        assert each.get(KEY) is MISS
        answer = each.fetch(KEY, down, policy=SAFE, tags=[TAG])
        assert (answer.value, answer.outcome) == ("old", Outcome.STALE)
    assert fetch(cache, source) == ("old", Outcome.STALE)
    until(lambda: is_refreshed(cache, source), "the refresh is over")
    until(lambda: is_refreshed(fresh, source), "the other has it, too")
    assert source.looks == 2


@SHARED
@pytest.mark.parametrize("step", LATE_STEPS)
def test_a_hard_one_that_passes_a_load_after_it_counts(make_cache, redis_url, source, step, where):
    """A soft and then a hard invalidation pass: what the load brings serves nobody, the failing included."""
    cache = connected(make_cache(redis_url))
    stop = STEPS[step](cache, source)
    loading = begin(lambda: fetch(cache, source, BOTH))
    stop.wait()
    soften(cache, make_cache, redis_url, where)
    (cache if where == "here" else make_cache(redis_url)).invalidate_tags(TAG)
    stop.go()
    loading.result(10)
    has_heard(cache, make_cache(redis_url))
    for each in (connected(make_cache(redis_url)), cache):
        with pytest.raises(LookupError):
            each.fetch(KEY, down, policy=BOTH, tags=[TAG])


@SHARED
def test_before_begin_it_touches_nothing(make_cache, redis_url, source, where):
    """A load that has not noted its versions yet brings what is new, and that is fresh."""
    cache = connected(make_cache(redis_url))
    stop = stop_before(cache.runtime.store, "begin")
    loading = begin(lambda: fetch(cache, source))
    stop.wait()
    source.value = "new"
    soften(cache, make_cache, redis_url, where)
    has_heard(cache, make_cache(redis_url))  # also when its message comes after the load began
    stop.go()
    assert loading.result(10) == ("new", Outcome.MISS)
    assert fetch(cache, source) == ("new", Outcome.HIT)
    assert connected(make_cache(redis_url)).get(KEY) == "new"


@SHARED
@pytest.mark.parametrize("layer", ["l1", "l2"])
def test_a_look_that_it_passes_leaves_no_fresh_copy(make_cache, redis_url, source, where, layer):
    """Whatever the reader gets, who asked before: the copy that his reading leaves is stale."""
    cache, other = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    fetch(other, source)
    stop = (
        stop_after(cache.runtime.store, "read") if layer == "l2" else stop_before(cache.runtime.near, "put")
    )
    reading = begin(lambda: cache.get(KEY))
    stop.wait()
    soften(cache, make_cache, redis_url, where)
    has_heard(cache, make_cache(redis_url))
    stop.go()
    assert reading.result(10) in ("old", MISS)
    assert cache.get(KEY) is MISS
    assert fetch(cache, source) == ("old", Outcome.STALE)


@SHARED
@pytest.mark.parametrize("step", LATE_STEPS)
def test_a_refresh_that_it_passes_brings_a_stale_value(make_cache, redis_url, source, step, where):
    """What a background load brings that a second soft invalidation passed is loaded once more."""
    cache = connected(make_cache(redis_url))
    fetch(cache, source)
    cache.invalidate_tags(TAG, soft=True)
    has_heard(cache, make_cache(redis_url))
    source.value = "between"
    if step == "before the L1 put":
        assert cache.get(KEY) is MISS  # its copy is there already, so the next put is the refresh's
        stop = stop_after(cache.runtime.store, "fill")
    else:
        stop = STEPS[step](cache, source)
    assert fetch(cache, source) == ("old", Outcome.STALE)
    stop.wait()
    soften(cache, make_cache, redis_url, where)
    source.value = "new"
    stop.go()
    settled(cache)
    has_heard(cache, make_cache(redis_url))
    assert cache.get(KEY) is MISS
    assert connected(make_cache(redis_url)).get(KEY) is MISS
    until(lambda: is_refreshed(cache, source), "the newest is there")


def test_who_waits_for_another_process_takes_no_stale_value_for_fresh(make_cache, redis_url, source):
    """A process that waited for another's load, which was passed, loads anew, as it came after."""
    cache, other = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    stop = stop_after(source, "look")
    loading = begin(lambda: fetch(other, source))
    stop.wait()
    make_cache(redis_url).invalidate_tags(TAG, soft=True)
    asked = stop_after(cache.runtime.store, "begin")
    late = begin(lambda: fetch(cache, Source("new")))
    asked.wait()
    asked.go()
    stop.go()
    assert loading.result(10)[0] == "old"
    assert late.result(10) == ("new", Outcome.MISS)


@pytest.mark.parametrize("soft", [True, False], ids=["soft", "hard"])
def test_what_passes_while_the_loader_fails_decides_on_the_last_resort(cache, source, soft):
    """The old value still serves for a load that a soft invalidation passed, but not after a hard one."""
    fetch(cache, source, SAFE)
    cache.invalidate_tags(TAG, soft=True)
    stop = stop_before(source, "look")
    source.value = LookupError()

    def load():
        raise source.look()

    reading = begin(lambda: cache.fetch(KEY, load, policy=SAFE, tags=[TAG]))
    stop.wait()
    cache.invalidate_tags(TAG, soft=soft)
    stop.go()
    if soft:
        assert (reading.result(10).value, reading.result().outcome) == ("old", Outcome.STALE)
    else:
        with pytest.raises(LookupError):
            reading.result(10)


@pytest.mark.parametrize("step", LATE_STEPS)
def test_a_load_that_it_passes_in_a_process_alone(make_cache, source, step):
    """The values of `memory://` are fenced by the same rule, at every step."""
    cache = make_cache()
    stop = STEPS[step](cache, source)
    loading = begin(lambda: fetch(cache, source, BOTH))
    stop.wait()
    late = begin(lambda: soften(cache, make_cache, "", "here"))
    assert late.result(10).applied
    stop.go()
    assert loading.result(10)[0] == "old"
    assert cache.get(KEY) is MISS
    answer = cache.fetch(KEY, down, policy=SAFE, tags=[TAG])
    assert (answer.value, answer.outcome) == ("old", Outcome.STALE)


def test_nobody_waits_for_a_load_that_is_older(make_cache, source):
    """Who comes after a soft invalidation loads at once, while the load before it is still at work."""
    cache = make_cache()
    stop = stop_after(source, "look")
    early = begin(lambda: fetch(cache, source))
    stop.wait()
    cache.invalidate_tags(TAG, soft=True)
    assert fetch(cache, Source("new")) == ("new", Outcome.MISS)
    stop.go()
    assert early.result(10)[0] == "old"


def entry_under(*tags):
    """Return an entry that was made under these (tag, counter) pairs of one epoch."""
    credentials = tuple((tag, b"e", counter) for tag, counter in tags)
    return Entry(
        format=FORMAT,
        token=new_stamp(),
        epoch=b"e",
        loaded_at=0,
        ttl=1000,
        stale_for=500,
        load_time=1,
        tags=credentials,
        sealed=False,
        payload=msgspec.Raw(b"\xc0"),
    )


@pytest.mark.parametrize(
    ("standing", "noted", "judgement"),
    [
        (Standing(5), 5, Judgement.GOOD),
        (Standing(5), 4, Judgement.GONE),
        (Standing(5), 6, Judgement.GONE),  # of a future that was rolled back
        (Standing(5, 9), 9, Judgement.GOOD),
        (Standing(5, 9), 10, Judgement.GONE),
        (Standing(5, 9), 7, Judgement.STALE),  # made between two soft ones
        (Standing(5, 9), 5, Judgement.STALE),
        (Standing(5, 9), 4, Judgement.GONE),
    ],
)
def test_an_entry_is_judged_by_both_numbers(standing, noted, judgement):
    """Older than the hard one or newer than both is gone; older than the soft one is stale."""
    versions = Versions(10, {bucket_of("k"): b"e", bucket_of(TAG): b"e"}, {TAG: standing.stored})
    assert versions.judge("k", entry_under((TAG, noted))) is judgement


def test_the_worst_of_the_tags_decides():
    """One good tag does not help, nor does a stale one hide one that is gone."""
    epochs = {bucket_of(name): b"e" for name in ("k", "a", "b", "c")}
    versions = Versions(10, epochs, {"a": b"1", "b": b"1:5", "c": b"6"})
    assert versions.judge("k", entry_under(("a", 1), ("b", 1))) is Judgement.STALE
    assert versions.judge("k", entry_under(("b", 1), ("c", 1))) is Judgement.GONE
    assert versions.judge("k", entry_under(("c", 1), ("b", 1))) is Judgement.GONE


def test_expiring_never_lengthens_anything():
    """A slot that is softened serves as stale no longer than it would have, and the first time counts."""
    slot = Slot("k", entry_under(), 100.0, 0, lambda: None)
    slot.expire(100.5)
    slot.expire(100.7)
    assert (slot.fresh_until, slot.stale_until) == (100.5, 101.5)
    assert max(slot.early_at, slot.serve_until) <= 100.5
    slot.expire(50.0)
    assert slot.fresh_until == 50.0


def test_what_happened_long_ago_is_not_forgotten_on_the_unsafe_side(monkeypatch):
    """Of more tags than are remembered singly, the forgotten ones soften what anybody went for before."""
    monkeypatch.setattr("cache_ext.reading.softened._REMEMBERED", 10)
    softened = Softened()
    for number in range(20):
        softened.note(f"t{number}", number + 1, float(number), Version(b"e", number))
    assert softened.stale_since(entry_under(("t3", 100)), 0) is not None
    assert softened.stale_since(entry_under(("t3", 0)), 10) is None
    assert softened.stale_since(entry_under(("t15", 0)), 0) == 15.0
    assert softened.stale_since(entry_under(("t15", 15)), 0) is None
    assert softened.stale_since(entry_under(("t15", 0)), 16) is None
    assert len(softened._last) == 10


def test_nobody_joins_a_load_that_is_older(make_cache, redis_url, source):
    """Who comes after a soft invalidation waits for no load that began before it."""
    cache = connected(make_cache(redis_url))
    stop = stop_after(source, "look")
    early = begin(lambda: fetch(cache, source))
    stop.wait()
    cache.invalidate_tags(TAG, soft=True)
    own = stop_after(cache.runtime.store, "begin")
    late = begin(lambda: fetch(cache, Source("new")))
    own.wait()
    own.go()
    stop.go()
    assert early.result(10)[0] == "old"
    assert late.result(10) == ("new", Outcome.MISS)


def test_a_copy_elsewhere_is_stale_within_the_bound(make_cache, redis_url, source):
    """Another process' copy is stale as soon as the message is there, and goes on serving as such."""
    one, two = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    fetch(one, source)
    assert fetch(two, source) == ("old", Outcome.HIT)
    one.invalidate_tags(TAG, soft=True)
    applied = time.monotonic()
    assert last_outdated(lambda: two.get(KEY) is not MISS) <= applied + BOUND
    assert fetch(two, source, SAFE)[0] == "old"


@pytest.mark.parametrize("how", ["deaf", "no backplane"])
def test_who_hears_nothing_finds_out_by_asking(make_cache, redis_url, source, how):
    """A process without backplane revalidates its copy, finds it stale, and serves it as that."""
    one, two = (make_cache(redis_url, pubsub=how == "deaf") for _ in range(2))
    fetch(one, source)
    fetch(two, source)
    if how == "deaf":
        deaf(two)
    one.invalidate_tags(TAG, soft=True)
    assert two.get(KEY) is MISS
    held = stop_before(source, "look")
    assert fetch(two, source) == ("old", Outcome.STALE)
    held.wait()
    held.go()
    until(lambda: fetch(two, source)[1] is Outcome.HIT, "the refresh is over")


@pytest.mark.parametrize("reader", ["fetch", "batch"])
def test_what_a_read_finds_stale_is_no_hit_of_that_read(make_cache, redis_url, source, reader):
    """The read that learns from Redis that the value is stale marks it already."""
    one, two = make_cache(redis_url, pubsub=False), make_cache(redis_url, pubsub=False)
    fetch(one, source)
    one.invalidate_tags(TAG, soft=True)
    for _ in range(3):
        if reader == "fetch":
            outcome = two.fetch(KEY, down, policy=BOTH, tags=[TAG]).outcome
        else:
            outcome = two.fetch_many([KEY], down, policy=BOTH, tags_for=lambda _: [TAG])[KEY].outcome
        assert outcome is Outcome.STALE
        settled(two)


@pytest.mark.parametrize("server_kind", KINDS)
def test_it_waits_while_redis_is_away(make_cache, own_redis_server, source):
    """Queued, it counts here at once; when Redis is back, copies elsewhere become stale, and are not gone."""
    server = own_redis_server
    cache = connected(make_cache(server.url, op_timeout=0.4, breaker_cooldown=0.1))
    other = connected(make_cache(server.url))
    fetch(cache, source, BOTH)
    assert fetch(other, source, BOTH) == ("old", Outcome.HIT)
    server.pause()
    until(lambda: cache.runtime.trust.live_until < time.monotonic(), "the server is lost")
    assert cache.invalidate_tags(TAG, soft=True).queued
    assert cache.get(KEY) is MISS
    answer = cache.fetch(KEY, down, policy=BOTH, tags=[TAG])
    assert (answer.value, answer.outcome) == ("old", Outcome.STALE)
    server.resume()
    until(lambda: not cache.runtime.outbox.waiting, "Redis was told")
    connected(other)
    until(lambda: other.get(KEY) is MISS, "the other heard")
    answer = other.fetch(KEY, down, policy=SAFE, tags=[TAG])
    assert (answer.value, answer.outcome) == ("old", Outcome.STALE)


def test_programs_that_do_not_know_it_see_a_miss_and_a_gap(make_cache, redis_url, namespace, source):
    """An older program takes the version for none, and notices by the next number that it missed one."""
    cache = connected(make_cache(redis_url))
    fetch(cache, source)
    place, channel = KeySpace(namespace).version(TAG), KeySpace(namespace).version(TAG).split("t:")[0] + "bus"
    with redis.Redis.from_url(redis_url) as client, client.pubsub() as listener:
        listener.subscribe(channel)
        until(lambda: listener.get_message(timeout=0.1), "subscribed")
        cache.invalidate_tags(TAG, soft=True)
        told = [listener.get_message(timeout=5.0)["data"] for _ in range(2)]
        version = client.get(place)
    assert not version.isdigit()
    kinds, numbers = zip(*((data.split(b":")[0], int(data.split(b":")[2])) for data in told), strict=True)
    assert kinds == (b"s", b"d")
    assert numbers[1] == numbers[0] + 1
    assert cache.runtime.trust.generation == 1  # no gap for us
