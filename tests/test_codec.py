"""Entries and values as bytes: exact there and back, and harmless whatever the bytes are."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cache_ext import MISS, CachePolicy, ConfigurationError, PayloadError, UnsupportedValue
from cache_ext.codec.entries import FORMAT, TOKEN_AT, EntryCodec
from cache_ext.codec.seal import KeyRing
from cache_ext.codec.values import ValueCodec
from cache_ext.entry import Entry, new_stamp
from cache_ext.keys import bucket_of
from cache_ext.reading.found import token_of
from tests.caches import connected
from tests.entries import entry
from tests.kept_values import DIFFICULT, VALUES, shape

SECRET, OLD_SECRET = "n" * 32, "o" * 32
SENSITIVE = CachePolicy(ttl=60, sensitive=True)
FAST = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def values():
    """A codec of values."""
    return ValueCodec()


def codec(*secrets, largest=2**20):
    """Return a codec of entries."""
    return EntryCodec(ValueCodec(), KeyRing(secrets), largest)


@given(VALUES)
@FAST
def test_values_come_back_exactly(value):
    """What was encoded is decoded to an equal value of equal types, all the way down."""
    known = ValueCodec()
    assert shape(known.decode(known.encode(value))) == shape(value)


@pytest.mark.parametrize(
    "value",
    DIFFICULT,
    ids=repr,
)
def test_difficult_values_come_back_exactly(values, value):
    """The corners of each type."""
    assert shape(values.decode(values.encode(value))) == shape(value)


class Text(str):
    """A subclass of a type that is supported."""


class Elsewhere(tzinfo):
    """A time zone of somebody's own."""

    def utcoffset(self, moment):
        """Return how far it is ahead."""
        return timedelta(hours=1)

    def dst(self, moment):
        """Return how much of that is summer."""
        return


class OwnZone(ZoneInfo):
    """A subclass of a supported kind of time zone."""


