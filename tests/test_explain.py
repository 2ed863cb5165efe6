"""Explaining a key: where it lies, whether it counts, why not, and who invalidated it, from any process."""

from __future__ import annotations

import os
import socket

import msgspec
import pytest
import redis

from cache_ext import MISS, CachePolicy, ConfigurationError
from cache_ext.coherence.reasons import UNKNOWN, because
from cache_ext.errors import StoreUnavailable
from cache_ext.explain import inquiries
from cache_ext.explain.explaining import explain_key, explain_request
from cache_ext.explain.invalidations import RECENT, REMEMBERED, SHOWN_NAMES, Invalidations
from cache_ext.stats.reporting import report_of
from tests.caches import connected
from tests.waiting import until

POLICY = CachePolicy(ttl=600, stale_if_error=60, name="fact", early_refresh=False)
KEY, TAG = "price:{pair:BTC-USDC}", "pair:BTC-USDC"
ME = (socket.gethostname(), os.getpid())


@pytest.fixture
def server_kind():
    """Both kinds speak the same protocol."""
    return "valkey"


@pytest.fixture
def pair(make_cache, redis_url):
    """Two caches that hear each other, as those of two processes."""
    return [connected(make_cache(redis_url, op_timeout=2.0)) for _ in range(2)]


def load(cache, value="v"):
    """Read the key as everybody here does."""
    return cache.get_or_load(KEY, lambda: value, policy=POLICY, tags=[TAG])


def test_a_fresh_key_is_told_with_its_times_tags_and_copies(pair):
    """Where it lies, in whose L1 too, how old it is and how long it counts; but not what it is."""
    load(pair[0], "the value itself")
    told = explain_key(pair[1], KEY)
    assert (told.complete, told.incomplete_because, told.answered) == (True, None, 2)
    assert (told.state, told.layers) == ("fresh", ("l1", "l2"))
    assert (told.loading, told.last_invalidation) == (False, None)
    assert 0 <= told.stored.age < 60
    assert told.stored.ttl_left == pytest.approx(600 - told.stored.age)
    assert told.stored.stale_left == pytest.approx(660 - told.stored.age)
    assert told.stored.bytes > len("the value itself")
    (copy,) = told.copies
    assert (copy.host, copy.pid, copy.serves, copy.token) == (*ME, True, told.stored.token)
    (tag,) = told.tags
    assert (tag.name, tag.verdict, tag.made_under) == (TAG, "current", tag.current)
    assert "the value itself" not in repr(told)


def test_a_key_that_nobody_loaded_is_absent(pair):
    """That is an answer, with why."""
    told = explain_key(pair[0], "never")
    assert (told.complete, told.state, told.layers) == (True, "absent", ())
    assert told.why.startswith("nothing lies there: it was never loaded")


def test_an_invalidated_key_names_the_tag_who_did_it_and_why(pair):
    """Asked of the process that did not do it, and the entry says under which version it was made."""
    load(pair[0])
    with because("a test\nof reasons"):
        pair[0].invalidate_tags("other", TAG)
    heard = pair[1].runtime.memory.invalidations
    until(lambda: heard.last(KEY, [TAG]), "the other has heard of it")
    told = explain_key(pair[1], KEY)
    assert (told.state, told.why.split(" was ")[0]) == ("invalidated", f"the tag {TAG}")
    assert (told.last_invalidation.what, told.last_invalidation.reason) == ("tags", "a test of reasons")
    assert (told.last_invalidation.host, told.last_invalidation.pid) == ME
    assert TAG in told.last_invalidation.names
    (tag,) = told.tags
    assert (tag.verdict, tag.last_invalidation) == ("invalidated", told.last_invalidation)
    assert tag.made_under != tag.current
    load(pair[0], "new")
    again = explain_key(pair[1], KEY)
    assert (again.state, again.tags[0].verdict) == ("fresh", "current")
    assert again.last_invalidation == told.last_invalidation


def test_who_has_forgotten_asks_who_remembers(pair):
    """A process that started after an invalidation learns of it from one that was there."""
    load(pair[0])
    pair[0].invalidate_tags(TAG)
    memory = pair[1].runtime.memory
    until(lambda: memory.invalidations.last(KEY, [TAG]), "the other has heard of it")
    memory.invalidations = type(memory.invalidations)(memory.signature)
    assert explain_key(pair[1], KEY).last_invalidation.what == "tags"


