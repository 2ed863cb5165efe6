"""Rules: events invalidate tags, whoever emits them, and whatever becomes of the stream."""

from __future__ import annotations

import threading
import time

import pytest
import redis

from cache_ext import MISS, Emission, Fate, metrics
from cache_ext.errors import StoreUnavailable
from cache_ext.hooks import following, running, stream
from cache_ext.hooks.following import GROUP
from tests.caches import Stop, begin, connected
from tests.waiting import until

TRADE = {"pair": "SOL-USDC"}


def tags_of(event):
    """A trade changes its pair."""
    return [f"pair:{event.data['pair']}"] if event.name == "trade" else []


@pytest.fixture
def quick(monkeypatch):
    """Processes that look at the stream often."""
    monkeypatch.setattr(running, "LOOK", 0.02)


@pytest.fixture
def desk(redis_url):
    """A client of the server's own."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def make_ruled(make_cache, redis_url):
    """Makes caches whose events invalidate by `tags_of`; returns one when it follows the stream."""

    def make(url=redis_url, rules=tags_of, **settings):
        cache = make_cache(url, **settings)
        cache.hooks.invalidate_by(rules, cache)
        cache.start()
        return cache

    return make


def place(cache, what="events"):
    """Return where *what* lies."""
    return cache.runtime.keyspace.place(stream.BUCKET, what)


def follows(cache, desk):
    """Wait until *cache*, or another, has followed all there is."""
    until(lambda: desk.get(place(cache, "taken")) == (desk.get(place(cache, "newest")) or b"0"), "followed")
    until(lambda: desk.xpending(place(cache), GROUP)["pending"] == 0, "nothing is pending")


def counted(outcome):
    """Return how often an outcome was counted in this process."""
    return metrics.hook_events.labels(outcome)._value.get()


def kept(cache, *pairs):
    """Keep something about each of *pairs*."""
    for pair in pairs:
        cache.set(f"price:{pair}", pair, ttl=600, tags=[f"pair:{pair}"])


def still(cache, *pairs):
    """Return of which of *pairs* something is kept."""
    return [pair for pair in pairs if cache.get(f"price:{pair}") is not MISS]


def test_an_event_invalidates_before_emit_returns_and_nothing_else(cache):
    """What it changes is gone at once; another pair's entry stays; the receipt says which tags."""
    cache.hooks.invalidate_by(tags_of, cache)
    kept(cache, "SOL-USDC", "BTC-USDC")
    receipt = cache.hooks.emit("trade", TRADE)
    assert still(cache, "SOL-USDC", "BTC-USDC") == ["BTC-USDC"]
    assert receipt.tags == ("pair:SOL-USDC",)
    assert cache.hooks.emit("other", {}).tags == ()


def test_an_id_invalidates_once(cache):
    """Within a batch, later, and emitted by another name; what was loaded meanwhile stays."""
    cache.hooks.invalidate_by(tags_of, cache)
    first, again = cache.hooks.emit_many([Emission("trade", TRADE, "t-1"), Emission("trade", TRADE, "t-1")])
    assert (first.tags, again.tags) == (("pair:SOL-USDC",), ())
    assert again.fate is Fate.REPEATED
    kept(cache, "SOL-USDC")
    assert cache.hooks.emit("trade", TRADE, id="t-1") == ("t-1", Fate.REPEATED, ())
    assert still(cache, "SOL-USDC")


def test_an_id_is_known_to_all_processes(make_ruled, desk):
    """What one process was told does nothing when another is told it."""
    one, other = make_ruled(), make_ruled()
    assert one.hooks.emit("trade", TRADE, id="t-1").fate is Fate.ACCEPTED
    kept(other, "SOL-USDC")
    assert other.hooks.emit("trade", TRADE, id="t-1").fate is Fate.REPEATED
    assert still(other, "SOL-USDC")
    assert desk.xlen(place(one)) == 1
    assert 86_000 < desk.ttl(place(one, "id:t-1")) <= 86_400


