"""What loaders may say: tags and ttl by what they got, "not modified", "do not store"."""

from __future__ import annotations

import pytest

from cache_ext import (
    MISS,
    CachePolicy,
    ConfigurationError,
    Loaded,
    NotModified,
    Outcome,
    previous,
)
from cache_ext.loading.origin import _ms
from tests.caches import begin, connected, due
from tests.races import KEY, LATE_STEPS, STEPS, TAG, Source
from tests.waiting import until

PLAIN = CachePolicy(ttl=60, early_refresh=False)
BRIEF = CachePolicy(ttl=0.05, stale_if_error=60, early_refresh=False)


def expired(cache, key="k"):
    """Return when the value of *key* is past its ttl."""
    until(lambda: cache.get(key) is MISS, "the value has expired")


@pytest.mark.parametrize(
    "wrong", [{"ttl": -1}, {"as_of": float("nan")}, {"as_of": -5}, {"as_of": 2.0**38}], ids=str
)
def test_numbers_that_make_no_sense_are_refused(wrong):
    """The message names them."""
    for kind in (lambda **given: Loaded(1, **given), NotModified):
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            kind(**wrong)


def test_a_loader_sets_ttl_and_tags_by_what_it_got(cache):
    """They count as those of the call do, which are kept as well."""
    fetched = cache.fetch("k", lambda: Loaded("v", 5, tags=("late",)), policy=PLAIN, tags=["early"])
    assert (fetched.value, round(fetched.ttl_left)) == ("v", 5)
    assert cache.get("k") == "v"
    assert sorted(tag for tag, _, _ in cache.runtime.near.get("k").entry.tags) == ["early", "late"]
    for tag in ("late", "early"):
        cache.get_or_load("k", lambda: Loaded("v", 5, tags=("late",)), policy=PLAIN, tags=["early"])
        cache.invalidate_tags(tag)
        assert cache.get("k") is MISS


@pytest.mark.parametrize("known", [False, True], ids=["first load", "tags known from the last"])
@pytest.mark.parametrize("where", ["here", "elsewhere"])
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("step", LATE_STEPS)
def test_a_tag_learned_after_the_load_is_fenced(make_cache, redis_url, step, where, known, soft):
    """An invalidation of it that passed during the load, keeps the value from counting."""
    source = Source()
    cache, other = connected(make_cache(redis_url)), connected(make_cache(redis_url))

    def load():
        return Loaded(source.look(), tags=(TAG,))

    if known:
        cache.get_or_load(KEY, load, policy=PLAIN)
        cache.delete(KEY)
    stop = STEPS[step](cache, source)
    loading = begin(lambda: cache.get_or_load(KEY, load, policy=PLAIN))
    stop.wait()
    (cache if where == "here" else other).invalidate_tags(TAG, soft=soft)
    stop.go()
    assert loading.result(10) == "old"
    source.value = "new"
    fresh = connected(make_cache(redis_url))
    for reader in (other, fresh):
        assert reader.get(KEY) is MISS
    assert fresh.get_or_load(KEY, load, policy=PLAIN) == "new"
    until(
        lambda: cache.get_or_load(KEY, load, policy=PLAIN) == "new", "the loading process serves the new one"
    )


def test_a_tag_learned_late_needs_no_second_load(make_cache, redis_url, origin):
    """If nothing passed, the first load is stored, for all processes; the tag is brand new."""
    one, two = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    for number, cache in enumerate((one, two, one)):
        value = cache.get_or_load("k", lambda: Loaded(origin("k"), tags=("brand new",)), policy=PLAIN)
        assert value == "k#1", number


def test_without_a_backplane_a_tag_is_believed_from_the_second_load_on(make_cache, redis_url, origin):
    """Nobody knew the positions before the first load, whose value answers and is not kept."""
    cache = make_cache(redis_url, pubsub=False)

    def load():
        return Loaded(origin("k"), tags=("late",))

    assert [cache.get_or_load("k", load, policy=PLAIN) for _ in range(3)] == ["k#1", "k#2", "k#2"]
    cache.invalidate_tags("late")
    assert cache.get_or_load("k", load, policy=PLAIN) == "k#3"


def test_an_epoch_that_was_replaced_meanwhile_refuses_late_tags(make_cache, redis_url, origin):
    """Positions of another epoch say nothing."""
    cache, other = connected(make_cache(redis_url)), connected(make_cache(redis_url))

    def load():
        if origin.calls("k") == 0:
            origin("k")
            other.clear()
        return Loaded(origin("k"), tags=("late",))

    assert cache.get_or_load("k", load, policy=PLAIN) == "k#2"
    assert other.get("k") is MISS


def test_late_tags_of_a_batch_are_one_trip(make_cache, redis_url):
    """However many keys learn tags, their versions are asked for together."""
    cache = connected(make_cache(redis_url))
    asked, begun = [], cache.runtime.store.begin
    cache.runtime.store.begin = lambda *args: asked.append(1) or begun(*args)
    keys = [f"k{n}" for n in range(20)]
    loaded = cache.get_or_load_many(
        keys, lambda keys: {key: Loaded(1, tags=(f"t:{key}",)) for key in keys}, ttl=60
    )
    assert (len(loaded), len(asked)) == (20, 2)


