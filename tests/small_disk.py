"""A disk of a few megabytes that a test can really fill: a file system in memory, mounted by root."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.servers import ServerAbsent

BYTES = 16 * 2**20
BLOCK = 4096


class SmallDisk:
    """A file system of 16 MiB at *folder*, until `close`.

    Args:
        folder: an empty one.
    Raises:
        ServerAbsent: who runs the tests may not mount.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = ["mount", "-t", "tmpfs", "-o", f"size={BYTES},mode=0700", "tmpfs", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            why = getattr(error, "stderr", None) or str(error)
            raise ServerAbsent(f"no disk to fill: run as root, who may mount ({why.strip()})") from None

    @property
    def free(self) -> int:
        """Bytes that are left."""
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def fill(self) -> None:
        """Leave no byte."""
        with (self.folder / "filling").open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(BLOCK))
            except OSError:
                assert self.free == 0, "it is full"

    def empty(self) -> None:
        """Free what `fill` took."""
        (self.folder / "filling").unlink()

    def close(self) -> None:
        """Unmount it, with all that is on it."""
        subprocess.run(["umount", str(self.folder)], check=True)
