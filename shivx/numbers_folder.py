"""Where a master's workers keep their numbers: in memory, reached by a link in the instance folder.

prometheus_client maps its files. On a full disk a page of such a file that has no place yet cannot be
written, and the kernel ends who tries (SIGBUS): a worker would die of counting a request.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 (mkdtemp makes a private folder there, of a name that nobody can foresee)
PREFIX = "shivx-numbers-"
ROOM_BYTES = 16 * 2**20
"""What has to be free: far more than workers need. Containers are given 64 MB unless told otherwise."""


def make(link: Path, memory: Path = MEMORY) -> None:
    """Make the folder *link*, if there is none; where no room is in memory, as a folder like any other.

    Raises:
        OSError: it cannot be made.
    """
    if link.exists():
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)  # whose folder is gone
    place = _place(memory)
    if place is None:
        link.mkdir()
    else:
        link.symlink_to(place)


def remove(link: Path, memory: Path = MEMORY) -> None:
    """Remove what `make` made, if it is there; of another link nothing but the link."""
    if not link.is_symlink():
        shutil.rmtree(link, ignore_errors=True)
        return
    place = link.readlink()
    if place.parent == memory and place.name.startswith(PREFIX):
        shutil.rmtree(place, ignore_errors=True)
    link.unlink(missing_ok=True)


def _place(memory: Path) -> Path | None:
    """Return a new folder in memory, None if there is no room for it."""
    try:
        found = os.statvfs(memory)
        room = found.f_bavail * found.f_frsize
        return Path(tempfile.mkdtemp(prefix=PREFIX, dir=memory)) if room >= ROOM_BYTES else None
    except OSError:
        return None
