"""Hostile bytes: a PayloadError or a harmless value each, within a bound of memory and of time."""

from __future__ import annotations

import tracemalloc
import uuid
from datetime import timedelta
from decimal import Decimal

import msgspec
import pytest
import redis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.msgpack import Ext

from cache_ext import MISS, PayloadError, UnsupportedValue
from cache_ext.codec import collisions
from cache_ext.codec.compression import compress
from cache_ext.codec.values import ValueCodec
from cache_ext.entry import Entry
from tests.caches import connected

FAST = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
CAP = 2**18
MULTIPLE = 128
"""Bytes of memory for each byte of a payload, at most: docs/engine.md says so."""
MODULUS = 2**61 - 1
"""Python's hash of a whole number is its remainder by this."""
COUNT = 3_000
"""Colliding keys of a test: enough to be refused, few enough not to hang should they not be."""


def pack(value):
    """Return *value* as msgpack."""
    return msgspec.msgpack.encode(value)


def ext(code, body):
    """Return an extension whose body is *body*, encoded."""
    return Ext(code, pack(body))


def head(byte, number, width=4):
    """Return the head of a container or text of a length that need not be true."""
    return bytes([byte]) + number.to_bytes(width)


def colliding_tuples():
    """Return pairs of numbers, as lists, whose tuples all have one hash: xxHash's mixing run backwards."""
    first, second, start, word = 11400714785074694791, 14029467366897019727, 2870177450012600261, 2**64
    pairs, number = [], 0
    while len(pairs) < COUNT:
        number += 1
        mixed = (start + number * second) % word
        mixed = ((mixed << 31) | (mixed >> 33)) % word * first % word
        partner = (12345 - mixed) * pow(second, -1, word) % word
        if partner < MODULUS:
            pairs.append([number, partner])
    assert len({hash(tuple(pair)) for pair in pairs}) == 1
    return pairs


UUIDS = [ext(9, (number * MODULUS + 5).to_bytes(16)) for number in range(COUNT)]
DECIMALS = [ext(4, str(number * MODULUS + 5)) for number in range(COUNT)]
TUPLES = colliding_tuples()


def large_map(keys):
    """Return a plain map of *keys*."""
    return head(0xDF, len(keys)) + b"".join(pack(key) + b"\xc0" for key in keys)


@pytest.mark.parametrize(
    "payload",
    [
        *(
            pack(ext(code, keys))
            for code in (2, 3)
            for keys in (UUIDS, DECIMALS, [ext(1, t) for t in TUPLES])
        ),
        pack(ext(11, [[key, None] for key in UUIDS])),
        pack(ext(11, [[ext(1, pair), None] for pair in TUPLES])),
        *(large_map(keys) for keys in (UUIDS, DECIMALS, TUPLES)),
        b"\x92\xc4\x01x" + large_map(TUPLES),
        b"\x81\x01" * 20 + large_map(["plain", *UUIDS]),
        b"\x91" * 20 + b"\x82\xa1a\x01\xa1b" + large_map(TUPLES),
        pack([b"bytes", 1.5, "x" * 300, b"y" * 70_000, ext(4, "1"), {"a": [None]}])[:-1] + large_map(TUPLES),
        pack(Ext(1, b"\x91" + large_map(TUPLES))),
        pack([Ext(1, pack([Ext(64, large_map(TUPLES))]))]),
    ],
    ids=range(17),
)
def test_keys_that_were_chosen_to_collide_are_refused_before_they_do(payload):
    """Sets and dicts of them, however deep, are a PayloadError: they would take minutes at full size."""
    with pytest.raises(PayloadError, match="keys"):
        ValueCodec().decode(payload)


@pytest.mark.parametrize(
    "value",
    [
        {(x, y): x for x in range(-40, 40) for y in range(-40, 40)},
        {uuid.UUID(int=number): number for number in range(2_000)},
        {Decimal(number) / 8 for number in range(2_000)},
        set(range(-1_000, 1_000)) | {number * MODULUS for number in range(-4, 5)},
        frozenset((a, b, c, d) for a in (-1, -2) for b in (-1, -2) for c in (-1, -2) for d in range(99)),
        {number: [{number: b"x"}] for number in range(2_000)},
        {number / 7: {"a": number} for number in range(2_000)},
        {b"%d" % number: [[[[[[[{number: None}]]]]]]] for number in range(2_000)},
        {number: {(1, 2): [1.5, {"x" * 40: b"y" * 300}]} for number in range(2_000)},
        [{b"%d" % number: timedelta(number) for number in range(-33, 40)} for _ in range(40)],
    ],
    ids=range(10),
)
def test_large_dicts_and_sets_that_nobody_chose_come_back(value):
    """Equal hashes by chance, as of -1 and -2, and numbers of all sizes as keys, are no reason to refuse."""
    codec = ValueCodec()
    assert codec.decode(codec.encode(value)) == value


