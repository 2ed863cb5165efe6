"""A host's share while Redis is away: a table in a file that its processes have mapped, one line a subject.

A line holds the last figure that Redis told any process of the host, and what was admitted here since
without asking. From that figure down the host may go on; once a window is over, from the limit. So the
excess over the limit is at most one such share a host. What was admitted here is told Redis on its return.

A subject's lines are chosen by a keyed hash. Where too many meet, the one longest untouched loses its line,
and its share begins anew. Times are those of the clock that the processes of a host share.
"""

from __future__ import annotations

import hashlib
import logging
import mmap
import os
import secrets
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from cache_ext.coherence.boots import boot_name
from cache_ext.coherence.locks import free_lock, take_lock
from cache_ext.coherence.private import open_private, private_folder
from cache_ext.limits.debts import NOTHING, Debts
from cache_ext.limits.decision import NEVER, Answer, Check
from cache_ext.limits.lines import LINE_BYTES, MARK_BYTES, Line, set_figure, touched

log = logging.getLogger(__name__)

LINES = 4_096
WAYS = 8
"""Lines that a subject may have."""
PATIENCE = 0.1
"""Seconds that one waits for the table's lock."""
OPENING = 1.0
"""Seconds that one waits for it at first: another process may be making the table."""
RETRY = 0.001
REST = 1.0
"""Seconds for which nobody waits again after one waited in vain: its holder stands still."""
FILE_NAME = "limits"
_HEAD = struct.Struct("<16s16sdId")
"""Whose boot the times are of, the secret of the marks, when one waited in vain (s), what is owed, and until
when somebody may be telling Redis of it (s)."""
_HEAD_BYTES = 64
_VAIN_AT, _OWES_AT = 32, 40
_VAIN = struct.Struct("<d")
_TABLE_BYTES = _HEAD_BYTES + LINES * LINE_BYTES
_KNOWN_MARKS = 16_384


class Shares:
    """The table.

    Args:
        folder: of this host's processes of one namespace; None, or one that cannot be used: this process is
            alone.
        monotonic: the clock that the processes share, seconds.
        clock: Unix time, seconds; only what clients are told depends on it.
        budget: seconds that one may spend on telling Redis.
    """

    def __init__(
        self, folder: Path | None, monotonic: Callable[[], float], clock: Callable[[], float], budget: float
    ) -> None:
        self._monotonic = monotonic
        self._clock = clock
        self._lock = threading.Lock()
        self._file: int | None = None
        try:
            self._table = mmap.mmap(-1, _TABLE_BYTES) if folder is None else self._open(folder)
        except OSError as error:
            log.warning("limits: no table to share with the other processes of this host: %s", error)
            self._table = mmap.mmap(-1, _TABLE_BYTES)
        boot = hashlib.blake2b(boot_name().encode(), digest_size=16).digest()
        with self._locked(OPENING):
            if self._table[:16] != boot:
                self._table[:] = bytes(_TABLE_BYTES)
                _HEAD.pack_into(self._table, 0, boot, secrets.token_bytes(16), 0.0, NOTHING, 0.0)
        self._key = self._table[16:32]
        self._mark = lru_cache(_KNOWN_MARKS)(self._marked)
        places = range(_HEAD_BYTES, _TABLE_BYTES, LINE_BYTES)
        self.debts = Debts(self._table, _OWES_AT, places, self._mark, self._locked, monotonic, budget)

    def _open(self, folder: Path) -> mmap.mmap:
        """Return the file, mapped; all of it has its place on the disk, or writing to it would kill us."""
        self._file = open_private(private_folder(folder) / FILE_NAME)
        try:
            os.posix_fallocate(self._file, 0, _TABLE_BYTES)
            return mmap.mmap(self._file, _TABLE_BYTES)
        except OSError:
            os.close(self._file)
            self._file = None
            raise

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def note(self, check: Check, answer: Answer) -> None:
        """Note what Redis told. Takes no lock: the worst of a race is a wrong figure."""
        mark, lines = self._mark(check.place)
        table, now = self._table, self._monotonic()
        for at in lines:
            if table[at : at + MARK_BYTES] == mark:
                set_figure(table, at, mark, now, answer.left, check.width_ms)
                return
        at = min(lines, key=lambda at: touched(table, at))
        if touched(table, at)[0] == 0:
            line = Line(table, at)
            line.begin(mark, check.place, check.bucket, check.width_ms)
            line.figure_at, line.left = now, answer.left
            line.write()

    def admit(self, check: Check) -> Answer:
        """Decide without Redis."""
        width = check.width_ms
        with self._locked():
            line, now = (
                self._line(check),
                self._monotonic(),
            )  # a figure noted while this waited is of the past
            until = line.figure_until(now)
            if not until:
                line.left = check.limit
            left = min(check.limit, line.left)
            answer = line.window.admit(int(now * 1000), left, check.cost, width)
            if answer.ready == 0 and check.cost:
                line.used_at = now
                line.write()
                self.debts.begin()
        frees, ready = answer.frees, answer.ready
        if until:
            over = int(until * 1000) + width
            ready = over if ready == NEVER and check.cost <= check.limit else ready
            frees = over if frees == 0 and answer.left < check.limit else frees
        offset = int((self._clock() - now) * 1000)
        return Answer(
            answer.now + offset,
            answer.left,
            frees + offset if frees else 0,
            ready + offset if ready > 0 else ready,
        )

    def _line(self, check: Check) -> Line:
        """Return the line of the subject of *check*, a new one if it has none; for who holds the lock."""
        mark, lines = self._mark(check.place)
        for at in lines:
            if self._table[at : at + MARK_BYTES] == mark:
                return Line(self._table, at)
        line = Line(self._table, min(lines, key=lambda at: touched(self._table, at)))
        line.begin(mark, check.place, check.bucket, check.width_ms)
        return line

    def _marked(self, place: str) -> tuple[bytes, tuple[int, ...]]:
        """Return the mark of a subject, and where its lines begin."""
        mark = hashlib.blake2b(place.encode(), digest_size=MARK_BYTES, key=self._key).digest()
        first = int.from_bytes(mark[:8], "little")
        return mark, tuple(_HEAD_BYTES + (first + way) % LINES * LINE_BYTES for way in range(WAYS))

    @contextmanager
    def _locked(self, patience: float = PATIENCE) -> Iterator[None]:
        """Hold the lock, or go on without it if its holder stands still: the worst is a wrong count."""
        with self._lock:
            held = self._file is not None and self._take_lock(self._file, patience)
            try:
                yield
            finally:
                if held and self._file is not None:
                    free_lock(self._file)

    def _take_lock(self, file: int, patience: float) -> bool:
        now = self._monotonic()
        (vain_at,) = _VAIN.unpack_from(self._table, _VAIN_AT)
        rested = not 0 <= now - vain_at < REST
        held = take_lock(file, patience if rested else 0.0, RETRY)
        if rested and not held:
            _VAIN.pack_into(self._table, _VAIN_AT, now)
        return held
