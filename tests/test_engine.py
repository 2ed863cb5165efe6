"""The cache as its users see it: reading, loading, batches, invalidating, and what is refused."""

from __future__ import annotations

from datetime import timedelta

import pytest
import redis

from cache_ext import (
    MISS,
    CachePolicy,
    ConfigurationError,
    Loaded,
    NotLoaded,
    Outcome,
    UnsupportedValue,
    open_cache,
)
from tests.caches import begin, connected
from tests.waiting import until

BATCH = 100


def test_a_missing_key_is_a_miss(cache):
    """`get` of a key that was never set returns MISS, which is false and no value."""
    assert cache.get("k") is MISS
    assert not MISS


def test_what_was_set_is_got(cache):
    """`get` returns what `set` kept."""
    cache.set("k", [1, 2], ttl=60)
    assert cache.get("k") == [1, 2]


def test_set_overwrites(cache):
    """The second `set` of a key wins."""
    cache.set("k", 1)
    cache.set("k", 2)
    assert cache.get("k") == 2


def test_none_is_a_value(cache, origin):
    """A loader's None is kept and got like any other value."""
    assert cache.get_or_load("k", lambda: None) is None
    assert cache.get("k") is None
    assert cache.get_or_load("k", origin.loader("k")) is None


def test_a_loader_runs_once(cache, origin):
    """The second `get_or_load` of a key does not call its loader."""
    assert [cache.get_or_load("k", origin.loader("k")) for _ in range(3)] == ["k#1"] * 3
    assert origin.calls("k") == 1


def test_the_first_load_is_a_miss_and_the_next_a_hit(cache, origin):
    """`fetch` tells where a value comes from, how old it is and how long it stays fresh."""
    first = cache.fetch("k", origin.loader("k"), ttl=60)
    second = cache.fetch("k", origin.loader("k"), ttl=60)
    assert (first.outcome, first.layer) == (Outcome.MISS, "origin")
    assert (second.outcome, second.layer) == (Outcome.HIT, "l1")
    assert 0 <= first.age <= second.age <= 60
    assert 0 < second.ttl_left <= first.ttl_left <= 60


def test_delete_removes(cache, origin):
    """After `delete` the key is missing, and is loaded anew."""
    cache.get_or_load("k", origin.loader("k"))
    assert cache.delete("k").applied
    assert cache.get("k") is MISS
    assert cache.get_or_load("k", origin.loader("k")) == "k#2"


def test_invalidating_a_tag_removes_all_that_carries_it(cache):
    """`invalidate_tags` ends entries with that tag, and no others."""
    cache.set("a", 1, tags=["red", "round"])
    cache.set("b", 2, tags=["red"])
    cache.set("c", 3, tags=["round"])
    assert cache.invalidate_tags("red").applied
    assert [cache.get(key) for key in "abc"] == [MISS, MISS, 3]


def test_clear_removes_everything(cache):
    """After `clear` nothing is left."""
    cache.set("a", 1)
    cache.set("b", 2, tags=["t"])
    assert cache.clear().applied
    assert [cache.get(key) for key in "ab"] == [MISS, MISS]


def test_invalidating_nothing_is_applied(cache):
    """No tags and no keys are no error."""
    assert cache.invalidate_tags().applied
    assert cache.delete().applied


def test_what_a_caller_changes_nobody_else_sees(cache):
    """Each caller has a value of his own; the loader's object too stays out of it."""
    made = {"bids": [1]}
    mine = cache.get_or_load("k", lambda: made)
    mine["bids"].append(2)
    made["bids"].append(3)
    yours = cache.get_or_load("k", dict)
    yours["bids"].clear()
    assert cache.get("k") == {"bids": [1]}


def test_a_set_value_is_kept_as_it_was(cache):
    """Changing an object after `set` changes nothing in the cache."""
    value = [1]
    cache.set("k", value)
    value.append(2)
    assert cache.get("k") == [1]


def test_first_load_and_later_hits_are_the_same(make_cache, redis_url):
    """The loading process, its L1 and another process' L2 return equal values of equal types."""
    value = {"t": (1, 2.5), "s": {1}, "n": None, "b": b"\x00", "d": timedelta(1)}
    one, two = make_cache(redis_url), make_cache(redis_url)
    answers = [cache.get_or_load("k", lambda: value) for cache in (one, one, two, two)]
    assert answers == [value] * 4
    assert len({repr([type(item) for item in answer.values()]) for answer in answers}) == 1


