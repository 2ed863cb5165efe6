"""One load per host while the shared store is away: its processes take turns, and leave each other what came.

They share a folder. A key's turn is a lock on one of its files, which the kernel gives back when its holder
dies; what a turn brought lies beside it, for as long as a copy may be served that nobody can check. Ages are
told by the monotonic clock, which is the same for all processes of a host until it boots.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from cache_ext.codec.entries import EntryCodec
from cache_ext.coherence.outbox import Outbox
from cache_ext.errors import PayloadError
from cache_ext.loading.origin import UNTRUSTED, Departure, Job, Origin
from cache_ext.reading.reader import UNCHECKED_LIFE, Reader, suits
from cache_ext.reading.slot import Slot

TURNS = 64
"""Lock files; keys that share one take turns as well."""
PATIENCE = 10.0
"""Seconds that one waits for his turn before he goes ahead without it."""
RETRY = 0.005
"""Seconds between attempts to take a lock: waiting for it in the kernel would stop all greenlets."""
_LOADED = struct.Struct("<d")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class HostOrigin:
    """Calls loaders as `Origin` does; while the store is away, once for all processes of the host.

    Args:
        origin: calls the loaders.
        folder: shared by the processes and nobody else (made with mode 0700); None shares nothing.
        outbox: while it holds invalidations of this process, what others left is not believed.
        monotonic: the clock that the processes share, seconds.
    """

    def __init__(
        self,
        origin: Origin,
        folder: Path | None,
        reader: Reader,
        codec: EntryCodec,
        outbox: Outbox,
        monotonic: Callable[[], float],
    ) -> None:
        self._origin = origin
        self._folder = None if folder is None else folder / _boot()
        self._reader = reader
        self._codec = codec
        self._outbox = outbox
        self._monotonic = monotonic

    def call(self, keys: Sequence[str], job: Job, departure: Departure) -> dict[str, Slot | Exception]:
        """See `Origin.call`."""
        if self._folder is None or not departure.alone:
            return self._origin.call(keys, job, departure)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:  # no place to meet: each for himself
            return self._origin.call(keys, job, departure)
        with self._turns(self._folder, keys):
            found = {} if self._outbox.waiting else self._left(self._folder, keys, job)
            rest = [key for key in keys if key not in found]
            loaded = self._origin.call(rest, job, departure) if rest else {}
            self._leave(self._folder, loaded)
            return {**found, **loaded}

    @contextmanager
    def _turns(self, folder: Path, keys: Sequence[str]) -> Iterator[None]:
        """Hold the turns of *keys*, taken in one order by everybody."""
        with ExitStack() as held:
            for turn in sorted({zlib.crc32(key.encode()) % TURNS for key in keys}):
                with suppress(OSError):
                    lock = held.enter_context((folder / f"{turn:02d}.lock").open("w"))
                    _wait_for(lock.fileno(), self._monotonic)
            yield

    def _left(self, folder: Path, keys: Sequence[str], job: Job) -> dict[str, Slot | Exception]:
        """Return what was left of *keys* a moment ago."""
        found: dict[str, Slot | Exception] = {}
        for key in keys:
            try:
                content = (folder / _name(key)).read_bytes()
                (loaded,) = _LOADED.unpack_from(content)
                entry = self._codec.decode(content[_LOADED.size :], key)
                value = self._reader.value(entry, job.terms)
            except (OSError, struct.error, PayloadError):
                continue
            young = 0 <= self._monotonic() - loaded < min(UNCHECKED_LIFE, entry.ttl / 1000)
            if young and suits(entry, job.tags_of[key], job.terms):
                slot = self._reader.hold(key, entry, loaded, UNTRUSTED, value)
                if job.terms.accept(slot, from_store=False):
                    found[key] = slot
        return found

    def _leave(self, folder: Path, loaded: Mapping[str, Slot | Exception]) -> None:
        """Leave what came to the other processes."""
        for key, slot in loaded.items():
            if isinstance(slot, Slot) and slot.entry.ttl:
                part = folder / f"{_name(key)}.{os.getpid()}.part"
                with suppress(OSError):  # a full disk costs the others a load
                    part.write_bytes(_LOADED.pack(slot.loaded) + self._codec.encode(slot.entry, key))
                    part.replace(folder / _name(key))


def _wait_for(lock: int, monotonic: Callable[[], float]) -> None:
    deadline = monotonic() + PATIENCE
    while monotonic() < deadline:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(RETRY)
        else:
            return


def _name(key: str) -> str:
    return hashlib.blake2b(key.encode(), digest_size=16).hexdigest()


def _boot() -> str:
    """Return a name for this boot of the host: an earlier one's clock says nothing."""
    with suppress(OSError):
        return _BOOT_ID.read_text().strip()
    return "boot"
