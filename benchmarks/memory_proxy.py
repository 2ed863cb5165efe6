"""A memory in front of dogpile.cache's backend, as its documentation suggests for what is read often."""

from __future__ import annotations

from typing import Any

from dogpile.cache.api import NO_VALUE
from dogpile.cache.proxy import ProxyBackend


class MemoryProxy(ProxyBackend):  # type: ignore[misc]
    """Keeps what passes, for ever, in this process; nobody tells it of changes elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[str, Any] = {}

    def get_serialized(self, key: str) -> Any:
        """Return what is kept, else what the backend has."""
        value = self._kept.get(key, NO_VALUE)
        if value is NO_VALUE:
            value = self.proxied.get_serialized(key)
            if value is not NO_VALUE:
                self._kept[key] = value
        return value

    def set_serialized(self, key: str, value: Any) -> None:
        """Keep it here and there."""
        self._kept[key] = value
        self.proxied.set_serialized(key, value)