def test_ttl_may_be_a_timedelta(cache):
    """A timedelta is as good as seconds."""
    assert cache.fetch("k", int, ttl=timedelta(minutes=2)).ttl_left == pytest.approx(120, abs=5)


def test_without_ttl_the_default_holds(make_cache):
    """A call that gives no ttl gets the settings' default."""
    assert make_cache(default_ttl=7.0).fetch("k", int).ttl_left == pytest.approx(7, abs=1)


def test_ttl_and_policy_exclude_each_other(cache):
    """Giving both ttl and policy is refused."""
    with pytest.raises(ConfigurationError, match="not both"):
        cache.set("k", 1, ttl=1, policy=CachePolicy(ttl=1))


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), 1e300, "5"])
def test_a_senseless_ttl_is_refused(cache, ttl):
    """A ttl is a number of seconds above 0 and of at most ten years."""
    with pytest.raises(ConfigurationError):
        cache.get_or_load("k", int, ttl=ttl)


def test_a_loader_may_say_how_long_its_value_is_good(cache):
    """`Loaded` overrides the policy's ttl."""
    assert cache.fetch("k", lambda: Loaded(1, ttl=5), ttl=60).ttl_left == pytest.approx(5, abs=1)


def test_a_loader_may_forbid_storing(cache, origin):
    """A value with a ttl of 0 answers its callers and is not kept."""
    load = origin.loader("k")
    assert [cache.get_or_load("k", lambda: Loaded(load(), ttl=0)) for _ in range(2)] == ["k#1", "k#2"]


@pytest.mark.parametrize("ttl", [-1, float("nan"), float("inf")])
def test_a_loader_cannot_give_a_senseless_ttl(cache, ttl):
    """A `Loaded` whose ttl is no duration is the loader's error."""
    with pytest.raises(ConfigurationError):
        cache.get_or_load("k", lambda: Loaded(1, ttl=ttl))


def test_a_loaders_exception_reaches_the_caller_and_is_not_kept(cache, origin):
    """What a loader raises is raised, and the next caller asks again."""
    origin.fail_with(LookupError("gone"))
    with pytest.raises(LookupError, match="gone"):
        cache.get_or_load("k", origin.loader("k"))
    origin.recover()
    assert cache.get_or_load("k", origin.loader("k")) == "k#2"


def test_an_async_loader_is_refused(cache):
    """A coroutine function cannot be a loader; the error says so."""

    async def load():
        pass

    async def load_many(keys):
        pass

    with pytest.raises(TypeError, match="async"):
        cache.get_or_load("k", load)
    with pytest.raises(TypeError, match="async"):
        cache.get_or_load_many(["k"], load_many)


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 1025, "\ud800", 5, None, b"k"])
def test_bad_names_are_refused(cache, name):
    """Keys and tags are text of 1 to 1024 bytes without control characters."""
    with pytest.raises(ConfigurationError):
        cache.get(name)
    with pytest.raises(ConfigurationError):
        cache.delete(name)
    with pytest.raises(ConfigurationError):
        cache.get_or_load(name, int)
    with pytest.raises(ConfigurationError):
        cache.set("k", 1, tags=[name])
    with pytest.raises(ConfigurationError):
        cache.invalidate_tags(name)


def test_a_bare_text_as_tags_is_refused(cache):
    """``tags="abc"`` is never meant as three tags."""
    with pytest.raises(ConfigurationError, match="sequence"):
        cache.set("k", 1, tags="abc")


@pytest.mark.parametrize("key", ["ключ", "a b", "a:{b}", "{", "}{", "{}x", "%00", "*", "x" * 1024])
def test_odd_but_legal_names_work(cache, key):
    """Any other text is a name like any other."""
    cache.set(key, key, tags=[key])
    assert cache.get(key) == key
    cache.invalidate_tags(key)
    assert cache.get(key) is MISS


def test_an_unsupported_value_is_refused_at_set(cache):
    """What cannot be kept exactly is a clear error, and changes nothing."""
    cache.set("k", 1)
    with pytest.raises(UnsupportedValue, match="object"):
        cache.set("k", object())
    assert cache.get("k") == 1


def test_an_unsupported_value_is_refused_at_load(cache):
    """A loader's unsupported value is an error to its callers."""
    with pytest.raises(UnsupportedValue, match="register_type"):
        cache.get_or_load("k", object)


