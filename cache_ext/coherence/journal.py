"""The host's journal: a file of what its processes invalidated without the store, until that was told.

Who appends holds a lock on the file for some microseconds. Everybody else reads without it, and whoever has
told the store, or cannot append, overwrites a field of the header. So neither a full disk (the header has
its place already) nor a process that was stopped with the lock in its hand stops anybody. `records` has the
layout.
"""

from __future__ import annotations

import errno
import os
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from cache_ext.coherence.locks import free_lock, take_lock
from cache_ext.coherence.private import open_private, private_folder
from cache_ext.coherence.records import (
    BASE_AT,
    END_AT,
    HEADER_BYTES,
    LOWERED_AT,
    MAX_BYTES,
    RAISED_AT,
    TOLD_AT,
    Header,
    Names,
    decode_records,
    encode_position,
    encode_record,
    new_header,
    parse_header,
)
from cache_ext.entry import new_stamp
from cache_ext.errors import PayloadError

KEPT_BYTES = 2**16
"""Of told records that stay for processes that have yet to look, and would else drop all they have."""
LOCK_PATIENCE = 0.05
"""Seconds that one waits for the lock, half of what a request may spend on the store by default."""
RETRY = 0.001
"""Seconds between attempts; waiting in the kernel would stop all greenlets."""
TELLING_PATIENCE = 2.0
"""Seconds for which one lets another process tell the store, before one tells it too; twice is harmless."""
TRIES = 3
"""Readings of the journal, each spoilt by somebody who cuts it off, before it counts as damaged."""


class News(NamedTuple):
    """What somebody who has seen the journal before finds there now.

    Args:
        raw: the header's bytes.
        header: None if they are damaged.
        unseen: what was invalidated since.
        pending: what the store has still to be told; of all, or if not `anew` of what is unseen.
    """

    raw: bytes
    header: Header | None
    unseen: Names
    pending: Names
    anew: bool = True


class Journal:
    """One process' view of the file at *path*. Callers see to it that one thread at a time changes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._patience = LOCK_PATIENCE
        self._lowered = b""
        self._busy_since = 0.0
        myself = weakref.ref(self)

        def after_fork() -> None:  # the lock is of parent and child together, while either keeps it open
            if journal := myself():
                journal.close()

        os.register_at_fork(after_in_child=after_fork)

    def __del__(self) -> None:
        self.close()

    def open(self) -> None:
        """Open the file, which is made if need be; do nothing if it is open and still the one at its path.

        Raises:
            OSError: it cannot be, or is not of this user alone.
        """
        if self._fd >= 0:
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(self._fd), self._path.stat()) and parse_header(self.raw()):
                    return
            self.close()
        private_folder(self._path.parent)
        self._fd = open_private(self._path)
        if parse_header(self.raw()) is None:
            self._begin()

    def close(self) -> None:
        """Close the file."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def raw(self) -> bytes:
        """Return the header's bytes, b"" if there are none: equal bytes mean that nothing happened."""
        if self._fd < 0:
            return b""
        try:
            return os.pread(self._fd, HEADER_BYTES, 0)
        except OSError:
            return b""

    def news(self, seen: Header | None) -> News:
        """Return what is new to somebody who has *seen* the journal in that state, None: never."""
        raw = b""
        for _ in range(TRIES):
            raw = self.raw()
            header = parse_header(raw)
            if header is None:
                break
            news = self._news(raw, header, seen)
            if self.raw()[:END_AT] == raw[:END_AT]:  # nobody has cut the records off meanwhile
                return news
        return News(raw, None, Names(everything=True), Names(everything=True))

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Hold the lock, so that nobody else appends; False if somebody keeps it for too long."""
        held = take_lock(self._fd, self._patience, RETRY)
        self._patience = LOCK_PATIENCE if held else 0.0
        try:
            yield held
        finally:
            if held:
                free_lock(self._fd)

    def append(self, header: Header, names: Names) -> Header:
        """Add a record; for who holds the lock and knows the state. Return the new one.

        Raises:
            OSError: there is no room for it.
        """
        base, end = header.base, header.end
        if header.told >= end > base + KEPT_BYTES:
            base = end
            self._write(BASE_AT, encode_position(base))
            os.ftruncate(self._fd, HEADER_BYTES)
        record = encode_record(names)
        if end - base + len(record) > MAX_BYTES:
            raise OSError(errno.EFBIG, "the journal is full")
        self._write(HEADER_BYTES + end - base, record)
        self._write(END_AT, encode_position(end + len(record)))
        return header._replace(base=base, end=end + len(record))

    def overflow(self, header: Header) -> Header:
        """Note that everything was invalidated; needs no lock and no room. Return the new state.

        Raises:
            OSError: not even that can be written.
        """
        stamp = new_stamp()
        self._write(RAISED_AT, stamp)
        return header._replace(raised=stamp)

    def settle(self, told: Header, everything: bool) -> None:
        """Note that all that was there in the state *told* has been told, or that *everything* was."""
        header = parse_header(self.raw())
        if header is None or header.file != told.file:
            return
        if everything:
            self._lowered = told.raised  # should the disk refuse it, this process knows all the same
        with suppress(OSError):
            self._write(TOLD_AT, encode_position(max(header.told, told.end)))
            if everything:
                self._write(LOWERED_AT, told.raised)

    @contextmanager
    def telling(self) -> Iterator[bool]:
        """Be the one of the host's processes who tells the store; False if another has just begun to."""
        try:
            turn = open_private(self._path.with_name("telling.lock"))
        except OSError:
            yield True
            return
        try:
            mine = take_lock(turn, 0.0, RETRY)
            now = time.monotonic()
            self._busy_since = 0.0 if mine else self._busy_since or now
            yield mine or now - self._busy_since > TELLING_PATIENCE
        finally:
            free_lock(turn)
            os.close(turn)

    def _begin(self) -> None:
        """Write the header of a new file, or of one whose header is damaged: then everything is invalid."""
        try:
            with self.locked() as held:
                if not held:
                    raise OSError(errno.EAGAIN, f"{self._path} is locked for too long")
                if parse_header(self.raw()) is None:
                    self._write(0, new_header(overflown=os.fstat(self._fd).st_size > 0))
        except OSError:
            self.close()
            raise

    def _news(self, raw: bytes, header: Header, seen: Header | None) -> News:
        unseen, pending = Names(), Names()
        told = max(header.told, header.base)
        same = seen is not None and seen.file == header.file
        known = told if seen is None else seen.end if same else header.end
        anew = seen is None or not same or seen[4:] != header[4:]
        unseen.everything = seen is not None and (not same or known < header.base)
        try:
            for end, names in self._records(header, min(known, told) if anew else known):
                if end > known:
                    unseen.update(names)
                if end > told:
                    pending.update(names)
        except (OSError, PayloadError):
            unseen.everything = pending.everything = True
        pending.everything |= header.raised not in (header.lowered, self._lowered)
        unseen.everything |= header.raised != (header.lowered if seen is None else seen.raised)
        return News(raw, header, unseen, pending, anew)

    def _records(self, header: Header, start: int) -> Iterator[tuple[int, Names]]:
        """Yield the records from position *start* on, and where each ends."""
        start = max(start, header.base)
        if start >= header.end:
            return
        data = os.pread(self._fd, header.end - start, HEADER_BYTES + start - header.base)
        if len(data) != header.end - start:
            raise PayloadError("records are missing")
        for length, names in decode_records(data):
            yield start + length, names

    def _write(self, at: int, data: bytes) -> None:
        if os.pwrite(self._fd, data, at) != len(data):
            raise OSError(errno.ENOSPC, "the disk is full")
