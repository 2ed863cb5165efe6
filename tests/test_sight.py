"""What is picked as a plain hit: that which may be served as it lies there, with nothing else to do."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from cache_ext.codec.entries import EntryCodec
from cache_ext.codec.seal import KeyRing
from cache_ext.codec.values import ValueCodec
from cache_ext.keys import bucket_of
from cache_ext.reading.near import NearCache
from cache_ext.reading.sight import Picker, Sight
from cache_ext.stores.base import Snapshot, Versions
from tests.entries import entry

LOADED, TTL, LOAD_TIME = 1_700_000_000_000, 60_000, 1_000
EARLY = LOADED + TTL - 1_200
"""Unix ms from when on it is to be refreshed early."""


def seen(now: int = LOADED + 500, **changes: Any) -> Sight:
    """Return what is seen at *now* of an entry that is a plain hit, but for *changes*."""
    codec = EntryCodec(ValueCodec(), KeyRing(["s" * 32]), 10_000)
    times = {"loaded_at": LOADED, "ttl": TTL, "load_time": LOAD_TIME}
    payload = msgspec.Raw(ValueCodec().encode("x" * 500))
    blob = codec.encode(entry(**{"payload": payload, **times, **changes}), "k")
    epochs = {bucket_of("k"): b"epoch", bucket_of("t"): b"epoch"}
    snapshot = Snapshot(Versions(now, epochs, {"t": b"3"}), {"k": blob})
    return Picker(codec, NearCache(0)).pick({"k": ("t",)}, snapshot, 1, 1, 0.0)


@pytest.mark.parametrize(
    "changes", [{}, {"as_of": 1_700_000_000_000, "etag": "e"}, {"stale_for": 5}], ids=str
)
@pytest.mark.parametrize("now", [LOADED, EARLY - 1])
def test_a_fresh_value_under_its_versions_is_plain(changes, now):
    """In either format."""
    assert seen(now, **changes).values == {"k": "x" * 500}


@pytest.mark.parametrize(
    "changes",
    [
        {"sealed": True},
        {"compressed": True},
        {"failed": True},
        {"epoch": b"other"},
        {"tags": (("t", b"epoch", 2),)},
        {"tags": ()},
    ],
    ids=str,
)
def test_what_needs_a_second_thought_is_not(changes):
    """A payload that is not the value, an error, another version."""
    assert seen(**changes).values == {}


@pytest.mark.parametrize("now", [LOADED - 1, EARLY, LOADED + TTL])
def test_what_is_old_or_of_the_future_is_not(now):
    """Nor what is to be refreshed early."""
    assert seen(now).values == {}
