"""What processes of a host leave each other in a folder: entries, for as long as nobody need check them."""

from __future__ import annotations

import hashlib
import os
import re
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from cache_ext.codec.entries import EntryCodec
from cache_ext.coherence.boots import boot_name
from cache_ext.coherence.private import private_folder
from cache_ext.entry import Entry
from cache_ext.errors import PayloadError
from cache_ext.reading.slot import Slot

OLD = 60.0
"""Seconds after which what was left is removed, many times what it may be served for."""
SWEEP = 200
"""Files looked at in one go: a few milliseconds."""
SWEEP_EVERY = 30.0
"""Seconds from one sweep of the folder to the next."""
_LOADED = struct.Struct("<d")
_BOOT = re.compile(r"boot|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OURS = re.compile(r"[0-9a-f]{32}(\.\d+\.part)?|\d{1,4}\.lock")


class Left(NamedTuple):
    """An entry, and when its loader was called, seconds on the monotonic clock."""

    entry: Entry
    loaded: float


class Leftovers:
    """The folder, and in it one for this boot: ages are told by a clock that begins anew with each.

    Args:
        folder: of this host's processes of one namespace.
        monotonic: the clock that the processes share, seconds.
    """

    def __init__(self, folder: Path, codec: EntryCodec, monotonic: Callable[[], float]) -> None:
        self._folder = folder
        self._boot = boot_name()
        self._codec = codec
        self._monotonic = monotonic
        self._sweeping: Iterator[None] | None = None
        self._sweep_at = 0.0

    def open(self) -> Path:
        """Return the folder of this boot, made if need be.

        Raises:
            OSError: it cannot be, or is not of this user alone.
        """
        return private_folder(private_folder(self._folder) / self._boot)

    def take(self, key: str) -> Left | None:
        """Return what was left of *key*, None if nothing that can be read."""
        try:
            content = self._path(key).read_bytes()
            (loaded,) = _LOADED.unpack_from(content)
            return Left(self._codec.decode(content[_LOADED.size :], key), loaded)
        except (OSError, struct.error, PayloadError):
            return None

    def leave(self, slot: Slot) -> None:
        """Leave *slot* to the other processes; a full disk costs them a load."""
        path = self._path(slot.key)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        with suppress(OSError):
            part.write_bytes(_LOADED.pack(slot.loaded) + self._codec.encode(slot.entry, slot.key))
            part.replace(path)

    def sweep(self) -> None:
        """Remove some of what nobody may believe any more: what is old, and what earlier boots left."""
        if self._sweeping is None:
            if self._monotonic() < self._sweep_at:
                return
            self._sweep_at = self._monotonic() + SWEEP_EVERY
            self._sweeping = self._swept()
        if sum(1 for _ in islice(self._sweeping, SWEEP)) < SWEEP:
            self._sweeping = None

    def _swept(self) -> Iterator[None]:
        """Remove file after file, and pause after each."""
        for folder in _entries(self._folder):
            if not folder.is_dir(follow_symlinks=False) or not _BOOT.fullmatch(folder.name):
                continue
            for file in _entries(Path(folder.path)):
                if _OURS.fullmatch(file.name):
                    with suppress(OSError):  # another process was faster
                        self._remove_if_old(folder.name, file)
                    yield
            if folder.name != self._boot:
                with suppress(OSError):
                    Path(folder.path).rmdir()

    def _remove_if_old(self, boot: str, file: os.DirEntry[str]) -> None:
        lock = file.name.endswith(".lock")
        old = time.time() - file.stat(follow_symlinks=False).st_mtime > OLD
        if boot != self._boot or (old and not lock):
            Path(file.path).unlink()

    def _path(self, key: str) -> Path:
        name = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
        return self._folder / self._boot / name


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    with suppress(OSError), os.scandir(folder) as entries:
        yield from entries
