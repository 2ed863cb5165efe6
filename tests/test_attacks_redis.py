"""Whoever may write to Redis gets no rights, no identity and no error by it: at worst wrong prices."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
import redis

from cache_ext import CachePolicy, TieredCache, open_cache
from shivx.accounts.facts import POLICY, Account, KeyFacts, register_identities
from shivx.accounts.key_text import digest_of, make_key
from shivx.identity import Tier
from shivx.names import account_key, account_tag, api_key_key
from tests.attack_stage import SHOWN, Fortress, tier_in
from tests.spoils import SPOILS, spoil

pytestmark = pytest.mark.service

PATHS = (
    SHOWN,
    "/api/market/price/BTC-USDC",
    "/api/market/prices?pairs=BTC-USDC,ETH-USDC",
    "/api/market/orderbook/BTC-USDC",
    "/api/market/ohlcv/BTC-USDC?limit=10",
    "/api/market/trades/BTC-USDC",
    "/api/market/tokens/BTC",
)


@pytest.fixture(scope="module")
def stronghold(start_fortress: Callable[..., Fortress]) -> Fortress:
    """A service that keeps next to nothing in its process, so that it asks Redis at each request."""
    return start_fortress(CACHE_L1_MAX_BYTES="1")


@pytest.fixture
def forger(stronghold: Fortress) -> Iterator[TieredCache]:
    """The same program as the service's, on the same Redis, without its secret."""
    with closing(open_cache(stronghold.redis_url, namespace="shivx", secret_keys=("f" * 32,))) as cache:
        register_identities(cache)
        yield cache


def exercise(stronghold: Fortress) -> None:
    """Have the service use all that it keeps in Redis; everybody is who he is, and nothing breaks."""
    for path in PATHS:
        answer = stronghold.send(path)
        assert answer.status == 200, (path, answer.body)
        assert tier_in(answer) == "anonymous"
    for tier in stronghold.accounts:
        answer = stronghold.send(SHOWN, stronghold.by_key(tier))
        assert tier_in(answer) == tier
        assert answer.status < 500, answer.body
        mine = stronghold.send("/api/auth/keys", stronghold.by_key(tier))
        assert mine.status == (403 if tier is Tier.SERVICE else 200), mine.body
    assert stronghold.send(SHOWN, {"X-API-Key": make_key()}).status == 401
    assert stronghold.send("/api/admin/cache/health").status == 200


@pytest.mark.parametrize("kind", SPOILS)
def test_garbage_under_every_key_at_once(stronghold: Fortress, intruder: redis.Redis, kind: str) -> None:
    """Everything in Redis is replaced, twice over: nobody is another, nothing is a server error."""
    exercise(stronghold)
    for _ in range(2):
        keys = list(intruder.scan_iter(count=1000))
        assert len(keys) > 10
        for key in keys:
            spoil(intruder, key, SPOILS[kind])
        exercise(stronghold)


def test_garbage_under_each_key_alone(stronghold: Fortress, intruder: redis.Redis) -> None:
    """A single key is wrong, the rest in order: likewise, whichever it is."""
    exercise(stronghold)
    spoils = itertools.cycle(SPOILS.values())
    for key in sorted(intruder.scan_iter(count=1000)):
        spoil(intruder, key, next(spoils))
        exercise(stronghold)


def test_values_under_each_others_keys(stronghold: Fortress, intruder: redis.Redis) -> None:
    """What is genuine under one key is nothing under another: sealed entries hold for their own name."""
    exercise(stronghold)
    keys = sorted(key for key in intruder.scan_iter(count=1000) if intruder.type(key) == b"string")
    values = [intruder.get(key) for key in keys]
    for shift in (1, 2, 3, len(keys) // 2):
        for key, value in zip(keys, values[shift:] + values[:shift], strict=True):
            intruder.set(key, value, px=60_000)
        exercise(stronghold)


@pytest.mark.parametrize("policy", [POLICY, CachePolicy(ttl=60)], ids=["sealed by another", "not sealed"])
def test_forged_identities(
    stronghold: Fortress, intruder: redis.Redis, forger: TieredCache, policy: CachePolicy
) -> None:
    """Entries that say all the service wants to hear, made by its own program, need its secret to count."""
    exercise(stronghold)
    admin = stronghold.accounts[Tier.ADMIN]
    wanted = make_key()
    for known in stronghold.accounts.values():
        boss = Account(known.id, known.name, Tier.ADMIN, 0, False, 0.0)
        facts = KeyFacts(1, boss, frozenset({"admin", "read", "keys"}), None)
        digest = digest_of(known.key)
        assert digest is not None
        tags = (account_tag(known.id),)
        forger.set(account_key(known.id), boss, policy=policy, tags=tags)
        forger.set(api_key_key(digest.hex()), facts, policy=policy, tags=tags)
    boss = Account(admin.id, admin.name, Tier.ADMIN, 0, False, 0.0)
    facts = KeyFacts(1, boss, frozenset({"admin"}), None)
    digest = digest_of(wanted)
    assert digest is not None
    forger.set(api_key_key(digest.hex()), facts, policy=policy, tags=(account_tag(admin.id),))
    exercise(stronghold)
    assert stronghold.send(SHOWN, {"X-API-Key": wanted}).status == 401


def test_redis_shows_no_key(stronghold: Fortress, intruder: redis.Redis) -> None:
    """Neither the names of its keys nor what is under them contain an API key or an account's name."""
    exercise(stronghold)
    kept = b"".join(key + (intruder.dump(key) or b"") for key in intruder.scan_iter(count=1000))
    for known in stronghold.accounts.values():
        assert known.key.encode() not in kept
        assert known.name.encode() not in kept
