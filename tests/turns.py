"""The order of the test files: the longest first, those that need all processors among the rest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

LONGEST = "test_newcomer"
"""Begun last, it would go on alone for a minute."""
APART = 6
"""Each file that starts whole services, which takes processors, is followed by as many others, which wait."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files in order; the tests of each stay together, as they were."""
    services = dict.fromkeys(item.path for item in items if item.get_closest_marker("service"))
    turns = _turns(list(services), list(dict.fromkeys(item.path for item in items)))
    items.sort(key=lambda item: turns[item.path])


def _turns(services: Sequence[Path], files: Sequence[Path]) -> dict[Path, float]:
    """Return the place of each file."""
    others = [path for path in files if path not in services]
    turns = {path: float(place) for place, path in enumerate(others)}
    turns |= {path: place * APART - 0.5 for place, path in enumerate(services)}
    return turns | {path: -1.0 for path in files if path.stem == LONGEST}
