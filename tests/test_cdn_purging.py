"""From invalidations to purges: once in the fleet, twice in time, together, and never in anybody's way."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import pytest

from cache_ext import TieredCache
from cache_ext.cdn import purging as module
from cache_ext.cdn import worker
from cache_ext.cdn.ledger import GRAIN, MAX_NAMES, Ledger
from cache_ext.cdn.names import SurrogateNames
from cache_ext.cdn.purgers import BATCH, FastlyPurger, PurgeFailed, Purger
from cache_ext.cdn.purging import Purging
from cache_ext.metrics import cdn_purges
from tests.caches import begin, connected
from tests.cdn_stage import PATIENCE, FastlyApi, WatchedPurger, send
from tests.waiting import until

LATER = 3_600.0
"""Seconds: second purges that no test lives to see."""


def named(cache: TieredCache, *tags: str) -> frozenset[str]:
    """Return what is purged when *tags* are invalidated in *cache*."""
    return frozenset(SurrogateNames(cache.settings.namespace).purged_with(tags))


@pytest.fixture
def purging_of() -> Callable[..., Purging]:
    """Has a purger purge what is invalidated in a cache: ``purging_of(cache, purger, again_after=3.0)``."""
    kept: list[Purging] = []

    def make(cache: TieredCache, purger: Purger, again_after: float = LATER) -> Purging:
        names = SurrogateNames(cache.settings.namespace)
        kept.append(Purging(cache, names, purger, again_after=again_after))
        return kept[-1]

    return make


def counted(outcome: str) -> float:
    """Return the names that came to this so far."""
    return cdn_purges.labels(outcome)._value.get()


def test_a_name_is_purged_at_once_and_again(purging_of, clock):
    """Again when the longest fetch is over, at most one grain later; and then no more."""
    ledger = Ledger("*", 15.0, 300.0)
    ledger.add(["a"], clock.monotonic())
    assert set(ledger.take(clock.monotonic(), 9)) == {"a"}
    rest = ledger.rest(clock.monotonic())
    assert 15.0 <= rest <= 15.0 + GRAIN
    clock.advance(14.9)
    assert not ledger.take(clock.monotonic(), 9)
    clock.advance(rest - 14.9)
    assert set(ledger.take(clock.monotonic(), 9)) == {"a"}
    assert ledger.rest(clock.monotonic()) == float("inf")


def test_further_invalidations_put_no_purge_off(clock):
    """A pair that trades every second is still purged 15 seconds after each of its trades."""
    ledger = Ledger("*", 15.0, 300.0)
    for _ in range(20):
        ledger.add(["a"], clock.monotonic())
        ledger._waiting.clear()
        clock.advance(1.0)
    seen = 0
    for _ in range(20):
        seen += len(ledger.take(clock.monotonic(), 9))
        clock.advance(1.0)
    assert seen >= 15  # the first few fall together: they were due when this loop began


def test_too_many_names_are_everything(clock):
    """Memory is bounded, and nothing is left out."""
    ledger = Ledger("*", 15.0, 300.0)
    ledger.add([str(number) for number in range(MAX_NAMES + 1)], clock.monotonic())
    assert set(ledger.take(clock.monotonic(), 9)) == {"*"}
    clock.advance(16.0)
    assert set(ledger.take(clock.monotonic(), 9)) == {"*"}


def test_what_could_not_be_purged_goes_to_the_end(clock):
    """One batch that a CDN never takes keeps no other from its turn, nor makes it older than it is."""
    ledger = Ledger("*", 15.0, 300.0)
    ledger.add(["bad"], clock.monotonic())
    clock.advance(200.0)
    ledger.add(["good"], clock.monotonic())
    ledger.put_back(ledger.take(clock.monotonic(), 1))
    assert set(ledger.take(clock.monotonic(), 1)) == {"good"}
    ledger.add(["good"], clock.monotonic())
    clock.advance(101.0)
    assert ledger.give_up(clock.monotonic()) == ["bad"]


def test_what_is_given_up_is_told(clock):
    """After its time, counted from its invalidation, however often it was put back."""
    ledger = Ledger("*", 15.0, 300.0)
    ledger.add(["a"], clock.monotonic())
    for _ in range(29):
        clock.advance(10.0)
        ledger.put_back(ledger.take(clock.monotonic(), 9))
        assert ledger.give_up(clock.monotonic()) == []
    clock.advance(10.0)
    assert ledger.give_up(clock.monotonic()) == ["a"]
    assert not ledger.waits


def test_each_kind_of_invalidation_purges(purging_of, cache: TieredCache):
    """Tags, softly too, with their groups; a clear purges everything; a deleted key concerns no answer."""
    purger = WatchedPurger()
    purging = purging_of(cache, purger)
    cache.invalidate_tags("a", "b")
    purger.until_asked(1)
    cache.invalidate_tags("c", soft=True)
    purger.until_asked(2)
    cache.delete("key")
    cache.clear()
    purger.until_asked(3)
    everything = {purging._names.everything}
    assert purger.asked == [named(cache, "a", "b"), named(cache, "c"), everything]
    cache.close()


def test_the_second_purge_comes_by_itself(purging_of, cache: TieredCache):
    """Without anybody asking again."""
    purger = WatchedPurger()
    purging_of(cache, purger, again_after=0.2)
    cache.invalidate_tags("a")
    purger.until_asked(2)
    assert purger.asked == [named(cache, "a")] * 2
    cache.close()


def test_who_invalidates_waits_for_no_cdn_and_what_comes_goes_together(purging_of, cache: TieredCache):
    """While one request hangs, all others return; then one request has what they brought."""
    purger = WatchedPurger()
    purging_of(cache, purger)
    purger.free.clear()
    cache.invalidate_tags("first")
    purger.until_asked(1)
    tags = [f"t{number}" for number in range(BATCH // 4)]
    for tag in tags:
        assert cache.invalidate_tags(tag).applied
    purger.free.set()
    purger.until_asked(2)
    cache.close()
    assert purger.asked == [named(cache, "first"), named(cache, *tags)]


def test_what_failed_is_tried_again_with_what_came_since(purging_of, cache: TieredCache, monkeypatch, caplog):
    """Nothing is lost while the CDN is away, and its going and coming is logged once each."""
    monkeypatch.setattr(worker, "PAUSES", (0.01,))
    purger = WatchedPurger()
    purging = purging_of(cache, purger)
    purger.failing = True
    cache.invalidate_tags("a")
    purger.until_asked(3)
    cache.invalidate_tags("b")
    until(lambda: purger.asked[-1] == named(cache, "a", "b"), "both are asked for", PATIENCE)
    purger.failing = False
    until(lambda: not purging._worker._failures, "the CDN is believed in", PATIENCE)
    cache.close()
    assert purger.asked[-1] == named(cache, "a", "b")
    assert [record.message.split(",")[0] for record in caplog.records if "CDN" in record.message] == [
        "the CDN takes no purges",
        "the CDN takes purges again",
    ]


def test_what_is_given_up_is_logged_and_counted(purging_of, cache: TieredCache, monkeypatch, caplog):
    """The bound on trying; the answers then end with their lifetime."""
    monkeypatch.setattr(module, "GIVE_UP_AFTER", 0.0)
    before, purger = counted("given_up"), WatchedPurger()
    purger.failing = True
    purging_of(cache, purger)
    cache.invalidate_tags("a")
    until(lambda: counted("given_up") == before + 2, "a and its group are given up", PATIENCE)
    until(lambda: "given up" in caplog.text, "it is logged", PATIENCE)
    cache.close()


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_only_who_asked_purges(purging_of, redis_url, make_cache):
    """Of the processes that hear of an invalidation, one tells the CDN."""
    purgers, caches = [WatchedPurger(), WatchedPurger()], [make_cache(redis_url), make_cache(redis_url)]
    for cache, purger in zip(caches, purgers, strict=True):
        purging_of(connected(cache), purger)
    caches[1].set("key", 1, ttl=60, tags=["a"])
    caches[0].invalidate_tags("a")
    until(lambda: caches[1].get("key") != 1, "the other has heard", PATIENCE)
    caches[1].invalidate_tags("b")
    purgers[1].until_asked(1)
    purgers[0].until_asked(1)
    assert [purger.asked for purger in purgers] == [[named(caches[0], "a")], [named(caches[0], "b")]]


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_a_process_that_ends_hands_its_second_purges_on(purging_of, redis_url, make_cache):
    """Nothing is lost on an orderly shutdown: who comes later does it, when it is due."""
    first, purger, handed = connected(make_cache(redis_url)), WatchedPurger(), counted("handed_on")
    purging_of(first, purger, again_after=1.0)
    first.invalidate_tags("a", "b")
    first.close()
    assert counted("handed_on") == handed + len(named(first, "a", "b"))
    assert purger.asked == [named(first, "a", "b")]
    later, heir = make_cache(redis_url), WatchedPurger()
    purging_of(later, heir)
    connected(later)
    heir.until_asked(1)
    assert heir.asked == [named(first, "a", "b")]


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_what_a_dead_cdn_was_not_told_is_handed_on_at_the_end(purging_of, redis_url, make_cache):
    """First purges too."""
    first, purger = connected(make_cache(redis_url)), WatchedPurger()
    purger.failing = True
    purging_of(first, purger)
    first.invalidate_tags("a")
    purger.until_asked(1)
    first.close()
    later, heir = make_cache(redis_url), WatchedPurger()
    purging_of(later, heir)
    connected(later)
    heir.until_asked(1)
    assert heir.asked == [named(first, "a")]


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_without_redis_it_is_purged_at_once_and_when_redis_is_back(
    purging_of, own_redis_server, make_cache, caplog
):
    """Other hosts may have given the CDN what they had until they heard of it."""
    cache, purger = make_cache(own_redis_server.url, breaker_failures=1), WatchedPurger()
    purging_of(connected(cache), purger)
    own_redis_server.stop()
    assert cache.invalidate_tags("a").queued
    purger.until_asked(1)
    own_redis_server.start()
    purger.until_asked(2)
    assert purger.asked == [named(cache, "a")] * 2
    cache.close()


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_what_cannot_be_handed_on_is_logged_and_counted(purging_of, own_redis_server, make_cache, caplog):
    """Redis is away when the process ends."""
    cache, purger, lost = make_cache(own_redis_server.url), WatchedPurger(), counted("given_up")
    purging_of(connected(cache), purger)
    cache.invalidate_tags("a")
    purger.until_asked(1)
    own_redis_server.stop()
    cache.close()
    assert counted("given_up") == lost + len(named(cache, "a"))
    assert "given up" in caplog.text


def test_a_forked_child_purges_by_itself(purging_of, cache: TieredCache):
    """It starts its own thread, and does not repeat what its parent owes."""
    purger = WatchedPurger()
    purging_of(cache, purger)
    cache.invalidate_tags("a")
    purger.until_asked(1)
    mine, theirs = socket.socketpair()
    if (child := os.fork()) == 0:
        try:
            purger.asked.clear()
            cache.invalidate_tags("b")
            purger.until_asked(1)
            theirs.sendall(b"right" if purger.asked == [named(cache, "b")] else b"wrong")
        finally:
            os._exit(0)
    theirs.close()
    mine.settimeout(PATIENCE)
    assert mine.recv(9) == b"right"
    mine.close()
    os.waitpid(child, 0)
    cache.close()


def test_fastly_is_asked_as_its_api_wants_it(purging_of, cache: TieredCache):
    """In batches of up to 256 names, with the token; all of them, whatever their number."""
    with FastlyApi("SU1Z0isxPaozGVKXdv0eY", "secret") as api:
        purging_of(cache, FastlyPurger(api.url, "secret", send))
        tags = [f"pair:{number}" for number in range(2 * BATCH)]
        cache.invalidate_tags(*tags)
        wanted = named(cache, *tags)
        until(lambda: {name for some in api.purged for name in some} == wanted, "all are purged", PATIENCE)
        cache.close()
    assert len(api.purged) == -(-len(wanted) // BATCH)


def test_a_refusal_is_a_failure():
    """A wrong token is no purge."""
    with FastlyApi("service", "secret") as api:
        with pytest.raises(PurgeFailed, match="401"):
            FastlyPurger(api.url, "guessed", send).purge(["a"])
        assert api.purged == []


def test_closing_waits_for_a_purge_under_way(purging_of, cache: TieredCache):
    """An orderly end lets the CDN hear what it is being told."""
    purger = WatchedPurger()
    purging = purging_of(cache, purger)
    purger.free.clear()
    cache.invalidate_tags("a")
    purger.until_asked(1)
    closing = begin(cache.close)
    until(lambda: purging._worker._stopped, "it is closing", PATIENCE)
    assert not closing.done()
    purger.free.set()
    closing.result(PATIENCE)
    assert not purging._worker._thread.is_alive()


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_nothing_but_names_is_taken_over(purging_of, redis_url, make_cache):
    """Whoever can write to Redis can have answers purged, and send the CDN nothing else."""
    cache, purger = connected(make_cache(redis_url)), WatchedPurger()
    purging_of(cache, purger)
    right = sorted(named(cache, "a"))[0]
    for data in (None, [0.0], ["soon", [right]], [float("nan"), [right]]):
        cache.hooks.emit(module.EVENT, data)
    cache.hooks.emit(module.EVENT, [0.0, [right, "x" * 9_000, "a b", "a\r\nb: c", 7, "Ä" * 12]])
    purger.until_asked(1)
    assert purger.asked == [{right}]