def test_tags_that_are_no_names_are_an_error_of_the_loader(cache):
    """And nothing is stored."""
    with pytest.raises(ConfigurationError, match="tag"):
        cache.get_or_load("k", lambda: Loaded(1, tags=("",)), policy=PLAIN)
    assert cache.get("k") is MISS


def test_do_not_store_answers_and_keeps_nothing(cache, origin):
    """Each caller has it loaded anew."""
    values = [
        cache.get_or_load("k", lambda: Loaded(origin("k"), store=False), policy=PLAIN) for _ in range(2)
    ]
    assert values == ["k#1", "k#2"]
    assert cache.get("k") is MISS


def test_not_modified_gives_the_value_a_new_life(make_cache, redis_url):
    """With its tags, etag and time; in other processes too."""
    one, two = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    told = []

    def load():
        told.append(previous())
        return (
            Loaded({"v": 1}, tags=("late",), etag="e1", as_of=100.0) if told[-1] is None else NotModified(60)
        )

    assert one.get_or_load("k", load, policy=BRIEF, tags=["early"]) == {"v": 1}
    expired(one)
    fetched = one.fetch("k", load, policy=BRIEF, tags=["early"])
    assert (fetched.value, fetched.outcome, fetched.as_of) == ({"v": 1}, Outcome.MISS, 100.0)
    assert fetched.ttl_left == pytest.approx(60, abs=1)
    assert told[0] is None
    assert (told[1].value, told[1].etag, told[1].as_of) == ({"v": 1}, "e1", 100.0)
    assert two.get("k") == {"v": 1}
    one.invalidate_tags("late")
    assert two.runtime.reader.read({"k": ()})["k"].slot is None


def test_an_early_refresh_is_told_of_the_value_that_it_replaces(cache):
    """It may say NotModified too."""
    told = []

    def load():
        told.append(previous())
        return 1 if told[-1] is None else NotModified()

    cache.get_or_load("k", load, ttl=60)
    token = due(cache.runtime.near.get("k")).entry.token
    assert cache.get_or_load("k", load, ttl=60) == 1
    until(lambda: len(told) == 2, "it is being refreshed")
    cache.runtime.refreshes.close(5.0)
    assert cache.runtime.near.get("k") is None or cache.runtime.near.get("k").entry.token != token
    assert (told[1].value, cache.get("k")) == (1, 1)


def test_after_an_invalidation_there_is_no_previous_value(cache):
    """What may not be served may not be confirmed either; after a soft one it may."""
    told = []

    def load():
        told.append(previous())
        return 1

    for soft in (True, False):
        cache.get_or_load("k", load, policy=PLAIN, tags=["t"])
        cache.invalidate_tags("t", soft=soft)
    cache.get_or_load("k", load, policy=PLAIN, tags=["t"])
    assert [each and each.value for each in told] == [None, 1, None]


def test_not_modified_out_of_nothing_is_an_error(cache):
    """The loader was told that there is no previous value."""
    with pytest.raises(ConfigurationError, match="NotModified"):
        cache.get_or_load("k", NotModified, policy=PLAIN)
    with cache.disabled(), pytest.raises(ConfigurationError, match="NotModified"):
        cache.get_or_load("k", NotModified, policy=PLAIN)


def test_a_batch_asks_for_each_previous_value_by_its_key(cache):
    """Without a key it cannot be told which is meant."""
    cache.get_or_load("a", lambda: 1, policy=BRIEF)
    expired(cache, "a")
    told = {}

    def load(keys):
        with pytest.raises(ConfigurationError, match="several keys"):
            previous()
        told.update({key: previous(key) for key in keys})
        return {key: NotModified() if told[key] else 2 for key in keys}

    assert cache.get_or_load_many(["a", "b"], load, policy=BRIEF) == {"a": 1, "b": 2}
    assert (told["a"].value, told["b"]) == (1, None)


def test_outside_of_a_load_there_is_no_previous_value():
    """The function may be called anywhere."""
    assert previous() is None


def test_a_previous_value_is_the_loader_s_own_copy(cache):
    """What it does to it changes nobody's value."""
    cache.get_or_load("k", lambda: {"deep": [1]}, policy=BRIEF)
    expired(cache)

    def load():
        previous().value["deep"].append(2)
        return NotModified(60)

    assert cache.get_or_load("k", load, policy=BRIEF) == {"deep": [1]}


def test_late_tags_work_without_redis(make_cache, start_redis, origin):
    """This process' own copy obeys them."""
    server = start_redis()
    cache = connected(make_cache(server.url, op_timeout=0.1))
    server.kill()
    until(lambda: not cache.gateway.probe(), "Redis is away")

    def load():
        return Loaded(origin("k"), tags=("late",))

    assert [cache.get_or_load("k", load, policy=PLAIN) for _ in range(2)] == ["k#1", "k#1"]
    assert cache.invalidate_tags("late").queued
    assert cache.get_or_load("k", load, policy=PLAIN) == "k#2"


@pytest.mark.parametrize("uptime", [1.0, 20_000.0, 40_000.0, 3e6])
def test_a_millisecond_is_one_however_long_the_host_is_up(uptime):
    """What a difference of two times loses by rounding does not make a ttl of 1 ms none at all."""
    assert _ms(uptime + 0.001 - uptime) == 1
    assert _ms(uptime + 0.0009 - uptime) == 0
