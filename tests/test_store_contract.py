"""What the engine relies on in a store, the same for all of them."""

from __future__ import annotations

import secrets
import threading

import pytest
import redis

from cache_ext.entry import new_stamp
from cache_ext.keys import BUCKETS, KeySpace, bucket_of
from cache_ext.settings import CacheSettings
from cache_ext.stores.base import Write
from cache_ext.stores.local import LocalStore, NullStore
from cache_ext.stores.redis import LEASE_MS, RedisStore
from cache_ext.transport.breaker import CircuitBreaker
from cache_ext.transport.connection import RedisGateway
from tests.waiting import until

LIFE = 60.0
HOUR_MS = 3_600_000


def blob(token=None, body=b"body"):
    """Return bytes that have a token where entries have theirs."""
    return b"\x9a\x01\xc4\x08" + (token or new_stamp()) + body


@pytest.fixture
def redis_store(redis_url, namespace):
    """A store on a real server."""
    settings = CacheSettings(redis_url=redis_url, namespace=namespace, op_timeout=2.0)
    gateway = RedisGateway(settings, CircuitBreaker(5, 0.5, lambda: 0.0))
    yield RedisStore(gateway, KeySpace(namespace))
    gateway.close()


@pytest.fixture
def raw(redis_url, redis_store):
    """A plain client of the same server."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def space(namespace):
    """The names of keys in Redis."""
    return KeySpace(namespace)


@pytest.fixture
def store(cache):
    """Each store in turn."""
    return cache.runtime.store


def start(store, keys=(), tags=(), token=None, seen=b""):
    """Begin a load of *keys*."""
    return store.begin(dict.fromkeys(keys, seen), tags, token or new_stamp(), LIFE)


def test_begin_gives_every_tag_a_version(store):
    """A tag that was never heard of has a version after `begin`, the same at every `begin`."""
    first = start(store, tags=["a", "b"]).versions
    assert first.of("a") is not None
    assert [start(store, tags=["a", "b"]).versions.of(tag) for tag in "ab"] == [first.of(tag) for tag in "ab"]


def test_begin_grants_the_lease_to_one(store):
    """A key that nobody loads is granted."""
    assert start(store, ["k"]).granted == {"k"}


def test_invalidate_changes_versions(store):
    """Each invalidation gives the tag a version of the same epoch, higher than before; others keep theirs."""
    versions = [start(store, tags=["a{x}", "b{x}"]).versions]
    for _ in range(3):
        store.invalidate(["a{x}"])
        versions.append(start(store, tags=["a{x}", "b{x}"]).versions)
    changed = [each.of("a{x}") for each in versions]
    assert changed == sorted(changed, key=lambda version: version.counter)
    assert len(set(changed)) == 4
    assert len({version.epoch for version in changed}) == 1
    assert len({each.of("b{x}") for each in versions}) == 1


def test_soft_invalidations_give_versions_of_the_same_order(store):
    """Hard or soft, each gives a version of the same epoch that is higher than before, and returns it."""
    versions = [start(store, tags=["t"]).versions.of("t")]
    for soft in (True, True, False, True):
        given = store.invalidate(["t"], soft=soft)
        versions.append(start(store, tags=["t"]).versions.of("t"))
        assert given == {"t": versions[-1]}
    assert versions == sorted(set(versions), key=lambda version: version.counter)
    assert len({version.epoch for version in versions}) == 1


def test_a_store_tells_soft_from_hard(store):
    """A reader sees both numbers; a hard invalidation ends what the soft ones before it left."""

    def standing():
        return store.read([], ["t"]).versions.standing("t")

    first = start(store, tags=["t"]).versions.of("t").counter
    soft = store.invalidate(["t"], soft=True)["t"].counter
    assert standing() == (first, soft)
    softer = store.invalidate(["t"], soft=True)["t"].counter
    assert standing() == (first, softer)
    hard = store.invalidate(["t"])["t"].counter
    assert standing() == (hard, 0)


def test_clear_returns_the_new_epochs(store):
    """One for each bucket, and the ones that readers see."""
    epochs = store.clear()
    assert sorted(epochs) == list(range(BUCKETS))
    seen = start(store, ["k"], ["a"]).versions.epochs
    assert seen == seen | {bucket: epochs[bucket] for bucket in map(bucket_of, "ka")}


def test_read_gives_the_versions_that_begin_gave(store):
    """What was noted before a load is what a reader compares with."""
    begun = start(store, tags=["a"]).versions
    seen = store.read(["k"], ["a"]).versions
    assert seen.of("a") == begun.of("a")
    assert seen.epochs[bucket_of("a")] == begun.epochs[bucket_of("a")]
    assert seen.now >= begun.now


def test_clear_replaces_every_epoch(store):
    """After `clear` no version equals one from before."""
    before = start(store, ["k"], ["a"]).versions
    store.clear()
    after = start(store, ["k"], ["a"], seen=None).versions
    assert after.of("a") != before.of("a")
    assert after.epochs[bucket_of("k")] != before.epochs[bucket_of("k")]


def test_only_the_lease_holder_may_fill(store):
    """A fill under another token is refused."""
    start(store, ["k"])
    assert store.fill([Write("k", blob(), 1000)], new_stamp()) == frozenset()


def test_delete_voids_the_lease(store):
    """Whoever was loading a deleted key may not fill it."""
    token = new_stamp()
    start(store, ["k"], token=token)
    store.delete(["k"])
    assert store.fill([Write("k", blob(token), 1000)], token) == frozenset()


def test_a_lease_can_be_taken_over(store):
    """With None as what was seen the lease changes hands; the former holder's fill is refused."""
    first, second = new_stamp(), new_stamp()
    start(store, ["k"], token=first)
    assert start(store, ["k"], token=second, seen=None).granted == {"k"}
    assert store.fill([Write("k", blob(first), 1000)], first) == frozenset()


