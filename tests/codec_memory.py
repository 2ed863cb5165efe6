"""A process that decompresses one frame, for tests: ``codec_memory.py FILE MAX_BYTES``.

It prints whether the frame was refused, and by how many bytes its memory grew at the highest, zstd's own
included.
"""

from __future__ import annotations

import sys
from pathlib import Path

from cache_ext.codec.compression import compress, decompress
from cache_ext.errors import PayloadError


def highest() -> int:
    """Return the most memory that this process has asked for so far, touched or not, bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmPeak"))


def main() -> None:
    """Do as told on the command line."""
    frame, max_bytes = Path(sys.argv[1]).read_bytes(), int(sys.argv[2])
    decompress(compress(b"x" * 2**16), 2**16)  # what is needed once
    before = highest()
    try:
        decompress(frame, max_bytes)
        outcome = "plain"
    except PayloadError:
        outcome = "refused"
    print(outcome, highest() - before)


if __name__ == "__main__":
    main()
