"""Judging many entries at once: good is only what surely is, whatever bytes lie where its tags should."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import Raw

from cache_ext.entry import OpenEntry
from cache_ext.keys import bucket_of
from cache_ext.stores.base import Versions
from tests.entries import entry

NOW = 1_700_000_000_500
EPOCHS = {bucket_of(name): b"epoch" for name in ("k", "t", "u", "lost")}
VERSIONS = Versions(NOW, EPOCHS, {"t": b"3", "u": b"4", "soft": b"3:5", "lost": None})
TAG, OTHER = ("t", b"epoch", 3), ("u", b"epoch", 4)


def is_good(tags: Any, asked: tuple[str, ...] = ("t",)) -> bool:
    """Tell whether an entry of "k" whose tags are these, or these bytes, is good, having to have *asked*."""
    packed = tags if isinstance(tags, bytes) else msgspec.msgpack.encode(tags)
    fields = msgspec.structs.asdict(entry()) | {"tags": Raw(packed), "payload": 1}
    one, (epoch, expected) = OpenEntry(**fields), VERSIONS.expected({"k": asked})["k"]
    return one.epoch == epoch and (one.tags == expected or VERSIONS.cover(one, asked))


def test_what_it_has_to_show_is_enough():
    """The tags asked for under their versions, in that order or another, alone or with others."""
    assert is_good([TAG])
    assert is_good([TAG, OTHER], ("t", "u"))
    assert is_good([OTHER, TAG], ("t", "u"))
    assert is_good([TAG, OTHER])
    assert is_good([], ())


@pytest.mark.parametrize(
    "tags",
    [
        [],
        [OTHER],
        [("t", b"epoch", 2)],
        [("t", b"other", 3)],
        [TAG, ("u", b"epoch", 3)],
        [TAG, ("v", b"epoch", 1)],
    ],
    ids=str,
)
def test_too_little_or_another_version_is_not(tags):
    """A tag that is missing, or that any tag of it, asked for or not, has or had another version."""
    assert not is_good(tags)


@pytest.mark.parametrize("tag", ["lost", "never", "soft"])
def test_nothing_shows_a_version_that_is_not_known(tag):
    """Not even bytes that say there is none; and after a soft invalidation it is looked at more closely."""
    for epoch, counter in ((None, None), (b"epoch", None), (b"epoch", 3), (b"epoch", 5)):
        assert not is_good([(tag, epoch, counter)], (tag,))
    assert not is_good([None], (tag,))


@pytest.mark.parametrize("tags", [b"\xc0", b"\xc1", b"\x91", b"\x91\x93\xa1t\xc4\x05epoch\xa13"], ids=repr)
def test_bytes_that_are_no_tags_are_not_good(tags):
    """Never an exception: who decodes one by one says what is wrong."""
    assert not is_good(tags)