def test_a_softly_invalidated_key_is_stale(pair):
    """It may be served, marked, and says which tag made it so."""
    load(pair[0])
    pair[0].invalidate_tags(TAG, soft=True)
    told = explain_key(pair[1], KEY)
    assert (told.state, told.tags[0].verdict) == ("stale", "softly invalidated")
    assert f"the tag {TAG} was invalidated softly" in told.why


def test_a_deleted_key_says_that_it_was(pair):
    """And when."""
    load(pair[0])
    pair[0].delete(KEY)
    told = explain_key(pair[0], KEY)
    assert told.state == "absent"
    assert told.why.startswith("nothing lies there: it was deleted at 20")
    assert (told.last_invalidation.what, told.last_invalidation.names) == ("keys", (KEY,))


def test_a_cleared_cache_blames_the_clearing(pair):
    """All was invalidated, so this was."""
    pair[0].invalidate_tags(TAG)
    load(pair[0])
    with because("flushed"):
        pair[0].clear()
    until(lambda: pair[1].runtime.memory.invalidations.last(KEY, []), "the other has heard of it")
    told = explain_key(pair[1], KEY)
    assert (told.state, told.tags[0].verdict) == ("invalidated", "epoch replaced")
    assert told.tags[0].last_invalidation == told.last_invalidation
    assert (told.last_invalidation.what, told.last_invalidation.reason) == ("everything", "flushed")


def test_what_cannot_be_read_is_told_as_such(pair, redis_url):
    """Bytes that are no entry are a miss, and here is why."""
    with redis.Redis.from_url(redis_url) as client:
        client.set(pair[0].runtime.keyspace.value(KEY), b"nonsense")
    told = explain_key(pair[0], KEY)
    assert (told.state, told.stored) == ("undecodable", None)


def test_a_sealed_entry_shows_neither_value_nor_tags(make_cache, redis_url):
    """Who somebody is stays sealed."""
    cache = connected(make_cache(redis_url, op_timeout=2.0, secret_keys=["s" * 32]))
    policy = CachePolicy(ttl=60, sensitive=True, name="who")
    cache.get_or_load("who:1", lambda: "alice", policy=policy, tags=["account:1"])
    assert (explain_key(cache, "who:1").stored.sealed, explain_key(cache, "who:1").state) == (True, "fresh")
    cache.invalidate_tags("account:1")
    told = explain_key(cache, "who:1")
    assert told.state == "invalidated"
    assert "alice" not in repr(told)
    assert "account:1" not in repr(told)


def test_a_cache_of_its_own_explains_itself(make_cache):
    """Without Redis there is L1 and nothing else."""
    cache = make_cache("memory://")
    load(cache)
    told = explain_key(cache, KEY)
    assert (told.complete, told.state, told.layers, told.stored) == (True, "fresh", ("l1",), None)
    assert told.copies[0].serves
    cache.invalidate_tags(TAG)
    told = explain_key(cache, KEY)
    assert (told.state, told.last_invalidation, told.layers) == ("absent", None, ())


def test_without_redis_this_process_tells_what_it_knows(make_cache, own_redis_server):
    """It says that it is no more than that, and why; its copy is told."""
    cache = connected(make_cache(own_redis_server.url, timeout=0.5))
    load(cache)
    own_redis_server.kill()
    told = explain_key(cache, KEY)
    assert (told.complete, told.state, told.layers) == (False, "unknown", ("l1",))
    assert told.incomplete_because.startswith("Redis does not answer (")
    assert told.copies[0].pid == os.getpid()


def test_a_process_that_does_not_answer_is_missed(pair, monkeypatch):
    """Who listens and says nothing makes the answer incomplete, after half a second."""
    monkeypatch.setattr(inquiries, "PATIENCE", 0.05)
    monkeypatch.setattr(pair[1].runtime.memory.inquiries, "_answer", lambda *given: None)
    told = explain_key(pair[0], KEY)
    assert (told.complete, told.answered) == (False, 1)
    assert told.incomplete_because.startswith("no answer within")


def test_without_a_backplane_nobody_is_asked(make_cache, redis_url):
    """It says so, and tells what Redis says."""
    cache = make_cache(redis_url, pubsub=False)
    load(cache)
    told = explain_key(cache, KEY)
    assert (told.complete, told.state) == (False, "fresh")
    assert told.incomplete_because == "this process alone is known: the backplane is switched off"
    assert [copy.serves for copy in told.copies] == [False], "it asks Redis first"