def test_a_released_lease_is_free(store):
    """After `release` the next one gets the lease, and the former may not fill."""
    token = new_stamp()
    start(store, ["k"], token=token)
    store.release(["k"], token)
    assert store.fill([Write("k", blob(token), 1000)], token) == frozenset()
    assert start(store, ["k"]).granted == {"k"}


def test_nothing_is_no_error(store):
    """Every method takes no names at all."""
    store.read([], [])
    store.invalidate([])
    store.renew([], new_stamp())
    assert store.delete([]) == 0
    assert start(store).granted == frozenset()


@pytest.mark.parametrize("local", [LocalStore, NullStore])
def test_a_local_store_grants_a_fill_once(local):
    """The store of one process keeps no bytes, but tells whether the load still counts."""
    store, token = local(), new_stamp()
    start(store, ["k"], token=token)
    writes = [Write("k", b"", 1000)]
    assert store.fill(writes, token) == (frozenset() if local is NullStore else {"k"})
    assert store.fill(writes, token) == frozenset()
    assert store.read(["k"], []).blobs == {}


def test_a_local_store_does_not_grow_with_tags(monkeypatch):
    """Invalidating ever new tags does not take ever more memory, and no version comes back."""
    monkeypatch.setattr("cache_ext.stores.local.MAX_STANDINGS", 100)
    store = LocalStore()
    first = start(store, tags=["t"]).versions.of("t")
    store.invalidate(["t"])
    for number in range(1000):
        store.invalidate([f"t{number}"])
    assert len(store._standings) <= 100
    assert start(store, tags=["t"]).versions.of("t") != first


def test_what_was_filled_is_read(redis_store):
    """Filled bytes lie there for the time that was given, and the lease is gone."""
    token = new_stamp()
    start(redis_store, ["k"], token=token)
    assert redis_store.fill([Write("k", blob(token), 10_000)], token) == {"k"}
    assert redis_store.read(["k", "other"], []).blobs == {"k": blob(token)}
    assert redis_store.fill([Write("k", b"again", 10_000)], token) == frozenset()


def test_a_value_ends_with_its_life(redis_store, raw, space):
    """Redis removes a value at the end of its life."""
    token = new_stamp()
    start(redis_store, ["k"], token=token)
    redis_store.fill([Write("k", blob(token), 10_000)], token)
    assert 9_000 < raw.pttl(space.value("k")) <= 10_000


def test_a_key_that_is_loaded_is_busy(redis_store):
    """The second to begin is told for how long the first's lease lasts."""
    start(redis_store, ["k"])
    started = start(redis_store, ["k"])
    assert started.granted == frozenset()
    assert 0 < started.busy["k"] <= LEASE_MS / 1000


def test_a_key_that_changed_is_handed_over(redis_store):
    """Who saw nothing, or something else, gets what lies there now, and no lease."""
    token = new_stamp()
    start(redis_store, ["k"], token=token)
    redis_store.fill([Write("k", blob(token), 10_000)], token)
    for seen in (b"", new_stamp()):
        assert start(redis_store, ["k"], seen=seen).changed == {"k": blob(token)}
    assert start(redis_store, ["k"], seen=token).granted == {"k"}
    assert set(start(redis_store, ["k"], seen=token).busy) == {"k"}


def test_a_lease_ends_by_itself(redis_store, monkeypatch):
    """Nobody waits for ever for a holder that died."""
    monkeypatch.setattr("cache_ext.stores.redis.LEASE_MS", 50)
    start(redis_store, ["k"])
    until(lambda: start(redis_store, ["k"]).granted == {"k"}, "the lease has ended", 2.0)