def test_a_value_too_large_is_refused_at_set(make_cache, redis_url):
    """`set` of more than `max_entry_bytes` is an error; the key stays as it was and is not blocked."""
    cache = connected(make_cache(redis_url, max_entry_bytes=1000))
    cache.set("k", 1)
    with pytest.raises(UnsupportedValue, match="bytes"):
        cache.set("k", "x" * 1000)
    assert cache.get("k") == 1
    cache.delete("k")
    assert begin(lambda: cache.get_or_load("k", lambda: 2)).result(10) == 2


def test_a_value_too_large_is_answered_but_not_kept(make_cache, redis_url, origin):
    """A load of more than `max_entry_bytes` answers its caller and stores nothing."""
    cache = make_cache(redis_url, max_entry_bytes=1000)
    assert cache.get_or_load("k", lambda: "x" * 1000 + str(origin("k"))) == "x" * 1000 + "k#1"
    assert cache.get("k") is MISS


def test_disabled_reads_go_to_the_loader_and_store_nothing(cache, origin):
    """Inside `disabled` every read asks its loader; what was kept before is there again afterwards."""
    cache.set("k", "kept")
    with cache.disabled():
        assert cache.get("k") is MISS
        assert cache.get_or_load("k", origin.loader("k")) == "k#1"
        assert cache.get_or_load_many(["k"], origin.load_many) == {"k": "k#2"}
    assert cache.get("k") == "kept"


def test_disabled_answers_as_an_enabled_cache_does(cache):
    """Inside `disabled`, `Loaded` is unwrapped and a batch gives each failure in its place."""
    error = LookupError("b")
    with cache.disabled():
        assert cache.get_or_load("k", lambda: Loaded(1, ttl=5)) == 1
        results = cache.fetch_many(["a", "b", "c"], lambda keys: {"a": Loaded(1, ttl=5), "b": error})
    assert results["a"].value == 1
    assert results["b"] is error
    assert isinstance(results["c"], NotLoaded)


def test_disabled_holds_for_its_thread_only(cache, origin):
    """Another thread still reads the cache."""
    cache.set("k", "kept")
    with cache.disabled():
        assert begin(lambda: cache.get("k")).result(10) == "kept"


def test_null_and_disabled_caches_keep_nothing(make_cache, origin, redis_url):
    """With ``null://`` or `enabled` false every read goes to the loader."""
    for cache in (make_cache("null://"), make_cache(redis_url, enabled=False)):
        cache.set("k", 1)
        assert cache.get("k") is MISS
        before = origin.total
        assert [cache.get_or_load("k", origin.loader("k")) for _ in range(2)]
        assert origin.total == before + 2
        assert cache.invalidate_tags("t").applied


def test_a_memory_cache_serves_stale_when_the_loader_fails(cache, origin):
    """Past its ttl a value is served, marked, if the loader fails and the policy allows it."""
    policy = CachePolicy(ttl=0.01, stale_if_error=60, early_refresh=False)
    assert cache.get_or_load("k", origin.loader("k"), policy=policy) == "k#1"
    origin.fail_with(LookupError("down"))
    until(lambda: cache.get("k") is MISS, "the value expires")
    answer = cache.fetch("k", origin.loader("k"), policy=policy)
    assert (answer.outcome, answer.value) == (Outcome.STALE, "k#1")
    assert answer.ttl_left <= 0


def test_stale_while_revalidate_never_waits(cache, origin):
    """Past its ttl a value is served at once, marked, while one caller loads in the background."""
    policy = CachePolicy(ttl=0.05, stale_while_revalidate=60, early_refresh=False)
    cache.get_or_load("k", origin.loader("k"), policy=policy)
    until(lambda: cache.get("k") is MISS, "the value expires")
    origin.hold()
    answer = cache.fetch("k", origin.loader("k"), policy=policy)
    assert (answer.outcome, answer.value) == (Outcome.STALE, "k#1")
    origin.wait_for_call("k", 2)
    assert cache.fetch("k", origin.loader("k"), policy=policy).outcome is Outcome.STALE
    origin.release()
    assert origin.calls("k") == 2


