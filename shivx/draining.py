"""Draining: told to end, a service still serves all, and tells balancers to go elsewhere.

The master of the workers says that it drains by an empty file, which the workers find by its number.
"""

from __future__ import annotations

import os
from pathlib import Path


def _place(instance_dir: Path, master: int) -> Path:
    return instance_dir / "run" / f"draining-{master}"


def begin(instance_dir: Path) -> None:
    """Say that this process, a master, drains. Raises OSError: it cannot be said."""
    _place(instance_dir, os.getpid()).touch()


def end(instance_dir: Path) -> None:
    """Say so no more; a file of an earlier process of the same number goes too."""
    _place(instance_dir, os.getpid()).unlink(missing_ok=True)


def is_begun(instance_dir: Path) -> bool:
    """Tell whether this process, a master, drains."""
    return _place(instance_dir, os.getpid()).exists()


def is_draining(instance_dir: Path) -> bool:
    """Tell whether the master of this process, a worker, drains."""
    return _place(instance_dir, os.getppid()).exists()