def test_renew_prolongs_ones_own_lease_only(redis_store, raw, space):
    """`renew` gives the holder the full time again, and nobody else."""
    token = new_stamp()
    start(redis_store, ["k"], token=token)
    raw.pexpire(space.lease("k"), 1000)
    redis_store.renew(["k"], new_stamp())
    assert raw.pttl(space.lease("k")) <= 1000
    redis_store.renew(["k"], token)
    assert raw.pttl(space.lease("k")) > LEASE_MS - 1000
    redis_store.renew(["gone"], token)
    assert not raw.exists(space.lease("gone"))


def test_release_ends_ones_own_lease_only(redis_store):
    """Another's token releases nothing."""
    start(redis_store, ["k"])
    redis_store.release(["k"], new_stamp())
    assert set(start(redis_store, ["k"]).busy) == {"k"}


def test_delete_counts_what_was_there(redis_store):
    """`delete` tells how many values it removed."""
    token = new_stamp()
    start(redis_store, ["a", "b"], token=token)
    redis_store.fill([Write(key, blob(token), 10_000) for key in "ab"], token)
    assert redis_store.delete(["a", "b", "c"]) == 2
    assert redis_store.read(["a", "b"], []).blobs == {}


def test_a_lost_version_is_made_anew_at_the_current_position(redis_store, raw, space):
    """An evicted version is never one that was given before an invalidation: a miss, no resurrection."""
    first = start(redis_store, tags=["t{x}"]).versions.of("t{x}")
    redis_store.invalidate(["t{x}"])
    raw.delete(space.version("t{x}"))
    assert redis_store.read([], ["t{x}"]).versions.of("t{x}") is None
    redis_store.invalidate(["u{x}"])
    anew = start(redis_store, tags=["t{x}"]).versions.of("t{x}")
    assert anew.epoch == first.epoch
    assert anew.counter > first.counter + 1


def test_a_lost_version_does_not_come_back_as_stale(redis_store, raw, space):
    """What was softly invalidated is gone when the version is lost: it was made before all that follows."""
    first = start(redis_store, tags=["t"]).versions.of("t").counter
    redis_store.invalidate(["t"], soft=True)
    raw.delete(space.version("t"))
    assert start(redis_store, tags=["t"]).versions.standing("t").hard > first
    raw.delete(space.version("t"))
    redis_store.invalidate(["t"], soft=True)
    assert not raw.exists(space.version("t"))


def test_a_soft_version_keeps_its_life(redis_store, raw, space):
    """A soft invalidation neither shortens nor ends the life of a version."""
    redis_store.begin({}, ["t"], new_stamp(), 100_000.0)
    redis_store.invalidate(["t"], soft=True)
    assert raw.pttl(space.version("t")) > 90_000_000


def test_a_version_lost_before_its_invalidation_is_not_the_old_one(redis_store, raw, space):
    """An invalidation of a tag whose version is lost counts all the same."""
    first = start(redis_store, tags=["t"]).versions.of("t")
    raw.delete(space.version("t"))
    redis_store.invalidate(["t"])
    assert start(redis_store, tags=["t"]).versions.of("t").counter > first.counter


@pytest.mark.parametrize("lost", ["epoch", "sequence"])
@pytest.mark.parametrize("then", ["begin", "invalidate", "delete"])
def test_a_lost_epoch_or_sequence_makes_a_new_epoch(redis_store, raw, space, lost, then):
    """Whichever script comes first, nothing from before counts afterwards, and who listens is told."""
    before = start(redis_store, ["k{x}"], ["t{x}"]).versions
    bucket = bucket_of("t{x}")
    redis_store.invalidate(["t{x}"])
    with raw.pubsub() as listener:
        listener.subscribe(space.channels[bucket])
        until(lambda: listener.get_message(timeout=0.1), "subscribed")
        raw.delete(getattr(space, lost)(bucket))
        {
            "begin": lambda: start(redis_store, tags=["t{x}"]),
            "invalidate": lambda: redis_store.invalidate(["t{x}"]),
            "delete": lambda: redis_store.delete(["k{x}"]),
        }[then]()
        message = listener.get_message(timeout=5.0)
    after = start(redis_store, ["k{x}"], ["t{x}"]).versions
    assert after.epochs[bucket] != before.epochs[bucket]
    assert message["data"].startswith(b"e:" + after.epochs[bucket])


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("lost", ["epoch", "sequence"])
def test_a_version_that_outlives_its_sequence_is_made_anew(redis_store, raw, space, lost, soft):
    """What a load notes is below every later invalidation, whatever numbers the lost epoch had come to."""
    for _ in range(3):
        start(redis_store, tags=["t{x}"])
        redis_store.invalidate(["t{x}"], soft=soft)
    raw.delete(getattr(space, lost)(bucket_of("t{x}")))
    start(redis_store, tags=["u{x}"])  # so the epoch is a new one, and its sequence starts again
    noted = start(redis_store, tags=["t{x}"]).versions.of("t{x}")
    assert noted.counter <= int(raw.get(space.sequence(bucket_of("t{x}"))))
    for _ in range(5):
        given = redis_store.invalidate(["t{x}"], soft=soft)["t{x}"]
        assert given.epoch == noted.epoch
        assert given.counter > noted.counter


