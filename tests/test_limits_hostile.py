"""Garbage and forgeries in Redis under the limiter's keys: a wrong count at worst, and not for long."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cache_ext import TieredCache
from cache_ext.errors import StoreUnavailable
from cache_ext.limits.counting import ANSWER
from cache_ext.limits.decision import Check
from cache_ext.limits.limiter import Limiter
from cache_ext.testing import FakeClock
from cache_ext.transport.breaker import State
from tests.limits_stage import EPOCH, Hand, limiter_on
from tests.market_stage import ScriptedExchange, open_site, settings_for

LIMIT = 5
NOW = EPOCH // 1000
ITEM = st.tuples(
    st.one_of(st.integers(NOW - 70, NOW + 70), st.integers(0, 2**48 - 1)), st.integers(0, 2**32 - 1)
)
PLAUSIBLE = st.builds(
    lambda used, items: struct.pack("<I", used) + b"".join(_item(*item) for item in items),
    st.integers(0, 2**32 - 1),
    st.lists(ITEM, max_size=62),
)
BYTES = st.one_of(st.binary(max_size=800), PLAUSIBLE)


def _item(number: int, units: int) -> bytes:
    return number.to_bytes(6, "little") + struct.pack("<I", units)


@pytest.fixture
def hand() -> Hand:
    """The clock that counts."""
    return Hand()


@pytest.fixture
def limiter(make_cache: Callable[..., TieredCache], redis_url: str, hand: Hand) -> Limiter:
    """A limiter on the server."""
    return limiter_on(make_cache(redis_url), hand)


def check_of(limiter: Limiter, subject: str = "account:1") -> Check:
    """Return the check of one unit."""
    return limiter._check(subject, LIMIT, 1, 60.0)


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(garbage=BYTES)
def test_any_bytes_are_a_count(limiter: Limiter, hand: Hand, garbage: bytes) -> None:
    """A decision comes from Redis itself, figures are in range, and two windows later all is right again."""
    client = limiter._gateway.way.server.client
    hand.ms = EPOCH
    client.set(check_of(limiter).place, garbage, px=62_000)
    decision = limiter.check("account:1", LIMIT)
    assert not decision.alone
    assert 0 <= decision.remaining <= LIMIT
    assert 0 <= decision.retry_after <= 60 + 62
    assert NOW <= decision.reset <= NOW + 60 + 62
    assert limiter._gateway.breaker.state is State.CLOSED
    assert client.pttl(check_of(limiter).place) <= 62_000
    hand.ms += 2 * 61_000 + 1
    assert [limiter.check("account:1", LIMIT).allowed for _ in range(LIMIT + 1)] == [True] * LIMIT + [False]


def test_what_has_left_is_dropped_once(limiter: Limiter) -> None:
    """Also if it stands, as we never leave it, beside units of this very second."""
    second = EPOCH // 1000
    items = [(second, 1), (second - 70, 2), (second - 10, 3)]
    forged = struct.pack("<I", 6) + b"".join(_item(*item) for item in items)
    limiter._gateway.way.server.client.set(check_of(limiter).place, forged)
    assert [limiter.check("account:1", 100).remaining for _ in range(3)] == [95, 94, 93]


@pytest.mark.parametrize(
    "command",
    [("LPUSH", "x"), ("SADD", "x"), ("HSET", "x", "y"), ("ZADD", "1", "x"), ("XADD", "*", "x", "y")],
)
def test_another_type_of_key_is_replaced(limiter: Limiter, command: tuple[str, ...]) -> None:
    """Whatever somebody has put there."""
    name, *rest = command
    limiter._gateway.way.server.client.execute_command(name, check_of(limiter).place, *rest)
    decisions = [limiter.check("account:1", LIMIT) for _ in range(2)]
    assert [(each.alone, each.remaining) for each in decisions] == [(False, LIMIT - 1), (False, LIMIT - 2)]


def test_told_debts_survive_garbage(limiter: Limiter) -> None:
    """Merging reads what counting reads, and is as careful."""
    client, check = limiter._gateway.way.server.client, check_of(limiter)
    for garbage in (b"", b"x", b"\xff" * 14, b"\xff" * 614, b"\x00" * 24, b"y" * 5000):
        client.set(check.place, garbage)
        limiter.shares.admit(check)
        assert 0 <= limiter.check("account:1", LIMIT, 0).remaining <= LIMIT - 1
        assert not limiter.shares.debts.any
        assert 0 < client.pttl(check.place) <= 62_000
        client.delete(check.place)
    client.lpush(check.place, "x")
    limiter.shares.admit(check)
    assert limiter.check("account:1", LIMIT, 0).remaining == LIMIT - 1


def test_odd_replies_are_no_answers(limiter: Limiter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that answers nonsense to the script is as one that is away."""
    check, alone = check_of(limiter), len(ANSWER.pack(0, 0, 0, 0))
    for reply in (None, [], [1, 2, 3, 4], 5, "x" * alone, b"", b"OK", b"x" * (alone - 1), b"x" * 2 * alone):
        monkeypatch.setattr(limiter._gateway, "run", lambda *args, reply=reply: [reply])
        assert limiter.check("account:1", 1000).alone
        with pytest.raises(StoreUnavailable):
            limiter._counts.ask([check] * 3)
    monkeypatch.setattr(limiter._gateway, "run", lambda *args: [ANSWER.pack(NOW * 1000, 7, 0, 0)])
    assert limiter.check("account:1", 1000).remaining == 7


def test_the_service_answers_whatever_lies_under_its_limits(
    redis_url: str, namespace: str, clock: FakeClock
) -> None:
    """No 5xx from any of it, and no more than a wrong figure."""
    with open_site(settings_for(redis_url, cache_namespace=namespace), ScriptedExchange(clock)) as site:
        client = site.services.cache.gateway.way.server.client
        assert site.get("/api/market/pairs").status_code == 200
        (key,) = client.scan_iter(f"{namespace}:*x:limit:*")
        for garbage in (b"", b"\x00", b"\xff" * 14, b"\xff" * 614, b"\xff" * 10_000, b"[1,2]"):
            client.set(key, garbage)
            answer = site.get("/api/market/pairs")
            assert answer.status_code in (200, 429)
            assert int(answer.headers["X-RateLimit-Remaining"]) >= 0


def test_scripts_that_were_forgotten_are_sent_again(limiter: Limiter) -> None:
    """After SCRIPT FLUSH a check is answered as before."""
    assert limiter.check("account:1", LIMIT).remaining == LIMIT - 1
    limiter._gateway.way.server.client.script_flush()
    decision = limiter.check("account:1", LIMIT)
    assert (decision.alone, decision.remaining) == (False, LIMIT - 2)
