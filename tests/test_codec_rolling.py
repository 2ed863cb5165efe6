"""Deploys that roll: programs of two formats, and of several key rings, share one Redis and read or miss."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import msgspec
import pytest
import redis

from cache_ext import MISS, CachePolicy, Loaded, TieredCache
from tests.caches import PATIENCE, begin, connected, stop_before
from tests.older_program import made_older

A, B, C = "a" * 32, "b" * 32, "c" * 32
PLAIN = CachePolicy(ttl=60)
SENSITIVE = CachePolicy(ttl=60, sensitive=True)
COMPRESSED = CachePolicy(ttl=60, compress_above=100)
LONG = "long " * 100


@pytest.fixture
def raw(redis_url):
    """A plain client of the server."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def program(make_cache, redis_url) -> Callable[..., TieredCache]:
    """Start a process' cache with these secrets: of this program, or of an older one."""

    def start(*secrets: str, older: bool = False) -> TieredCache:
        cache = make_cache(redis_url, secret_keys=secrets)
        return connected(made_older(cache) if older else cache)

    return start


def nobody():
    """Stand for a loader that is not to be called."""
    raise AssertionError("it was there")


def format_of(raw, cache, key):
    """Return the format number of what lies at *key*."""
    return msgspec.msgpack.decode(raw.get(cache.runtime.keyspace.value(key)))[0]


@pytest.mark.parametrize("policy", [PLAIN, SENSITIVE], ids=["plain", "sealed"])
@pytest.mark.parametrize("older_writes", [False, True])
def test_values_that_use_nothing_new_are_read_by_both_programs(program, raw, policy, older_writes):
    """What one of them loads, the other has, in whichever order they are deployed."""
    one, other = program(A, older=older_writes), program(A, older=not older_writes)
    assert one.get_or_load("k", lambda: {"price": 1.5}, policy=policy, tags=("t",)) == {"price": 1.5}
    assert format_of(raw, one, "k") == 1
    assert other.get_or_load("k", nobody, policy=policy, tags=("t",)) == {"price": 1.5}
    other.invalidate_tags("t")
    assert program(A, older=older_writes).get("k") is MISS


@pytest.mark.parametrize(
    ("policy", "made"),
    [
        (COMPRESSED, lambda: LONG),
        (PLAIN, lambda: Loaded(LONG, etag="v1")),
        (PLAIN, lambda: Loaded(LONG, as_of=1_700_000_000.0)),
        (CachePolicy(ttl=60, sensitive=True, compress_above=100), lambda: LONG),
    ],
    ids=["compressed", "etag", "as_of", "sealed and compressed"],
)
def test_values_that_use_something_new_are_a_miss_to_the_older_program(program, raw, policy, made):
    """It loads, once, and stores what both can read from then on."""
    new, old = program(A), program(A, older=True)
    new.get_or_load("k", made, policy=policy)
    assert format_of(raw, new, "k") == 2
    assert program(A).get_or_load("k", nobody, policy=policy) == LONG
    assert old.get("k") is MISS
    assert old.get_or_load("k", lambda: "older", policy=policy) == "older"
    assert old.get_or_load("k", nobody, policy=policy) == "older"
    assert program(A).get_or_load("k", nobody, policy=policy) == "older"
    assert program(A, older=True).get_or_load("k", nobody, policy=policy) == "older"


def test_an_older_program_that_waits_for_a_newer_loads_itself_in_the_end(program, origin):
    """Woken by a fill that it cannot read, it takes the lease and loads, and hangs nowhere."""
    new, old = program(), program(older=True)
    origin.hold()
    leading = begin(lambda: new.get_or_load("k", lambda: Loaded(origin("k"), etag="v1"), policy=PLAIN))
    origin.wait_for_call("k")
    waits = stop_before(old.runtime.loading, "_await")
    waiting = begin(lambda: old.get_or_load("k", lambda: "older", policy=PLAIN))
    waits.wait()
    waits.go()
    origin.release()
    assert leading.result(PATIENCE) == "k#1"
    assert waiting.result(PATIENCE) == "older"
    assert program().get_or_load("k", nobody, policy=PLAIN) == "older"


def test_a_failure_that_is_kept_is_a_miss_to_the_older_program(program):
    """It asks its own loader, which may have better luck."""
    policy = CachePolicy(ttl=60, cache_errors=(LookupError,), error_ttl=60)
    new, old = program(), program(older=True)

    def fail():
        raise LookupError("no such pair")

    for cache in (new, program()):
        with pytest.raises(LookupError, match="no such pair"):
            cache.get_or_load("k", fail if cache is new else nobody, policy=policy)
    assert old.get("k") is MISS
    assert old.get_or_load("k", lambda: 1, policy=policy) == 1


RINGS = [(A,), (B, A), (A, B), (B,), (C, B), ()]


@pytest.mark.parametrize(("writes", "reads"), [*itertools.product(RINGS[:-1], RINGS)])
@pytest.mark.parametrize("server_kind", ["valkey"])
def test_any_two_key_rings_read_each_other_or_miss(program, writes, reads):
    """A sealed value is read if the reader has the secret that sealed it, else loaded anew; no errors."""
    writer, reader = program(*writes), program(*reads)
    writer.set("k", "sealed", policy=SENSITIVE)
    known = writes[0] in reads
    assert reader.get("k", sensitive=True) == ("sealed" if known else MISS)
    policy = SENSITIVE if reads else PLAIN
    loads = itertools.count(1)
    for _ in range(2):
        came = reader.get_or_load("k", lambda: f"load {next(loads)}", policy=policy)
        assert came == ("sealed" if known else "load 1")
    if not known:
        came = program(*writes).get_or_load("k", lambda: "writer's", policy=SENSITIVE)
        assert came == ("load 1" if reads and reads[0] in writes else "writer's")


def test_a_rotation_in_three_deploys_reads_everything_from_its_step_before(program):
    """[A], then [A, B] everywhere, then [B, A], then [B]: neighbours in time always read each other."""
    steps = [(A,), (A, B), (B, A), (B,)]
    for step in itertools.pairwise(steps):
        for writes, reads in (step, step[::-1]):
            key = f"{writes} {reads}"
            program(*writes).set(key, "sealed", policy=SENSITIVE)
            assert program(*reads).get_or_load(key, nobody, policy=SENSITIVE) == "sealed"


def test_two_programs_that_cannot_read_each_other_each_serve_their_own(program):
    """With no secret in common they overwrite each other's entries, in batches too; nobody sees errors."""
    one, other = program(A), program(B)
    for number in range(3):
        for cache, name in ((one, "one"), (other, "other")):
            cache.delete("k0")
            values = cache.get_or_load_many(
                ["k0", "k1"], lambda keys, name=name: dict.fromkeys(keys, name), policy=SENSITIVE
            )
            assert values["k0"] == name
            assert cache.fetch("k0", nobody, policy=SENSITIVE).value == name, number


def test_a_sealed_value_of_the_older_program_survives_the_rotation(program):
    """What the older program sealed with the older secret is read by the new one that still has it."""
    program(A, older=True).set("k", "sealed", policy=SENSITIVE)
    assert program(B, A).get("k", sensitive=True) == "sealed"
    assert program(B).get("k") is MISS
    program(B, A).set("k", "anew", policy=SENSITIVE)
    assert program(A, older=True).get("k") is MISS
    assert program(A, B, older=True).get("k", sensitive=True) == "anew"