def test_versions_outlive_what_they_judge(redis_store, raw, space):
    """A version lives at least as long as the values made under it, and is prolonged by longer-lived ones."""
    redis_store.begin({}, ["t"], new_stamp(), 1.0)
    assert HOUR_MS - 60_000 < raw.pttl(space.version("t")) <= HOUR_MS
    redis_store.begin({}, ["t"], new_stamp(), 100_000.0)
    assert raw.pttl(space.version("t")) > 90_000_000
    redis_store.begin({}, ["t"], new_stamp(), 1.0)
    redis_store.invalidate(["t"])
    assert raw.pttl(space.version("t")) > 90_000_000


def test_nothing_but_epoch_and_sequence_stays_for_ever(redis_store, raw):
    """Everything that grows with use has an end."""
    token = new_stamp()
    start(redis_store, ["a", "b"], ["t"], token=token)
    redis_store.fill([Write("a", blob(token), 10_000)], token)
    redis_store.invalidate(["t", "never seen"])
    redis_store.delete(["c"])
    forever = {key.rpartition(b":")[2] for key in raw.scan_iter() if raw.pttl(key) == -1}
    assert forever == {b"epoch", b"seq", b"run"}


def test_a_new_server_run_replaces_the_epochs_once(redis_store, raw, space):
    """Another run id than the one noted replaces the epoch of each bucket; the same one does not."""
    bucket = bucket_of("t")
    epochs = [start(redis_store, tags=["t"]).versions.epochs[bucket]]
    raw.set(space.run(bucket), "another")
    for _ in range(2):
        redis_store._gateway.way.server.pool.disconnect()
        redis_store._gateway.way.server.reception.forget()
        epochs.append(start(redis_store, tags=["t"]).versions.epochs[bucket])
    assert epochs[0] != epochs[1] == epochs[2]


@pytest.mark.parametrize("poison", [b"", b"x", b"x" * 7, b"xxxx*", b"\xff" * 64])
def test_bytes_that_are_no_entry_can_be_replaced(redis_store, raw, space, poison):
    """Whatever lies at a key: who saw it gets the lease and may overwrite it."""
    raw.set(space.value("k"), poison)
    seen = redis_store.read(["k"], []).blobs["k"][4:12]
    token = new_stamp()
    assert start(redis_store, ["k"], token=token, seen=seen).granted == {"k"}
    assert redis_store.fill([Write("k", blob(token), 10_000)], token) == {"k"}


NO_VERSIONS = ["nonsense", "1e3", "-5", "", "9" * 30, "1:", ":1", "1:x", "1:2:3", "1:2\n"]


@pytest.mark.parametrize("poison", NO_VERSIONS)
def test_a_version_that_is_no_number_vouches_for_nothing(redis_store, raw, space, poison):
    """A version key with nonsense is never an error; the next load makes it anew."""
    raw.set(space.version("t"), poison)
    assert redis_store.read([], ["t"]).versions.of("t") is None
    assert start(redis_store, tags=["t"]).versions.of("t") is not None
    raw.set(space.version("t"), poison)
    redis_store.invalidate(["t"], soft=True)
    start(redis_store, tags=["t"])
    redis_store.invalidate(["t"])
    assert start(redis_store, tags=["t"]).versions.of("t").counter >= 1


def test_of_many_who_begin_at_once_one_is_granted(redis_store):
    """The lease is exclusive under contention."""
    gate = threading.Barrier(16)
    granted = []

    def run():
        gate.wait(5)
        granted.append(start(redis_store, ["k"]).granted)

    threads = [threading.Thread(target=run) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, granted)) == [0] * 15 + [1]


def test_names_of_all_buckets_go_in_one_trip(redis_store):
    """Hundreds of names are one conversation, whatever their buckets."""
    names = [secrets.token_hex(4) for _ in range(300)]
    token = new_stamp()
    trips = []
    run = redis_store._gateway.run
    redis_store._gateway.run = lambda commands, *rest: trips.append(len(commands)) or run(commands, *rest)
    start(redis_store, names, names, token=token)
    redis_store.fill([Write(name, blob(token), 10_000) for name in names], token)
    assert len(redis_store.read(names, names).blobs) == 300
    redis_store.invalidate(names)
    redis_store.delete(names)
    assert len(trips) == 5
    assert max(trips) <= 33
