"""The origin's data, and signals between the processes of a history: a small file that all have mapped."""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.waiting import until

COUNTERS = 64
FLAGS = 64
_WORD = 8
_WRITES = COUNTERS + FLAGS
_SIZE = (_WRITES + 1) * _WORD


class Truth:
    """64-bit counters by name, flags by number, and how many writes were over so far.

    Reading is one aligned access of the processor, so nobody sees half a counter; whoever counts up holds a
    lock of the kernel, which a killed process gives back.

    Args:
        path: of the file; made if it is not there.
        names: what can be written, in the same order for all.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._receipt = path.with_name("receipt")
        self._file = path.open("a+b")
        self._file.truncate(_SIZE)
        self._map = mmap.mmap(self._file.fileno(), _SIZE)
        self._words = memoryview(self._map).cast("Q")
        self._places = {name: place for place, name in enumerate(names)}
        self._lock = threading.Lock()

    def read(self, name: str) -> int:
        """Return the counter of *name*."""
        return self._words[self._places[name]]

    def advance(self, name: str) -> int:
        """Count *name* up and return the new counter."""
        return self._advance(self._places[name])

    def written(self) -> None:
        """Note that one more write is over."""
        self._advance(_WRITES)

    def await_writes(self, count: int, patience: float) -> None:
        """Return when *count* more writes are over, or after *patience* seconds."""
        goal = self._words[_WRITES] + count
        self._until(lambda: self._words[_WRITES] >= goal, patience)

    def signal(self, flag: int) -> None:
        """Raise *flag*."""
        self._words[COUNTERS + flag] = 1

    def await_flag(self, flag: int, patience: float) -> bool:
        """Return True when *flag* is raised, False after *patience* seconds."""
        return self._until(lambda: self._words[COUNTERS + flag], patience)

    def lower_flags(self) -> None:
        """Take all flags down."""
        for flag in range(FLAGS):
            self._words[COUNTERS + flag] = 0

    def leave_receipt(self, receipt: dict[str, Any]) -> None:
        """Leave what tells of a write to whoever reads next, in this process or another."""
        part = self._receipt.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        part.write_text(json.dumps(receipt))
        part.replace(self._receipt)

    def receipt(self) -> dict[str, Any] | None:
        """Return what was left last."""
        if not self._receipt.exists():
            return None
        return json.loads(self._receipt.read_text())

    def forget_receipt(self) -> None:
        """Let a new history begin without any."""
        self._receipt.unlink(missing_ok=True)

    def close(self) -> None:
        """Let the file go."""
        self._words.release()
        self._map.close()
        self._file.close()

    def _advance(self, place: int) -> int:
        with self._lock:
            fcntl.lockf(self._file, fcntl.LOCK_EX)
            try:
                self._words[place] += 1
                return self._words[place]
            finally:
                fcntl.lockf(self._file, fcntl.LOCK_UN)

    def _until(self, condition, patience: float) -> bool:
        try:
            until(condition, "a flag or a write", patience)
        except TimeoutError:
            return False
        return True
