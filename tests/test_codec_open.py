"""Decoding in bulk: the same values as one by one, and nothing that does not decode."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache_ext import PayloadError
from cache_ext.codec.entries import EntryCodec
from cache_ext.codec.seal import KeyRing
from cache_ext.codec.values import ValueCodec
from tests.entries import entry
from tests.kept_values import VALUES, shape

LARGEST = 4_000


@pytest.fixture(scope="module")
def codec():
    """A codec of small and middling entries."""
    return EntryCodec(ValueCodec(), KeyRing(["s" * 32]), LARGEST)


def payload_of(value):
    """Return *value* encoded."""
    return msgspec.Raw(ValueCodec().encode(value))


@given(st.lists(VALUES, max_size=5))
@settings(max_examples=100, deadline=None)
def test_in_bulk_is_as_one_by_one(codec, values):
    """Whatever the values, each entry is the same, its payload the value and its tags as they lie there."""
    blobs = {f"k{at}": codec.encode(entry(payload=payload_of(value)), "k") for at, value in enumerate(values)}
    found = codec.decode_open(blobs)
    for at, value in enumerate(values):
        key = f"k{at}"
        if len(blobs[key]) > LARGEST:
            assert key not in found
            continue
        alone = msgspec.structs.asdict(codec.decode(blobs[key], key))
        together = msgspec.structs.asdict(found[key])
        assert shape(together.pop("payload")) == shape(value)
        assert msgspec.msgpack.decode(
            together.pop("tags"), type=tuple[tuple[str, bytes, int], ...]
        ) == alone.pop("tags")
        assert together == {name: alone[name] for name in together}


@pytest.mark.parametrize("size", [200, 2_000])
@pytest.mark.parametrize(
    "odd",
    [
        {"as_of": 10**17},
        {"as_of": -(10**17)},
        {"payload": msgspec.Raw(b"\xc1")},
        {"payload": msgspec.Raw(b"\xc7\x01\x63\xc0")},
        {"ttl": 0},
    ],
    ids=lambda odd: next(iter(odd)),
)
def test_what_is_odd_is_left_out(codec, odd, size):
    """Small or large: who decodes one by one sees what is the matter with it."""
    fields = {"payload": payload_of("x" * size)} | odd
    good = codec.encode(entry(payload=payload_of("x" * size)), "good")
    assert codec.decode_open({"odd": codec.encode(entry(**fields), "odd"), "good": good}).keys() == {"good"}


@pytest.mark.parametrize(
    "fields", [{"format": 3}, {"format": 0}, {"token": b"seven b"}, {"token": b""}], ids=str
)
def test_other_formats_are_left_out(codec, fields):
    """What starts otherwise than entries of ours is none, small or large."""
    for size in (200, 2_000):
        odd = msgspec.structs.replace(entry(payload=payload_of("x" * size)), **fields)
        blob = msgspec.msgpack.encode(msgspec.structs.astuple(odd)[:10])
        assert codec.decode_open({"odd": blob}) == {}


def test_what_is_too_large_is_left_out():
    """Even if it is small."""
    small = EntryCodec(ValueCodec(), KeyRing(()), 200)
    blob = small.encode(entry(payload=payload_of("x" * 200)), "k")
    assert small.decode_open({"k": blob}) == {}
    with pytest.raises(PayloadError):
        small.decode(blob, "k")


@given(st.binary(max_size=300), st.integers(0, 300), st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_hostile_bytes_are_left_out(codec, junk, at, byte):
    """Random, cut or changed: never an exception."""
    blob = bytearray(codec.encode(entry(payload=payload_of([{"a": 1.5, "b": [b"c", (1, 2)]}])), "k"))
    changed = bytes(blob[: at % len(blob)]) + bytes([byte]) + bytes(blob[at % len(blob) + 1 :])
    codec.decode_open(
        {"junk": junk, "headed": bytes(blob[:12]) + junk, "changed": changed, "cut": bytes(blob[:at])}
    )
