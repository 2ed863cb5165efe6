"""Two wire formats side by side: what this program writes and an older one reads, and the other way round."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Raw

from cache_ext import PayloadError
from cache_ext.codec.entries import FORMAT, NEW_FORMAT, TOKEN_AT, EntryCodec
from cache_ext.codec.seal import KeyRing
from cache_ext.codec.values import ValueCodec
from cache_ext.entry import AS_OF_MS, Entry
from tests import entries
from tests.older_program import OlderCodec, OlderEntry

SECRET = "s" * 32
FAST = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
NEWER = [{"failed": True}, {"as_of": 1_700_000_000_000}, {"as_of": 0}, {"etag": "x"}, {"compressed": True}]
"""Each way to use what format 1 has not. The payload is long and even, so it does get smaller."""
PAYLOAD = msgspec.msgpack.encode({"price": 1, "filling": "x" * 500})
MS = st.integers(0, 10**11)
PLAIN = st.builds(
    Entry,
    format=st.just(FORMAT),
    token=st.binary(min_size=8, max_size=8),
    epoch=st.binary(max_size=12),
    loaded_at=st.integers(0, 2**45),
    ttl=st.integers(1, 10**11),
    stale_for=MS,
    load_time=MS,
    tags=st.lists(st.tuples(st.text(), st.binary(), st.integers(0, 2**60)), max_size=4).map(tuple),
    sealed=st.booleans(),
    payload=st.text().map(lambda text: Raw(msgspec.msgpack.encode(text))),
)


def both():
    """Return the codecs of this program and of the older one, with one secret."""
    ring = KeyRing([SECRET])
    return EntryCodec(ValueCodec(), ring, 2**20), OlderCodec(ValueCodec(), ring, 2**20)


def entry(**changes):
    """Return an entry that is worth compressing, and in order but for *changes*."""
    return entries.entry(**({"payload": Raw(PAYLOAD)} | changes))


@given(PLAIN)
@FAST
def test_an_older_program_reads_what_uses_nothing_new(sent):
    """An entry without the new fields goes byte for byte as before, sealed or not, in both directions."""
    new, old = both()
    blob = new.encode(sent, "k")
    assert old.decode(blob, "k") == sent
    assert new.decode(old.encode(sent, "k"), "k") == sent
    if not sent.sealed:
        assert blob == msgspec.msgpack.encode(OlderEntry(*msgspec.structs.astuple(sent)[:10]))


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("changes", NEWER, ids=repr)
def test_what_uses_a_new_field_comes_back_and_is_a_miss_to_an_older_program(changes, sealed):
    """It goes in format 2, with its token where scripts look; the older program says PayloadError."""
    new, old = both()
    sent = entry(sealed=sealed, **changes)
    blob = new.encode(sent, "k")
    assert new.decode(blob, "k") == msgspec.structs.replace(sent, format=NEW_FORMAT)
    assert blob[TOKEN_AT : TOKEN_AT + 8] == sent.token
    with pytest.raises(PayloadError):
        old.decode(blob, "k")


@given(st.sampled_from(NEWER), st.booleans(), st.booleans(), st.data())
@FAST
def test_changed_and_cut_entries_of_format_2_are_refused_or_entries(changes, sealed, cut, data):
    """One changed byte, or a cut, is a PayloadError or another entry, which is not sealed any more."""
    new, _ = both()
    good = new.encode(entry(sealed=sealed, **changes), "k")
    at = data.draw(st.integers(0, len(good) - 1))
    byte = good[at] ^ data.draw(st.integers(1, 255))
    hostile = good[:at] if cut else good[:at] + bytes([byte]) + good[at + 1 :]
    try:
        another = new.decode(hostile, "k")
    except PayloadError:
        return
    assert not cut
    assert not another.sealed


@pytest.mark.parametrize("number", [0, 1, 3, 127])
def test_an_unknown_format_is_refused(number):
    """Bytes of a format to come, whatever its length, are a PayloadError; so is format 1 with more fields."""
    new, _ = both()
    fields = msgspec.structs.astuple(entry())
    for more in ((), (1, 2)):
        with pytest.raises(PayloadError):
            new.decode(msgspec.msgpack.encode((number, *fields[1:], *more)), "k")
    if number != FORMAT:
        with pytest.raises(PayloadError):
            new.decode(msgspec.msgpack.encode((number, *fields[1:10])), "k")


@pytest.mark.parametrize("changes", [{"failed": True}, {"as_of": 5}, {"as_of": None}, {"etag": "other"}])
def test_the_new_fields_of_a_sealed_entry_cannot_be_changed(changes):
    """They are part of what is sealed."""
    new, _ = both()
    stored = msgspec.msgpack.decode(new.encode(entry(sealed=True, as_of=1, etag="e"), "k"), type=Entry)
    forged = msgspec.msgpack.encode(msgspec.structs.replace(stored, **changes))
    with pytest.raises(PayloadError, match="seal"):
        new.decode(forged, "k")


@pytest.mark.parametrize("changes", [{}, {"failed": True}, {"compressed": True}], ids=repr)
def test_a_sealed_entry_cannot_be_given_another_format(changes):
    """One of format 1 cannot be dressed as one of format 2, be there anything new in it or not."""
    new, _ = both()
    stored = msgspec.msgpack.decode(new.encode(entry(sealed=True), "k"), type=Entry)
    forged = msgspec.structs.replace(stored, format=NEW_FORMAT, **changes)
    with pytest.raises(PayloadError, match="seal"):
        new.decode(msgspec.msgpack.encode(forged), "k")


@pytest.mark.parametrize("as_of", [AS_OF_MS.start - 1, AS_OF_MS.stop, 2**64 - 1])
def test_a_time_of_data_that_no_calendar_has_is_refused(as_of):
    """Nothing later has to fear it."""
    data = msgspec.msgpack.encode(entry(format=NEW_FORMAT, as_of=as_of))
    with pytest.raises(PayloadError, match="not an entry"):
        both()[0].decode(data, "k")


def test_the_whole_calendar_comes_back():
    """Its first and its last millisecond are times of data."""
    new, _ = both()
    for as_of in (AS_OF_MS[0], AS_OF_MS[-1]):
        assert new.decode(new.encode(entry(as_of=as_of), "k"), "k").as_of == as_of
