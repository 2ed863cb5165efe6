"""The order of the test files: what takes long comes first, so that no process is busy alone at the end."""

from __future__ import annotations

import pytest

LONGEST = "test_newcomer"
"""The longest file, which waits much for the network and the disk."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put that file first, then those that start whole services, then all others."""

    def turn(item: pytest.Item) -> int:
        if item.path.stem == LONGEST:
            return 0
        return 1 if item.get_closest_marker("service") else 2

    items.sort(key=turn)