@pytest.mark.parametrize("names", [["q"], ["x", "key", "k"], ["x", "\x01"], ["x", "{}"], ["x", "[" * 9_999]])
@pytest.mark.parametrize("kind", ["q", "a"])
def test_nonsense_on_the_channel_harms_nobody(pair, redis_url, caplog, kind, names):
    """Questions and answers that make no sense, or that nobody asked for, are dropped."""
    channel = pair[0].runtime.keyspace.channels[inquiries.CHANNEL]
    content = f"{kind}::0:".encode() + msgspec.msgpack.encode(names)
    with redis.Redis.from_url(redis_url) as client:
        assert client.publish(channel, content) == 2
    assert explain_key(pair[0], KEY).complete
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_what_cannot_be_a_key_is_refused(pair):
    """As everywhere."""
    with pytest.raises(ConfigurationError):
        explain_key(pair[0], "a\x00")


def test_the_stats_tell_recent_invalidations_of_all_processes(pair):
    """Newest first, with who decided and why."""
    with because("one"):
        pair[0].invalidate_tags(TAG)
    heard = pair[1].runtime.memory.invalidations
    until(lambda: len(heard.recent()) == 1, "the other has heard of it")
    with because("two"):
        pair[1].delete(KEY)
    told = report_of(pair[1]).recent_invalidations
    assert [(each.what, each.names, each.reason) for each in told] == [
        ("keys", (KEY,), "two"),
        ("tags", (TAG,), "one"),
    ]
    assert {(each.host, each.pid, each.applied) for each in told} == {(*ME, True)}


def test_what_is_remembered_is_bounded():
    """In invalidations, in names, and in names that are shown of one."""
    memory = Invalidations("me")
    for number in range(RECENT + 1):
        memory.note("tags", (f"t{number}",), UNKNOWN)
    assert len(memory.recent()) == RECENT
    memory.note("keys", [f"k{number}" for number in range(REMEMBERED + 1)], UNKNOWN)
    assert memory.last("k0", ["t0"]) == {}
    assert memory.last("k1", []).keys() == {"k1"}
    assert (len(memory.recent()[0].names), memory.recent()[0].count) == (SHOWN_NAMES, REMEMBERED + 1)


def test_what_was_queued_says_so_when_it_is_told(pair, monkeypatch):
    """Others learn of it late, from whoever tells Redis then, and why."""

    def away(*given, **more):
        raise StoreUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(pair[0].runtime.store, "invalidate", away)
        assert pair[0].invalidate_tags(TAG).queued
    assert not pair[0].runtime.memory.invalidations.recent()[0].applied
    heard = pair[1].runtime.memory.invalidations
    until(lambda: pair[0].get("x") is MISS and heard.recent(), "the other has heard of it")
    (told,) = heard.recent()
    assert (told.names, told.reason, told.applied) == ((TAG,), "queued while Redis was away", True)


def test_an_answer_that_would_be_too_large_tells_of_the_newest_requests(pair, monkeypatch):
    """Of one id; a process that does not answer at all would tell less."""
    memory = pair[1].runtime.memory
    for number in range(20):
        memory.note(("same", float(number), "k" * 200, 0.0))
    assert len(explain_request(pair[0], "same").requests) == 20
    monkeypatch.setattr(inquiries, "MAX_ANSWER_BYTES", 2_000)
    told = explain_request(pair[0], "same")
    assert told.complete
    assert 1 <= len(told.requests) < 20
    assert told.requests[-1].reads[0].age == 19, "the newest"


def test_a_process_that_cannot_hear_is_named(pair, make_cache, redis_url):
    """It runs the cache, as the stats know, and nobody can ask it."""
    deaf = make_cache(redis_url, pubsub=False)
    describe = deaf.runtime.stats._describe
    deaf.runtime.stats._describe = lambda: msgspec.structs.replace(describe(), pid=1)
    deaf.runtime.stats.tick()
    told = explain_key(pair[0], KEY)
    assert (told.complete, told.incomplete_because) == (
        False,
        f"no answer within {inquiries.PATIENCE} s from {ME[0]}/1",
    )