def test_stale_is_not_served_unless_chosen(cache, origin):
    """With a plain ttl an old value is never served: the loader's error is raised."""
    cache.set("k", "old", ttl=0.01)
    until(lambda: cache.get("k") is MISS, "the value expires")
    origin.fail_with(LookupError("down"))
    with pytest.raises(LookupError):
        cache.get_or_load("k", origin.loader("k"), ttl=0.01)


def test_stale_is_not_served_after_an_invalidation(cache, origin):
    """An invalidated value is gone for stale-if-error too."""
    policy = CachePolicy(ttl=0.01, stale_if_error=60, stale_while_revalidate=60)
    cache.get_or_load("k", origin.loader("k"), policy=policy, tags=["t"])
    cache.invalidate_tags("t")
    origin.fail_with(LookupError("down"))
    with pytest.raises(LookupError):
        cache.get_or_load("k", origin.loader("k"), policy=policy, tags=["t"])


def test_a_value_invalidated_during_the_failing_load_is_not_served_stale(cache, origin):
    """If the invalidation passes while the loader is at work, its failure is raised, not papered over."""
    policy = CachePolicy(ttl=0.01, stale_if_error=60, early_refresh=False)
    cache.get_or_load("k", origin.loader("k"), policy=policy, tags=["t"])
    until(lambda: cache.get("k") is MISS, "the value expires")
    origin.hold()
    reading = begin(lambda: cache.fetch("k", origin.loader("k"), policy=policy, tags=["t"]))
    origin.wait_for_call("k", 2)
    cache.invalidate_tags("t")
    origin.fail_with(LookupError("down"))
    origin.release()
    with pytest.raises(LookupError):
        reading.result(10)


def test_a_batch_loads_what_is_missing_only(cache, origin):
    """The loader of many gets the missing keys, in order, without repetitions; the answer keeps the order."""
    cache.set("b", "kept")
    asked = []

    def load(keys):
        asked.append(list(keys))
        return origin.load_many(keys)

    answer = cache.get_or_load_many(["c", "b", "a", "c"], load)
    assert list(answer.items()) == [("c", "c#1"), ("b", "kept"), ("a", "a#1")]
    assert asked == [["c", "a"]]


def test_a_batch_may_be_empty(cache):
    """No keys, no load."""
    assert cache.get_or_load_many([], lambda keys: pytest.fail("loaded")) == {}


def test_a_batch_loader_may_leave_keys_out(cache):
    """What the loader leaves out is left out of the answer, and is NotLoaded for `fetch_many`."""
    assert cache.get_or_load_many(["a", "b"], lambda keys: {"a": 1}) == {"a": 1}
    result = cache.fetch_many(["a", "b"], lambda keys: {})
    assert result["a"].value == 1
    assert isinstance(result["b"], NotLoaded)


def test_a_batch_loader_may_fail_for_single_keys(cache):
    """An exception in place of a value concerns that key alone and is not kept."""
    error = LookupError("b")
    result = cache.fetch_many(["a", "b"], lambda keys: {"a": 1, "b": error})
    assert result["a"].value == 1
    assert result["b"] is error
    with pytest.raises(LookupError):
        cache.get_or_load_many(["a", "b"], lambda keys: {"b": error})
    assert cache.get_or_load_many(["a", "b"], lambda keys: {"b": 2}) == {"a": 1, "b": 2}


def test_a_batch_loader_that_raises_fails_the_missing_keys_only(cache):
    """The keys that were there are answered all the same."""
    cache.set("a", 1)
    error = LookupError("down")

    def load(keys):
        raise error

    assert {key: getattr(found, "value", found) for key, found in cache.fetch_many("ab", load).items()} == {
        "a": 1,
        "b": error,
    }


def test_a_batch_loader_that_returns_no_mapping_is_an_error_per_key(cache):
    """Returning a list is the loader's error; it does not hang or poison the keys."""
    result = cache.fetch_many(["a"], lambda keys: [1])
    assert isinstance(result["a"], TypeError)


def test_a_batch_tags_each_key(cache):
    """`tags_for` gives each key its own tags."""
    cache.get_or_load_many(["a", "b"], lambda keys: dict.fromkeys(keys, 1), tags_for=lambda key: ["t" + key])
    cache.invalidate_tags("ta")
    assert [cache.get(key) for key in "ab"] == [MISS, 1]


def count_commands(server):
    """Return how often the server has run each command."""
    with redis.Redis.from_url(server.url) as client:
        return {name[8:]: facts["calls"] for name, facts in client.info("commandstats").items()}


