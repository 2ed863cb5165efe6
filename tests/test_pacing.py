"""The meter: no more calls than the exchange allows, over all processes, with Redis and without."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from cache_ext.testing import FakeClock
from shivx.errors import OriginUnavailable
from shivx.providers.pacing import BURST, MAX_PENALTY, LocalPacer, SharedPacer

SLACK = 60.0  # seconds that a loaded machine may take between two lines, far below the intervals used here


class Away(Exception):
    """Stands for the store's "unavailable"."""


def shared(url, namespace="test", **options):
    """Return a pacer on the server at *url*, and its client."""
    client = redis.Redis.from_url(url)

    def run(text, keys, arguments):
        try:
            return client.eval(text, len(keys), *keys, *arguments)
        except redis.RedisError as error:
            raise Away(str(error)) from error

    return SharedPacer(run, unavailable=Away, namespace=namespace, processes=2, **options), client


@pytest.fixture
def pacer(redis_url, namespace):
    """A pacer on each kind of server."""
    pacer, client = shared(redis_url, namespace)
    yield pacer
    client.close()


def test_an_idle_source_gives_a_burst_and_then_one_slot_each_interval():
    """Three at once, then spaced; after a pause the three are there again, never more."""
    clock = FakeClock()
    local = LocalPacer(monotonic=clock.monotonic)
    waits = [local.reserve("x", 10, interval=1.0) for _ in range(6)]
    assert waits == [0, 0, 0, 1, 2, 3]
    clock.advance(100)
    assert [local.reserve("x", 10, interval=1.0) for _ in range(4)] == [0, 0, 0, 1]


def test_the_shared_meter_keeps_the_same_rule(pacer):
    """In Redis too: a burst at once, then one interval apart, for each source by itself."""
    waits = [pacer.reserve("kraken", 5000, interval=1000.0) for _ in range(6)]
    assert waits[:BURST] == [0, 0, 0]
    assert waits[BURST:] == pytest.approx([1000, 2000, 3000], abs=SLACK)
    assert pacer.reserve("binance", 5000, interval=1000.0) == 0


def test_a_weighty_call_takes_its_weight(pacer):
    """After a call of weight 5 the next waits for what five calls would have cost."""
    local = LocalPacer(monotonic=FakeClock().monotonic)
    for each in (local, pacer):
        assert each.reserve("x", 5000, interval=1000.0, cost=5.0) == 0
        assert each.reserve("x", 5000, interval=1000.0) == pytest.approx(3000, abs=SLACK)


def test_a_slot_that_comes_too_late_is_refused_and_not_taken(pacer):
    """The refusal says when to come again; who can wait longer gets that very slot."""
    local = LocalPacer(monotonic=FakeClock().monotonic)
    for each in (local, pacer):
        for _ in range(BURST):
            each.reserve("x", 0.5, interval=1000.0)
        for _ in range(20):
            with pytest.raises(OriginUnavailable) as caught:
                each.reserve("x", 0.5, interval=1000.0)
            assert caught.value.retry_after == pytest.approx(1000, abs=SLACK)
        assert each.reserve("x", 5000, interval=1000.0) == pytest.approx(1000, abs=SLACK)


def test_a_penalty_holds_for_everybody(redis_url, namespace):
    """What one process was told silences the source for another; a shorter one shortens nothing."""
    one, client_one = shared(redis_url, namespace)
    other, client_other = shared(redis_url, namespace)
    one.penalise("kraken", 3000)
    one.penalise("kraken", 3)
    with pytest.raises(OriginUnavailable) as caught:
        other.reserve("kraken", 5, interval=1.0)
    assert caught.value.retry_after == pytest.approx(3000, abs=SLACK)
    assert other.reserve("binance", 5, interval=1.0) == 0
    client_one.close()
    client_other.close()


def test_a_penalty_is_bounded(pacer):
    """A ban of days is asked about once an hour."""
    local = LocalPacer(monotonic=FakeClock().monotonic)
    for each in (local, pacer):
        each.penalise("x", 10**9)
        with pytest.raises(OriginUnavailable) as caught:
            each.reserve("x", 5, interval=1.0)
        assert caught.value.retry_after == pytest.approx(MAX_PENALTY, abs=SLACK)