def nested(depth):
    """Return a list in a list in a list …"""
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        object(),
        Text("x"),
        2**64,
        -(2**63) - 1,
        [1, {"a": object()}],
        {object(): 1},
        "\ud800",
        nested(100_000),
        lambda: 1,
        1j,
        range(3),
        bytearray(b"x"),
        memoryview(b"x"),
        Exception("x"),
        datetime(2024, 1, 1, tzinfo=Elsewhere()),
        datetime(2024, 1, 1, tzinfo=OwnZone("UTC")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_kept_exactly_is_refused(values, value):
    """An unsupported type, anywhere inside, is an error that is also a TypeError."""
    with pytest.raises(UnsupportedValue) as caught:
        values.encode(value)
    assert isinstance(caught.value, TypeError)


class Price(msgspec.Struct, frozen=True):
    """A type that users register."""

    pair: str
    last: Decimal


class Point:
    """Another, with its own encoding."""

    def __init__(self, x):
        self.x = x


def registered():
    """Return a codec that knows both."""
    known = ValueCodec()
    known.register(Price, name="price", shared=True)
    known.register(
        Point, name="point", encode=lambda p: b"%d" % p.x, decode=lambda data: [Point][len(data)](int(data))
    )
    return known


def test_registered_types_come_back():
    """A registered type is kept, also inside others; strictly typed if it is a Struct."""
    known = registered()
    value = {"prices": (Price("SOL-USDC", Decimal("1.10")),)}
    assert known.decode(known.encode(value)) == value
    assert known.is_shared(Price("a", Decimal(1)))
    assert not known.is_shared([])


def test_a_type_or_name_is_registered_once():
    """Neither may be taken twice, built-in types not at all."""
    known = registered()
    for kind, name in ((Price, "other"), (Entry, "price"), (set, "set")):
        with pytest.raises(ConfigurationError):
            known.register(kind, name=name)


def test_an_entry_comes_back():
    """All fields survive, and the token stands where scripts look for it."""
    sent = entry()
    stored = codec().encode(sent, "k")
    assert codec().decode(stored, "k") == sent
    assert token_of(stored) == sent.token
    assert stored[TOKEN_AT : TOKEN_AT + 8] == sent.token


def test_a_plain_entry_is_msgpack_that_anyone_can_read(make_cache, redis_url, namespace):
    """Values lie under readable keys as plain msgpack."""
    make_cache(redis_url).set("price:SOL-USDC", {"price": 1.5})
    with redis.Redis.from_url(redis_url) as client:
        (name,) = client.keys("*v:*")
        assert name.startswith(namespace.encode())
        assert name.endswith(b":v:price:SOL-USDC")
        assert msgspec.msgpack.decode(client.get(name))[-1] == {"price": 1.5}


def decodes_or_refuses(known, data):
    """Return whether *data* decodes, all the way; anything but PayloadError is raised."""
    try:
        known.values.decode(known.decode(data, "k").payload)
    except PayloadError:
        return False
    return True


@given(st.binary(max_size=200))
@FAST
def test_random_bytes_are_refused(data):
    """Bytes from nowhere are a PayloadError."""
    assert not decodes_or_refuses(codec(SECRET), data)


@given(st.binary(max_size=100))
@FAST
def test_random_payloads_are_refused_or_values(data):
    """A payload of random bytes in an entry that is in order is a PayloadError or a harmless value."""
    good = codec().encode(entry(), "k")
    decodes_or_refuses(codec(), good[: -len(entry().payload)] + data if data else good)


@given(st.integers(0, 100), st.binary(max_size=60))
@FAST
def test_random_extensions_are_refused_or_values(code, body):
    """So is any extension type with any body."""
    known = registered()
    payload = msgspec.msgpack.encode(msgspec.msgpack.Ext(code, body))
    try:
        known.decode(payload)
    except PayloadError:
        return


@given(st.sampled_from(range(1, 12)), VALUES)
@FAST
def test_extensions_with_a_body_of_another_type_are_refused_or_values(code, body):
    """So is a known extension whose body is of the wrong type."""
    known = registered()
    try:
        known.decode(msgspec.msgpack.encode(msgspec.msgpack.Ext(code, known.encode(body))))
    except PayloadError:
        return


@given(VALUES, st.data())
@FAST
def test_flipped_and_cut_bytes_are_refused_or_values(value, data):
    """One changed byte, or a cut, is a PayloadError or another entry, never another exception."""
    known = codec()
    good = known.encode(entry(payload=msgspec.Raw(known.payload(value))), "k")
    at = data.draw(st.integers(0, len(good) - 1))
    decodes_or_refuses(known, good[:at] + bytes([data.draw(st.integers(0, 255))]) + good[at + 1 :])
    assert not decodes_or_refuses(known, good[:at])


@pytest.mark.parametrize(
    "payload",
    [
        b"\xdd\xff\xff\xff\xff",  # an array of four thousand million items
        b"\xdf\xff\xff\xff\xff",  # a map
        b"\xc6\xff\xff\xff\xff",  # bytes
        b"\xdb\xff\xff\xff\xff",  # text
        b"\xc9\xff\xff\xff\xff\x01",  # an extension
        b"\xc8\x00\x05\x01\xdd\xff\xff\xff\xff",
        b"\x91" * 100_000,
        b"\x81" * 100_000,
        b"\xc1",
        b"\xd5\x07\xa1a",
        msgspec.msgpack.encode(msgspec.msgpack.Ext(5, msgspec.msgpack.encode(["2024-01-01", 0, "America"]))),
        msgspec.msgpack.encode(msgspec.msgpack.Ext(5, msgspec.msgpack.encode(["2024-01-01", 0, "../../x"]))),
        msgspec.msgpack.encode(msgspec.msgpack.Ext(5, msgspec.msgpack.encode(["2024-01-01", 0, "\0"]))),
        msgspec.msgpack.encode(msgspec.msgpack.Ext(5, msgspec.msgpack.encode(["2024-01-01", 0, 5]))),
        msgspec.msgpack.encode(msgspec.msgpack.Ext(8, msgspec.msgpack.encode([2**62, 0, 0]))),
        msgspec.msgpack.encode(msgspec.msgpack.Ext(8, msgspec.msgpack.encode({}))),
        msgspec.msgpack.encode(msgspec.msgpack.Ext(2, msgspec.msgpack.encode([[]]))),
        msgspec.msgpack.encode(msgspec.msgpack.Ext(64, msgspec.msgpack.encode(["point", b"123"]))),
        msgspec.msgpack.encode(msgspec.msgpack.Ext(64, msgspec.msgpack.encode(["price", b"\x80"]))),
        msgspec.msgpack.encode(msgspec.msgpack.Ext(64, msgspec.msgpack.encode(["nobody", b""]))),
        msgspec.msgpack.encode(msgspec.msgpack.Ext(64, msgspec.msgpack.encode([{}, b""]))),
    ],
    ids=lambda payload: repr(payload[:12]),
)
def test_malicious_payloads_are_refused(payload):
    """Huge lengths, deep nesting, paths in place of time zones, wrong bodies: a PayloadError each."""
    known = registered()
    with pytest.raises(PayloadError):
        known.decode(payload)
    whole = codec().encode(entry(), "k")[: -len(entry().payload)] + payload
    assert not decodes_or_refuses(EntryCodec(known, KeyRing(()), 2**20), whole)


def test_an_extension_bomb_is_refused():
    """Extensions inside extensions, as deep as an entry can hold, are a PayloadError."""
    known, body = ValueCodec(), b"\x90"
    for _ in range(5_000):
        body = msgspec.msgpack.encode(msgspec.msgpack.Ext(1, body))
        if len(body) > 2**16:
            break
    with pytest.raises(PayloadError):
        known.decode(msgspec.msgpack.encode(msgspec.msgpack.Ext(1, body)))


@pytest.mark.parametrize(
    "changes",
    [
        {"format": FORMAT + 1},
        {"format": 0},
        {"token": b"short"},
        {"token": b"far too long"},
        {"ttl": 0},
        {"ttl": -5},
        {"ttl": 2**62},
        {"stale_for": -1},
        {"stale_for": 2**62},
        {"load_time": -1},
        {"load_time": 2**62},
        {"sealed": True},
    ],
    ids=repr,
)
def test_entries_out_of_order_are_refused(changes):
    """Another format, a token of another size, a lifetime out of range: a PayloadError."""
    data = msgspec.msgpack.encode(msgspec.structs.astuple(entry(**changes))[:10])
    with pytest.raises(PayloadError):
        codec(SECRET).decode(data, "k")


def test_an_oversize_entry_is_refused_unread():
    """More bytes than an entry may have are not even decoded."""
    with pytest.raises(PayloadError, match="bytes"):
        codec(largest=10).decode(codec().encode(entry(), "k"), "k")


@pytest.mark.parametrize("poison", [b"", b"x", b"\x9a\x01\xc4\x08" + b"t" * 8, b"\xff" * 300])
def test_poison_in_redis_is_a_miss(make_cache, redis_url, poison):
    """Whatever lies at a key, a read is a miss and a load replaces it."""
    cache = connected(make_cache(redis_url))
    with redis.Redis.from_url(redis_url) as client:
        client.set(cache.runtime.keyspace.value("k"), poison)
    assert cache.get("k") is MISS
    assert cache.get_or_load("k", lambda: 1) == 1
    assert connected(make_cache(redis_url)).get("k") == 1


@pytest.fixture
def sealing(make_cache, redis_url):
    """Open a cache with secrets, newest first."""
    return lambda *secrets: connected(make_cache(redis_url, secret_keys=secrets))


@pytest.fixture
def raw(redis_url):
    """A plain client of the server."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


def where(cache, key):
    """Return where the value of *key* lies in Redis."""
    return cache.runtime.keyspace.value(key)


def test_a_sensitive_value_is_not_readable_in_redis(sealing, raw):
    """What a policy calls sensitive is encrypted on the way to Redis, and comes back."""
    cache = sealing(SECRET)
    cache.set("k", "the secret", policy=SENSITIVE)
    assert b"the secret" not in raw.get(where(cache, "k"))
    assert sealing(SECRET).get("k", sensitive=True) == "the secret"


def test_a_sealed_value_under_another_name_is_a_miss(sealing, raw):
    """Copying one user's sealed value to another's key gives nothing."""
    cache = sealing(SECRET)
    cache.set("session:a", "admin", policy=SENSITIVE)
    raw.set(where(cache, "session:b"), raw.get(where(cache, "session:a")))
    assert sealing(SECRET).get("session:b") is MISS


def test_a_sealed_value_in_another_namespace_is_a_miss(sealing, make_cache, redis_url, raw):
    """So does copying it from one deployment to another that shares the secret."""
    cache = sealing(SECRET)
    other = connected(make_cache(redis_url, namespace="other", secret_keys=(SECRET,)))
    other.set("k", "staging", policy=SENSITIVE)
    cache.set("k", "production", policy=SENSITIVE)
    bucket = bucket_of("k")
    raw.set(where(cache, "k"), raw.get(where(other, "k")))
    raw.set(cache.runtime.keyspace.epoch(bucket), raw.get(other.runtime.keyspace.epoch(bucket)))
    assert sealing(SECRET).get("k") is MISS


@pytest.mark.parametrize("field", ["token", "epoch", "loaded_at", "ttl", "stale_for", "tags"])
def test_a_sealed_value_with_other_credentials_is_refused(field):
    """An old sealed value cannot be given a new life, nor freed of its tags, by who can write to Redis."""
    changes = {
        "token": new_stamp(),
        "epoch": b"other",
        "loaded_at": 1_800_000_000_000,
        "ttl": 120_000,
        "stale_for": 60_000,
        "tags": (),
    }
    known = codec(SECRET)
    stored = msgspec.msgpack.Decoder(Entry).decode(known.encode(entry(sealed=True), "k"))
    forged = msgspec.structs.astuple(msgspec.structs.replace(stored, **{field: changes[field]}))[:10]
    with pytest.raises(PayloadError):
        known.decode(msgspec.msgpack.encode(forged), "k")


def test_a_plain_value_in_place_of_a_sealed_one_is_not_believed(sealing, raw):
    """Who can write to Redis cannot make a value that is read as sensitive."""
    cache = sealing(SECRET)
    cache.set("session:{a}", "nobody", policy=SENSITIVE)
    cache.set("forged:{a}", "admin")
    raw.set(where(cache, "session:{a}"), raw.get(where(cache, "forged:{a}")))
    reader = sealing(SECRET)
    assert reader.get("session:{a}", sensitive=True) is MISS
    assert reader.get("session:{a}") == "admin"  # now in L1
    assert reader.get("session:{a}", sensitive=True) is MISS
    assert reader.get("session:{a}") == "admin"  # in L1 again
    assert reader.get_or_load("session:{a}", lambda: "loaded", policy=SENSITIVE) == "loaded"
    raw.set(where(cache, "session:{a}"), raw.get(where(cache, "forged:{a}")))
    other = sealing(SECRET)
    assert other.get_or_load("session:{a}", lambda: "loaded", policy=SENSITIVE) == "loaded"
    assert other.get_or_load_many(["session:{a}"], lambda _: {}, policy=SENSITIVE) == {
        "session:{a}": "loaded"
    }


def test_an_older_secret_still_reads(sealing):
    """After a rotation values sealed with the older secret are read, until they expire."""
    sealing(OLD_SECRET).set("k", 1, policy=SENSITIVE)
    assert sealing(SECRET, OLD_SECRET).get("k") == 1
    assert sealing(SECRET).get("k") is MISS


def test_new_values_are_sealed_with_the_newest_secret(sealing):
    """The first of the secrets is the one that seals."""
    sealing(SECRET, OLD_SECRET).set("k", 1, policy=SENSITIVE)
    assert sealing(OLD_SECRET).get("k") is MISS
    assert sealing(SECRET).get("k") == 1


def test_the_same_value_is_sealed_differently_each_time():
    """Equal values cannot be told by their sealed bytes."""
    ring = KeyRing([SECRET])
    assert ring.seal(b"x", b"k") != ring.seal(b"x", b"k")


def test_sealing_without_a_secret_is_an_error(make_cache, redis_url):
    """A sensitive value needs a secret; it is never stored in the clear instead."""
    cache = connected(make_cache(redis_url))
    with pytest.raises(ConfigurationError, match="secret_keys"):
        cache.set("k", 1, policy=SENSITIVE)
    assert cache.get("k") is MISS


@given(st.binary(max_size=80))
@FAST
def test_random_seals_are_refused(data):
    """Bytes that nobody sealed do not open."""
    with pytest.raises(PayloadError):
        KeyRing([SECRET]).open(data, b"k")
