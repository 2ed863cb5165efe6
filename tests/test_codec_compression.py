"""Compressed entries: smaller or not compressed at all, capped before and after, and safe to open."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Raw

from cache_ext import PayloadError
from cache_ext.codec.compression import compress, decompress, zstd
from cache_ext.codec.entries import FORMAT, NEW_FORMAT, EntryCodec
from cache_ext.codec.seal import KeyRing
from cache_ext.codec.values import ValueCodec
from cache_ext.entry import Entry, new_stamp

ROOT = Path(__file__).parent.parent
SECRET = "s" * 32
FAST = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
CAP = 2**20
EVEN = msgspec.msgpack.encode("x" * 5_000)
MAGIC = b"\x28\xb5\x2f\xfd"


def codec(largest=CAP):
    """Return a codec of entries."""
    return EntryCodec(ValueCodec(), KeyRing([SECRET]), largest)


def entry(payload=EVEN, **changes):
    """Return an entry that asks to be compressed."""
    fields = {
        "format": NEW_FORMAT,
        "token": new_stamp(),
        "epoch": b"epoch",
        "loaded_at": 1_700_000_000_000,
        "ttl": 60_000,
        "stale_for": 0,
        "load_time": 5,
        "tags": (),
        "sealed": False,
        "payload": Raw(payload),
        "compressed": True,
    }
    return Entry(**(fields | changes))


def stored(payload, **changes):
    """Return the bytes of a compressed entry whose payload is these bytes."""
    return msgspec.msgpack.encode(entry(msgspec.msgpack.encode(payload), **changes))


@pytest.mark.parametrize("sealed", [False, True])
def test_a_compressed_entry_is_smaller_and_comes_back(sealed):
    """What lies in Redis is a fraction of the payload; in memory it is plain again."""
    sent = entry(sealed=sealed)
    blob = codec().encode(sent, "k")
    assert len(blob) < len(EVEN) / 10
    assert codec().decode(blob, "k") == sent


def test_what_does_not_get_smaller_goes_plain():
    """Random bytes are stored as they are, and in the format that older programs read."""
    payload = msgspec.msgpack.encode(os.urandom(1_000))
    sent = entry(payload)
    blob = codec().encode(sent, "k")
    back = codec().decode(blob, "k")
    assert (back.compressed, back.format, bytes(back.payload)) == (False, FORMAT, payload)
    assert blob == codec().encode(msgspec.structs.replace(sent, compressed=False), "k")


@given(st.binary(min_size=1), st.integers(1, 300))
@FAST
def test_any_bytes_come_back(piece, times):
    """Whatever is compressed is decompressed to the same, if just so much is allowed, and refused if not."""
    plain = piece * times
    frame = compress(plain)
    assert decompress(frame, len(plain)) == plain
    with pytest.raises(PayloadError):
        decompress(frame, len(plain) - 1)


def test_large_frames_come_back():
    """Frames of many blocks do, even and uneven ones."""
    source = random.Random(7)
    for plain in (source.randbytes(3 * 2**20), b"abc" * 3 * 2**20, source.randbytes(2**17) * 40):
        assert decompress(compress(plain), len(plain)) == plain


def frame_of(plain, **options):
    """Return a frame made with other than our own options."""
    parameters = {getattr(zstd.CompressionParameter, name): value for name, value in options.items()}
    return zstd.compress(plain, options=parameters)


def unsized(plain):
    """Return a frame whose header does not say how much it holds."""
    maker = zstd.ZstdCompressor()
    return maker.compress(plain) + maker.flush()


def promising(size, window=b""):
    """Return the head of a frame that promises *size* bytes, in one segment unless it has a *window*."""
    flags = 0xC0 if window else 0xE0
    return MAGIC + bytes([flags]) + window + size.to_bytes(8, "little")


EMPTY_LAST_BLOCK = b"\x01\x00\x00"
HUGE_WINDOW = bytes([(27 - 10) << 3])  # 128 MiB, which zstd would allow
RUNS = b"".join((2**17 << 3 | 2).to_bytes(3, "little") + b"x" for _ in range(2_000))
"""Blocks of one byte each that stand for 128 KiB, 250 MiB in all."""
FRAMES = {
    "more than is allowed": compress(b"x" * (CAP + 1)),
    "gigabytes, as it says": promising(2**40) + RUNS + EMPTY_LAST_BLOCK,
    "gigabytes, which it does not say": promising(5) + RUNS + EMPTY_LAST_BLOCK,
    "gigabytes, in a window": promising(5, HUGE_WINDOW) + RUNS + EMPTY_LAST_BLOCK,
    "a huge window": promising(CAP, HUGE_WINDOW) + EMPTY_LAST_BLOCK,
    "less than it says": promising(CAP) + EMPTY_LAST_BLOCK,
    "nothing": compress(b""),
    "of no known size": unsized(b"x" * 100),
    "two frames": compress(b"x" * 50) + compress(b"y" * 50),
    "something behind it": compress(b"x" * 50) + b"\0",
    "a skippable frame first": b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + compress(b"x" * 50),
    "a skippable frame behind": compress(b"x" * 50) + b"\x50\x2a\x4d\x18\x04\0\0\0abcd",
    "only that": b"\x50\x2a\x4d\x18\x04\0\0\0abcd",
    "an old version": b"\x27\xb5\x2f\xfd" + compress(b"x" * 50)[4:],
    "a dictionary": MAGIC + b"\x21\x07\x05" + EMPTY_LAST_BLOCK,
    "cut": compress(b"x" * 50)[:-1],
    "no frame": b"hello",
    "no bytes": b"",
    "a window wider than what it holds": promising(2**18, HUGE_WINDOW) + RUNS[:8] + EMPTY_LAST_BLOCK,
    "cut in its checksum": frame_of(b"x" * 50, checksum_flag=1)[:-2],
    "a broken checksum": frame_of(b"x" * 50, checksum_flag=1)[:-1] + b"?",
}


@pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES.keys())
def test_bad_frames_are_refused(frame):
    """Too much, too little, more than one, or none at all is a PayloadError, also in an entry."""
    with pytest.raises(PayloadError):
        decompress(frame, CAP)
    with pytest.raises(PayloadError):
        codec().decode(stored(frame), "k")


@pytest.mark.parametrize("payload", [1, None, "text", [b"x"], {}], ids=repr)
def test_a_compressed_payload_is_bytes(payload):
    """Anything else in its place is a PayloadError."""
    with pytest.raises(PayloadError, match="payload"):
        codec().decode(stored(payload), "k")


@given(st.integers(0, 200), st.integers(0, 255), st.integers(0, 200))
@FAST
def test_changed_frames_are_refused_or_frames(at, byte, cut):
    """One changed byte, or a cut, is a PayloadError or other bytes within the cap."""
    good = compress(b"one, two, three, " * 40)
    frame = good[: at % len(good)] + bytes([byte]) + good[at % len(good) + 1 :]
    for hostile in (frame, frame[:cut]):
        with suppress(PayloadError):
            assert len(decompress(hostile, CAP)) <= CAP


@pytest.mark.parametrize(
    "name",
    [
        "more than is allowed",
        "gigabytes, as it says",
        "gigabytes, which it does not say",
        "gigabytes, in a window",
        "a huge window",
        "less than it says",
    ],
)
def test_what_a_frame_promises_costs_nothing(tmp_path, name):
    """No buffer and no window is made larger than three times what is allowed, inside zstd neither."""
    file = tmp_path / "frame"
    file.write_bytes(FRAMES[name])
    command = [sys.executable, "-m", "tests.codec_memory", file, str(CAP)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    outcome, grown = done.stdout.split()
    assert outcome == "refused"
    assert int(grown) < 4 * CAP


def test_the_largest_allowed_frame_costs_three_times_its_size(tmp_path):
    """What is within the cap is opened within a stated multiple of it."""
    largest = 2**24
    file = tmp_path / "frame"
    file.write_bytes(compress(b"one, two, " * (largest // 10)))
    command = [sys.executable, "-m", "tests.codec_memory", file, str(largest)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    outcome, grown = done.stdout.split()
    assert outcome == "plain"
    assert int(grown) < 3.5 * largest


def test_the_plain_payload_must_fit_as_well():
    """An entry that fits only while it is compressed is too large to be written, and to be read."""
    small, large = codec(largest=2_000), codec()
    sent = entry()
    blob = large.encode(sent, "k")
    assert len(blob) < 2_000 < len(EVEN)
    assert small.excess(sent, blob) == len(EVEN)
    assert large.excess(sent, blob) == 0
    with pytest.raises(PayloadError, match="allowed"):
        small.decode(blob, "k")


def test_the_encoded_entry_must_fit_as_well():
    """A payload that fits, in an entry that does not for all that stands beside it, is too large."""
    known, sent = codec(largest=300), entry(compressed=False, payload=b"\x01", etag="e" * 300)
    blob = known.encode(sent, "k")
    assert known.excess(sent, blob) == len(blob)
    with pytest.raises(PayloadError, match="bytes"):
        known.decode(blob, "k")