@pytest.mark.parametrize("junk", ["abc", "nan", "inf", "-inf", "9" * 30, "1e300", ""])
def test_a_poisoned_or_future_number_blocks_nobody(redis_url, namespace, junk):
    """A number that no penalty explains, as after the server's clock was set back, does not count."""
    pacer, client = shared(redis_url, namespace)
    client.set(f"{namespace}:{{pace:kraken}}", junk)
    assert pacer.reserve("kraken", 0, interval=1.0) == 0
    client.set(f"{namespace}:{{pace:kraken}}", junk)
    pacer.penalise("kraken", 2000)
    with pytest.raises(OriginUnavailable) as caught:
        pacer.reserve("kraken", 5, interval=1.0)
    assert caught.value.retry_after == pytest.approx(2000, abs=SLACK)
    client.delete(f"{namespace}:{{pace:kraken}}")
    client.lpush(f"{namespace}:{{pace:kraken}}", "1")
    assert pacer.reserve("kraken", 0, interval=1.0) == 0
    client.close()


def test_it_leaves_one_key_that_ends_by_itself(redis_url, namespace):
    """One key a source, with a hash tag, gone soon after it matters no more."""
    pacer, client = shared(redis_url, namespace)
    for _ in range(5):
        pacer.reserve("kraken", 100, interval=1.0)
    keys = client.keys(f"{namespace}:*")
    assert keys == [f"{namespace}:{{pace:kraken}}".encode()]
    assert 0 < client.pttl(keys[0]) < 10_000
    client.close()


def test_without_redis_each_process_keeps_to_its_part():
    """Two processes that know nothing of each other together stay within the rate; no burst then."""
    clock = FakeClock()

    def run(*_):
        raise Away

    alone = SharedPacer(run, unavailable=Away, namespace="x", processes=2, monotonic=clock.monotonic)
    assert [alone.reserve("x", 100, interval=1.0) for _ in range(3)] == [0, 2, 4]
    alone.penalise("x", 50)
    with pytest.raises(OriginUnavailable):
        alone.reserve("x", 5, interval=1.0)


def test_when_redis_goes_away_a_penalty_is_still_known(redis_url, namespace):
    """The process that was refused stays quiet though the shared number is out of reach."""
    pacer, client = shared(redis_url, namespace)
    pacer.penalise("kraken", 30)
    client.close()
    pacer._run_script = _raise_away
    with pytest.raises(OriginUnavailable):
        pacer.reserve("kraken", 5, interval=1.0)


def _raise_away(*_):
    raise Away


@given(
    st.lists(st.tuples(st.floats(0, 5), st.floats(0, 20), st.floats(0.1, 4)), max_size=60),
    st.integers(1, 5),
)
def test_no_window_ever_holds_more_than_the_rate_and_the_burst(asked, burst):
    """Whatever is asked when: in any stretch of T seconds at most burst + T / interval weights go out."""
    clock = FakeClock(monotonic=0)
    local = LocalPacer(monotonic=clock.monotonic, burst=burst)
    sent: list[tuple[float, float]] = []
    for pause, patience, cost in asked:
        clock.advance(pause)
        try:
            wait = local.reserve("x", patience, interval=1.0, cost=cost)
        except OriginUnavailable:
            continue
        assert 0 <= wait <= patience
        sent.append((clock.monotonic() + wait, cost))
    for first in range(len(sent)):
        for last in range(first + 1, len(sent)):
            # The last one of a stretch may weigh what it likes: who follows waits for it.
            weight = sum(cost for _, cost in sent[first:last])
            assert weight <= burst - 1 + (sent[last][0] - sent[first][0]) + 1e-6


WORKER = """
import sys, time
from tests.test_pacing import shared
pacer, client = shared(sys.argv[1], sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(100):
    wait = pacer.reserve("kraken", 10_000, interval=10.0)
    print(time.time() + wait)
"""


def test_two_processes_together_never_exceed_the_rate(redis_url, namespace):
    """Two processes that ask as fast as they can get slots one interval apart, none of them twice."""
    command = [sys.executable, "-c", WORKER, redis_url, namespace]
    workers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    began = time.time()
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    slots = sorted(float(line) for worker in workers for line in worker.communicate(timeout=60)[0].split())
    assert len(slots) == 200
    for number, slot in enumerate(slots[BURST:], start=1):
        assert began + number * 10.0 - 0.1 <= slot <= time.time() + number * 10.0


def test_threads_of_a_process_share_the_meter(redis_url, namespace):
    """Slots are handed out once each, also to threads at the same time."""
    pacer, client = shared(redis_url, namespace)
    waits: list[float] = []

    def reserve() -> None:
        for _ in range(5):
            waits.append(pacer.reserve("kraken", 10_000, interval=100.0) + time.monotonic())

    threads = [threading.Thread(target=reserve) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.close()
    waits.sort()
    spaced = [later - earlier for earlier, later in zip(waits[BURST:], waits[BURST + 1 :], strict=False)]
    assert all(gap == pytest.approx(100, abs=SLACK) for gap in spaced)
