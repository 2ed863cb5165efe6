"""The fault matrix: whatever Redis does, callers get right values in time, and all is well soon afterwards.

For each fault: no exception reaches a caller who has a loader, and what he gets is right; no call spends more
on Redis than its budget; nothing is served that was invalidated meanwhile; two seconds after the end of the
fault invalidations apply again, L2 hits again, and loads coalesce again.
"""

from __future__ import annotations

import itertools
import time
from functools import partial
from itertools import chain

import pytest

from cache_ext import CachePolicy
from cache_ext.coherence.backplane import BOUND
from cache_ext.transport.breaker import State
from cache_ext.transport.budget import budget
from tests import fault_stage as faults
from tests.caches import all_at_once, connected
from tests.fault_stage import FaultStage
from tests.waiting import until

BUDGET = 0.25
"""Seconds that a request may spend on Redis in these tests."""
OVERDRAWN = 0.75
"""Seconds by which a busy machine may overdraw it."""
LONGEST = 3 * BUDGET + 1.0
"""Seconds that a call may take in all, its loader being instant."""
RECOVERY = 2.0
"""Seconds after the end of a fault in which all is well again."""
BUSY = 3.0
"""Seconds that a busy machine may take in addition."""
THREADS = 4
CALLS = 5
HOUR = 3600.0
STEADY = CachePolicy(ttl=600, early_refresh=False)

OF_THE_SERVER = {
    "dead": faults.dead,
    "stopped": faults.stopped,
    "readonly": faults.replica,
    "loading": faults.loading,
    "full": faults.full,
    "noauth": faults.locked,
    "busy": faults.busy,
    "noscript": faults.forgotten_scripts,
    "flushall": faults.emptied,
}
OF_THE_LINE = {
    "refused": faults.refused,
    "hanging": faults.hanging_line,
    "vanished": faults.vanished,
    "slow by 20 ms": partial(faults.slow, seconds=0.02),
    "slow by 200 ms": partial(faults.slow, seconds=0.2),
    "slow by 400 ms": partial(faults.slow, seconds=0.4),
    "cut in a reply": faults.cut_in_a_reply,
    "no connections": faults.no_connections,
}


class Facts:
    """What the caches stand before: a value that changes, by which an old answer is told from a new one."""

    def __init__(self):
        self.now = "old"

    def read(self, cache, key):
        """Return *key* as a caller with a loader does."""
        return cache.get_or_load(key, lambda: self.now, policy=STEADY, tags=["facts"])

    def read_in_a_request(self, cache, key):
        """Do so within a request's budget; return the value, what was spent on Redis, and the time taken."""
        started = time.monotonic()
        with budget(BUDGET) as spending:
            value = self.read(cache, key)
        return value, BUDGET - spending.left, time.monotonic() - started


@pytest.fixture
def make_stage(make_cache):
    """Make a stage with its caches connected."""
    made = []

    def make(server, **settings):
        made.append(FaultStage(server, make_cache, op_timeout=BUDGET, **settings))
        connected(made[-1].here)
        connected(made[-1].there)
        return made[-1]

    yield make
    for stage in made:
        stage.proxy.close()


def answers_are_right_and_in_time(stage, facts):
    """Assert (a) and (b): several threads call, for keys that are kept and for new ones."""

    def call(number):
        keys = ["warm", *(f"new {number} {turn} {facts.now}" for turn in range(CALLS))]
        return [facts.read_in_a_request(stage.here, key) for key in keys]

    for value, spent, took in chain.from_iterable(all_at_once(THREADS, call)):
        assert value == facts.now
        assert spent < BUDGET + OVERDRAWN
        assert took < LONGEST


def all_is_well_again(stage, facts):
    """Assert (c), and that nobody is given what was invalidated on the way there (d)."""
    here, values = stage.here, set()

    def recovered():
        values.add(facts.read(here, "warm"))
        hears = here.runtime.trust.live_until > time.monotonic()
        return (
            here.gateway.breaker.state is State.CLOSED
            and hears
            and here.invalidate_tags("nothing").applied
            and not here.runtime.outbox.waiting
        )

    until(recovered, "it is well again", RECOVERY + BUSY)
    assert values == {facts.now}


def caches_share_again(stage, facts, origin):
    """Assert that L2 is filled and hit, and that processes wait for each other's loads."""
    fresh = connected(stage.fresh())
    facts.read(stage.here, "after")
    until(lambda: stage.here.get("after") == facts.now, "it is kept")
    assert fresh.fetch("after", lambda: "loaded twice", policy=STEADY, tags=["facts"]).layer == "l2"
    caches = (stage.here, fresh)
    crowds = itertools.count()

    def share():
        key = f"crowd {next(crowds)}"
        all_at_once(8, lambda n: caches[n % 2].get_or_load(key, origin.loader(key), ttl=60))
        return origin.calls(key) == 1

    until(share, "they wait for each other, knowing the server's clock again", RECOVERY + BUSY)


def nothing_old_is_left(stage, facts):
    """Assert (d) of everybody else: bystanders within the bound, newcomers at once."""
    assert facts.read(connected(stage.fresh()), "warm") == facts.now
    until(lambda: facts.read(stage.there, "warm") == facts.now, "the bystander has heard", BOUND + BUSY)


def suffer(stage, fault, origin):
    """Put *stage* through *fault*, and assert all that holds."""
    facts = Facts()
    for cache in (stage.here, stage.there):
        assert facts.read(cache, "warm") == "old"
    with fault(stage):
        answers_are_right_and_in_time(stage, facts)
        facts.now = "new"
        stage.here.invalidate_tags("facts")
        answers_are_right_and_in_time(stage, facts)
    all_is_well_again(stage, facts)
    nothing_old_is_left(stage, facts)
    caches_share_again(stage, facts, origin)


@pytest.mark.parametrize("fault", OF_THE_SERVER.values(), ids=OF_THE_SERVER)
def test_a_fault_of_the_server(make_stage, own_redis_server, origin, fault):
    """Killed, stopped, demoted, loading, full, locked, busy, or without what it knew."""
    suffer(make_stage(own_redis_server), fault, origin)


@pytest.mark.parametrize("server_kind", ["valkey"])
@pytest.mark.parametrize("fault", OF_THE_LINE.values(), ids=OF_THE_LINE)
def test_a_fault_of_the_line(make_stage, own_redis_server, origin, fault):
    """What lies between this process and a healthy server, which others go on using."""
    pool = {"pool_size": 4} if fault is faults.no_connections else {}
    suffer(make_stage(own_redis_server, **pool), fault, origin)


@pytest.mark.parametrize("server_kind", ["valkey"])
def test_a_password_that_was_changed(make_stage, own_redis_server, origin):
    """WRONGPASS, until it is changed back."""
    assert own_redis_server.ask("CONFIG SET requirepass the-right-one") == b"+OK"
    suffer(make_stage(own_redis_server, redis_password="the-right-one"), faults.locked, origin)


@pytest.mark.parametrize("server_kind", ["valkey"])
@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_wall_clock_that_is_set(make_stage, steppable_redis_server, origin, step):
    """The server's clock jumps by an hour, and later back."""
    suffer(make_stage(steppable_redis_server), partial(faults.stepped, seconds=step), origin)
