"""Payloads to zstd frames and back, never to more bytes than are allowed."""

from __future__ import annotations

import sys

from cache_ext.errors import PayloadError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LEVEL = 3
"""Of 1 to 22: zstd's own default; a few per cent larger than its best, many times as fast."""
_MAGIC = b"\x28\xb5\x2f\xfd"
"""How a frame starts; not skippable ones, nor those of before zstd 0.8, which some builds read as well."""
_LEAST_WINDOW_LOG = 10


def compress(plain: bytes) -> bytes:
    """Return *plain* as one zstd frame, which says its size in its header."""
    return zstd.compress(plain, LEVEL)


def decompress(frame: bytes, max_bytes: int) -> bytes:
    """Return what *frame* holds.

    Neither buffer nor window is larger than the size that the header promises, which is checked first.

    Args:
        frame: exactly one zstd frame, made without a dictionary, whose header says its size.
        max_bytes: what it may hold at most.
    Raises:
        PayloadError: it is none, holds more, or is followed by anything.
    """
    if frame[:4] != _MAGIC:
        raise PayloadError("not a zstd frame")
    try:
        size = zstd.get_frame_info(frame).decompressed_size
        if size is None or not 0 < size <= max_bytes:
            raise PayloadError(f"a frame of {size} bytes; 1 to {max_bytes} are allowed")
        window_log = max(_LEAST_WINDOW_LOG, (size - 1).bit_length())
        opened = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: window_log})
        plain = opened.decompress(frame, max_length=size + 1)
    except (zstd.ZstdError, ValueError, EOFError) as error:
        raise PayloadError(f"a broken zstd frame: {error}") from error
    if len(plain) != size or not opened.eof or opened.unused_data:
        raise PayloadError("not exactly one whole zstd frame")
    return plain