NUMBERS = st.one_of(st.integers(-(2**63), 2**64 - 1), st.floats(allow_nan=False), st.booleans(), st.none())
PACKED = st.recursive(
    st.one_of(NUMBERS, st.text(), st.binary(), st.binary(max_size=20).map(lambda body: Ext(3, body))),
    lambda inner: st.one_of(
        st.lists(inner), st.dictionaries(st.one_of(NUMBERS, st.text(), st.binary()), inner, max_size=40)
    ),
    max_leaves=15,
)


@given(PACKED, NUMBERS)
@example([*range(-40, 140), None, True, False], -32)
@FAST
def test_the_walk_finds_the_end_of_whatever_is_in_order(item, number):
    """It passes every item, of every size, in order, and finds a wrong key in a large map that comes last."""
    pairs = (pack(number) + pack(item)) * 16
    collisions._walk(b"\x92" + pack(item) + head(0xDE, 16, 2) + pairs)
    wrong = b"\x92" + pack(item) + head(0xDE, 17, 2) + pairs + b"\x91\x00\x00"
    with pytest.raises(PayloadError):
        collisions._walk(wrong)


@given(st.binary(max_size=300))
@example(b"\xdf" + b"\xff" * 4)
@example(b"\x91" * 300)
@FAST
def test_the_walk_ends_on_any_bytes(data):
    """It neither fails nor hangs on what is no msgpack: the decoder refuses that."""
    try:
        collisions._walk(data)
    except PayloadError:
        return


def test_the_walk_is_no_deeper_than_the_encoder():
    """A chain of arrays that only a decoder would follow takes no memory."""
    with pytest.raises(PayloadError, match="deep"):
        collisions._walk(b"\x91" * CAP)


def filled(piece, count=None):
    """Return an array of as many of *piece* as a payload may hold."""
    count = count or (CAP - 5) // len(piece)
    return head(0xDD, count) + piece * count


