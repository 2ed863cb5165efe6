"""Folders and files that nobody but this user can write to, or they are refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path

OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def private_folder(path: Path) -> Path:
    """Return *path*, a folder of this user alone; it is made (mode 0700) if it is not there.

    One of his that others may write to is closed to them.

    Raises:
        OSError: it cannot be made, is somebody else's, or no folder but a link or a file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(f"{path} is no folder of this user")
    if found.st_mode & OTHERS_WRITE:
        path.chmod(stat.S_IMODE(found.st_mode) & ~OTHERS_WRITE)
    return path


def open_private(path: Path) -> int:
    """Return a descriptor of the file at *path*, for reading and writing; it is made (mode 0600) if need be.

    Raises:
        OSError: it cannot be made, is somebody else's, may be written to by others, has other names or is
            no file.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    found = os.fstat(descriptor)
    ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink == 1
    if not ours or found.st_mode & OTHERS_WRITE:
        os.close(descriptor)
        raise PermissionError(f"{path} is not a file of this user alone")
    return descriptor
