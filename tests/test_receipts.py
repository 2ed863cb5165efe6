"""A receipt recognises what is older than its invalidation, travels as text, and refuses odd ones."""

from __future__ import annotations

import base64
import re

import msgspec
import pytest

from cache_ext import ConfigurationError, Receipt
from cache_ext.coherence.receipts import MAX_TEXT
from cache_ext.entry import Version
from tests.caches import connected
from tests.waiting import until

COOKIE_SAFE = re.compile(r"[A-Za-z0-9._-]+")


def held(cache, key="k", tags=("t",)):
    """Keep a value and return its entry, as a read finds it."""
    cache.set(key, 1, ttl=60, tags=tags)
    return cache.runtime.reader.read({key: tags})[key].slot.entry


WAYS = {
    "tag": lambda cache: cache.invalidate_tags("t", "u"),
    "key": lambda cache: cache.delete("k"),
    "clear": lambda cache: cache.clear(),
}


@pytest.mark.parametrize("how", WAYS)
def test_what_was_made_before_is_outdated(cache, how):
    """Whatever an applied invalidation ended is recognised by its receipt, and by the receipt's text."""
    old = held(cache)
    receipt = WAYS[how](cache)
    assert receipt.applied
    assert not receipt.queued
    assert receipt.outdates("k", old)
    assert Receipt.parse(str(receipt)).outdates("k", old)


@pytest.mark.parametrize("how", ["tag", "clear"])
def test_what_was_made_after_is_not_outdated(cache, how):
    """A value made under the new version needs no second look."""
    held(cache)
    receipt = WAYS[how](cache)
    new = held(cache)
    assert not receipt.outdates("k", new)
    assert not Receipt.parse(str(receipt)).outdates("k", new)


def test_what_was_made_of_something_cleared_is_outdated(cache):
    """A load that begins after `clear` but takes a copy from before it brings what the receipt recognises."""
    part = held(cache)
    receipt = cache.clear()
    made = msgspec.structs.replace(held(cache, "made", ()), tags=part.tags)
    assert receipt.outdates("made", made)
    assert Receipt.parse(str(receipt)).outdates("made", made)


def test_later_invalidations_do_not_bring_back(cache):
    """A receipt goes on to recognise what is old while others invalidate the same tag."""
    old = held(cache)
    receipt = cache.invalidate_tags("t")
    cache.invalidate_tags("t")
    assert receipt.outdates("k", old)
    assert not receipt.outdates("k", held(cache))


@pytest.mark.parametrize("how", ["tag", "key"])
def test_what_it_does_not_name_is_not_outdated(cache, how):
    """Values of other keys and tags are served as ever."""
    other = held(cache, "other", ("v",))
    assert not WAYS[how](cache).outdates("other", other)


def test_a_key_that_was_named_is_to_be_looked_up(cache):
    """A key has no version of its own, so even what was stored after its deletion is looked up again."""
    receipt = cache.delete("k")
    assert receipt.outdates("k", held(cache))


def test_another_epoch_has_no_order(cache):
    """What was made under another epoch than the receipt's may be older, so it is to be looked up."""
    receipt = cache.invalidate_tags("t")
    cache.clear()
    assert receipt.outdates("k", held(cache))


@pytest.mark.parametrize("how", WAYS)
def test_a_queued_receipt_goes_by_names(make_cache, own_redis_server, how):
    """While Redis is away the new versions are not known: all that carries the names is to be looked up."""
    cache = connected(make_cache(own_redis_server.url))
    old, other = held(cache), held(cache, "other", ("v",))
    own_redis_server.kill()
    until(lambda: cache.gateway.breaker.state == "open" or not cache.gateway.probe(), "the server is gone")
    receipt = WAYS[how](cache)
    assert receipt.queued
    again = Receipt.parse(str(receipt))
    assert again == receipt
    assert again.outdates("k", old)
    assert again.outdates("other", other) == (how == "clear")


@pytest.mark.parametrize("how", WAYS)
def test_the_text_is_short_and_safe_anywhere(cache, how):
    """It fits a cookie or a header as it is, comes back equal, and does not tell names."""
    receipt = WAYS[how](cache)
    text = str(receipt)
    assert COOKIE_SAFE.fullmatch(text)
    assert len(text) <= MAX_TEXT
    assert Receipt.parse(text) == receipt


def test_names_of_any_script_have_short_texts(cache):
    """Long names of any alphabet cost no more than others."""
    receipt = cache.invalidate_tags("é" * 500, "паспорт", "x" * 1000)
    assert COOKIE_SAFE.fullmatch(str(receipt))
    assert len(str(receipt)) < 150


def test_too_many_tags_become_everything(cache):
    """Beyond the cap the text says less, on the safe side: any copy is to be looked up."""
    unrelated = held(cache, "other", ("v",))
    receipt = cache.invalidate_tags(*(f"t{number}" for number in range(1000)))
    assert not receipt.outdates("other", unrelated)
    coarse = Receipt.parse(str(receipt))
    assert len(str(receipt)) <= MAX_TEXT
    assert coarse.applied
    assert coarse.everything
    assert coarse.outdates("other", unrelated)


def test_two_receipts_make_one(cache):
    """The union outdates what either does; of the same tag the later version counts."""
    old_t, old_k = held(cache, "a", ("t",)), held(cache, "k", ("x",))
    first = cache.invalidate_tags("t")
    between = held(cache, "a", ("t",))
    both = first | cache.delete("k") | cache.invalidate_tags("t")
    assert all(both.outdates(key, entry) for key, entry in (("a", old_t), ("a", between), ("k", old_k)))
    assert not both.outdates("a", held(cache, "a", ("t",)))
    assert (both | Receipt(applied=False)).queued


def packed(*fields):
    """Return the text of a receipt with these fields, whatever they are."""
    return "1." + base64.urlsafe_b64encode(msgspec.msgpack.encode(fields)).decode().rstrip("=")


HOSTILE = {
    "nothing": "",
    "no mark": "abc",
    "another form": "2.kA",
    "no base64": "1.!!!",
    "a newline inside": str(Receipt()) + "\n",
    "no ASCII": "1.é",
    "bare mark": "1.",
    "cut": str(Receipt.of_tags({"t": Version(b"e" * 8, 1)}))[:-4],
    "too long": packed(True, [], [b"x" * 8] * 100, [], False),
    "no array": "1." + base64.urlsafe_b64encode(msgspec.msgpack.encode({"applied": True})).decode(),
    "a wrong type": packed("yes", [], [], [], False),
    "a short digest": packed(True, [(b"x", b"e" * 8, 1)], [], [], False),
    "a negative counter": packed(True, [(b"x" * 8, b"e" * 8, -1)], [], [], False),
    "a text counter": packed(True, [(b"x" * 8, b"e" * 8, "1")], [], [], False),
    "a huge epoch": packed(True, [(b"x" * 8, b"e" * 100, 1)], [], [], False),
    "too few epochs": packed(True, [], [], [b"e" * 8], False),
    "one field more": packed(True, [], [], [], False, 1),
    "deep nesting": "1." + base64.urlsafe_b64encode(b"\x91" * 700).decode(),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_refused(text):
    """Whatever else a client sends is a ConfigurationError, and nothing but that."""
    with pytest.raises(ConfigurationError, match="not the text of a receipt"):
        Receipt.parse(text)
