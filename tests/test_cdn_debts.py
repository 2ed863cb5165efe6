"""Purges outlive whoever owes them: kept in Redis until the CDN has confirmed, done by whoever lives."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cache_ext import TieredCache
from cache_ext.cdn import debts
from cache_ext.cdn.debts import Debts
from cache_ext.cdn.names import SurrogateNames
from cache_ext.cdn.purging import Purging
from cache_ext.errors import StoreUnavailable
from tests.caches import connected
from tests.cdn_debtor import killed_while_invalidating
from tests.cdn_stage import WatchedPurger
from tests.waiting import until

pytestmark = pytest.mark.parametrize("server_kind", ["valkey"])
AGAIN_AFTER = 1.0
PATIENCE = 60.0


@pytest.fixture
def owed(redis_url: str, make_cache) -> Callable[[], int]:
    """Returns how many purges Redis knows to be owed; and nobody is given long to do his."""
    desk = connected(make_cache(redis_url, op_timeout=5.0))
    place = desk.runtime.keyspace.place(debts.BUCKET, "purges")
    return lambda: desk.gateway.run_aside([("ZCARD", place)])[0]


def purging(cache: TieredCache, purger: WatchedPurger) -> frozenset[str]:
    """Have *purger* purge for *cache*; return the names of the tag ``a``."""
    names = SurrogateNames(cache.settings.namespace)
    Purging(cache, names, purger, again_after=AGAIN_AFTER)
    return frozenset(names.purged_with(["a"]))


def debts_of(cache: TieredCache, monotonic: Callable[[], float]) -> Debts:
    """Return what a process of *cache* owes."""
    return Debts(cache.gateway, cache.runtime.keyspace, "e" * 12, AGAIN_AFTER, 300.0, monotonic)


@pytest.mark.parametrize(("step", "purges"), [("before", 2), ("between", 1), ("during", 1)])
def test_who_lives_purges_for_who_was_killed(redis_url, make_cache, owed, monkeypatch, step, purges):
    """Before his first purge, between the two, during the second: by the process started in his place."""
    monkeypatch.setattr(debts, "PATIENCE", 0.2)
    cache, purger = make_cache(redis_url, op_timeout=5.0), WatchedPurger()
    killed_while_invalidating(
        url=redis_url,
        namespace=cache.settings.namespace,
        tag="a",
        step=step,
        again_after=AGAIN_AFTER,
        patience=0.2,
    )
    assert owed() >= 2 * purges  # the tag, and its group
    names = purging(cache, purger)
    connected(cache)
    until(lambda: owed() == 0, "all is paid", PATIENCE)
    assert frozenset().union(*purger.asked) == names


def test_a_debt_stays_until_the_cdn_has_confirmed(redis_url, make_cache, owed, monkeypatch):
    """A refused purge pays nothing; what is confirmed is owed no more, and only then."""
    monkeypatch.setattr(debts, "PATIENCE", 0.2)
    monkeypatch.setattr(debts, "LEASE", 0.2)
    cache, purger = connected(make_cache(redis_url, op_timeout=5.0)), WatchedPurger()
    purger.failing = True
    purging(cache, purger)
    cache.invalidate_tags("a")
    assert owed() == 4  # two names, twice
    purger.until_asked(3)
    assert owed() == 4
    purger.failing = False
    until(lambda: owed() == 0, "all is paid", PATIENCE)


def test_what_redis_did_not_note_at_once_is_owed_soon(redis_url, make_cache, owed, monkeypatch):
    """It took the invalidation and not the debt: the process asks again each second."""
    cache, purger, asked = connected(make_cache(redis_url, op_timeout=5.0)), WatchedPurger(), []
    purger.failing = True
    purging(cache, purger)
    owe = Debts.owe

    def refused_once(self, names):
        asked.append(names)
        if len(asked) == 1:
            raise StoreUnavailable("told to fail")
        return owe(self, names)

    monkeypatch.setattr(Debts, "owe", refused_once)
    cache.invalidate_tags("a")
    until(lambda: owed() == 4, "Redis has noted both purges of both names", PATIENCE)
    assert len(asked) == 2


def test_only_a_purge_begun_late_enough_pays(redis_url, make_cache, owed, clock):
    """The first pays the first; the second is owed until the longest fetch is over."""
    mine = debts_of(connected(make_cache(redis_url, op_timeout=5.0)), clock.monotonic)
    assert set(mine.owe(["a" * 12])) == {"a" * 12}
    mine.paid(["a" * 12], clock.monotonic() - 0.1)
    assert owed() == 2
    mine.paid(["b" * 12], clock.monotonic())
    assert owed() == 2
    mine.paid(["a" * 12], clock.monotonic())
    assert owed() == 1
    clock.advance(AGAIN_AFTER)
    mine.paid(["e" * 12], clock.monotonic())  # everything
    assert owed() == 0


def test_what_one_takes_no_other_takes(redis_url, make_cache, owed, monkeypatch, clock):
    """Until the lease is over; then it is anybody's again."""
    monkeypatch.setattr(debts, "PATIENCE", 0.0)
    cache = connected(make_cache(redis_url, op_timeout=5.0))
    debts_of(cache, clock.monotonic).owe(["a" * 12])
    monkeypatch.setattr(debts, "LEASE", 600.0)
    others = [debts_of(cache, clock.monotonic) for _ in range(2)]
    until(lambda: others[0].overdue() == {"a" * 12}, "the first is due", PATIENCE)
    until(lambda: others[1].overdue() == {"a" * 12}, "the second is due", PATIENCE)
    assert others[1].overdue() == set()
    assert owed() == 2


def test_too_many_debts_are_one(redis_url, make_cache, owed, monkeypatch, clock):
    """Redis' memory is bounded, and nothing is left out."""
    monkeypatch.setattr(debts, "MAX_DEBTS", 3)
    mine = debts_of(connected(make_cache(redis_url, op_timeout=5.0)), clock.monotonic)
    assert set(mine.owe(["a" * 12, "b" * 12])) == {"e" * 12}
    assert owed() == 2


def test_a_clock_set_back_and_what_is_no_debt(redis_url, make_cache, owed, clock):
    """What no clock of now can have noted is overdue; what is no debt reaches no CDN and does not stay."""
    cache = connected(make_cache(redis_url, op_timeout=5.0))
    place = cache.runtime.keyspace.place(debts.BUCKET, "purges")
    far = 10**13
    cache.gateway.run_aside([("ZADD", place, far, f"{'a' * 12}{far}:x", 1, "rubbish", 2, b"\xff\r\n" * 9)])
    mine = debts_of(cache, clock.monotonic)
    assert mine.overdue() == set()
    assert owed() == 1
    assert mine.overdue() == {"a" * 12}
    mine.paid(["a" * 12], clock.monotonic())
    assert owed() == 0
    cache.gateway.run_aside([("SET", place, "no set")])
    assert mine.overdue() == set()
    mine.owe(["a" * 12])
    assert owed() == 2