def test_many_events_are_three_round_trips(make_ruled):
    """Which of them are new; what they invalidate; the events themselves. However many there are."""
    cache = connected(make_ruled())
    sent, run, me = [], cache.gateway.run, threading.current_thread()

    def listening(commands, *rest):
        if threading.current_thread() is me:
            sent.append(len(commands))
        return run(commands, *rest)

    cache.gateway.run = listening
    events = [Emission("trade", {"pair": f"P{number}-USDC"}, f"id-{number}") for number in range(500)]
    receipts = cache.hooks.emit_many(events)
    assert [receipt.fate for receipt in receipts] == [Fate.ACCEPTED] * 500
    assert len(sent) == 3


def test_a_hook_finds_what_it_is_called_for_invalidated(make_ruled):
    """In whichever process it runs, it never reads what the event has made out of date."""
    emitter, other = make_ruled(), make_ruled()
    read = []
    other.hooks.on("trade", name="read")(lambda event: read.append(other.get(event.data["key"])))
    connected(other)
    for number in range(30):
        key = f"price:{number}"
        emitter.set(key, 1, ttl=600, tags=["pair:SOL-USDC"])
        emitter.hooks.emit("trade", {"pair": "SOL-USDC", "key": key})
    until(lambda: len(read) == 30, "the hook is called")
    assert set(read) == {MISS}


def test_what_programs_without_rules_emit_is_invalidated_as_well(
    make_ruled, make_cache, redis_url, desk, monkeypatch
):
    """At once, by a process that has rules; nobody waits for it to look by itself."""
    monkeypatch.setattr(running, "LOOK", 60.0)
    ruled, plain = connected(make_ruled()), connected(make_cache(redis_url))
    follows(ruled, desk)
    kept(plain, "SOL-USDC", "BTC-USDC")
    assert plain.hooks.emit("trade", TRADE).tags == ()
    until(lambda: not still(plain, "SOL-USDC"), "it is invalidated")
    assert still(plain, "BTC-USDC")


def test_what_was_invalidated_at_emitting_is_not_invalidated_again(make_ruled, desk, quick):
    """Whoever follows the stream passes it over, so what was loaded since then stays."""
    one = make_ruled()
    follows(one, desk)
    one.hooks.close(10)  # it emits, and follows no more
    pairs = [f"P{number}-USDC" for number in range(250)]
    for pair in pairs:
        one.hooks.emit("trade", {"pair": pair})
    kept(one, *pairs)
    follows(make_ruled(), desk)
    assert still(one, *pairs) == pairs


def test_an_event_stays_due_until_its_tags_count_everywhere(make_ruled, make_cache, redis_url, desk, quick):
    """Who could only queue the invalidation does not end the event, so another process takes it."""
    ruled, plain = make_ruled(), connected(make_cache(redis_url))
    follows(ruled, desk)
    asked = []
    ruled.hooks.registry.rules.invalidate = asked.append  # returns no truth: it was only queued
    plain.hooks.emit("trade", TRADE)
    until(lambda: asked, "it is taken")
    ruled.hooks.close(10)
    assert desk.xpending(place(plain), GROUP)["pending"] == 1


def test_nothing_is_lost_while_no_process_is_there(make_ruled, make_cache, redis_url, desk, quick):
    """What is emitted meanwhile is invalidated when one with rules is back, and no more than that."""
    ruled = make_ruled()
    follows(ruled, desk)
    ruled.close()
    plain = connected(make_cache(redis_url))
    kept(plain, "SOL-USDC", "BTC-USDC", "ETH-USDC")
    for pair in ("SOL-USDC", "ETH-USDC"):
        plain.hooks.emit("trade", {"pair": pair})
    follows(make_ruled(), desk)
    until(lambda: still(plain, "SOL-USDC", "BTC-USDC", "ETH-USDC") == ["BTC-USDC"], "it is invalidated")


def test_what_a_killed_process_had_taken_is_taken_by_another(make_ruled, make_cache, redis_url, desk, quick):
    """An event is ended only when its tags are invalidated."""
    ruled = make_ruled()
    follows(ruled, desk)
    ruled.close()
    plain = connected(make_cache(redis_url))
    kept(plain, "SOL-USDC")
    plain.hooks.emit("trade", TRADE)
    keys = [place(plain, what) for what in ("events", "newest", "taken")]
    script = desk.register_script(plain.gateway.script_text(plain.gateway.script("follow")))
    assert script(keys, [GROUP, stream.TAKER, 10_000, 10])[:2] == [0, 0]  # whoever did that is killed
    ((taken, *_),) = [each.values() for each in desk.xpending_range(keys[0], GROUP, "-", "+", 10)]
    desk.xclaim(keys[0], GROUP, stream.TAKER, 0, [taken], idle=60_000, justid=True)
    make_ruled()
    until(lambda: not still(plain, "SOL-USDC"), "another invalidates it")