def test_a_warm_batch_is_one_round_trip(make_cache, redis_server):
    """A process with an empty L1 reads 100 keys with tags in one trip of one MGET."""
    names = [f"price:{number}" for number in range(BATCH)]
    first, second = (connected(make_cache(redis_server.url, monitoring=False)) for _ in range(2))

    def tags_for(key):
        return [f"pair:{key}", "market"]

    first.get_or_load_many(names, lambda keys: dict.fromkeys(keys, 1), tags_for=tags_for)
    connected(first)
    before = count_commands(redis_server)
    answer = second.fetch_many(names, lambda keys: pytest.fail("loaded"), tags_for=tags_for)
    after = count_commands(redis_server)
    assert {found.layer for found in answer.values()} == {"l2"}
    used = {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}
    used = {name: calls for name, calls in used.items() if name in ("time", "mget", "get", "evalsha", "eval")}
    used.pop("time", None)  # the heartbeat
    assert used.pop("mget") == 1
    assert used == {}


def test_a_cold_batch_is_three_round_trips(make_cache, redis_url):
    """100 missing keys cost one read, one begin and one fill, whatever their number."""
    cache = connected(make_cache(redis_url))
    sent = []
    run = cache.gateway.run
    cache.gateway.run = lambda commands, operation="other": sent.append(operation) or run(commands, operation)
    cache.get_or_load_many([f"k{n}" for n in range(BATCH)], lambda keys: dict.fromkeys(keys, 1))
    assert [operation for operation in sent if operation != "other"] == ["read", "begin", "fill"]


def test_unknown_settings_are_refused():
    """A misspelt setting is an error that names it."""
    with pytest.raises(ConfigurationError, match="tl1"):
        open_cache("memory://", tl1=5)


@pytest.mark.parametrize("url", ["localhost:6379", "http://x", "", "redis"])
def test_an_unknown_kind_of_url_is_refused(url):
    """The URL says what kind of store there is."""
    with pytest.raises(ConfigurationError, match="redis_url"):
        open_cache(url)


@pytest.mark.parametrize(
    "setting",
    [
        {"namespace": "a b"},
        {"pool_size": 0},
        {"pool_size": 1},
        {"op_timeout": -1},
        {"l1_max_bytes": -1},
        {"secret_keys": ("short",)},
        {"default_ttl": float("nan")},
    ],
)
def test_senseless_settings_are_refused(setting):
    """A setting out of its range is an error that names it."""
    with pytest.raises(ConfigurationError, match=next(iter(setting)).rpartition("_")[0] or "namespace"):
        open_cache("memory://", **setting)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_ready_client_may_be_given(make_cache, redis_server, kind):
    """``redis=client`` uses that client's address, and leaves the client alone."""
    url = redis_server.url if kind == "tcp" else redis_server.unix_url
    with redis.Redis.from_url(url) as client:
        make_cache(redis=client).set("k", 1)
        assert make_cache(redis_server.url).get("k") == 1
        assert client.ping()


def test_a_unix_socket_works(make_cache, redis_server):
    """A cache may speak to Redis over its Unix socket."""
    connected(make_cache(redis_server.unix_url)).set("k", 1)
    assert connected(make_cache(redis_server.url)).get("k") == 1


def test_namespaces_do_not_meet(make_cache, redis_url):
    """Caches of different namespaces on one Redis share nothing, nor does `clear` of one touch the other."""
    one, two = make_cache(redis_url, namespace="one"), make_cache(redis_url, namespace="two")
    one.set("k", 1, tags=["t"])
    two.set("k", 2, tags=["t"])
    one.clear()
    two_again = make_cache(redis_url, namespace="two")
    assert [cache.get("k") for cache in (one, two, two_again)] == [MISS, 2, 2]


def test_a_set_elsewhere_is_seen_here(make_cache, redis_url):
    """`set` in one process ends other processes' L1 copies, even one that is just being put there."""
    one, two = connected(make_cache(redis_url)), connected(make_cache(redis_url))
    one.set("k", 1)
    assert two.get("k") == 1
    one.set("k", 2)
    until(lambda: two.get("k") == 2, "the other has heard of it")


def test_closing_twice_is_no_error(make_cache, redis_url):
    """`close` may be called again."""
    cache = connected(make_cache(redis_url))
    cache.close()
    cache.close()