BOMBS = {
    "an array of four thousand million": head(0xDD, 2**32 - 1),
    "a map of as many": head(0xDF, 2**32 - 1),
    "an array of what is not there": head(0xDD, CAP - 5) + b"\xc1" * (CAP - 5),
    "arrays that each claim the rest": b"".join(head(0xDD, CAP - 5 * i) for i in range(900)).ljust(
        CAP, b"\0"
    ),
    "maps that each claim the rest": b"".join(head(0xDF, CAP) + b"\1" for _ in range(900)).ljust(CAP, b"\0"),
    "empty arrays": filled(b"\x90"),
    "empty maps": filled(b"\x80"),
    "empty sets": filled(b"\xd4\x02\x90"),
    "maps of one": filled(b"\x81\0\0"),
    "chains of maps of one": filled(b"\x81\0" * 150 + b"\0"),
    "chains of arrays of one": filled(b"\x91" * 150 + b"\0"),
    "one chain of arrays": b"\x91" * CAP,
    "one chain of maps": b"\x81\0" * (CAP // 2),
    "one chain of maps in bytes": b"\x92\xc4\0" + b"\xdf\0\0\0\1\0" * (CAP // 6),
    "bytes as a tuple": pack(Ext(1, pack(b"\0" * (CAP - 20)))),
    "text as a set": pack(Ext(2, pack("Ā" * (CAP // 2 - 20)))),
    "pairs": pack(Ext(11, filled(b"\x92\x01\x90", CAP // 3 - 10))),
    "tuples in tuples": pack(Ext(1, filled(b"\xd4\x01\x90", CAP // 3 - 10))),
    "one set of small sets": pack(Ext(2, filled(b"\xd4\x03\x90", CAP // 3 - 10))),
    "text of two bytes each": filled(b"\xa2" + "Ā".encode()),
    "decimals": filled(pack(ext(4, "1"))),
    "a decimal of all digits": pack(ext(4, "9" * (CAP - 20))),
    "such a decimal as a key": pack(ext(2, [ext(4, "9" * (CAP - 40))])),
    "decimals of huge exponents": pack(ext(2, [ext(4, f"{i}E+999999999999999999") for i in range(1, 5_000)])),
    "one of a higher one": pack(ext(4, "1E+9999999999999999999999")),
    "huge timedeltas": filled(pack(ext(8, [999_999_999, 86_399, 999_999]))),
    "too huge a timedelta": pack(ext(8, [2**63, 2**63, 2**63])),
    "a timedelta of floats": pack(ext(8, [1e308, float("nan"), float("inf")])),
    "years": filled(pack(ext(6, "9999-12-31"))),
    "a long time": pack(ext(7, ["1" * (CAP - 40), 0])),
    "zones": filled(pack(ext(5, ["2024-01-01", 0, "Europe/Berlin"]))),
    "a zone of a long name": pack(ext(5, ["2024-01-01", 0, "x" * (CAP - 60)])),
    "a zone out of its folder": pack(ext(5, ["2024-01-01", 0, "../../../../etc/passwd"])),
    "a zone by its path": pack(ext(5, ["2024-01-01", 0, "/etc/passwd"])),
    "a zone that is a table": pack(ext(5, ["2024-01-01", 0, "zone.tab"])),
    "timestamps": filled(pack(Ext(-1, b"\xff" * 4))),
    "a timestamp out of range": pack(Ext(-1, b"\xff" * 12)),
    "floats with map heads in them": filled(b"\xcb\xde\xff\xff\xdf\xff\xff\xff\xff"),
}


def nested_extensions(code, wrap=b""):
    """Return extensions in extensions, as deep as a payload can hold."""
    body = b"\x90"
    while len(body) + len(wrap) + 6 < CAP and len(body) < 30_000:
        body = wrap + pack(Ext(code, body))
    return body.ljust(CAP, b"\0")[: len(body)]


BOMBS |= {f"extensions {code} in each other": nested_extensions(code) for code in (1, 2, 3, 11, 64)}
BOMBS["tuples of one in each other"] = nested_extensions(1, b"\x91")


@pytest.mark.parametrize("payload", BOMBS.values(), ids=BOMBS.keys())
def test_bombs_go_off_within_the_bound(payload):
    """Whatever a payload claims, decoding it is a PayloadError or a value, and takes at most 128 times it."""
    assert len(payload) <= CAP
    codec = ValueCodec()
    codec.decode(codec.encode([Decimal(1), timedelta(1)]))
    tracemalloc.start()
    try:
        codec.decode(payload)
    except PayloadError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak <= MULTIPLE * len(payload) + 2**18


@given(st.integers(-128, 127), st.binary(max_size=60))
@FAST
def test_extensions_of_any_code_are_refused_or_values(code, body):
    """Reserved codes, timestamps among them, and those that nobody uses."""
    try:
        ValueCodec().decode(pack(Ext(code, body)))
    except PayloadError:
        return


@pytest.mark.parametrize("code", range(1, 12))
@pytest.mark.parametrize("body", [None, 1, 1.5, "text", b"\0" * 16, [], {}, True], ids=repr)
def test_an_extension_holds_what_it_was_given_or_is_refused(code, body):
    """A body of another type than the one we write is never taken for it."""
    written = {4: str, 6: str, 10: str, 9: bytes}.get(code, list)
    try:
        ValueCodec().decode(pack(ext(code, body)))
    except PayloadError:
        return
    assert type(body) is written


class Fragile:
    """A type whose decoding fails in ways of its own."""


@pytest.mark.parametrize("error", [RuntimeError, AssertionError, EOFError, StopIteration])
def test_what_a_registered_type_raises_is_told_apart(error):
    """Decoding is a PayloadError, encoding an UnsupportedValue, whatever somebody's functions raise."""

    def fail(_):
        raise error("x")

    codec = ValueCodec()
    codec.register(Fragile, name="fragile", encode=fail, decode=fail)
    with pytest.raises(UnsupportedValue):
        codec.encode([Fragile()])
    with pytest.raises(PayloadError):
        codec.decode(pack([ext(64, ["fragile", b""])]))


def test_a_value_that_changes_while_it_is_encoded_is_refused():
    """Another thread may add to a dict meanwhile; that is an UnsupportedValue."""
    value = {}

    def grow(_):
        value[len(value)] = None
        return b""

    codec = ValueCodec()
    codec.register(Fragile, name="fragile", encode=grow, decode=Fragile)
    value["first"] = Fragile()
    with pytest.raises(UnsupportedValue, match="changed size"):
        codec.encode(value)


@pytest.fixture
def raw(redis_url):
    """A plain client of the server."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.mark.parametrize(
    "changes",
    [
        {"payload": Raw(large_map(TUPLES))},
        {"payload": Raw(pack(ext(2, UUIDS)))},
        {"payload": Raw(b"\x91" * 100_000)},
        {"payload": Raw(pack(compress(large_map(TUPLES)))), "compressed": True},
        {"payload": Raw(pack(compress(b"\x90" * 2**20))), "compressed": True},
        {"payload": Raw(pack(["os.system", ["true"]])), "failed": True},
        {"payload": Raw(pack(b"not sealed")), "sealed": True},
        {"as_of": 2**60},
    ],
    ids=range(8),
)
def test_poison_in_an_entry_that_counts_is_a_miss(make_cache, redis_url, raw, changes):
    """An entry with the right credentials and a hostile rest costs a load, and is replaced by what came."""
    cache = connected(make_cache(redis_url, max_entry_bytes=2**19))
    cache.set("k", "good", ttl=60)
    name = cache.runtime.keyspace.value("k")
    stored = msgspec.msgpack.decode(raw.get(name), type=Entry)
    raw.set(name, pack(msgspec.structs.replace(stored, format=2, **changes)))
    reader = connected(make_cache(redis_url, max_entry_bytes=2**19))
    assert reader.get("k") is MISS
    assert reader.get_or_load("k", lambda: "loaded", ttl=60) == "loaded"
    assert connected(make_cache(redis_url)).get("k") == "loaded"