LOSSES = {
    "trimmed past the group": lambda cache, desk: desk.xtrim(place(cache), maxlen=0, approximate=False),
    "deleted": lambda cache, desk: desk.delete(place(cache)),
    "its group destroyed": lambda cache, desk: desk.xgroup_destroy(place(cache), GROUP),
    "its position lost": lambda cache, desk: desk.delete(place(cache, "taken")),
    "an event deleted": lambda cache, desk: desk.xdel(place(cache), desk.xrange(place(cache))[-2][0]),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_when_events_were_lost_everything_is_invalidated(
    make_ruled, make_cache, redis_url, desk, quick, loss
):
    """Nobody knows what they asked for. It happens once, and events count as before."""
    ruled = make_ruled()
    follows(ruled, desk)
    ruled.close()
    plain = connected(make_cache(redis_url))
    kept(plain, "SOL-USDC", "BTC-USDC")
    plain.hooks.emit("noise", 1)
    plain.hooks.emit("noise", 2)
    before = counted("started_over")
    LOSSES[loss](plain, desk)
    assert still(plain, "SOL-USDC", "BTC-USDC") == ["SOL-USDC", "BTC-USDC"]
    ruled = make_ruled()
    until(lambda: not still(plain, "SOL-USDC", "BTC-USDC"), "everything is invalidated")
    follows(ruled, desk)
    kept(plain, "SOL-USDC", "BTC-USDC")
    plain.hooks.emit("trade", TRADE)
    until(lambda: not still(plain, "SOL-USDC"), "events count")
    assert still(plain, "BTC-USDC")
    assert counted("started_over") - before == 1


def test_a_taken_event_that_was_trimmed_counts_as_lost(make_ruled, make_cache, redis_url, desk, quick):
    """What its taker did not end, and is in the stream no more, nobody can do any more."""
    ruled = make_ruled()
    follows(ruled, desk)
    ruled.close()
    plain = connected(make_cache(redis_url))
    kept(plain, "SOL-USDC")
    plain.hooks.emit("trade", TRADE)
    desk.xreadgroup(GROUP, stream.TAKER, {place(plain): ">"})
    desk.set(place(plain, "taken"), 1)
    ((taken, _),) = desk.xrange(place(plain))
    desk.xclaim(place(plain), GROUP, stream.TAKER, 0, [taken], idle=60_000, justid=True)
    desk.xdel(place(plain), taken)
    make_ruled()
    until(lambda: not still(plain, "SOL-USDC"), "everything is invalidated")


def test_a_first_start_invalidates_nothing(make_ruled, desk, quick):
    """Where there never was an event, none was lost."""
    before = counted("started_over")
    cache = connected(make_ruled())
    kept(cache, "SOL-USDC")
    follows(cache, desk)
    cache.hooks.emit("trade", {"pair": "BTC-USDC"})
    follows(cache, desk)
    assert still(cache, "SOL-USDC")
    assert counted("started_over") == before


def test_events_before_the_first_start_are_taken_one_by_one(make_ruled, make_cache, redis_url, desk, quick):
    """Nobody has followed the stream yet, and its first event is still there: none was lost."""
    before, plain = counted("started_over"), connected(make_cache(redis_url))
    kept(plain, "SOL-USDC", "BTC-USDC")
    plain.hooks.emit("noise", 1)
    plain.hooks.emit("trade", TRADE)
    ruled = make_ruled()
    until(lambda: not still(plain, "SOL-USDC"), "events count")
    follows(ruled, desk)
    assert still(plain, "BTC-USDC")
    assert counted("started_over") == before
    desk.xgroup_destroy(place(plain), GROUP)
    desk.delete(place(plain, "taken"))
    until(lambda: not still(plain, "BTC-USDC"), "who has followed knows that there was a group")


def test_who_has_followed_notices_that_all_is_gone(make_ruled, make_cache, redis_url, desk, quick):
    """The stream and all that is known of it: the process itself remembers that there was something."""
    ruled = make_ruled()
    follows(ruled, desk)
    kept(ruled, "SOL-USDC")
    desk.delete(*(place(ruled, what) for what in ("events", "newest", "taken")))
    until(lambda: not still(ruled, "SOL-USDC"), "everything is invalidated")


def test_losses_are_made_good_even_if_the_cache_is_away_meanwhile(
    make_ruled, make_cache, redis_url, desk, quick
):
    """Until everything counts as invalidated everywhere, it is asked for again."""
    ruled = make_ruled()
    follows(ruled, desk)
    asked, rules = [], ruled.hooks.registry.rules

    def refuse():
        asked.append(1)
        return len(asked) > 2

    rules.invalidate_all = refuse
    desk.delete(place(ruled))
    ruled.hooks.emit("noise", 1)
    until(lambda: len(asked) == 3, "it is asked for until it counts")
    follows(ruled, desk)
    assert len(asked) == 3


def test_what_could_only_be_queued_is_invalidated_by_another_process_too(make_ruled, desk):
    """A host whose cache is away cannot say that an event is dealt with; who can reach it deals with it."""
    here, there = make_ruled(), connected(make_ruled())
    follows(there, desk)
    kept(there, "SOL-USDC")
    rules, me = here.hooks.registry.rules, threading.current_thread()
    invalidate = rules.invalidate
    rules.invalidate = lambda tags: threading.current_thread() is not me and invalidate(tags)  # only queued
    here.hooks.emit("trade", TRADE)
    until(lambda: not still(there, "SOL-USDC"), "the other invalidates it")


def test_rules_that_raise_refuse_an_event_and_set_a_foreign_one_aside(
    make_ruled, make_cache, redis_url, desk, quick
):
    """Its emitter is told; what another program emitted is kept for people, and the next one counts."""
    ruled, plain = make_ruled(), connected(make_cache(redis_url))
    follows(ruled, desk)
    kept(plain, "SOL-USDC")
    with pytest.raises(KeyError):
        ruled.hooks.emit("trade", {"pear": 1})
    assert not desk.xlen(place(ruled))
    plain.hooks.emit_many([Emission("trade", {"pear": 1}, "bad"), Emission("trade", TRADE)])
    until(lambda: not still(plain, "SOL-USDC"), "the next one counts")
    follows(ruled, desk)
    ((_, fields),) = desk.xrange(place(ruled, "aside"))
    assert (fields[b"i"], fields[b"hook"]) == (b"bad", GROUP.encode())


def test_nonsense_in_the_stream_stops_nobody(make_ruled, make_cache, redis_url, desk, quick):
    """Entries that are no events, and numbers that are none, are passed over or made good."""
    ruled, plain = make_ruled(), connected(make_cache(redis_url))
    follows(ruled, desk)
    for fields in ({"other": "thing"}, {"n": "trade", "i": "x", "d": b"\xc1"}, {"s": "1e400", "v": "2"}):
        desk.xadd(place(ruled), fields)
    desk.set(place(ruled, "newest"), "a lot")
    plain.hooks.emit("noise", 1)
    kept(plain, "SOL-USDC")
    plain.hooks.emit("trade", TRADE)
    until(lambda: not still(plain, "SOL-USDC"), "events count")
    follows(ruled, desk)


def test_odd_replies_are_no_answers(make_ruled, desk, monkeypatch):
    """What is no answer of the script changes nothing, and says so."""
    ruled = make_ruled()
    follows(ruled, desk)
    follower = following.Follower(
        ruled.gateway, ruled.runtime.keyspace, ruled.hooks._stream, ruled.hooks._values
    )
    for reply in (b"WRONGTYPE", [0], [0, 0, [[1]]], 7, None, [0, 0, [[b"1-0", [b"n"]]]]):
        monkeypatch.setattr(ruled.gateway, "run", lambda commands, *rest, reply=reply: [reply])
        with pytest.raises(StoreUnavailable):
            follower.step(ruled.hooks.registry.rules)
    monkeypatch.undo()


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_while_redis_is_away_an_event_invalidates_on_this_host_and_later_everywhere(
    own_redis_server, make_ruled, make_cache, tmp_path
):
    """It is in the host's journal, not only in this process; when Redis is back the others know."""
    ruled = connected(
        make_ruled(own_redis_server.url, breaker_failures=1, breaker_cooldown=0.1, host_dir=tmp_path)
    )
    other = connected(make_cache(own_redis_server.url))
    kept(ruled, "SOL-USDC", "BTC-USDC")
    own_redis_server.pause()
    try:
        receipt = ruled.hooks.emit("trade", TRADE, id="t-1")
        assert receipt.fate is Fate.QUEUED
        assert receipt.tags == ("pair:SOL-USDC",)
        assert ruled.runtime.outbox.outlives
        assert ruled.hooks.emit("trade", TRADE, id="t-1").fate is Fate.REPEATED
    finally:
        own_redis_server.resume()
    until(lambda: still(other, "SOL-USDC", "BTC-USDC") == ["BTC-USDC"], "the other process knows")


def test_events_may_travel_through_another_redis_than_the_cache(make_cache, redis_url, start_redis, quick):
    """The stream of one cache, if told so, invalidates in another."""
    cache = connected(make_cache(redis_url))
    state = make_cache(start_redis().url, pubsub=False, l1_max_bytes=0)
    state.hooks.invalidate_by(tags_of, cache)
    state.start()
    kept(cache, "SOL-USDC", "BTC-USDC")
    assert state.hooks.emit("trade", TRADE).fate is Fate.ACCEPTED
    assert still(cache, "SOL-USDC", "BTC-USDC") == ["BTC-USDC"]


def test_the_lag_is_how_long_the_oldest_event_waits(make_ruled, make_cache, redis_url, desk, quick):
    """While a hook runs on an event it grows, whoever looks; when all is ended it is nothing."""
    cache, stop, seen = make_ruled(), Stop(), []

    def slow(event):
        seen.append(event)
        stop.passes()

    cache.hooks.on("trade", name="slow")(slow)
    began = time.monotonic()
    cache.hooks.emit("trade", TRADE)
    stop.wait()
    until(lambda: metrics.event_lag._value.get() > 0.05, "somebody has measured it")
    assert metrics.event_lag._value.get() <= time.monotonic() - began + 1
    stop.go()
    until(lambda: metrics.event_lag._value.get() == 0, "nothing waits")


def test_two_who_emit_one_id_at_once_make_one_event(make_ruled, desk):
    """Both may invalidate; the event is in the stream once, and hooks are called once."""
    one, other = make_ruled(), make_ruled()
    stop, emit = Stop(), one.hooks._stream.emit

    def late(events):
        stop.passes()
        return emit(events)

    one.hooks._stream.emit = late
    first = begin(lambda: one.hooks.emit("trade", TRADE, id="t-1"))
    stop.wait()
    assert other.hooks.emit("trade", TRADE, id="t-1").fate is Fate.ACCEPTED
    stop.go()
    assert first.result(10).fate is Fate.REPEATED
    assert desk.xlen(place(one)) == 1


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_a_redis_that_restarts_amid_events_brings_nothing_back(own_redis_server, make_ruled, make_cache):
    """Rolled back to before an event, with the stream and its numbers: what the event ended stays ended."""
    server = own_redis_server
    ruled, plain = connected(make_ruled(server.url)), connected(make_cache(server.url))
    with redis.Redis.from_url(server.url) as desk:
        follows(ruled, desk)
        ruled.hooks.emit("noise", 1, id="n-1")
        follows(ruled, desk)
    kept(ruled, "SOL-USDC", "BTC-USDC")
    assert server.ask("SAVE") == b"+OK"
    ruled.hooks.emit("trade", TRADE, id="t-1")
    assert still(ruled, "SOL-USDC", "BTC-USDC") == ["BTC-USDC"]
    server.kill()
    server.start()
    assert not still(ruled, "SOL-USDC")
    assert not still(plain, "SOL-USDC")
    until(lambda: ruled.hooks.emit("trade", {"pair": "ETH-USDC"}).fate is Fate.ACCEPTED, "events count")
    kept(ruled, "ETH-USDC", "BTC-USDC")
    plain.hooks.emit("trade", {"pair": "ETH-USDC"})
    until(lambda: still(ruled, "ETH-USDC", "BTC-USDC") == ["BTC-USDC"], "what programs emit counts")
